"""The figures of docs/comparison.md, from the JSON of the last runs: those of other programs beside rsdos's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.cases import BY_NAME
from benchmarks.corpora import CORPORA
from benchmarks.datasets import DatasetResults, read_datasets
from benchmarks.datasets_report import middle
from benchmarks.datasets_sides import DATASET_SIDES
from benchmarks.remote_results import RemoteResults, read_remote
from benchmarks.report import rate_text
from benchmarks.results import Results, read_results
from benchmarks.sides import side_class
from benchmarks.size import SizeResults, read_sizes

BEGIN = "<!-- Written by benchmarks/page.py from docs/performance/*.json. Do not edit. -->\n"
END = "<!-- The end of what is written. -->\n"

_CASES = {
    "insert-raw-full": "stored in one call, synced",
    "insert-zstd": "the same, compressed, not synced",
    "extract-many": "read in one call, random order",
    "extract-packed": "read one by one, random order",
}
_SIDES = ("ours", "files", "sqlite", "lmdb", "git", "dos")
_SIZE_SIDES = ("ours", "zip", "sqlite", "lmdb", "git", "restic", "dos", "tar.zst")
_SIZE_CORPORA = ("json-180", "json-1k", "sources", "structures", "pictures")
_STEPS = {
    "first": "first save",
    "status": "status, unchanged",
    "save-10": "save, 10 changed",
    "restore": "get all back",
}
_MANY_FILES = 100_000
"""Files from which on a directory is shown: with fewer, start-up is most of it."""

_CLIENTS = {"": "rsdos", " rclone": "rclone, 16 transfers", " boto3": "boto3, 16 threads", " DVC": "DVC"}


def figures_of(directory: Path) -> Iterator[str]:
    """Yield the lines of all tables whose JSON is there."""
    yield from _objects(read_results(directory / "full.json"))
    if (directory / "size.json").exists():
        yield from _sizes(read_sizes(directory / "size.json"))
    if (directory / "datasets.json").exists():
        yield from _datasets(read_datasets(directory / "datasets.json"))
    if (directory / "remote.json").exists():
        yield from _remote(read_remote(directory / "remote.json"))


def _objects(results: Results) -> Iterator[str]:
    yield "### Objects of 1 KB a second\n"
    yield "| |" + "".join(f" {title} |" for title in _CASES.values())
    yield "|---|" + "---|" * len(_CASES)
    for side in _SIDES:
        rates = (rate_text(results.rate(case, side), BY_NAME[case]) for case in _CASES)
        yield f"| {side_class(side).title} | {' | '.join(rates)} |"
    yield ""


def _sizes(results: SizeResults) -> Iterator[str]:
    yield "### Bytes on disk, of what was stored\n"
    yield "| |" + "".join(f" {side_class(side).title} |" for side in _SIZE_SIDES)
    yield "|---|" + "---|" * len(_SIZE_SIDES)
    for corpus in CORPORA:
        if corpus.name in _SIZE_CORPORA:
            shares = ([sample.length / sample.size for sample in results.of(corpus.name, side)] for side in _SIZE_SIDES)
            cells = (f"{median(found):.2f}" if found else "–" for found in shares)
            yield f"| {corpus.title} | {' | '.join(cells)} |"
    yield ""


def _datasets(results: DatasetResults) -> Iterator[str]:
    for files in sorted({sample.files for sample in results.samples if sample.files >= _MANY_FILES}):
        yield from _directory(results, files)


def _directory(results: DatasetResults, files: int) -> Iterator[str]:
    sides = dict.fromkeys(sample.side for sample in results.samples if sample.files == files)
    yield f"### A directory of {files:,} small files, in seconds\n"
    yield "| |" + "".join(f" {title} |" for title in _STEPS.values()) + " files of the store |"
    yield "|---|" + "---|" * (len(_STEPS) + 1)
    for side in sides:
        seconds = (middle(results.of(files, side, step), lambda one: one.seconds) for step in _STEPS)
        cells = ("–" if found is None else f"{found:.3g}" for found in seconds)
        stored = middle(results.of(files, side, "first"), lambda one: one.stored)
        count = "–" if stored is None else f"{stored:,.0f}"
        yield f"| {DATASET_SIDES[side].title} | {' | '.join(cells)} | {count} |"
    yield ""


def _remote(results: RemoteResults) -> Iterator[str]:
    yield f"### {results.files:,} files of 1 KB on object storage, files a second\n"
    yield "| | push | pull |\n|---|---|---|"
    for name, title in _CLIENTS.items():
        push = results.figures.get(f"push{name}, s a file")
        pull = results.figures.get(f"pull{name}, files a second")
        yield f"| {title} | {f'{1 / push:,.0f}' if push else '–'} | {f'{pull:,.0f}' if pull else '–'} |"
    yield ""

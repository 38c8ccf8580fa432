"""The tables of `benchmarks.size`, and what they must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.corpora import CORPORA
from benchmarks.report import verdict
from benchmarks.sides import STORES, side_class
from benchmarks.size import LARGE, SizeResults, SizeSample

_UNITS = ((1e6, "M"), (1e3, "k"))
_KIB = 1 << 10
_RECORDS = "json-180"
_Figure = Callable[[SizeSample], float | None]


def _share(sample: SizeSample) -> float:
    return sample.length / sample.size


def _stored_share(sample: SizeSample) -> float:
    return sample.stored / sample.size


def _beside(sample: SizeSample) -> float:
    return (sample.length - sample.stored) / sample.objects


def _insert_seconds(sample: SizeSample) -> float:
    return sample.insert / sample.objects


def _read_time(sample: SizeSample) -> float:
    return sample.read_us


def _all_seconds(sample: SizeSample) -> float:
    return sample.insert + sample.shrink


def _bulk_seconds(sample: SizeSample) -> float | None:
    return None if sample.bulk is None else sample.bulk / sample.objects


def _training_share(sample: SizeSample) -> float | None:
    return None if sample.training is None else sample.training / sample.insert


def _choosing_share(sample: SizeSample) -> float | None:
    return None if sample.choosing is None else sample.choosing / sample.insert


def _figure(results: SizeResults, corpus: str, side: str, of: _Figure) -> float | None:
    """The median of all rounds; None where it was not measured."""
    figures = [figure for figure in map(of, results.of(corpus, side)) if figure is not None]
    return median(figures) if figures else None


@dataclass(frozen=True, slots=True)
class SizeTarget:
    """A line of the table: a figure of rsdos, or how many times it is that of ``other``; at most ``bound``."""

    title: str
    corpus: str
    of: _Figure
    bound: float
    other: tuple[str, str, _Figure] | None = None

    def figure(self, results: SizeResults) -> float | None:
        """The figure; None where it was not measured."""
        mine = _figure(results, self.corpus, "ours", self.of)
        if mine is None or self.other is None:
            return mine
        corpus, side, of = self.other
        its = _figure(results, corpus, side, of)
        return mine / its if its else None

    def row(self, results: SizeResults) -> str:
        """The line of the page."""
        figure = self.figure(results)
        reached = None if figure is None else figure <= self.bound
        shown = "not measured" if figure is None else f"{figure:.3g}"
        return f"| {self.title} | {shown} (≤ {self.bound:g}) | {verdict(reached)} |"


SIZE_TARGETS = (
    SizeTarget("20,000 records of 180 B: stored bytes, of raw", "json-180-20k", _stored_share, 0.25),
    SizeTarget("1,000,000: the same", "json-180-1m", _stored_share, 0.25),
    SizeTarget("20,000 records of 180 B: all on disk, of raw", "json-180-20k", _share, 0.85),
    SizeTarget("1,000,000: the same", "json-180-1m", _share, 0.85),
    SizeTarget("1,000,000: bytes an object on disk beside its stored bytes", "json-180-1m", _beside, 110),
    SizeTarget(
        "objects below 4 KB of a source tree: stored bytes, times zstd:1",
        "sources-4k",
        _stored_share,
        0.8,
        ("sources-4k", "frames", _share),
    ),
    SizeTarget(
        "time of an insert with dictionaries, times zstd:1 without, records",
        _RECORDS,
        _insert_seconds,
        1.25,
        (_RECORDS, "ours-plain", _insert_seconds),
    ),
    SizeTarget(
        "the same, source tree",
        "sources",
        _insert_seconds,
        1.25,
        ("sources", "ours-plain", _insert_seconds),
    ),
    SizeTarget(
        "time of a random read with a dictionary, times without, records",
        _RECORDS,
        _read_time,
        1.3,
        (_RECORDS, "ours-plain", _read_time),
    ),
    SizeTarget(
        "the same, objects below 4 KB of a source tree",
        "sources-4k",
        _read_time,
        1.3,
        ("sources-4k", "ours-plain", _read_time),
    ),
    SizeTarget(
        "time of a bulk read with dictionaries, times zstd:1 without, records",
        _RECORDS,
        _bulk_seconds,
        1.11,
        (_RECORDS, "ours-plain", _bulk_seconds),
    ),
    SizeTarget(
        "the same, objects below 4 KB of a source tree",
        "sources-4k",
        _bulk_seconds,
        1.11,
        ("sources-4k", "ours-plain", _bulk_seconds),
    ),
    SizeTarget("training alone, of the time of an insert, records", _RECORDS, _training_share, 0.03),
    SizeTarget("the same, source tree", "sources", _training_share, 0.03),
    SizeTarget(
        "training and the judging of samples, of the time of an insert, records", _RECORDS, _choosing_share, 0.03
    ),
    SizeTarget("the same, source tree", "sources", _choosing_share, 0.03),
    SizeTarget(
        "a mixed tar, picture first: bytes, times text first",
        "tar-picture-first",
        _share,
        1.03,
        ("tar-text-first", "ours", _share),
    ),
)


def size_section(results: SizeResults) -> Iterator[str]:
    """Yield the part of docs/performance.md."""
    yield "## Size on disk\n"
    yield (
        "`make bench-size` stores each corpus in each side by one call, compressed as the side does it by default. "
        "Then it makes each store as small as the side can (rsdos: `optimize`; git: one pack with deltas). The bytes "
        "of an empty store (rsdos: a reserve of 1 MiB) are not counted. A script (`benchmarks/corpora.py`) makes the "
        "records, structures, notebooks and pictures. *zstd:1 of each* is a file of frames, without an index to find "
        "one; *tar.zst* is the limit: no object in it can be read alone.\n"
    )
    yield from _why_not_large(results)
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    for side in results.missing:
        yield f"- {side_class(side).title}: not installed where this ran"
    yield "\n| what | figure | |\n|---|---|---|"
    yield from (target.row(results) for target in SIZE_TARGETS)
    sides = [side for side in STORES if any(sample.side == side for sample in results.samples)]
    yield "\n### Bytes on disk, of raw\n"
    yield from _table(results, sides, _share, "{:.3f}".format, with_sizes=True)
    yield "\n### Objects inserted a second\n"
    yield from _table(results, sides, lambda sample: sample.objects / sample.insert, _rate)
    yield "\n### The same, with the time to make it small\n"
    yield from _table(results, sides, lambda sample: sample.objects / (sample.insert + sample.shrink), _rate)
    yield "\n### Objects read a second, one by one, in random order\n"
    readers = [side for side in sides if any(sample.side == side and sample.reads for sample in results.samples)]
    yield from _table(results, readers, lambda sample: sample.reads / sample.read if sample.reads else 0.0, _rate)
    if any(sample.choosing is not None for sample in results.samples):
        yield "\n### Dictionaries, of the time of an insert\n"
        yield from _training(results)
    yield ""


def _why_not_large(results: SizeResults) -> Iterator[str]:
    """Yield why some sides have no figure at a million records."""
    more = [side for side in STORES if results.of(_RECORDS, side) and not results.of(LARGE, side)]
    found = results.of(LARGE, "ours")
    if found and more:
        times = found[0].objects / results.of(_RECORDS, "ours")[0].objects
        seconds = sum(_figure(results, _RECORDS, side, _all_seconds) or 0 for side in more)
        yield (
            f"A dash at {found[0].objects:,} records: the side was not run with them. At the rates of "
            f"{found[0].objects / times:,.0f} these sides would take {times * seconds / 60:.0f} minutes more.\n"
        )


def _training(results: SizeResults) -> Iterator[str]:
    yield "| | training alone | with the judging of samples |\n|---|---|---|"
    for corpus in CORPORA:
        shares = [_figure(results, corpus.name, "ours", of) for of in (_training_share, _choosing_share)]
        if None not in shares:
            yield f"| {corpus.title} |" + "".join(f" {100 * (share or 0):.2g} % |" for share in shares)


def _table(
    results: SizeResults, sides: list[str], of: _Figure, text: Callable[[float], str], *, with_sizes: bool = False
) -> Iterator[str]:
    more = " objects | raw |" if with_sizes else ""
    yield "| |" + more + "".join(f" {side_class(side).title} |" for side in sides)
    yield "|---|" + "---|" * (len(sides) + (2 if with_sizes else 0))
    for corpus in CORPORA:
        found = [sample for sample in results.samples if sample.corpus == corpus.name]
        if found:
            figures = (_figure(results, corpus.name, side, of) for side in sides)
            cells = "".join(f" {'–' if figure is None else text(figure)} |" for figure in figures)
            counts = f" {found[0].objects:,} | {found[0].size // _KIB:,} KiB |" if with_sizes else ""
            yield f"| {corpus.title} |{counts}{cells}"


def _rate(rate: float) -> str:
    if not rate:
        return "–"
    for factor, letter in _UNITS:
        if rate >= factor:
            return f"{rate / factor:.3g} {letter}"
    return f"{rate:.3g}"

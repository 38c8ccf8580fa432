"""The tables of `benchmarks.datasets`, and what they must show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.datasets import DatasetFigures, DatasetResults, DatasetSample
from benchmarks.datasets_sides import DATASET_SIDES
from benchmarks.report import UNKNOWN, missed, verdict

_MB = 1e6
_Of = Callable[[DatasetSample], float]

STEPS = {
    "first": "first save",
    "status": "status, unchanged",
    "unchanged": "save, unchanged",
    "status-10": "status, 10 changed",
    "save-10": "save, 10 changed",
    "restore": "get it back",
    "list": "list all",
    "diff": "diff of two versions",
}


def _cpu(sample: DatasetSample) -> float:
    return sample.cpu


def _seconds(sample: DatasetSample) -> float:
    return sample.seconds


@dataclass(frozen=True, slots=True)
class DatasetTarget:
    """How many times what another side takes rsdos may take, of processor time and of wall time."""

    title: str
    step: str
    other: str
    bound: float
    other_step: str = ""
    least: int = 100_000
    """The number of files from which on the bound counts: below, start-up is most of it."""
    of: tuple[tuple[str, _Of], ...] = (("CPU", _cpu), ("wall", _seconds))
    reason: str = ""
    """The floor, or why the bound is missed, if that is known. `_filled` says what stands for figures."""

    def _figures(self, results: DatasetResults, files: int) -> Iterator[tuple[str, float]]:
        for name, of in self.of:
            mine = middle(results.of(files, "rsdos", self.step), of)
            its = middle(results.of(files, self.other, self.other_step or self.step), of)
            if mine is not None and its:
                yield name, mine / its

    def rows(self, results: DatasetResults, files: int) -> Iterator[str]:
        """The lines of the page."""
        for name, figure in self._figures(results, files):
            shown = verdict(figure <= self.bound) if files >= self.least else "–"
            yield f"| {self.title}, {files:,} files | {name} | {figure:.2f} × (≤ {self.bound:g}) | {shown} |"

    def why(self, results: DatasetResults, files: int) -> str | None:
        """The line that says why the bound is missed; None if it is not."""
        if files < self.least or all(figure <= self.bound for _, figure in self._figures(results, files)):
            return None
        return f"- {self.title}, {files:,} files: {_filled(self.reason, results, files) or UNKNOWN}"


PLACEHOLDER = re.compile(r"\{([\w-]+) ([\w-]+) (cpu|user|seconds)\}")


def _filled(reason: str, results: DatasetResults, files: int) -> str:
    """Return a reason with the figures of the run: `{git status cpu}` are the seconds that the status of git took."""

    def seconds(match: re.Match[str]) -> str:
        side, step, of = match.groups()
        found = middle(results.of(files, side, step), lambda sample: float(getattr(sample, of)))
        return "–" if found is None else f"{found:.3g} s"

    return re.sub(PLACEHOLDER, seconds, reason)


CPU_ONLY: tuple[tuple[str, _Of], ...] = (("CPU", _cpu),)
WALL_ONLY: tuple[tuple[str, _Of], ...] = (("wall", _seconds),)

_START_UP = (
    "start-up is a large part: a diff of two versions, nearly all of it start-up, takes {rsdos diff cpu} of processor "
    "time."
)

TARGETS = (
    DatasetTarget("first save, times restic's", "first", "restic", 0.8),
    DatasetTarget("first save, times `git add` and commit", "first", "git", 0.6),
    DatasetTarget("first save, times `dvc add`", "first", "dvc", 0.2, least=20_000),
    DatasetTarget(
        "first save, times `add-files -r`",
        "first",
        "add-files",
        1.2,
        reason="`add-files -r` is the floor: it reads, hashes and stores the same bytes, in {add-files first cpu} of "
        "processor time. A save keeps the names besides: the pages of the tree, 40 B of each file in the state, and a "
        "second durable commit.",
    ),
    DatasetTarget("status, times `find -printf`", "status", "floors", 3, reason=_START_UP),
    DatasetTarget("save, unchanged, times `find -printf`", "unchanged", "floors", 3, "status", reason=_START_UP),
    DatasetTarget(
        "save, unchanged, times restic's",
        "unchanged",
        "restic",
        0.2,
        reason="restic works on both cores: {restic unchanged cpu} of processor time in {restic unchanged seconds}. "
        "rsdos looks at the files in one process.",
    ),
    DatasetTarget(
        "status, times DVC's",
        "status",
        "dvc",
        0.4,
        least=20_000,
        reason=_START_UP,
    ),
    DatasetTarget("status, times git's", "status", "git", 3, of=CPU_ONLY, reason=_START_UP),
    DatasetTarget(
        "status, times git's",
        "status",
        "git",
        1.5,
        of=WALL_ONLY,
        reason="the floor is start-up: a diff of two versions, nearly all of it start-up, takes {rsdos diff seconds}, "
        "and git's status {git status seconds}, on both cores. A status of rsdos is one process; the bound was set for "
        "two.",
    ),
    DatasetTarget(
        "save of 10 changes, times status",
        "save-10",
        "rsdos",
        1.1,
        "status-10",
        reason="a save is a status ({rsdos status-10 cpu} of processor time; the save {rsdos save-10 cpu}) and two "
        "durable commits, one of data and one of names.",
    ),
    DatasetTarget(
        "checkout, times restic's restore",
        "restore",
        "restic",
        0.7,
        reason="the floor is the file system: `tar -x` makes the same files in {floors restore cpu} of processor time, "
        "restic in {restic restore cpu}, a checkout in {rsdos restore cpu}.",
    ),
    DatasetTarget(
        "checkout, times `git checkout`",
        "restore",
        "git",
        1.2,
        reason="git gives each file its name at once; a checkout makes it under a temporary name and renames it. User "
        "time is {git restore user} and {rsdos restore user}, of all processes.",
    ),
    DatasetTarget(
        "checkout, times `tar -x`",
        "restore",
        "floors",
        2.5,
        reason="`tar -x` is the floor: it decompresses, verifies and renames nothing, and takes {floors restore user} "
        "of user time; a checkout does all three, and takes {rsdos restore user}.",
    ),
)


@dataclass(frozen=True, slots=True)
class FigureTarget:
    """A figure of rsdos itself."""

    title: str
    of: Callable[[DatasetResults, int], float | None]
    bound: float
    unit: str
    least: int = 20_000
    reason: str = UNKNOWN
    """The floor, or why the bound is missed."""

    def why(self, results: DatasetResults, files: int) -> str | None:
        """The line that says why the bound is missed; None if it is not."""
        figure = self.of(results, files)
        if figure is None or files < self.least or figure <= self.bound:
            return None
        return f"- {self.title}, {files:,} files: {self.reason}"

    def row(self, results: DatasetResults, files: int) -> str | None:
        """The line of the page."""
        figure = self.of(results, files)
        if figure is None:
            return None
        shown = verdict(figure <= self.bound) if files >= self.least else "–"
        return f"| {self.title}, {files:,} files | | {figure:.3g} {self.unit} (≤ {self.bound:g}) | {shown} |"


def _figure(of: Callable[[DatasetFigures], float]) -> Callable[[DatasetResults, int], float | None]:
    def read(results: DatasetResults, files: int) -> float | None:
        found = [of(figure) for figure in results.figures if figure.files == files]
        return median(found) if found else None

    return read


def _sample(step: str, of: _Of) -> Callable[[DatasetResults, int], float | None]:
    return lambda results, files: middle(results.of(files, "rsdos", step), of)


FIGURES = (
    FigureTarget(
        "diff of 10 changes, behind start-up",
        _figure(lambda figure: figure.diff_ms),
        20,
        "ms",
        reason="each change is in a page of some 120 entries, and Python makes an object of each entry of both pages.",
    ),
    FigureTarget("`ls` of one directory of 100", _figure(lambda figure: figure.listing_ms), 5, "ms"),
    FigureTarget(
        "one path",
        _figure(lambda figure: figure.entry_us / 1000),
        0.3,
        "ms",
        reason="most of 200 paths are in a page that was not read yet: with its some 120 entries it is read, "
        "verified and decoded.",
    ),
    FigureTarget("tree on disk, an entry", _figure(lambda figure: figure.tree_bytes), 42, "B"),
    FigureTarget("marking for gc", _figure(lambda figure: figure.mark_seconds), 3, "s"),
    FigureTarget("written by a save of 10 changes", _sample("save-10", lambda one: one.written / 1000), 200, "KB"),
    FigureTarget("files of the container", _sample("first", lambda one: one.stored), 40, ""),
    FigureTarget("memory of save", _sample("first", lambda one: one.memory / _MB), 200, "MB"),
    FigureTarget("memory of status", _sample("status", lambda one: one.memory / _MB), 200, "MB"),
    FigureTarget("memory of checkout", _sample("restore", lambda one: one.memory / _MB), 200, "MB"),
)


def middle(samples: list[DatasetSample], of: _Of) -> float | None:
    """The median of what finished; None if nothing did."""
    found = [of(sample) for sample in samples if not sample.is_stopped]
    return median(found) if found else None


def datasets_section(results: DatasetResults) -> Iterator[str]:
    """Yield the part of docs/performance.md."""
    counts = sorted({sample.files for sample in results.samples})
    yield "## Directories\n"
    yield (
        "By `make bench-datasets`: files of 1.1 KB on average, half of which compress, in directories of 100. Every "
        "side does the same with the same files in the page cache, by its command line; start-up is counted. Seconds "
        "of processor time with all processes, in brackets those of the user, and wall seconds. restic encrypts. git "
        "with `core.fsync=none` syncs nothing; the others sync as they do by themselves. Memory is that of the largest "
        "process. The bounds are those of 100,000 files and more (DVC: 20,000), where start-up is little of it.\n"
    )
    yield f"- level: {results.level}"
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    yield from (f"- {DATASET_SIDES[side].title} did not take part: {fault}" for side, fault in results.missing.items())
    yield "\n| what | | figure | |\n|---|---|---|---|"
    for files in counts:
        for target in TARGETS:
            yield from target.rows(results, files)
        yield from filter(None, (line.row(results, files) for line in FIGURES))
    yield from missed([why for files in counts for line in (*TARGETS, *FIGURES) if (why := line.why(results, files))])
    for files in counts:
        yield f"\n### {files:,} files\n"
        yield from _table(results, files)
    yield ""


def _table(results: DatasetResults, files: int) -> Iterator[str]:
    sides = list(dict.fromkeys(sample.side for sample in results.samples if sample.files == files))
    yield "| |" + "".join(f" {title} |" for title in STEPS.values()) + " on disk | memory |"
    yield "|---|" + "---|" * (len(STEPS) + 2)
    for side in sides:
        cells = [_cell(results.of(files, side, step)) for step in STEPS]
        first = results.of(files, side, "first")
        length, stored = middle(first, lambda one: one.length), middle(first, lambda one: one.stored)
        disk = "–" if length is None or stored is None else f"{length / _MB:,.0f} MB, {stored:,.0f} files"
        memory = max(sample.memory for sample in results.samples if (sample.files, sample.side) == (files, side))
        yield f"| {DATASET_SIDES[side].title} | {' | '.join(cells)} | {disk} | {memory / _MB:.0f} MB |"


def _cell(samples: list[DatasetSample]) -> str:
    if not samples:
        return "–"
    cpu, user, seconds = (middle(samples, of) for of in (_cpu, lambda one: one.user, _seconds))
    if cpu is None or user is None or seconds is None:
        return f"stopped after {samples[0].seconds:.0f} s"
    return f"{cpu:.3g} ({user:.3g}), {seconds:.3g}"

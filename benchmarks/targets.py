"""What the figures must show, line by line: the table of what this project promises of its speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what it is called, how to read it from the results, and what it must be.

    ``at_least`` or, where small is good, at most; ``unit`` stands behind the figure.
    """

    title: str
    read: Callable[[Results], float | None]
    bound: float
    unit: str = "×"
    at_least: bool = True

    def outcome(self, results: Results) -> tuple[float | None, bool | None]:
        """The figure, and whether it is good enough; None where it was not measured."""
        figure = self.read(results)
        if figure is None:
            return None, None
        return figure, figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the table."""

    title: str
    checks: tuple[Check, ...]


def _times(case: str, other: str, bound: float) -> Check:
    title = {"rsdos-0.1": "rsdos 0.1"}.get(other, other)
    return Check(title, lambda results: results.ratio(case, "ours", other), bound)


def _slower(case: str, other: str, bound: float) -> Check:
    def read(results: Results) -> float | None:
        return results.ratio(case, other, "ours")

    return Check(f"time of the {other}", read, bound, "×", at_least=False)


def _microseconds(case: str, bound: float) -> Check:
    def read(results: Results) -> float | None:
        rate = results.rate(case, "ours")
        return None if rate is None else 1e6 / rate

    return Check("one", read, bound, "µs", at_least=False)


def _memory(case: str, bound: float) -> Check:
    def read(results: Results) -> float | None:
        return results.memory(case, "ours") / _MIB if results.of(case, "ours") else None

    return Check(f"anonymous memory, {case}", read, bound, "MiB", at_least=False)


def _disk(case: str) -> Check:
    """Bytes on disk above 1.02 times the stored bytes of the objects, for each object."""

    def read(results: Results) -> float | None:
        ours, floor = results.of(case, "ours"), results.of(case, "floor")
        if not ours or not floor:
            return None
        # The longest file of the floor is the frames, one after another, and nothing else.
        return (ours[0].length - 1.02 * floor[0].longest) / ours[0].count

    return Check("bytes an object above 1.02 × the frames", read, 140, "B", at_least=False)


TARGETS = (
    Target("insert_many to packs, raw, relaxed", (
        _times("insert-raw", "rsdos-0.1", 3), _times("insert-raw", "dos", 10),
    )),
    Target("the same, full durability (rsdos 0.1 does not sync)", (
        Check("rsdos 0.1", lambda results: results.ratio("insert-raw-full", "ours", "rsdos-0.1"), 2.2),
    )),
    Target("insert_many to packs, compressed (zstd:1, one thread)", (
        _times("insert-zstd", "rsdos-0.1", 2.5), _times("insert-zstd", "dos", 4), _times("insert-zstd", "floor", 0.8),
    )),
    Target("insert_many from small files on disk (add-files -r)", (
        Check("floor, raw", lambda results: results.ratio("add-files", "ours", "floor"), 0.65),
        Check("git, compressed (--jobs 2)", lambda results: results.ratio("add-files-zstd", "ours", "git"), 1),
        Check("dos, raw (--jobs 2)", lambda results: results.ratio("add-files-jobs", "ours", "dos", "add-files"), 5),
        Check("dos, compressed (--jobs 2)", lambda results: results.ratio("add-files-zstd", "ours", "dos"), 5),
    )),
    Target("extract_many, random order, raw, verified", (
        _times("extract-many", "rsdos-0.1", 20), _times("extract-many", "dos", 6),
    )),
    Target("extract_many, random order, compressed, verified", (
        _times("extract-many-zstd", "rsdos-0.1", 8), _times("extract-many-zstd", "dos", 7),
    )),
    Target("extract one packed object, random, verified", (
        _times("extract-packed", "rsdos-0.1", 30), _times("extract-packed", "dos", 45),
        _microseconds("extract-packed", 10),
    )),
    Target("open, one read, close of a container of 100 packs", (
        _times("visit", "dos", 20),
        Check("dos, on its own container", lambda results: results.ratio("visit", "ours-v1", "dos"), 15),
    )),
    Target("insert one loose object, relaxed", (
        _times("insert-loose", "rsdos-0.1", 1.2),
        Check("rsdos 0.1, on tmpfs", lambda results: results.ratio("insert-loose-tmpfs", "ours", "rsdos-0.1"), 2.5),
    )),
    Target("insert one loose object, full", (_times("insert-loose-full", "dos", 1.2),)),
    Target("insert_many to loose, full", (_times("insert-many-loose", "dos", 4),)),
    Target("read one loose object, verified", (
        _times("extract-loose", "rsdos-0.1", 3), _times("extract-loose", "dos", 10),
    )),
    Target("pack all loose objects", (
        _times("pack", "rsdos-0.1", 1.5), _times("pack", "dos", 5),
        Check("dos, with clean", lambda results: results.ratio("pack-clean", "ours", "dos"), 3),
    )),
    Target("one large stream in, raw; out of a pack, raw, verified", (
        _times("stream-in", "floor", 0.85),
        Check("floor, out", lambda results: results.ratio("stream-out", "ours", "floor"), 0.8),
    )),
    Target("one large stream in, zstd:1, text; 64 KiB anywhere in it", (
        Check(
            "two threads, times one",
            lambda results: results.ratio("stream-in-zstd", "ours", "ours", "stream-in-zstd-alone"),
            1.1,
        ),
        _microseconds("range", 5000),
    )),
    Target("has_many, half missing", (_times("has-many", "dos", 10),)),
    Target("repack without recompression", (
        Check("cp and sync, 1 KB", lambda results: results.ratio("repack", "ours", "floor"), 0.3),
        Check("cp and sync, 100 KB", lambda results: results.ratio("repack-100k", "ours", "floor"), 0.5),
    )),
    Target("peak anonymous memory above idle, one stream", (
        _memory("stream-in", 64), _memory("stream-in-zstd", 64), _memory("stream-out", 64),
        _memory("stream-out-zstd", 64), _memory("range", 64),
    )),
    Target("rsdos --version, rsdos status", (
        _slower("start-version", "floor", 2), _slower("start-status", "floor", 2.5),
    )),
    Target("disk, 1 KB text objects, zstd, merged", (_disk("extract-many-zstd"),)),
)  # fmt: skip

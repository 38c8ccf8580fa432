"""The table of `benchmarks.remote`, and what it must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.remote_results import RemoteResults
from benchmarks.report import UNKNOWN, missed, verdict

_Of = Callable[[dict[str, float]], float]


class RemoteTarget(NamedTuple):
    """A figure, and its bound: at least, or at most."""

    title: str
    of: _Of
    bound: float
    unit: str = "×"
    is_most: bool = False
    reason: str = ""
    """The floor, or why the bound is missed, if that is known."""

    def is_reached(self, figures: dict[str, float]) -> bool:
        """Return whether the figure is within its bound. Raise KeyError if it was not measured."""
        figure = self.of(figures)
        return figure <= self.bound if self.is_most else figure >= self.bound

    def row(self, results: RemoteResults) -> str:
        """The line of the page."""
        sign = "≤" if self.is_most else "≥"
        try:
            figure = self.of(results.figures)
        except KeyError as error:
            return f"| {self.title} | – ({sign} {self.bound:g}) | not measured: {error.args[0]} |"
        shown = verdict(self.is_reached(results.figures))
        return f"| {self.title} | {figure:.3g} {self.unit} ({sign} {self.bound:g}) | {shown} |"

    def why(self, results: RemoteResults) -> str | None:
        """The line that says why the bound is missed; None if it is reached, or not measured."""
        try:
            if self.is_reached(results.figures):
                return None
        except KeyError:
            return None
        return f"- {self.title}: {self.reason or UNKNOWN}"


def _ratio(one: str, other: str) -> _Of:
    return lambda figures: figures[one] / figures[other]


def _plain(name: str) -> _Of:
    return lambda figures: figures[name]


def _none(title: str, name: str, *faults: str) -> Iterator[RemoteTarget]:
    """Yield that none of the objects of a race has one of the faults."""
    for fault in faults:
        yield RemoteTarget(f"{title}: objects {fault}", _plain(f"{name}, {fault}"), 0, "", is_most=True)


_MORE = "push of 600,000, s a file"
_LOOKUP = "lookup in 10,000,000"

TARGETS = (
    RemoteTarget("push, time a file: DVC's, times ours", _ratio("push DVC, s a file", "push, s a file"), 100),
    RemoteTarget("push: rclone's with 16 transfers", _ratio("push rclone, s a file", "push, s a file"), 50),
    RemoteTarget("push: boto3's with 16 threads", _ratio("push boto3, s a file", "push, s a file"), 50),
    RemoteTarget("push of 600,000 files: DVC's time a file, times ours", _ratio("push DVC, s a file", _MORE), 100),
    RemoteTarget("the same: rclone's with 16 transfers", _ratio("push rclone, s a file", _MORE), 50),
    RemoteTarget("the same: boto3's with 16 threads", _ratio("push boto3, s a file", _MORE), 50),
    RemoteTarget("push, requests beside one a pack", _plain("push, requests beside one a pack"), 10, "", is_most=True),
    RemoteTarget("push, memory", _plain("push, memory MiB"), 250, "MiB", is_most=True),
    RemoteTarget(
        "push of 600,000 files, memory",
        _plain("push of 600,000, memory MiB"),
        250,
        "MiB",
        is_most=True,
        reason="a push holds 32 bytes of each file that it lists, a commit of up to 131,072 files, the pack that it "
        "fills, and up to four packs that are sent, of 36 MB each. How many are sent at once depends on the store.",
    ),
    RemoteTarget(
        "pull, stored durably: rate, times boto3's GETs with 16 threads",
        _ratio("pull, files a second", "pull boto3, files a second"),
        40,
    ),
    RemoteTarget("random read, verified, times a raw range GET", _ratio("read, ms", "lean GET, ms"), 1.5, is_most=True),
    RemoteTarget(
        "bulk read of 1 MiB objects, hashed, times raw 8 MiB GETs",
        _ratio("bulk read 1 MiB, MB a second", "lean 8 MiB GETs, MB a second"),
        0.7,
        reason="the hash, and the work of rsdos, on processors that the store uses too. The medians of three runs on "
        "2026-11-28, on another machine: raw GETs 444 MB/s, with a hash of each MiB 411, rsdos 310 (0.7).",
    ),
    RemoteTarget(
        "bulk read of 1 KB objects, hashed, times the same in a local container",
        _ratio("bulk read 1 KB, objects a second", "bulk read 1 KB local, objects a second"),
        0.5,
    ),
    RemoteTarget(
        "open and first read, nothing cached, times a raw GET",
        _plain("open and first read, times a lean GET"),
        6,
        is_most=True,
        reason="the floor is the number of requests, which are made one after the other: what the container is, the "
        "listing of its newest manifest, the manifest, its successor, three parts of the segment, the object.",
    ),
    RemoteTarget("the same, requests", _plain("open and first read, requests"), 8, "", is_most=True),
    RemoteTarget(
        "lookup in an index of 10,000,000, nothing of it cached, times a raw GET",
        _plain(f"{_LOOKUP}, times a lean GET"),
        5,
        is_most=True,
    ),
    RemoteTarget("the same, requests", _plain(f"{_LOOKUP}, requests"), 4, "", is_most=True),
    RemoteTarget("16 writers, each insert a commit: a second", _plain("16 writers, inserts a second"), 15, ""),
    *_none("the same", "16 writers", "lost", "twice"),
    *_none("the same through the fault proxy", "16 writers through faults", "lost", "twice"),
    *_none("the same while rgw and osd are killed", "16 writers and kills", "lost", "twice"),
)


def remote_section(results: RemoteResults) -> Iterator[str]:
    """Yield the part of docs/performance.md."""
    yield "## On object storage\n"
    yield (
        "`make bench-remote` uses a Ceph RGW of one node on the same machine, by HTTP on loopback. Clients and store "
        f"share its cores: compare the ratios. rsdos keeps {results.files:,} files of 1.1 KB. The peers make an object "
        "of each file; they get a part of the files, and their times are per file. The raw GETs of the lines are "
        "*lean*: signed requests of Python's http.client, by a connection that is kept. Those of boto3, with its own "
        "costs, are below as *raw*. With "
        '`ARGS="--level large"` it also pushes 600,000 files, and each of the 16 writers makes 200 commits, not 50.\n'
    )
    yield f"- level: {results.level}"
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    yield from (f"- {name} did not take part: {fault}" for name, fault in results.missing.items())
    yield "\n| what | figure | |\n|---|---|---|"
    yield from (target.row(results) for target in TARGETS)
    yield from missed([why for target in TARGETS if (why := target.why(results))])
    yield "\n| measured | |\n|---|---|"
    yield from (f"| {name} | {figure:.4g} |" for name, figure in results.figures.items())
    yield ""

"""The tables of `benchmarks.cold`, and what they must show."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cold_results import ColdResults
from benchmarks.cold_sides import SIZE
from benchmarks.report import verdict
from benchmarks.sides import side_class

_FAR = "2 ms, no cache"
_MOST_EACH = 0.3
"""Milliseconds that an object of `extract_many` may take on the medium of 2 ms."""

_AHEAD = {"one read": 5, "bulk": 3, "absent": 10}
"""How many times as fast as each peer rsdos must be."""


def cold_section(results: ColdResults) -> Iterator[str]:
    """Yield the part of docs/performance.md."""
    yield "## Cold: what has to wait for its medium\n"
    how = "all caches of the system are dropped" if results.drops_all else "the pages of the files are dropped"
    yield f"`make bench-cold`. Before each line {how}; the figures are the best of three rounds.\n"
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    yield from (f"- {side_class(name).title} did not take part: {fault}" for name, fault in results.missing.items())
    yield "\n| what | figure | |\n|---|---|---|"
    yield from _targets(results)
    yield from _sides(results)
    yield from _media(results)
    yield from _index(results)


def _targets(results: ColdResults) -> Iterator[str]:
    ours = results.sides.get("ours", {})
    for name, figures in results.sides.items():
        if name != "ours" and ours:
            for line, bound in _AHEAD.items():
                times = figures[line] / ours[line]
                text = f"{line}: time of {side_class(name).title}, times ours"
                yield f"| {text} | {times:.3g} × (≥ {bound}) | {verdict(times >= bound)} |"
    if _FAR in results.media:
        each = results.media[_FAR]["extract_many, each"]
        text = f"extract_many on a medium of 2 ms a request, each | {each:.3g} ms (≤ {_MOST_EACH:g})"
        yield f"| {text} | {verdict(each <= _MOST_EACH)} |"


def _sides(results: ColdResults) -> Iterator[str]:
    yield f"\n{results.count:,} objects of {SIZE:,} random bytes, milliseconds each:\n"
    yield f"| | {' | '.join(_AHEAD)} |\n|---|{'---|' * len(_AHEAD)}"
    for name, figures in results.sides.items():
        yield f"| {side_class(name).title} | {' | '.join(f'{figures[line]:.3f}' for line in _AHEAD)} |"


def _media(results: ColdResults) -> Iterator[str]:
    yield (
        "\n4,000 objects of 1 KB, each behind one of 24 KB, in 20 commits, and one of 20 MiB. The medium of 2 ms is a "
        "FUSE file system that waits before each answer. Milliseconds:\n"
    )
    if _FAR not in results.media:
        yield "The medium of 2 ms could not be made: that needs FUSE, mfusepy and root.\n"
    yield f"| | {' | '.join(results.media)} |\n|---|{'---|' * len(results.media)}"
    for line in results.media["warm"]:
        yield f"| {line} | {' | '.join(f'{column[line]:.3f}' for column in results.media.values())} |"


def _index(results: ColdResults) -> Iterator[str]:
    yield (
        "\nLookups in one table of 10,000,000 entries, 673 MB, by key: milliseconds, KiB read from the disk, page "
        "faults that waited for it.\n"
    )
    if len(results.index) == 1:
        yield "No limit of memory could be set: that needs cgroups, and root.\n"
    yield f"| | {' | '.join(results.index)} |\n|---|{'---|' * len(results.index)}"
    for line in results.index["cold"]:
        cells = ("{:.3f}, {:.1f}, {:.2f}".format(*column[line]) for column in results.index.values())
        yield f"| {line} | {' | '.join(cells)} |"
    yield ""

"""Reading and writing many segments as one, in bounded memory.

All segments are sorted, so their entries in one range of keys are a slice of each: ranges of about `_RANGE` entries
are joined and sorted one after another. 64 Ki entries are 4.3 MB, three times that while they are sorted.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence

import numpy as np

from rsdos import fsio
from rsdos.index.entries import Entries
from rsdos.index.manifest import SegmentEntry
from rsdos.index.segment import Segment, SegmentLayout, encode_segment_ends

MOST_SEGMENTS = 16
"""Live segments that a commit may leave: a single lookup searches each (2 µs)."""

KEY_SPACE = 1 << 64
"""How many values the first 8 bytes of a key have."""

_MERGE_TO = 8
_RANGE = 1 << 16


def due_for_merge(segments: Sequence[SegmentEntry]) -> tuple[SegmentEntry, ...]:
    """The smallest tier, if there are more than `MOST_SEGMENTS`: what a commit merges into one; else nothing.

    At least so many that `_MERGE_TO` are left, then on while the next is no larger than all before it together: each
    entry is copied O(log n) times.
    """
    if len(segments) <= MOST_SEGMENTS:
        return ()
    ascending = sorted(segments, key=lambda segment: segment.count)
    picked: list[SegmentEntry] = []
    total = 0
    for segment in ascending:
        if len(ascending) - len(picked) < _MERGE_TO and segment.count > total:
            break
        picked.append(segment)
        total += segment.count
    return tuple(picked)


def merged(segments: Sequence[Segment], start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
    """All entries of some segments in the order of their keys, in tables of bounded size.

    Only of keys whose first 8 bytes, as a number, are from ``start`` to before ``end``.
    """
    tables = [segment.entries() for segment in segments]
    cuts = [_cut(table, start) for table in tables]
    total = sum(_cut(table, end) - cut for table, cut in zip(tables, cuts, strict=True))
    ranges = total // _RANGE + 1
    for number in range(1, ranges + 1):
        bound = start + (end - start) * number // ranges
        ends = [_cut(table, bound) for table in tables]
        yield Entries.joined(table.take(slice(*cut)) for table, *cut in zip(tables, cuts, ends, strict=True)).sort()
        cuts = ends


def _cut(table: Entries, bound: int) -> int:
    """The position of the first entry whose key is not below ``bound``."""
    return len(table) if bound >= KEY_SPACE else int(np.searchsorted(table.prefixes, np.uint64(bound)))


def write_merged(path: str, segments: Sequence[Segment]) -> tuple[int, int]:
    """Write a new segment file with all entries of some segments; returns its entries and tombstones. Not synced."""
    layout = SegmentLayout(sum(segment.count for segment in segments))
    tombstones = sum(segment.tombstones for segment in segments)
    fd = fsio.create(path)
    try:
        os.ftruncate(fd, layout.length)
        at = 0
        for entries in merged(segments):
            fsio.write_at(fd, layout.prefix(at), entries.prefixes.tobytes())
            fsio.write_at(fd, layout.record(at), entries.records.tobytes())
            at += len(entries)
        with mmap.mmap(fd, layout.length, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            head, table = encode_segment_ends(layout, view[layout.columns], tombstones)
        fsio.write_at(fd, 0, head)
        fsio.write_at(fd, layout.table, table)
    except BaseException:
        fsio.remove(path)
        raise
    finally:
        os.close(fd)
    return layout.count, tombstones

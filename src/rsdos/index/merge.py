"""Reading and writing many segments as one, in bounded memory.

All segments are sorted, so their entries in one range of keys are a slice of each: ranges of about `_RANGE` entries
are joined and sorted one after another. 64 Ki entries are 4.3 MB, three times that while they are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.digests import PREFIX, Prefixes, place_from
from rsdos.index.entries import Entries
from rsdos.index.fenced_parts import crc_of, fenced_ends, file_parts, filter_parts
from rsdos.index.liveness import kept_by_merge
from rsdos.index.manifest import SegmentEntry
from rsdos.index.segment import KEY_SPACE, UNEVEN, Segment
from rsdos.index.segment_layout import (
    FENCE,
    FENCED_FROM,
    FencedLayout,
    SegmentLayout,
    block_table,
    check_of,
    plain_ends,
)
from rsdos.names import Named
from rsdos.storage.base import Storage
from rsdos.storage.opened import AppendFile

MOST_SEGMENTS = 16
"""The most live segments that a commit leaves: a single lookup searches each (2 µs)."""

_COST = 1 << 12
"""The fixed cost of a merge, a millisecond, as the number of entries that are copied in this time."""

_RANGE = 1 << 16
_MOST_IN_RANGE = 2 * _RANGE
"""The most entries in a range that should have `_RANGE` keys, unless one key has more. Digests spread to a few hundred
more than `_RANGE`."""

_MOST_OF_KEY = 16 * _RANGE
"""The most copies of a key. A million entries are 70 MB, three times that while they are sorted. A hostile table may
have one key alone."""

_KEPT_RANGES = 8
"""Ranges after which their memory is given back: 35 MB."""

_MOVED = 4 << 20
"""Bytes of a new table that are moved together."""

_READ_BACK = 1 << 20
"""Bytes that are read back together: they stay in the processor's caches until their checksum is made."""


def due_for_merge(segments: Sequence[SegmentEntry], most: int, cost: int = _COST) -> tuple[SegmentEntry, ...]:
    """Return the segments to merge into one if there are more than ``most``; otherwise none.

    Take the smallest segments, so many that the work for each merged segment is least: the entries that are copied,
    plus ``cost``. Then add the next segment while it is no larger than all before it together, so that each entry is
    copied O(log n) times (ADR 38).
    """
    if len(segments) <= most:
        return ()
    ascending = sorted(segments, key=lambda segment: segment.count)
    sums = list(accumulate(segment.count for segment in ascending))
    picked = min(range(2, len(ascending) + 1), key=lambda number: ((sums[number - 1] + cost) / (number - 1), -number))
    while picked < len(ascending) and ascending[picked].count <= sums[picked - 1]:
        picked += 1
    return tuple(ascending[:picked])


class Table(Protocol):
    """A sorted table of entries: a segment, or a part of one."""

    @property
    def count(self) -> int:
        """The number of entries."""

    def entries(self) -> Entries:
        """Return all entries."""


def merged(segments: Sequence[Table], start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
    """Yield all entries of some segments in the order of their keys, in tables of bounded size.

    Only keys whose first 8 bytes, as a number, are from ``start`` to before ``end``. Raise `DamagedContainer` if the
    keys are not those of digests.
    """
    tables = [segment.entries() for segment in segments]
    behind = cuts = [_cut(table, start) for table in tables]
    for number, ends in enumerate(_ends_of_ranges(segments, tables, cuts, start, end), 1):
        yield Entries.joined(table.take(slice(*cut)) for table, *cut in zip(tables, cuts, ends, strict=True)).sort()
        cuts = ends
        if number % _KEPT_RANGES == 0:
            _let_go(segments, behind, ends)
            behind = ends
    _let_go(segments, behind, cuts)


def _ends_of_ranges(
    segments: Sequence[Table], tables: Sequence[Entries], cuts: Sequence[int], start: int, end: int
) -> Iterator[list[int]]:
    """Yield where each range of keys ends in each table. The first begins at ``cuts``.

    The keys that were deleted in the order of a listing, or by their prefix, are in a part of the key space: a range
    with too many of them is halved.
    """
    total = sum(_cut(table, end) - cut for table, cut in zip(tables, cuts, strict=True))
    ranges = total // _RANGE + 1
    low = start
    for number in range(1, ranges + 1):
        if number % _KEPT_RANGES == 1:
            _ask_for(segments, tables, cuts, start + (end - start) * min(number - 1 + _KEPT_RANGES, ranges) // ranges)
        bounds = [start + (end - start) * number // ranges]
        while bounds:
            ends = [_cut(table, bounds[-1], cut) for table, cut in zip(tables, cuts, strict=True)]
            counts = [end - cut for cut, end in zip(cuts, ends, strict=True)]
            if sum(counts) > _MOST_IN_RANGE and bounds[-1] - low > 1:
                bounds.append((low + bounds[-1]) // 2)
                continue
            if sum(counts) > _MOST_OF_KEY:
                uneven = segments[counts.index(max(counts))]
                raise DamagedContainer(uneven.path if isinstance(uneven, Segment) else "index", UNEVEN)
            yield ends
            cuts, low = ends, bounds.pop()


def _let_go(segments: Sequence[Table], since: Sequence[int], until: Sequence[int]) -> None:
    for segment, *cut in zip(segments, since, until, strict=True):
        if isinstance(segment, Segment):
            segment.let_go(*cut)


def _ask_for(segments: Sequence[Table], tables: Sequence[Entries], cuts: Sequence[int], bound: int) -> None:
    """Let the system begin to read the entries from ``cuts`` up to a bound."""
    for segment, table, cut in zip(segments, tables, cuts, strict=True):
        if isinstance(segment, Segment):
            segment.will_need(cut, _cut(table, bound, cut))


def _cut(table: Entries, bound: int, start: int = 0) -> int:
    """Return the position of the first entry from ``start`` on whose key is not below ``bound``."""
    return len(table) if bound >= KEY_SPACE else place_from(table.prefixes, bound, start)


def write_merged(
    storage: Storage, number: int, segments: Sequence[Table], packs: Sequence[int], named: Named = names.segment
) -> list[SegmentEntry]:
    """Write the needed entries of some segments to new segment files, from ``number`` on. Return them. Not synced.

    ``named`` makes the names of the files from their numbers. Live entries go to one file. Tombstones that kill none of
    the given entries go to another, so that a lookup reads all tombstones without reading all entries. Dead entries,
    and entries of other packs than ``packs``, are not written.
    """
    most = sum(segment.count for segment in segments)
    files: list[_SegmentFile] = []
    alive: _SegmentFile | None = None
    killing: _SegmentFile | None = None
    try:
        for table in merged(segments):
            entries = table.take(kept_by_merge(table, packs))
            tombstone = entries.is_tombstone()
            if not tombstone.all():
                alive = alive or _new_file(files, storage, number, most, named)
                alive.append(entries.take(~tombstone))
            if tombstone.any():
                killing = killing or _new_file(files, storage, number, most, named)
                killing.append(entries.take(tombstone))
        return [file.finish(tombstones=file.count if file is killing else 0) for file in files]
    except BaseException:
        for file in files:
            file.undo()
        raise
    finally:
        for file in files:
            file.end()


def write_segment(storage: Storage, number: int, entries: Entries) -> SegmentEntry:
    """Write sorted entries to a new segment file, and return it. Not synced."""
    parts = file_parts(entries)
    check = check_of(bytes(parts[0]))
    file = storage.create(names.segment(number))
    try:
        file.write(0, parts)
    except BaseException:
        if file.is_open:
            file.remove()
        raise
    finally:
        file.end()
    return SegmentEntry(len(entries), entries.tombstones, number=number, synced=False, check=check)


def _new_file(files: list[_SegmentFile], storage: Storage, number: int, most: int, named: Named) -> _SegmentFile:
    number += len(files)
    file = _SegmentFile(storage.create(named(number)), number, most)
    files.append(file)
    return file


class _SegmentFile:
    """A segment file of at most ``most`` entries, written from beginning to end."""

    def __init__(self, file: AppendFile, number: int, most: int) -> None:
        self.number = number
        self.count = 0
        self._form = FencedLayout if most >= FENCED_FROM else SegmentLayout
        self._space = self._form(most)
        self._file = file
        self.end = file.end

    def undo(self) -> None:
        """Remove it; not in a forked child, whose parent still uses it."""
        if self._file.is_open:
            self._file.remove()

    def append(self, entries: Entries) -> None:
        self._file.write(self._space.prefix(self.count), (entries.prefixes.tobytes(),))
        self._file.write(self._space.record(self.count), (entries.records.tobytes(),))
        self.count += len(entries)

    def finish(self, tombstones: int) -> SegmentEntry:
        layout, file = self._form(self.count), self._file
        # The second column follows the first, which may have become shorter than the space for it.
        shift = self._space.records - layout.records
        for at in range(layout.records, layout.table if shift else 0, _MOVED):
            file.write(at, (file.read(at + shift, min(_MOVED, layout.table - at)),))
        file.cut(layout.length)
        table = block_table(self._columns(layout), layout.block_size)
        if isinstance(layout, FencedLayout):
            head, tail = fenced_ends(layout, table, *self._fences_and_filter(layout), tombstones)
        else:
            head, tail = plain_ends(layout, table, tombstones)
        file.write(layout.table, (tail,))
        file.write(0, (head,))
        return SegmentEntry(self.count, tombstones, number=self.number, synced=False, check=check_of(head))

    def _fences_and_filter(self, layout: FencedLayout) -> tuple[bytes, int]:
        """Write the filter, and return the fences and the checksum of the filter."""
        fences: list[bytes] = []

        def prefixes() -> Iterator[Prefixes]:
            for at in range(layout.start, layout.records, _READ_BACK):
                part = np.frombuffer(self._file.read(at, min(_READ_BACK, layout.records - at)), PREFIX)
                fences.append(part[::FENCE].tobytes())
                yield part

        at = layout.filter
        crc = 0
        for part in filter_parts(layout.filter_blocks, prefixes()):
            at += self._file.write(at, (part,))
            crc = crc_of((part,), crc)
        return b"".join(fences), crc

    def _columns(self, layout: SegmentLayout) -> Iterator[memoryview]:
        for at in range(layout.start, layout.table, _READ_BACK):
            yield memoryview(self._file.read(at, min(_READ_BACK, layout.table - at)))

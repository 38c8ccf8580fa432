"""Reading and writing many segments as one, in bounded memory.

All segments are sorted, so their entries in one range of keys are a slice of each: ranges of about `_RANGE` entries
are joined and sorted one after another. 64 Ki entries are 4.3 MB, three times that while they are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.index.liveness import kept_by_merge
from rsdos.index.manifest import SegmentEntry
from rsdos.index.segment import (
    KEY_SPACE,
    UNEVEN,
    Segment,
    SegmentLayout,
    check_of,
    encode_segment_ends,
    segment_parts,
)
from rsdos.storage.base import Storage

MOST_SEGMENTS = 16
"""Live segments that a commit may leave: a single lookup searches each (2 µs)."""

_MERGE_TO = 8
_RANGE = 1 << 16
_MOST_IN_RANGE = 16 * _RANGE
"""Entries in a range of as many as `_RANGE` keys: digests spread to a few hundred more; one key may have many copies.

A million are 70 MB, three times that while they are sorted. A table that was made of one key range asks for any number.
"""

_KEPT_RANGES = 8
"""Ranges after which their memory is given back: 35 MB."""

_MOVED = 4 << 20
"""Bytes of a new table that are moved together."""

_READ_BACK = 1 << 20
"""Bytes that are read back together: they are still in the processor's caches when their checksum is made."""


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


class Table(Protocol):
    """A sorted table of entries: a segment, or a part of one."""

    @property
    def count(self) -> int:
        """How many entries there are."""

    def entries(self) -> Entries:
        """All of them."""


def merged(segments: Sequence[Table], start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
    """All entries of some segments in the order of their keys, in tables of bounded size.

    Only of keys whose first 8 bytes, as a number, are from ``start`` to before ``end``. Raises `DamagedContainer` where
    the keys do not spread as digests do.
    """
    tables = [segment.entries() for segment in segments]
    cuts = [_cut(table, start) for table in tables]
    total = sum(_cut(table, end) - cut for table, cut in zip(tables, cuts, strict=True))
    ranges = total // _RANGE + 1
    behind = cuts
    for number in range(1, ranges + 1):
        bound = start + (end - start) * number // ranges
        ends = [_cut(table, bound) for table in tables]
        counts = [end - cut for cut, end in zip(cuts, ends, strict=True)]
        if sum(counts) > _MOST_IN_RANGE:
            uneven = segments[counts.index(max(counts))]
            raise DamagedContainer(uneven.path if isinstance(uneven, Segment) else "index", UNEVEN)
        yield Entries.joined(table.take(slice(*cut)) for table, *cut in zip(tables, cuts, ends, strict=True)).sort()
        cuts = ends
        if number % _KEPT_RANGES == 0 or number == ranges:
            for segment, since, until in zip(segments, behind, ends, strict=True):
                if isinstance(segment, Segment):
                    segment.let_go(since, until)
            behind = ends


def _cut(table: Entries, bound: int) -> int:
    """The position of the first entry whose key is not below ``bound``."""
    return len(table) if bound >= KEY_SPACE else int(np.searchsorted(table.prefixes, np.uint64(bound)))


def write_merged(storage: Storage, number: int, segments: Sequence[Table], packs: Sequence[int]) -> list[SegmentEntry]:
    """Write what is needed of some segments to new segment files, from ``number`` on, and return them. Not synced.

    Entries and the tombstones that no entry among them was waiting for go to a file each: so a lookup reads all
    tombstones without reading all entries. Nothing is written of what is dead, or of packs that are not ``packs``.
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
                alive = alive or _new_file(files, storage, number, most)
                alive.append(entries.take(~tombstone))
            if tombstone.any():
                killing = killing or _new_file(files, storage, number, most)
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
    parts = segment_parts(entries)
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


def _new_file(files: list[_SegmentFile], storage: Storage, number: int, most: int) -> _SegmentFile:
    number += len(files)
    file = _SegmentFile(storage, number, most)
    files.append(file)
    return file


class _SegmentFile:
    """A segment file of at most ``most`` entries, written from beginning to end."""

    def __init__(self, storage: Storage, number: int, most: int) -> None:
        self.number = number
        self.count = 0
        self._space = SegmentLayout(most)
        self._file = storage.create(names.segment(number))
        self.end = self._file.end

    def undo(self) -> None:
        """Remove it; not in a forked child, whose parent goes on."""
        if self._file.is_open:
            self._file.remove()

    def append(self, entries: Entries) -> None:
        self._file.write(self._space.prefix(self.count), (entries.prefixes.tobytes(),))
        self._file.write(self._space.record(self.count), (entries.records.tobytes(),))
        self.count += len(entries)

    def finish(self, tombstones: int) -> SegmentEntry:
        layout, file = SegmentLayout(self.count), self._file
        # The second column begins behind the first, which may have become shorter than there was space for.
        shift = self._space.record(0) - layout.record(0)
        for at in range(layout.record(0), layout.table if shift else 0, _MOVED):
            file.write(at, (file.read(at + shift, min(_MOVED, layout.table - at)),))
        file.cut(layout.length)
        head, table = encode_segment_ends(layout, self._columns(layout), tombstones)
        file.write(0, (head,))
        file.write(layout.table, (table,))
        return SegmentEntry(self.count, tombstones, number=self.number, synced=False, check=check_of(head))

    def _columns(self, layout: SegmentLayout) -> Iterator[memoryview]:
        for at in range(layout.columns.start, layout.columns.stop, _READ_BACK):
            yield memoryview(self._file.read(at, min(_READ_BACK, layout.columns.stop - at)))

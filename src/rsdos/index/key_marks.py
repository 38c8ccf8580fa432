"""Marks on the keys of an index: one bit for each entry, 12.5 MB for 100 million."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from rsdos.hashing import join_digests
from rsdos.index.digests import PREFIX, Mask, Positions, Prefixes, place_from, prefixes_in
from rsdos.index.entries import Entries
from rsdos.index.merge import merged
from rsdos.index.segment import KEY_SPACE
from rsdos.index.view import IndexView

_TOGETHER = 1 << 22
"""Keys that are marked together: 32 MB. For each such batch the first column of the whole index is read once."""

_ROWS = 1 << 16
"""Entries of a column among which keys are searched together, and the most of these keys: 512 KiB, about the size of a
core's cache."""

_KEYS = 1 << 6
"""Keys to mark for which a part of the columns is worth the 40 us that it costs."""


def sorted_batches(parts: Iterable[Sequence[bytes]], digest_bytes: int) -> Iterator[Prefixes]:
    """Yield the first 8 bytes of digests, which come in lists of any size, in sorted batches of bounded size."""
    batch = np.empty(_TOGETHER, PREFIX)
    count = 0
    for part in parts:
        prefixes = prefixes_in(join_digests(part), digest_bytes)
        while len(prefixes):
            some, prefixes = prefixes[: _TOGETHER - count], prefixes[_TOGETHER - count :]
            batch[count : count + len(some)] = some
            count += len(some)
            if count == _TOGETHER:
                batch.sort()
                yield batch
                count = 0
    rest = batch[:count]
    rest.sort()
    yield rest


class KeyMarks:
    """Marks keys of some sorted columns, which have the first 8 bytes of keys. One thread.

    The bit of a key is at the number of all entries before its first one. So keys with the same first 8 bytes are
    marked together. Of 100 million keys there are two such ones in one of 3,700 containers.
    """

    def __init__(self, columns: Sequence[Prefixes]) -> None:
        self._columns = columns
        self._rows = sum(map(len, columns))
        self._bits = np.zeros(self._rows // 8 + 1, np.uint8)

    @property
    def count(self) -> int:
        """The number of marked keys."""
        return int.from_bytes(self._bits.tobytes(), "little").bit_count()

    def mark(self, keys: Prefixes) -> Prefixes:
        """Mark keys, given sorted, perhaps some of them twice. Return those that no column has."""
        absent = [keys[:0]]
        for some, ranges in self._parts(keys):
            place, is_there = self._places(some, ranges)
            absent.append(some[~is_there])
            place = place[is_there]
            if len(place):
                octets = place >> 3
                first = np.flatnonzero(np.append(True, octets[1:] != octets[:-1]))
                bits = np.left_shift(np.uint8(1), (place & 7).astype(np.uint8))
                self._bits[octets[first]] |= np.bitwise_or.reduceat(bits, first)
        return np.concatenate(absent)

    def among(self, keys: Prefixes) -> Mask:
        """Return a mask of the marked ones among some keys, given sorted."""
        masks = [np.empty(0, np.bool_)]
        for some, ranges in self._parts(keys):
            place, is_there = self._places(some, ranges)
            masks.append(is_there & (self._bits[place >> 3] >> (place & 7).astype(np.uint8) & 1).view(np.bool_))
        return np.concatenate(masks)

    def _parts(self, keys: Prefixes) -> Iterator[tuple[Prefixes, Sequence[tuple[int, int]]]]:
        """Yield keys that are looked up together, with the range of each column in which they can be."""
        if not len(keys):
            return
        parts = max(min(self._rows // _ROWS, len(keys) // _KEYS), len(keys) // _ROWS) + 1
        starts = np.arange(parts) * len(keys) // parts
        # One bound after the other: to search for all of them at once maps all of a column of 800 MB.
        bounds = [*keys[starts[1:]].tolist(), int(keys[-1]) + 1]
        cuts = [int(column.searchsorted(keys[0])) for column in self._columns]
        for some, bound in zip(np.split(keys, starts[1:]), bounds, strict=True):
            ends = [
                len(column) if bound >= KEY_SPACE else place_from(column, bound, cut)
                for column, cut in zip(self._columns, cuts, strict=True)
            ]
            yield some, list(zip(cuts, ends, strict=True))
            cuts = ends

    def _places(self, keys: Prefixes, ranges: Sequence[tuple[int, int]]) -> tuple[Positions, Mask]:
        """Return the bits of keys that can be in one range of each column alone, and which of the keys are there."""
        place = np.zeros(len(keys), np.intp)
        is_there = np.zeros(len(keys), np.bool_)
        for column, (start, end) in zip(self._columns, ranges, strict=True):
            here = column[start:end]
            at = here.searchsorted(keys)
            place += at + start
            if len(here):
                is_there |= here[np.minimum(at, len(here) - 1)] == keys
        return place, is_there

    def marked(self, row: int, prefixes: Prefixes) -> Mask:
        """Return a mask of the marked entries of a table.

        The table is a part of all entries, sorted, from ``row`` on. It has all entries of its keys.
        """
        count = len(prefixes)
        octets = self._bits[row >> 3 : (row + count + 7) >> 3]
        bits = np.unpackbits(octets, bitorder="little")[row & 7 : (row & 7) + count].view(np.bool_)
        first = _first_of(prefixes)
        if first.all():
            return bits
        return bits[np.maximum.accumulate(np.where(first, np.arange(count), 0))]


class ViewMarks(KeyMarks):
    """Marks keys of a view, and lists the others. One thread. Raises `DamagedContainer` where the view is not whole."""

    def __init__(self, view: IndexView) -> None:
        self._view = view
        if view.damage:
            raise view.damage
        super().__init__([segment.entries().prefixes for segment in view.segments])

    def _places(self, keys: Prefixes, ranges: Sequence[tuple[int, int]]) -> tuple[Positions, Mask]:
        segments = self._view.segments
        for segment, (start, end) in zip(segments, ranges, strict=True):
            segment.will_need_keys(start, end)
        found = super()._places(keys, ranges)
        for segment, (start, end) in zip(segments, ranges, strict=True):
            segment.let_go(start, end)
        return found

    def unmarked(self, most: int) -> Iterator[Entries]:
        """Yield the live entries of all keys without a mark, sorted, in tables of at most ``most`` keys.

        A key that is marked after this began may still be in a later table: ask `among`.
        """
        parts: list[Entries] = []
        row = marks = 0
        before = self.count
        for entries in merged(self._view.segments):
            marked = self.marked(row, entries.prefixes)
            row += len(entries)
            marks += int((marked & _first_of(entries.prefixes)).sum())
            parts.append(self._view.living(entries.take(~marked)))
            if sum(map(len, parts)) > most:
                *tables, rest = _split(Entries.joined(parts), most)
                yield from tables
                parts = [rest]
        # One entry more or less, and the marks would be those of other keys.
        assert row == self._rows and before <= marks <= self.count, "marks and entries do not belong together"
        yield from _split(Entries.joined(parts), most)


def _first_of(prefixes: Prefixes) -> Mask:
    """Return a mask of the entries before which there is none with the same first 8 bytes. They are sorted."""
    return np.append(True, prefixes[1:] != prefixes[:-1])[: len(prefixes)]


def _split(entries: Entries, most: int) -> list[Entries]:
    """Return sorted entries in tables of ``most`` keys; the last may have fewer. Of no entries return no table."""
    bounds = [*np.flatnonzero(entries.distinct())[::most].tolist(), len(entries)]
    return [entries.take(slice(*cut)) for cut in pairwise(bounds)]


class RecordMarks(KeyMarks):
    """Marks records, which begin with their keys and are sorted by them. One thread. Memory: 8 bytes a record."""

    def __init__(self, records: bytes, record_bytes: int) -> None:
        self._prefixes = prefixes_in(records, record_bytes)
        super().__init__([self._prefixes])

    @property
    def is_sorted(self) -> bool:
        """Whether the records are sorted. If they are not, marked ones may be listed as unmarked."""
        return bool((self._prefixes[1:] >= self._prefixes[:-1]).all())

    def unmarked(self, most: int) -> Iterator[list[int]]:
        """Yield the numbers of the records without a mark, in lists of at most ``most``."""
        at = np.flatnonzero(~self.marked(0, self._prefixes))
        for start in range(0, len(at), most):
            yield at[start : start + most].tolist()

"""The difference of two indices: the entries of one whose keys the other lacks, in the storage order of the first.

Both sides are sorted by key, so one search answers for a whole table: 0.1 s for a million entries. Memory is that of
about `_MOST` entries, and less with each chunk. If more are missing, they are found again in several passes, each for
some of the packs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rsdos.index.digests import Digests, Positions, search
from rsdos.index.entries import Entries
from rsdos.index.segment import KEY_SPACE
from rsdos.model import Counts

_MOST = 1 << 20
"""Missing entries that are held at a time: 66 MB."""

_END = KEY_SPACE - 1
"""An offset beyond the last byte of any pack."""


class Chunk(NamedTuple):
    """Some missing objects in storage order, and their raw and stored bytes."""

    digests: Sequence[bytes]
    size: int
    length: int


class DigestSet:
    """Digests to look for in bulk. Immutable; any number of threads."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        table = Entries.of(digests, pack_id=0, offset=0, length=0, size=0, crc=0, codec=0, flags=0)
        self._entries = table.sort()

    def __len__(self) -> int:
        return len(self._entries)

    def without(self, at: Positions, keys: Digests) -> Positions:
        """Return those of the positions ``at`` of some keys whose keys are not in the set."""
        found = search(self._entries.prefixes, self._entries.records, keys.take(at))
        return at[found < 0]


class _Part(NamedTuple):
    """A pack, from ``start`` to before ``end``."""

    pack_id: int
    start: int
    end: int


class IndexDifference:
    """The entries that one index has and another lacks. They are found when this object is made. One thread.

    ``tables`` yields the one index, sorted by key. ``lacking`` returns the positions of the keys that the other index
    does not have; all 32 bytes of a key are compared. Errors of both are passed on. If there are more entries than fit
    into memory, `chunks` looks for them again, and so does each further call of it; changes since the first time may
    show or not.
    """

    def __init__(self, tables: Callable[[], Iterator[Entries]], lacking: Callable[[Digests], Positions]) -> None:
        self._tables = tables
        self._lacking = lacking
        self.compared = 0
        """The objects of the one index."""
        self.counts = Counts()
        """The missing objects."""
        self._by_pack: dict[int, Counts] = {}
        self._ends: dict[int, int] = {}
        held: list[Entries] | None = []
        for entries in tables():
            self.compared += len(entries)
            missing = self._missing(entries)
            self._count(missing)
            if held is not None:
                held.append(missing)
                if self.counts.objects > _MOST:
                    held = None
        self._held = held

    @property
    def by_pack(self) -> Mapping[int, Counts]:
        """The missing objects of each pack that has any."""
        return self._by_pack

    def _missing(self, entries: Entries) -> Entries:
        at = self._lacking(entries.keys())
        return entries if len(at) == len(entries) else entries.take(at)

    def _count(self, missing: Entries) -> None:
        for pack_id, at in missing.by_pack():
            mine = missing.records[at]
            size, length = (int(mine[name].sum(dtype=np.uint64)) for name in ("size", "length"))
            counts = Counts(len(mine), size, length)
            self.counts += counts
            self._by_pack[pack_id] = self._by_pack.get(pack_id, Counts()) + counts
            self._ends[pack_id] = max(self._ends.get(pack_id, 0), int(mine["offset"].max()) + 1)

    def chunks(self, most_objects: int, most_length: int) -> Iterator[Chunk]:
        """Yield the missing objects in storage order, in chunks of limited numbers of objects and of stored bytes.

        An object that is longer than ``most_length`` is a chunk of its own.
        """
        if self._held is not None:
            held, self._held = self._held, None
            yield from _chunks(held, most_objects, most_length)
            return
        for parts in self._passes():
            found = []
            for entries in self._tables():
                mine = _of_parts(entries, parts)
                found.append(self._missing(mine) if len(mine) else mine)
            yield from _chunks(found, most_objects, most_length)

    def _passes(self) -> Iterator[list[_Part]]:
        """Yield parts of packs that have about `_MOST` missing entries together, in storage order."""
        parts: list[_Part] = []
        objects = 0
        for pack_id, counts in sorted(self._by_pack.items()):
            number, end = counts.objects // _MOST + 1, self._ends[pack_id]
            for at in range(number):
                if parts and objects + counts.objects // number > _MOST:
                    yield parts
                    parts, objects = [], 0
                until = end * (at + 1) // number if at + 1 < number else _END
                parts.append(_Part(pack_id, end * at // number, until))
                objects += counts.objects // number
        if parts:
            yield parts


def _of_parts(entries: Entries, parts: Sequence[_Part]) -> Entries:
    mask = entries.of_packs([part.pack_id for part in parts if not part.start and part.end == _END])
    for part in parts:
        if part.start or part.end != _END:
            mask |= entries.in_extent(*part)
    return entries.take(mask)


def _chunks(tables: list[Entries], most_objects: int, most_length: int) -> Iterator[Chunk]:
    """Yield the entries of some tables in storage order. The list is emptied: 32 bytes of each entry are held."""
    chunks = [*_cut(tables, most_objects, most_length)]
    chunks.reverse()
    while chunks:
        yield chunks.pop()


def _cut(tables: list[Entries], most_objects: int, most_length: int) -> Iterator[Chunk]:
    entries = Entries.joined(tables)
    tables.clear()
    order = entries.storage_order()
    for start in range(0, len(order), most_objects):
        table = entries.take(order[start : start + most_objects])
        sizes, lengths = table.records["size"], table.records["length"]
        ends = np.cumsum(lengths, dtype=np.uint64)
        begin = 0
        while begin < len(table):
            before = int(ends[begin - 1]) if begin else 0
            end = max(int(np.searchsorted(ends, np.uint64(before + most_length), "right")), begin + 1)
            size = int(sizes[begin:end].sum(dtype=np.uint64))
            yield Chunk(table.take(slice(begin, end)).keys().joined(), size, int(ends[end - 1]) - before)
            begin = end

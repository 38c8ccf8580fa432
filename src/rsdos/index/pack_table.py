"""Pack tables: files with rows of packs that were moved out of manifests (docs/format.md, ADR 31).

A table never changes. It is read whole and verified when a manifest that names it is read. A row becomes an entry when
it is needed. This module does without numpy, so a short command in a container of many packs does not import it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, compress, repeat
from operator import add, ge, lt
from typing import Any, NamedTuple

from rsdos.codecs.checksum import crc32
from rsdos.index.pack_entry import PackEntry, PackSums
from rsdos.model import Counts, PackKind

MAGIC = b"RSDOSTAB"
FORMAT = 1

HEADER = struct.Struct("<8sHHIII8x")
"""Magic, version, zero, rows, dictionaries, and the CRC of all other bytes."""

CHECKED = 20
"""Bytes of the header before its CRC."""

WIDE = ("suffix", "synced", "unsynced", "objects", "size", "stored", "dead_objects", "dead_size", "dead_stored")
"""The columns of 8 bytes, one after another. ``objects``, ``size`` and ``stored`` count live objects only. Then come
the ids of 4 bytes, and three columns of 1 byte: the kind, 1 if the pack is sealed, the number of its dictionaries."""

ROW = 8 * len(WIDE) + 4 + 3

DICTIONARY = struct.Struct("<32sIQQ")
"""The SHA-256 and length of a dictionary, and the offsets of its two copies."""

MOST_ROWS = 4096

MOST_DICTIONARIES = 1 << 16
"""The most dictionaries of all packs of a table together."""

MOST_LENGTH = HEADER.size + MOST_ROWS * ROW + MOST_DICTIONARIES * DICTIONARY.size
"""The most bytes of a table, 3.7 MB: a reader allocates no more for one, whatever a manifest says."""

LIMIT = 1 << 61
"""All numbers but suffixes are below this: the total of a count is the sum of two of them."""

_LAST_HIGH = LIMIT.to_bytes(8, "big")[0] - 1
_TOO_HIGH = bytes(range(_LAST_HIGH + 1, 256))

_KINDS = tuple(PackKind)


class TableEntry(NamedTuple):
    """A table, as a manifest names it: ``index/<number>.tab``, with ``count`` packs from ``first`` to ``last``.

    It has ``length`` bytes, and ``check`` is the CRC in its header. ``suffix`` is a part of its name on object storage.
    """

    number: int
    first: int
    last: int
    count: int  # type: ignore[assignment]  # a tuple's method of this name is of no use here
    length: int
    check: int
    suffix: str = ""


def entry_of(data: bytes, number: int, suffix: str = "") -> TableEntry:
    """Return how a manifest names a table of these bytes, which are whole."""
    _, _, _, count, _, crc = HEADER.unpack_from(data)
    at = HEADER.size + 8 * len(WIDE) * count
    first, last = (int.from_bytes(data[place : place + 4], "little") for place in (at, at + 4 * (count - 1)))
    return TableEntry(number, first, last, count, len(data), crc, suffix)


class PackTable:
    """One table in memory. Immutable."""

    def __init__(self, data: bytes, entry: TableEntry) -> None:
        """Verify the bytes of a table. Raise ValueError with the reason when they are not what ``entry`` names."""
        self.data = data
        self.entry = entry
        count, dictionaries = _verified_header(data, entry)
        view = memoryview(data)
        at = HEADER.size
        self._wide = [view[at + 8 * count * n : at + 8 * count * (n + 1)].cast("Q") for n in range(len(WIDE))]
        at += 8 * count * len(WIDE)
        self.ids: Sequence[int] = view[at : at + 4 * count].cast("I")
        at += 4 * count
        self._kinds, self._sealed, self._counts = (bytes(view[at + count * n : at + count * (n + 1)]) for n in range(3))
        self._dictionaries = view[at + 3 * count :]
        self._verify(sum(self._counts) == dictionaries)

    def _verify(self, is_whole: bool) -> None:
        high = b"".join(bytes(column.cast("B")[7::8]) for column in self._wide[1:])
        is_good = (
            is_whole
            and (self.ids[0], self.ids[-1]) == (self.entry.first, self.entry.last)
            and all(map(lt, self.ids, self.ids[1:]))
            and len(high.translate(None, _TOO_HIGH)) == len(high)
            and max(self._kinds) < len(_KINDS)
            and max(self._sealed) <= 1
        )
        if not is_good:
            raise ValueError(f"pack table {self.entry.number}: its numbers contradict each other")

    # One row.

    def at(self, pack_id: int) -> int | None:
        """Return the position of the row of a pack; None if there is none."""
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            if self.ids[middle] < pack_id:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.ids) and self.ids[low] == pack_id else None

    def find(self, pack_id: int) -> PackEntry | None:
        """Return the row of a pack; None if there is none."""
        at = self.at(pack_id)
        return None if at is None else self._row(at)

    def _row(self, at: int) -> PackEntry:
        return next(self._rows(at, at + 1))

    # All rows.

    def rows(self) -> Iterator[PackEntry]:
        """Yield all rows, ascending."""
        return self._rows(0, self.entry.count)

    def _rows(self, start: int, stop: int) -> Iterator[PackEntry]:
        part = slice(start, stop)
        suffix, synced, unsynced, objects, size, stored, *dead = (column[part] for column in self._wide)
        # By columns: 0.6 us for each of many rows.
        columns = (
            self.ids[part],
            map(add, synced, unsynced),
            synced,
            map(bool, self._sealed[part]),
            *(map(add, one, other) for one, other in zip((objects, size, stored), dead, strict=True)),
            *dead,
            self._dictionaries_of(start, stop),
            map(_KINDS.__getitem__, self._kinds[part]),
            map(_spelled, suffix),
        )
        return map(PackEntry._make, zip(*columns, strict=True))

    @cached_property
    def _starts(self) -> list[int]:
        """The offsets at which the dictionaries of each row begin and end."""
        return [DICTIONARY.size * number for number in accumulate(self._counts, initial=0)]

    def _dictionaries_of(self, start: int, stop: int) -> Iterator[Any]:
        if not self._dictionaries:
            return repeat((), stop - start)
        from rsdos.index.dictionaries import UNKNOWN, PackDictionary, is_in_bounds

        def of(at: int) -> tuple[PackDictionary, ...]:
            end = self._wide[1][at] + self._wide[2][at]
            part = self._dictionaries[self._starts[at] : self._starts[at + 1]]
            rows = (PackDictionary(key, length, (one, two)) for key, length, one, two in DICTIONARY.iter_unpack(part))
            return tuple(row if is_in_bounds(row, end) else UNKNOWN for row in rows)

        return map(of, range(start, stop))

    # Some of them, or what they have in common.

    def kinds(self) -> dict[int, PackKind]:
        """Return the kinds of the packs that are not plain, by their ids."""
        if not any(self._kinds):
            return {}
        return {pack_id: _KINDS[kind] for pack_id, kind in zip(self.ids, self._kinds, strict=True) if kind}

    def behind(self) -> Iterator[PackEntry]:
        """Yield the packs that may not be completely on stable storage."""
        if any(self._wide[2]):
            yield from map(self._row, compress(range(self.entry.count), self._wide[2]))

    def unsealed(self) -> Iterator[PackEntry]:
        """Yield the packs that may be appended to."""
        return (
            (self._row(at) for at, sealed in enumerate(self._sealed) if not sealed) if 0 in self._sealed else iter(())
        )

    def with_dictionaries(self) -> Iterator[PackEntry]:
        """Yield the packs that have dictionaries, from the last to the first."""
        return (self._row(at) for at in reversed(range(self.entry.count)) if self._counts[at])

    @cached_property
    def sums(self) -> Mapping[PackKind, PackSums]:
        """The sums of the packs of each kind."""
        return {_KINDS[kind]: self._sums_of(kind) for kind in set(self._kinds)}

    def _sums_of(self, kind: int) -> PackSums:
        chosen = [own == kind for own in self._kinds]
        columns = self._wide if all(chosen) else [[*compress(column, chosen)] for column in self._wide]
        _, synced, unsynced, _, _, stored, _, _, dead_stored = columns
        lengths, all_stored = [*map(add, synced, unsynced)], [*map(add, stored, dead_stored)]
        length = sum(lengths)
        if all(map(ge, lengths, all_stored)):
            overhead = length - sum(all_stored)
        else:  # The manifest contradicts itself.
            overhead = sum(max(one - other, 0) for one, other in zip(lengths, all_stored, strict=True))
        live, dead = (Counts(*map(sum, columns[at : at + 3])) for at in (3, 6))
        return PackSums(length, overhead, live + dead, dead)


def _spelled(suffix: int) -> str:
    return f"{suffix:016x}" if suffix else ""


def _verified_header(data: bytes, entry: TableEntry) -> tuple[int, int]:
    """Verify the bytes of a table. Return the numbers of its rows and dictionaries."""
    name = f"pack table {entry.number}"
    if len(data) != entry.length or len(data) < HEADER.size:
        raise ValueError(f"{name}: it has {len(data)} bytes, and not {entry.length}")
    magic, version, _, count, dictionaries, crc = HEADER.unpack_from(data)
    if (magic, version) != (MAGIC, FORMAT):
        raise ValueError(f"{name}: it does not begin as a pack table does")
    if crc != entry.check or crc != checksum_of(data):
        raise ValueError(f"{name}: its checksum does not match")
    if count != entry.count or len(data) != table_length(count, dictionaries):
        raise ValueError(f"{name}: it has other rows than the manifest says")
    return count, dictionaries


def checksum_of(data: bytes | bytearray) -> int:
    """Return the CRC of a table: of its bytes without the CRC."""
    view = memoryview(data)
    return crc32(view[CHECKED + 4 :], crc32(view[:CHECKED]))


def table_length(count: int, dictionaries: int) -> int:
    """Return the bytes of a table."""
    return HEADER.size + ROW * count + DICTIONARY.size * dictionaries

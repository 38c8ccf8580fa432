"""Index entries as columns: the only place that knows numpy's idea of a record.

A table of n entries is two arrays, which are also the two columns of a segment on disk: the first 8 key bytes as a
number (`u64`, so that they are searched as a dense array), and the rest of the record, 58 bytes.
Memory: 66 bytes an entry, nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from rsdos.hashing import join_digests
from rsdos.index.digests import (
    DIGEST,
    PREFIX,
    Digests,
    Mask,
    Positions,
    Prefixes,
    Records,
    digest_rows,
    places,
    search,
)
from rsdos.model import DIGEST_BYTES, Counts, Record, RecordFlag

RECORD = np.dtype(
    [
        ("tail", "V24"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("size", "<u8"),
        ("pack_id", "<u4"),
        ("crc", "<u4"),
        ("codec", "u1"),
        ("flags", "u1"),
    ]
)
_ROW = np.dtype(("V", RECORD.itemsize))
"""A record as mere bytes: what is copied so takes a tenth of the time."""

assert RECORD.itemsize == 58

_EXTENT = ("pack_id", "offset")

_KEY_WORD = np.uint64(32)
"""Bits from the end at which the first 4 key bytes begin in a prefix."""

Column: TypeAlias = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class Entries:
    """A table of index entries; ``sort`` gives the order that a segment has."""

    prefixes: Prefixes
    records: Records

    @classmethod
    def of(
        cls,
        digests: Sequence[bytes],
        *,
        pack_id: Column,
        offset: Column,
        length: Column,
        size: Column,
        crc: Column,
        codec: Column,
        flags: Column,
    ) -> Self:
        """Return a table made from columns; a single number is a column of equal numbers."""
        raw = np.frombuffer(join_digests(digests), DIGEST)
        table = np.empty(len(raw), RECORD)
        table["tail"] = raw["tail"]
        table["pack_id"], table["offset"], table["length"] = pack_id, offset, length
        table["size"], table["crc"], table["codec"], table["flags"] = size, crc, codec, flags
        return cls(raw["prefix"].astype(PREFIX), table)

    @classmethod
    def appended(
        cls,
        digests: Sequence[bytes],
        *,
        pack_id: int,
        start: int,
        lengths: Sequence[int],
        sizes: Sequence[int],
        crcs: Sequence[int],
        codecs: Column,
        flags: int,
    ) -> Self:
        """Return a table of objects that follow one another in a pack, from ``start`` on; `keyed` already.

        Of an ``array`` of numbers a column costs nothing, of a list 0.03 us an entry.
        """
        ends = np.cumsum(np.asarray(lengths, np.uint64), dtype=np.uint64)
        raw = np.frombuffer(join_digests(digests), DIGEST)
        table = np.empty(len(raw), RECORD)
        table["tail"], table["pack_id"] = raw["tail"], pack_id
        table["length"], table["size"] = lengths, sizes
        table["offset"] = ends - table["length"] + np.uint64(start)
        table["codec"], table["flags"] = codecs, flags
        prefixes = raw["prefix"].astype(PREFIX)
        table["crc"] = np.asarray(crcs, "<u4") ^ (prefixes >> _KEY_WORD).astype("<u4")
        return cls(prefixes, table)

    @classmethod
    def of_records(cls, records: Sequence[Record]) -> Self:
        """Return a table of a few records, in their order."""
        if not records:
            return cls.empty()
        digests, pack_id, offset, length, size, crc, codec, flags = zip(*records, strict=True)
        return cls.of(
            digests, pack_id=pack_id, offset=offset, length=length, size=size, crc=crc, codec=codec, flags=flags
        )

    @classmethod
    def empty(cls) -> Self:
        return cls(np.empty(0, PREFIX), np.empty(0, RECORD))

    @classmethod
    def joined(cls, tables: Iterable[Entries]) -> Self:
        """Return all entries of some tables."""
        tables = [table for table in tables if len(table.prefixes)]
        if len(tables) < 2:
            # As it is: entries are never changed in place. A copy of 100,000 is 6.6 MB of fresh memory, 3 ms.
            return cls(tables[0].prefixes, tables[0].records) if tables else cls.empty()
        rows = np.concatenate([table.records.view(_ROW) for table in tables])
        return cls(np.concatenate([table.prefixes for table in tables]), rows.view(RECORD))

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.prefixes)

    def entries(self) -> Entries:
        """Return this table: it can be used in the place of a segment."""
        return self

    def __len__(self) -> int:
        return len(self.prefixes)

    def take(self, at: Any) -> Entries:
        """Return the entries at some positions, in a slice, or where a mask is true."""
        if isinstance(at, slice):
            return Entries(self.prefixes[at], self.records[at])
        at = np.asarray(at)
        if at.dtype == np.bool_:
            if at.all():
                return self
            at = np.flatnonzero(at)
        at = at.astype(np.intp, copy=False)
        # Not ``records[at]``: of a structured array that takes 0.15 us an entry, and this 0.005.
        return Entries(self.prefixes.take(at), self.records.take(at))

    def sort(self) -> Entries:
        """Return the same entries sorted by key, and those of one key by (pack_id, offset)."""
        is_in_order = (self.prefixes[1:] >= self.prefixes[:-1]).all()
        table = self if is_in_order else self.take(np.argsort(self.prefixes))
        same = table.prefixes[1:] == table.prefixes[:-1]
        if same.any():
            if is_in_order:
                table = Entries(self.prefixes, self.records.copy())
            # Prefixes are shared by copies and tombstones of one key and, once in 10^9 or so, by two keys: sort those
            # rows in full. They keep their places, since what they are sorted by begins with the prefix.
            rows = np.flatnonzero(np.append(same, False) | np.append(False, same))
            run, prefixes = table.records.take(rows), table.prefixes.take(rows)
            tails = np.ascontiguousarray(run["tail"]).view(">u8").reshape(-1, 3)
            by = [np.ascontiguousarray(run["offset"]), np.ascontiguousarray(run["pack_id"]), prefixes]
            if ((prefixes[1:] == prefixes[:-1]) & (tails[1:] != tails[:-1]).any(1)).any():
                by[2:2] = [tails[:, 2], tails[:, 1], tails[:, 0]]
            # Not ``records[rows]``, see `take`: a delete of 500,000 took 2 s more.
            table.records.view(_ROW)[rows] = run.take(np.lexsort(by)).view(_ROW)
        return table

    def distinct(self) -> Mask:
        """Return a mask of the first entry of each key; the table is sorted."""
        mask = np.ones(len(self.prefixes), np.bool_)
        same = self.prefixes[1:] == self.prefixes[:-1]
        at = np.flatnonzero(same)
        if len(at):
            mask[at + 1] = self.records["tail"][at] != self.records["tail"][at + 1]
        return mask

    @property
    def different_prefixes(self) -> int:
        """How many first 8 bytes the keys have."""
        prefixes = np.sort(self.prefixes)
        return len(self.prefixes) and 1 + int(np.count_nonzero(prefixes[1:] != prefixes[:-1]))

    def is_tombstone(self) -> Mask:
        """Return a mask of the entries that kill an extent."""
        mask: Mask = (self.records["flags"] & RecordFlag.TOMBSTONE) != 0
        return mask

    def as_tombstones(self) -> Entries:
        """Return a tombstone for each entry, with its key, extent and size: it tells how much has died."""
        records = self.records.copy()
        records["flags"], records["crc"] = RecordFlag.TOMBSTONE, 0
        return Entries(self.prefixes, records)

    def differing(self, other: Entries) -> Mask:
        """Return a mask of the entries that differ from those at the same positions of a table of the same length."""
        mask: Mask = (self.prefixes != other.prefixes) | (self.records.view(_ROW) != other.records.view(_ROW))
        return mask

    def of_extents(self, other: Entries) -> Mask:
        """Return a mask of the entries whose keys and extents the other table has as well; that one is sorted."""
        if not len(other.prefixes):
            return np.zeros(len(self.prefixes), np.bool_)
        at = np.minimum(places(other.prefixes, self.prefixes), len(other.prefixes) - 1)
        mask: Mask = other.prefixes[at] == self.prefixes
        for name in _EXTENT:
            mask &= other.records[name][at] == self.records[name]
        # Few keys have more entries than one. Their numbers come from disk: one key may have all entries of a table.
        shared = np.append(other.prefixes[1:] == other.prefixes[:-1], False)
        rest = np.flatnonzero(~mask & shared[at])
        if len(rest):
            known = set(other.take(shared | np.append(False, shared[:-1])).extents())
            mask[rest] = [extent in known for extent in self.take(rest).extents()]
        return mask

    def extents(self) -> Iterator[tuple[int, ...]]:
        """Return the first 8 key bytes, the pack id and the offset of each entry."""
        return zip(self.prefixes.tolist(), *(self.records[name].tolist() for name in _EXTENT), strict=True)

    def of_packs(self, pack_ids: Sequence[int]) -> Mask:
        """Return a mask of the entries whose extents are in some packs."""
        # Not `numpy.isin`: its first call imports more of numpy, 40 ms.
        column = self.records["pack_id"]
        wanted = np.sort(np.array(pack_ids, column.dtype))
        if not len(wanted):
            return np.zeros(len(self.prefixes), np.bool_)
        mask: Mask = wanted[np.minimum(np.searchsorted(wanted, column), len(wanted) - 1)] == column
        return mask

    def of_keys(self, other: Entries) -> Mask:
        """Return a mask of the entries whose keys the other table has too."""
        if not len(other.prefixes):
            return np.zeros(len(self.prefixes), np.bool_)
        found = search(other.prefixes, other.records, self.keys())
        mask: Mask = found >= 0
        return mask

    def of_digests(self, digests: Sequence[bytes]) -> Entries:
        """Return the entries that have one of a few keys."""
        wanted = set(digests)
        return self.take([at for at, digest in enumerate(self.digests()) if digest in wanted] if wanted else [])

    def moved(self, at: Sequence[int], pack_id: int, start: int, codecs: Mapping[int, int]) -> Entries:
        """Return some entries for the place to which their bytes were copied, one after another from ``start`` on.

        ``codecs`` maps each codec that has another number there to that number.
        """
        table = self.take(np.array(at, np.intp))
        lengths = table.records["length"]
        table.records["pack_id"] = pack_id
        table.records["offset"] = np.cumsum(lengths, dtype=np.uint64) - lengths + np.uint64(start)
        if codecs:
            every = np.arange(256, dtype=np.uint8)
            every[list(codecs)] = list(codecs.values())
            table.records["codec"] = every[table.records["codec"]]
        return table

    def counts(self) -> dict[int, Counts]:
        """Return the number of entries in each pack, and their raw and stored bytes."""
        counted = {}
        for pack_id, at in self.by_pack():
            mine = self.records[at]
            size, length = (int(mine[name].sum(dtype=np.uint64)) for name in ("size", "length"))
            counted[pack_id] = Counts(len(mine), size, length)
        return counted

    def by_pack(self) -> Iterator[tuple[int, Any]]:
        """Yield the packs of the entries, ascending, each with the places of its entries: a slice, or positions."""
        pack_ids = self.records["pack_id"]
        if len(self.prefixes) and (pack_ids == pack_ids[0]).all():
            yield int(pack_ids[0]), slice(None)
        elif len(self.prefixes):
            order = np.argsort(pack_ids)  # ``np.unique`` takes seven times as long.
            ascending = pack_ids[order]
            for at in np.split(order, np.flatnonzero(ascending[1:] != ascending[:-1]) + 1):
                yield int(pack_ids[at[0]]), at

    def storage_order(self) -> Positions:
        """Return the positions in the order of (pack_id, offset)."""
        if self._is_in_storage_order:
            return np.arange(len(self.prefixes))
        pack_ids, offsets = self.records["pack_id"], np.ascontiguousarray(self.records["offset"])
        if len(self.prefixes) and (pack_ids == pack_ids[0]).all():
            return np.argsort(offsets)  # Of 100,000 5.9 ms, with the other 7.8.
        return np.lexsort((offsets, pack_ids))

    def in_storage_order(self) -> Entries:
        """Return the same entries in the order of (pack_id, offset)."""
        return self if self._is_in_storage_order else self.take(self.storage_order())

    @property
    def _is_in_storage_order(self) -> bool:
        """Whether all entries are of one pack, and in the order of their offsets."""
        pack_ids, offsets = self.records["pack_id"], self.records["offset"]
        return bool((pack_ids == pack_ids[:1]).all() and (offsets[1:] >= offsets[:-1]).all())

    def in_extent(self, pack_id: int, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Return a mask of the entries that begin from ``start`` to before ``end`` of a pack."""
        offsets = self.records["offset"]
        mask = self.records["pack_id"] == pack_id
        mask &= (offsets >= np.uint64(start)) & (offsets < np.uint64(end))
        return np.asarray(mask, np.bool_)

    def within(self, lengths: Mapping[int, int]) -> Mask:
        """Return a mask of the entries that are in one of some packs, and end within the length given for that pack."""
        column = self.records["pack_id"]
        ids = np.array(sorted(lengths), column.dtype)
        if not len(ids):
            return np.zeros(len(self.prefixes), np.bool_)
        bounds = np.array([lengths[pack_id] for pack_id in sorted(lengths)], np.uint64)
        at = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
        offsets, ends = self.records["offset"], bounds[at]
        room = ends - np.minimum(offsets, ends)
        mask: Mask = (ids[at] == column) & (offsets <= ends) & (self.records["length"] <= room)
        return mask

    def ends_before(self, end: int) -> Mask:
        """Return a mask of the entries whose extents end at ``end`` or before it."""
        offsets, lengths = self.records["offset"], self.records["length"]
        mask: Mask = (offsets <= np.uint64(end)) & (lengths <= np.uint64(end) - np.minimum(offsets, np.uint64(end)))
        return mask

    def overlapping(self) -> Mask:
        """Return a mask of the entries that begin before an earlier one of the same pack ends."""
        mask = np.zeros(len(self.prefixes), np.bool_)
        if self.follow_one_another:
            return mask
        order = self.storage_order()
        # Column by column: rows of a structured array take 0.15 us each.
        pack_ids, offsets, lengths = (self.records[name][order] for name in ("pack_id", "offset", "length"))
        ends = np.maximum.accumulate(offsets + lengths)
        mask[order[1:]] = (pack_ids[1:] == pack_ids[:-1]) & (offsets[1:] < ends[:-1]) & (lengths[1:] > 0)
        return mask

    def of_ranges(self, ranges: Mapping[int, Sequence[tuple[int, int]]]) -> Mask:
        """Return a mask of the entries that begin in one of the ranges (start, end), ascending, of their packs."""
        mask = np.zeros(len(self.prefixes), np.bool_)
        for pack_id, some in ranges.items():
            if some:
                mine = np.flatnonzero(self.records["pack_id"] == pack_id)
                bounds = np.array(some, np.uint64)
                offsets = self.records["offset"][mine]
                at = np.searchsorted(bounds[:, 0], offsets, side="right")
                inside = (at > 0) & (offsets <= bounds[np.maximum(at, 1) - 1, 1])
                mask[mine] = inside
        return mask

    def of_codecs(self, codecs: Collection[int], most: int) -> Mask:
        """Whether each entry is an object of at most ``most`` bytes, of one of the codecs and one frame."""
        records = self.records
        mask: Mask = np.isin(records["codec"], list(codecs)) & (records["size"] <= most) & (records["flags"] == 0)
        return mask

    def sampled(self, bound: int) -> Mask:
        """Return a mask of the entries whose key bytes 8 to 12, as a number, are below ``bound``."""
        words = np.ascontiguousarray(self.records["tail"]).view(">u4").reshape(-1, 6)[:, 0]
        mask: Mask = words.astype(np.uint64) < np.uint64(bound)
        return mask

    def keys(self) -> Digests:
        """Return the keys of all entries, for searching."""
        return Digests(self.prefixes, self.records["tail"])

    def digest(self, at: int) -> bytes:
        """Return the digest of one entry."""
        return self.take([at]).digests()[0]

    def digests(self) -> list[bytes]:
        """Return the digest of every entry."""
        return self.keys().to_list()

    def hex_keys(self) -> list[str]:
        """Return the key of every entry."""
        text = digest_rows(self.prefixes, self.records["tail"]).tobytes().hex()
        return [text[at : at + 2 * DIGEST_BYTES] for at in range(0, len(text), 2 * DIGEST_BYTES)]

    def __iter__(self) -> Iterator[Record]:
        names = ("pack_id", "offset", "length", "size", "crc", "codec", "flags")
        columns = [self.records[name].tolist() for name in names]
        return map(Record._make, zip(self.digests(), *columns, strict=True))

    @property
    def crcs(self) -> npt.NDArray[np.uint32]:
        """The CRC-32 of the stored bytes of each entry."""
        crcs: npt.NDArray[np.uint32] = self.records["crc"] ^ (self.prefixes >> _KEY_WORD).astype("<u4")
        return crcs

    @property
    def follow_one_another(self) -> bool:
        """Whether each entry begins where the one before it ends, in one pack."""
        offsets, lengths = self.records["offset"], self.records["length"]
        return self._is_in_storage_order and bool((offsets[1:] == offsets[:-1] + lengths[:-1]).all())

    def keyed(self) -> Entries:
        """Return the same with the first 4 key bytes mixed into each CRC. A second call takes them out again."""
        records = self.records.copy()
        records["crc"] = self.crcs
        return Entries(self.prefixes, records)

    @property
    def total(self) -> Counts:
        """The number of the entries, and their raw and stored bytes."""
        size, length = (int(self.records[name].sum(dtype=np.uint64)) for name in ("size", "length"))
        return Counts(len(self.prefixes), size, length)

    def saved(self) -> dict[int, int]:
        """Return for each codec how many bytes its entries together are shorter than raw."""
        records = self.records
        less = records["size"].astype(np.int64) - records["length"].astype(np.int64)
        present = np.flatnonzero(np.bincount(records["codec"])).tolist()
        return {codec: int(less[records["codec"] == codec].sum()) for codec in present}

    @property
    def tombstones(self) -> int:
        """How many of the entries kill an extent."""
        return int(np.count_nonzero(self.is_tombstone()))

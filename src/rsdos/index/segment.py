"""A segment: an immutable table of index entries, sorted by key, in a file of its own or inside a pack.

All numbers are little-endian and unsigned; n is the number of entries.

======  ====  ====================================================================
offset  size  what
======  ====  ====================================================================
0       8     magic ``RSDOSSEG``
8       2     version, 2
10      2     zero
12      4     block size, 65536
16      8     n
24      8     how many of the entries are tombstones
32      4     CRC-32 of the block table
36      12    zero
48      16    first 16 bytes of the SHA-256 of bytes 0 to 48
64      8 n   first 8 key bytes of each entry: their big-endian value as a number
...     58 n  the rest of each entry (below)
...     4 b   block table: CRC-32 of each 65536 bytes of the two columns together
======  ====  ====================================================================

The rest of an entry: key bytes 8 to 32 (24 bytes), offset (8), length (8), size (8), pack id (4), CRC-32 of the stored
bytes XORed with the first 4 key bytes as a big-endian number (4), codec (1: `model.Codec`), flags (1:
`model.RecordFlag`).

SHA-256 keys are uniform, so the entry of a key stands at about ``key / 2^64 * n``, within a few sqrt(n): a single
lookup bisects that window only. A block's CRC is checked when the block is first touched, so that damage never reads
as "not there". 16 GB/s for the check (isal), once per block and process.

A single lookup works on a ``memoryview``. numpy is imported by what works on many entries: it takes 90 ms, twice as
long as all else that a short command does.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left
from hashlib import sha256
from math import isqrt
from typing import TYPE_CHECKING

from rsdos import fsio
from rsdos.codecs import crc32
from rsdos.errors import DamagedContainer
from rsdos.model import Record

if TYPE_CHECKING:
    from rsdos.index.entries import Digests, Entries, Positions

HEADER_SIZE = 64
BLOCK_SIZE = 1 << 16
VERSION = 2

KEY_SPACE = 1 << 64
"""How many values the first 8 bytes of a key have."""

_MAGIC = b"RSDOSSEG"
_HEADER = struct.Struct("<8sHHIQQI12x")
_CHECKED = 48
_RECORD = struct.Struct("<24sQQQIIBB")
_RECORD_SIZE = 58
_PREFIX_SIZE = 8
_ENTRY_SIZE = _PREFIX_SIZE + _RECORD_SIZE
assert _HEADER.size == _CHECKED and _RECORD.size == _RECORD_SIZE

_READ_BELOW = 1 << 18
"""Segments shorter than this are read, not mapped: a ``pread`` of 256 KiB costs what a mapping and its faults do."""


class SegmentLayout:
    """Where the parts of a segment of ``count`` entries stand, from its beginning."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def columns(self) -> slice:
        """Both columns."""
        return slice(HEADER_SIZE, self.table)

    def prefix(self, at: int) -> int:
        """Offset of the prefix of entry ``at``."""
        return HEADER_SIZE + at * _PREFIX_SIZE

    def record(self, at: int) -> int:
        """Offset of the rest of entry ``at``."""
        return HEADER_SIZE + self.count * _PREFIX_SIZE + at * _RECORD_SIZE

    @property
    def table(self) -> int:
        """Offset of the block table."""
        return HEADER_SIZE + self.count * _ENTRY_SIZE

    @property
    def length(self) -> int:
        """Bytes in the segment."""
        return self.table + 4 * -(-self.count * _ENTRY_SIZE // BLOCK_SIZE)


def encode_segment(entries: Entries) -> bytes:
    """The bytes of a segment with these entries, which are sorted."""
    columns = entries.prefixes.tobytes() + entries.records.tobytes()
    head, table = encode_segment_ends(SegmentLayout(len(entries)), memoryview(columns), entries.tombstones)
    return b"".join((head, columns, table))


def encode_segment_ends(layout: SegmentLayout, columns: memoryview, tombstones: int) -> tuple[bytes, bytes]:
    """The header and the block table that belong around some columns."""
    blocks = [crc32(columns[at : at + BLOCK_SIZE]) for at in range(0, len(columns), BLOCK_SIZE)]
    table = struct.pack(f"<{len(blocks)}I", *blocks)
    head = _HEADER.pack(_MAGIC, VERSION, 0, BLOCK_SIZE, layout.count, tombstones, crc32(table))
    return head + sha256(head).digest()[:16], table


def check_of(head: bytes) -> int:
    """What a header says in six bytes of its hash, which covers the table of checksums and so all entries."""
    return int.from_bytes(head[_CHECKED : _CHECKED + 6], "little")


class Segment:
    """A segment opened for lookups, by any number of threads. Raises `DamagedContainer` where it is not whole."""

    def __init__(self, fd: int, path: str, offset: int = 0, length: int | None = None) -> None:
        """Of ``length`` bytes at ``offset`` of an open file (default: all of it), which may be closed afterwards."""
        self.path = path
        self.offset = offset
        status = os.fstat(fd)
        self.identity = identity(status)
        size = status.st_size
        length = size - offset if length is None else length
        if length < HEADER_SIZE or offset + length > size:
            raise DamagedContainer(path, "a segment is cut short", offset)
        self._data = _view(fd, offset, length)
        self._count, self.tombstones = self._check_header()
        layout = SegmentLayout(self.count)
        self._columns = self._data[layout.columns]
        self._prefixes = self._data[HEADER_SIZE : layout.record(0)].cast("Q")
        self._records = self._data[layout.record(0) : layout.table]
        self._table = self._data[layout.table :].cast("I")
        self._checked = bytearray(len(self._table))
        self._spread = 4 * isqrt(self.count) + 8

    @property
    def length(self) -> int:
        """Bytes in the segment."""
        return len(self._data)

    @property
    def check(self) -> int:
        """See `check_of`."""
        return check_of(bytes(self._data[:HEADER_SIZE]))

    def _check_header(self) -> tuple[int, int]:
        head = bytes(self._data[:HEADER_SIZE])
        if sha256(head[:_CHECKED]).digest()[:16] != head[_CHECKED:]:
            raise self._damage("the header of a segment is damaged")
        magic, version, _, block_size, count, tombstones, table_crc = _HEADER.unpack(head[:_CHECKED])
        if magic != _MAGIC or version != VERSION or block_size != BLOCK_SIZE:
            raise self._damage("not a segment of version 2")
        layout = SegmentLayout(count)
        if len(self._data) != layout.length:
            raise self._damage("a segment has another length than its header says")
        if crc32(self._data[layout.table :]) != table_crc:
            raise self._damage("the block table of a segment is damaged")
        return count, tombstones

    def _damage(self, reason: str) -> DamagedContainer:
        return DamagedContainer(self.path, reason, self.offset)

    def _check(self, start: int, end: int) -> None:
        """Check the blocks of the columns' bytes from ``start`` to ``end``."""
        for block in range(start // BLOCK_SIZE, (end - 1) // BLOCK_SIZE + 1):
            if not self._checked[block]:
                at = block * BLOCK_SIZE
                if crc32(self._columns[at : at + BLOCK_SIZE]) != self._table[block]:
                    raise DamagedContainer(self.path, "a block of a segment is damaged", self.offset + HEADER_SIZE + at)
                self._checked[block] = 1

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self._count

    def __len__(self) -> int:
        return self._count

    def find(self, digest: bytes) -> list[Record]:
        """All entries of one key."""
        prefix = int.from_bytes(digest[:8], "big")
        count = self.count
        guess = prefix * count >> 64
        low = max(guess - self._spread, 0)
        high = min(guess + self._spread, count)
        if low >= high:
            return []
        # As `_check` does, without the call: this is a tenth of a read.
        if 0 in self._checked[low * _PREFIX_SIZE // BLOCK_SIZE : (high * _PREFIX_SIZE - 1) // BLOCK_SIZE + 1]:
            self._check(low * _PREFIX_SIZE, high * _PREFIX_SIZE)
        prefixes = self._prefixes
        if (low and prefixes[low] >= prefix) or (high < count and prefixes[high - 1] <= prefix):
            low, high = 0, count
            self._check(0, count * _PREFIX_SIZE)
        at = bisect_left(prefixes, prefix, low, high)
        found = []
        while at < count and prefixes[at] == prefix:
            start = at * _RECORD_SIZE
            self._check(count * _PREFIX_SIZE + start, count * _PREFIX_SIZE + start + _RECORD_SIZE)
            tail, offset, length, size, pack_id, crc, codec, flags = _RECORD.unpack_from(self._records, start)
            if tail == digest[8:]:
                found.append(Record(digest, pack_id, offset, length, size, crc, codec, flags))
            at += 1
            if at < count:
                self._check(at * _PREFIX_SIZE, (at + 1) * _PREFIX_SIZE)
        return found

    def find_many(self, wanted: Digests) -> Positions:
        """For each wanted digest the position of its first entry, or -1."""
        import numpy as np

        from rsdos.index.entries import search

        if not self.count:
            return np.full(len(wanted), -1, np.intp)
        self._check(0, self.count * _PREFIX_SIZE)
        entries = self.unchecked_entries()
        return search(entries.prefixes, entries.records, wanted, self._check_records)

    def find_all_many(self, wanted: Digests) -> Entries:
        """All entries of the wanted digests, in no particular order; each once, however often it is wanted."""
        import numpy as np

        at = np.unique(self.find_many(wanted))
        at = at[at >= 0]
        entries = self.unchecked_entries()
        found = [at]
        while len(at):
            # Another copy of the same key, or a tombstone of one, stands right behind.
            at = at[at + 1 < self.count] + 1
            at = at[entries.prefixes[at] == entries.prefixes[at - 1]]
            self._check_records(at)
            at = at[entries.records["tail"][at] == entries.records["tail"][at - 1]]
            found.append(at)
        return entries.take(np.concatenate(found))

    def _check_records(self, at: Positions) -> None:
        import numpy as np

        start = self.count * _PREFIX_SIZE + at * _RECORD_SIZE
        blocks = np.concatenate((start // BLOCK_SIZE, (start + _RECORD_SIZE - 1) // BLOCK_SIZE))
        for block in np.unique(blocks).tolist():
            self._check(block * BLOCK_SIZE, block * BLOCK_SIZE + 1)

    def entries(self) -> Entries:
        """The whole table, without a copy where it is mapped."""
        if self.count:
            self._check(0, self.count * _ENTRY_SIZE)
        return self.unchecked_entries()

    def verify(self) -> None:
        """Check every block, the order of the entries, and how many of them are tombstones."""
        entries = self.entries()
        if (entries.prefixes[1:] < entries.prefixes[:-1]).any():
            raise self._damage("the entries of a segment are not sorted")
        if entries.tombstones != self.tombstones:
            raise self._damage("a segment has another number of tombstones than its header says")

    def unchecked_entries(self) -> Entries:
        """The table as it stands on disk: for entries that `find_many` has returned, and so checked."""
        import numpy as np

        from rsdos.index.entries import PREFIX, RECORD, Entries

        return Entries(np.frombuffer(self._prefixes, PREFIX), np.frombuffer(self._records, RECORD))


def identity(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from another that is put in its place, and from itself when it is changed."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _view(fd: int, offset: int, length: int) -> memoryview:
    if length < _READ_BELOW:
        data = fsio.read_at(fd, offset, length)
        return memoryview(data)
    start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    mapped = mmap.mmap(fd, offset + length - start, access=mmap.ACCESS_READ, offset=start)
    return memoryview(mapped)[offset - start :].toreadonly()

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

SHA-256 keys are uniform, so the entry of a key stands at about ``key / 2^64 * n``, within a few sqrt(n); what stands
there tells the place within a few times the fourth root of n, and a single lookup bisects that window only. A block's
CRC is checked when the block is first touched, so that damage never reads as "not there". 16 GB/s for the check (isal),
once per block and process.

Segments are mapped, but for small ones and those on other machines, which are read.

A single lookup works on a ``memoryview``. numpy is imported by what works on many entries: it takes 90 ms, twice as
long as all else that a short command does.
"""

from __future__ import annotations

import errno
import struct
from bisect import bisect_left
from hashlib import sha256
from math import isqrt
from typing import TYPE_CHECKING

from rsdos.codecs.checksum import crc32
from rsdos.errors import DamagedContainer
from rsdos.model import BytesLike, Record
from rsdos.storage.base import RandomAccess, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rsdos.index.dictionaries import PackDictionary
    from rsdos.index.entries import Digests, Entries, Positions

HEADER_SIZE = 64
BLOCK_SIZE = 1 << 16
VERSION = 2
_COMPACT = 3
"""The version of a compact table: `rsdos.index.compact`."""

_TOGETHER = BLOCK_SIZE << 7
"""Bytes that are checked before their memory is given back: 8 MiB. A table of 100 million entries has 6.6 GB."""

KEY_SPACE = 1 << 64
"""How many values the first 8 bytes of a key have."""

UNEVEN = "the keys of a segment do not spread as digests do"
_EVEN_FROM = 1 << 20
"""Entries from which on a table's keys are asked whether they spread: what is less takes 70 MB."""

MAGIC = b"RSDOSSEG"
_HEADER = struct.Struct("<8sHHIQQI12x")
_CHECKED = 48
_RECORD = struct.Struct("<24sQQQIIBB")
_RECORD_SIZE = 58
_PREFIX_SIZE = 8
_ENTRY_SIZE = _PREFIX_SIZE + _RECORD_SIZE
assert _HEADER.size == _CHECKED and _RECORD.size == _RECORD_SIZE

_read_prefix = struct.Struct(">Q").unpack_from
_make = tuple.__new__
"""What `Record` itself does in the end: 0.2 us less."""


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
    return b"".join(segment_parts(entries))


def segment_parts(entries: Entries) -> tuple[BytesLike, ...]:
    """The same in parts, which stand one after another: the columns are those of the entries, not copies."""
    import numpy as np

    columns = tuple(np.ascontiguousarray(column).view("u1").data for column in (entries.prefixes, entries.records))
    head, table = encode_segment_ends(SegmentLayout(len(entries)), columns, entries.tombstones)
    return head, *columns, table


def encode_segment_ends(layout: SegmentLayout, columns: Iterable[memoryview], tombstones: int) -> tuple[bytes, bytes]:
    """The header and the block table that belong around the columns, which are given in any number of parts."""
    blocks = []
    crc = room = 0
    for part in columns:
        at = 0
        while at < len(part):
            room = room or BLOCK_SIZE
            piece = part[at : at + room]
            crc = crc32(piece, crc)
            at, room = at + len(piece), room - len(piece)
            if not room:
                blocks.append(crc)
                crc = 0
    if room:
        blocks.append(crc)
    table = struct.pack(f"<{len(blocks)}I", *blocks)
    head = _HEADER.pack(MAGIC, VERSION, 0, BLOCK_SIZE, layout.count, tombstones, crc32(table))
    return head + sha256(head).digest()[:16], table


def check_of(head: bytes) -> int:
    """What a header says in six bytes of its hash, which covers the table of checksums and so all entries."""
    return int.from_bytes(head[_CHECKED : _CHECKED + 6], "little")


class CompactFound(DamagedContainer):
    """What is read as a segment is a compact table, which `rsdos.index.compact` reads."""


def view_of(file: RandomAccess, offset: int, length: int, *needed: tuple[int, int]) -> View:
    """Return the bytes of a table in an open file; the ``needed`` ranges are there. Raise `DamagedContainer`."""
    path = file.path
    if length < HEADER_SIZE or offset + length > file.size():
        raise DamagedContainer(path, "a segment is cut short", offset)
    try:
        view = file.view(offset, length)
        for start, end in needed:
            view.need(start, end)
    except (ValueError, OverflowError, MemoryError) as error:
        raise DamagedContainer(path, f"a segment of {length} bytes: {error}", offset) from error
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise DamagedContainer(path, f"a segment of {length} bytes: no such room", offset) from error
    return view


class Segment:
    """A segment opened for lookups, by any number of threads. Raises `DamagedContainer` where it is not whole."""

    dictionaries: tuple[PackDictionary, ...] = ()
    """Those that its batch brings into its pack: none, else the table would be compact."""
    first_dictionary = 0
    is_decoded = False
    """Whether it is in memory, decoded from a compact table."""

    def __init__(self, file: RandomAccess, offset: int = 0, length: int | None = None) -> None:
        """Of ``length`` bytes at ``offset`` of an open file (default: all of it), which may be closed afterwards."""
        self.path = file.path
        self.offset = offset
        self.version = file.version
        length = file.size() - offset if length is None else length
        # The header, and at least the block table.
        ends = (0, HEADER_SIZE), (max(length - 4 * (length // BLOCK_SIZE + 2), 0), length)
        self._source = view_of(file, offset, length, *ends)
        self._data = self._source.data
        self._count, self.tombstones = self._check_header()
        layout = SegmentLayout(self.count)
        self._columns = self._data[layout.columns]
        self._prefixes = self._data[HEADER_SIZE : layout.record(0)].cast("Q")
        self._records = self._data[layout.record(0) : layout.table]
        self._table = self._data[layout.table :].cast("I")
        self._checked = bytearray(len(self._table))
        self._unchecked = len(self._table)
        self._spread = 4 * isqrt(self.count) + 8
        self._reach = 2 * isqrt(self._spread)

    @property
    def length(self) -> int:
        """Bytes in the segment."""
        return len(self._data)

    @property
    def keeps_open(self) -> bool:
        """Whether its file is open for as long as this is."""
        return self._source.keeps_open

    @property
    def check(self) -> int:
        """See `check_of`."""
        return check_of(bytes(self._data[:HEADER_SIZE]))

    def _check_header(self) -> tuple[int, int]:
        head = bytes(self._data[:HEADER_SIZE])
        if sha256(head[:_CHECKED]).digest()[:16] != head[_CHECKED:]:
            raise self._damage("the header of a segment is damaged")
        magic, version, _, block_size, count, tombstones, table_crc = _HEADER.unpack(head[:_CHECKED])
        if magic == MAGIC and version == _COMPACT:
            raise CompactFound(self.path, "a segment in the form of a compact table", self.offset)
        if magic != MAGIC or version != VERSION or block_size != BLOCK_SIZE:
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
                self._need(HEADER_SIZE + at, HEADER_SIZE + at + BLOCK_SIZE)
                if crc32(self._columns[at : at + BLOCK_SIZE]) != self._table[block]:
                    raise DamagedContainer(self.path, "a block of a segment is damaged", self.offset + HEADER_SIZE + at)
                self._checked[block] = 1
                # Counted anew, since two threads may have found the same one.
                self._unchecked = self._checked.count(0)

    def _need(self, start: int, end: int) -> None:
        try:
            self._source.need(start, end)
        except OSError as error:
            raise self._damage(f"a segment cannot be read: {error.strerror}") from error

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self._count

    def __len__(self) -> int:
        return self._count

    def first(self, digest: bytes) -> Record | None:
        """The first entry of one key."""
        (prefix,) = _read_prefix(digest)
        count = self._count
        if not count:
            return None
        prefixes = self._prefixes
        guess = prefix * count >> 64
        if self._unchecked:
            self._check(guess * _PREFIX_SIZE, (guess + 1) * _PREFIX_SIZE)
        # What stands there says how far off it is: a bisection from here waits for memory half as often.
        guess += (prefix - prefixes[guess]) * count >> 64
        low, high = guess - self._reach, guess + self._reach
        if low < 0:  # noqa: PLR1730  min and max take 0.1 us each, of 5
            low = 0
        if high > count:  # noqa: PLR1730
            high = count
        if self._unchecked:
            self._check(low * _PREFIX_SIZE, high * _PREFIX_SIZE)
        at = bisect_left(prefixes, prefix, low, high)
        if not low < at < high:
            return next(self._entries_of(digest), None)
        if prefixes[at] != prefix:
            return None
        start = at * _RECORD_SIZE
        if self._unchecked:
            self._check(count * _PREFIX_SIZE + start, count * _PREFIX_SIZE + start + _RECORD_SIZE)
        tail, offset, length, size, pack_id, crc, codec, flags = _RECORD.unpack_from(self._records, start)
        if tail != digest[8:]:
            return next(self._entries_of(digest), None)
        return _make(Record, (digest, pack_id, offset, length, size, crc, codec, flags))

    def find(self, digest: bytes) -> list[Record]:
        """All entries of one key."""
        return list(self._entries_of(digest))

    def _entries_of(self, digest: bytes) -> Iterator[Record]:
        (prefix,) = _read_prefix(digest)
        count = self._count
        at = self._bisect(prefix)
        while at < count:
            self._check(at * _PREFIX_SIZE, (at + 1) * _PREFIX_SIZE)
            if self._prefixes[at] != prefix:
                return
            start = at * _RECORD_SIZE
            self._check(count * _PREFIX_SIZE + start, count * _PREFIX_SIZE + start + _RECORD_SIZE)
            tail, *rest = _RECORD.unpack_from(self._records, start)
            if tail == digest[8:]:
                offset, length, size, pack_id, crc, codec, flags = rest
                yield Record(digest, pack_id, offset, length, size, crc, codec, flags)
            at += 1

    def _bisect(self, prefix: int) -> int:
        """Where the first entry of a key stands, or would."""
        count = self._count
        guess = prefix * count >> 64
        low, high = max(guess - self._spread, 0), min(guess + self._spread, count)
        self._check(low * _PREFIX_SIZE, high * _PREFIX_SIZE)
        at = bisect_left(self._prefixes, prefix, low, high)
        if (at == low and low) or (at == high and high < count):
            # It may stand outside of the window, or begin there: not where uniform keys have it.
            self._check(0, count * _PREFIX_SIZE)
            at = bisect_left(self._prefixes, prefix)
        return at

    def _refuse_uneven(self) -> None:
        """Look at seven entries of a large table: of one with a hole in it nothing else is to be read.

        A file of 4 KB may be said to hold four million keys, 264 MB, all zeros. Of a million digests the n-th is at
        n / 1,000,000 of all there are, give or take 0.0005; an eighth is allowed.
        """
        if self._count >= _EVEN_FROM:
            for eighth in range(1, 8):
                at = self._count * eighth // 8
                self._check(at * _PREFIX_SIZE, (at + 1) * _PREFIX_SIZE)
                if not eighth - 1 <= self._prefixes[at] >> 61 <= eighth:
                    raise self._damage(UNEVEN)

    def find_many(self, wanted: Digests) -> Positions:
        """For each wanted digest the position of its first entry, or -1."""
        import numpy as np

        from rsdos.index.entries import search

        if not self.count:
            return np.full(len(wanted), -1, np.intp)
        self._refuse_uneven()
        self._check(0, self.count * _PREFIX_SIZE)
        entries = self.unchecked_entries()
        return search(entries.prefixes, entries.records, wanted, self._check_records)

    def find_all_many(self, wanted: Digests) -> Entries:
        """All entries of the wanted digests, in no particular order; each once, however often it is wanted."""
        import numpy as np

        # Not ``np.unique``: it takes 0.18 us each, and this 0.04.
        at = np.sort(self.find_many(wanted))
        at = at[np.diff(at, prepend=-1) > 0]
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
        is_touched = np.zeros(self.count * _ENTRY_SIZE // BLOCK_SIZE + 1, np.bool_)
        is_touched[start // BLOCK_SIZE] = True
        is_touched[(start + _RECORD_SIZE - 1) // BLOCK_SIZE] = True
        for block in np.flatnonzero(is_touched).tolist():
            self._check(block * BLOCK_SIZE, block * BLOCK_SIZE + 1)

    def entries(self) -> Entries:
        """The whole table, without a copy where it is mapped."""
        self._refuse_uneven()
        end = self.count * _ENTRY_SIZE
        for at in range(0, end if self._unchecked else 0, _TOGETHER):
            self._check(at, min(at + _TOGETHER, end))
            self._source.let_go(HEADER_SIZE + at, HEADER_SIZE + at + _TOGETHER)
        return self.unchecked_entries()

    def let_go(self, start: int, end: int) -> None:
        """Give back the memory of the entries from ``start`` to before ``end``, where they are mapped."""
        layout = SegmentLayout(self._count)
        self._source.let_go(layout.prefix(start), layout.prefix(end))
        self._source.let_go(layout.record(start), layout.record(end))

    def verify(self) -> Entries:
        """Check every block, the order of the entries, and how many of them are tombstones; return the entries."""
        entries = self.entries()
        if (entries.prefixes[1:] < entries.prefixes[:-1]).any():
            raise self._damage("the entries of a segment are not sorted")
        if entries.tombstones != self.tombstones:
            raise self._damage("a segment has another number of tombstones than its header says")
        return entries

    def unchecked_entries(self) -> Entries:
        """The table as it stands on disk: for entries that `find_many` has returned, and so checked."""
        import numpy as np

        from rsdos.index.entries import PREFIX, RECORD, Entries

        return Entries(np.frombuffer(self._prefixes, PREFIX), np.frombuffer(self._records, RECORD))

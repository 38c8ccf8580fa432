"""The bytes of a segment: where its parts are, and how they are made.

All numbers are little-endian and unsigned; n is the number of entries. There are two forms.

A plain segment is a table in a pack, or a small file:

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

A fenced segment, a file of `FENCED_FROM` entries or more, is read by one request a lookup (`rsdos.index.fenced`):

======  ====  ====================================================================
offset  size  what
======  ====  ====================================================================
0       8     magic ``RSDOSSEG``
8       2     version, 4
10      2     zero
12      4     block size, 16384
16      8     n
24      8     how many of the entries are tombstones
32      4     CRC-32 of the block table, the fences and the zeros behind them
36      4     CRC-32 of the filter
40      8     zero
48      16    first 16 bytes of the SHA-256 of bytes 0 to 48
64      4032  zeros
4096    8 n   first 8 key bytes of each entry
...     58 n  the rest of each entry
...     4 b   block table: CRC-32 of each 16384 bytes of the two columns together
...     8 f   fences: the first 8 key bytes of each 256th entry, from the first on
...           zeros up to a multiple of 512
...     512 m filter (`rsdos.index.key_filter`); m is 10 n / 4096, rounded down
======  ====  ====================================================================

The rest of an entry: key bytes 8 to 32 (24 bytes), offset (8), length (8), size (8), pack id (4), CRC-32 of the stored
bytes XORed with the first 4 key bytes as a big-endian number (4), codec (1: `model.Codec`), flags (1:
`model.RecordFlag`).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from rsdos.codecs.checksum import crc32
from rsdos.model import BytesLike

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rsdos.index.entries import Entries

MAGIC = b"RSDOSSEG"
HEADER_SIZE = 64
BLOCK_SIZE = 1 << 16
VERSION = 2

FENCED_BLOCK = 1 << 14
"""The entries between two fences, 14.5 KiB, are in two blocks at most: a lookup reads 32 KiB, and no more."""

FENCED_VERSION = 4
COMPACT_VERSION = 3
"""The version of a compact table: `rsdos.index.compact`."""

FENCED_FROM = 1 << 12
"""Entries of a file from which on it is fenced: 270 KB. A smaller file is in memory whole once it is open."""

FENCE = 1 << 8
"""Entries from one fence to the next."""

FILTER_BITS = 10
"""Bits of the filter for each entry."""

FILTER_BLOCK = 512
"""Bytes of a block of the filter: the bits of one key are in one block."""

PREFIX_SIZE = 8
RECORD_SIZE = 58
ENTRY_SIZE = PREFIX_SIZE + RECORD_SIZE
CHECKED = 48
"""Bytes of the header that its hash covers."""

HEADER = struct.Struct("<8sHHIQQII8x")
RECORD = struct.Struct("<24sQQQIIBB")
assert HEADER.size == CHECKED and RECORD.size == RECORD_SIZE

_COLUMNS_OF_FENCED = 4096


class SegmentLayout:
    """Where the parts of a segment of ``count`` entries are, from its beginning. All are offsets in bytes."""

    version = VERSION
    block_size = BLOCK_SIZE
    start = HEADER_SIZE
    """The offset of the columns: of the prefix of the first entry."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.records = self.start + count * PREFIX_SIZE
        """The offset of the rest of the first entry."""
        self.table = self.start + count * ENTRY_SIZE
        """The offset of the block table, and the end of the columns."""
        self.table_end = self.table + 4 * -(-count * ENTRY_SIZE // self.block_size)
        self.tail_end = self.table_end
        """The end of the bytes that the checksum in the header covers: the block table, and the fences."""
        self.length = self.tail_end

    def prefix(self, at: int) -> int:
        """Return the offset of the prefix of entry ``at``."""
        return self.start + at * PREFIX_SIZE

    def record(self, at: int) -> int:
        """Return the offset of the rest of entry ``at``."""
        return self.records + at * RECORD_SIZE


class FencedLayout(SegmentLayout):
    """The layout of a fenced segment: after the block table come the fences, and then the filter."""

    version = FENCED_VERSION
    block_size = FENCED_BLOCK
    start = _COLUMNS_OF_FENCED

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.fences_end = self.table_end + PREFIX_SIZE * -(-count // FENCE)
        self.filter = self.tail_end = -(-self.fences_end // FILTER_BLOCK) * FILTER_BLOCK
        self.filter_blocks = count * FILTER_BITS // (8 * FILTER_BLOCK)
        self.length = self.filter + self.filter_blocks * FILTER_BLOCK


def file_length(count: int) -> int:
    """Return the bytes of a segment file of so many entries."""
    return (FencedLayout if count >= FENCED_FROM else SegmentLayout)(count).length


def layout_of(length: int) -> FencedLayout | None:
    """Return the layout of a fenced file of so many bytes, as far as these tell; None where no such file has them."""
    count = bisect_left(range(length // ENTRY_SIZE), length, key=lambda count: FencedLayout(count).length)
    layout = FencedLayout(count)
    return layout if layout.length == length else None


class SegmentHeader(NamedTuple):
    """The fields in the header of a segment of any version."""

    magic: bytes
    version: int
    zero: int
    block_size: int
    entries: int
    tombstones: int
    table_crc: int
    filter_crc: int

    def encode(self) -> bytes:
        """Return the bytes of the header."""
        head = HEADER.pack(*self)
        return head + sha256(head).digest()[:16]


def decode_header(head: bytes) -> SegmentHeader | None:
    """Return the fields of a header; None if its hash does not match."""
    if sha256(head[:CHECKED]).digest()[:16] != head[CHECKED:]:
        return None
    return SegmentHeader(*HEADER.unpack(head[:CHECKED]))


def version_of(data: memoryview) -> int:
    """Return the version in the header of a segment. Nothing is checked."""
    return int.from_bytes(data[8:10], "little")


def check_of(head: bytes) -> int:
    """Return six bytes of the hash in a header as a number. It covers the block checksums, and so all entries."""
    return int.from_bytes(head[CHECKED : CHECKED + 6], "little")


def encode_segment(entries: Entries) -> bytes:
    """Return the bytes of a plain segment with these entries, which are sorted."""
    return b"".join(segment_parts(entries, entries.tombstones))


def segment_parts(entries: Entries, tombstones: int) -> tuple[BytesLike, ...]:
    """Return the same in parts that follow one another. The columns are those of the entries, not copies.

    So many of the entries are ``tombstones``.
    """
    columns, layout = column_bytes(entries), SegmentLayout(len(entries.prefixes))
    head, table = plain_ends(layout, block_table(columns, layout.block_size), tombstones)
    return head, *columns, table


def column_bytes(entries: Entries) -> tuple[memoryview, memoryview]:
    """Return the columns of some entries as bytes, not copied."""
    import numpy as np

    prefixes, records = (np.ascontiguousarray(column).view("u1").data for column in (entries.prefixes, entries.records))
    return prefixes, records


def plain_ends(layout: SegmentLayout, table: bytes, tombstones: int) -> tuple[bytes, bytes]:
    """Return the header and the block table of a plain segment, which come before and after the columns."""
    header = SegmentHeader(MAGIC, VERSION, 0, layout.block_size, layout.count, tombstones, crc32(table), 0)
    return header.encode(), table


def block_table(columns: Iterable[memoryview], block_size: int) -> bytes:
    """Return the CRC-32 of each block of the columns."""
    blocks = []
    crc = room = 0
    for part in columns:
        at = 0
        while at < len(part):
            room = room or block_size
            piece = part[at : at + room]
            crc = crc32(piece, crc)
            at, room = at + len(piece), room - len(piece)
            if not room:
                blocks.append(crc)
                crc = 0
    if room:
        blocks.append(crc)
    return struct.pack(f"<{len(blocks)}I", *blocks)

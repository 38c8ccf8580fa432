"""The compact table: the contents of a batch in its pack, in little space. It is read whole, and never searched.

A batch of `COMPACT_FROM` entries or more, or one that brings dictionaries into its pack, ends with a compact table.
Lookups find the same entries in a segment file (`rsdos.index.segment`). The table is for operations that read packs
alone: a rebuild, a repack, a check. All numbers are little-endian and unsigned; n is the number of entries.

======  ====  ====================================================================
offset  size  what
======  ====  ====================================================================
0       8     magic ``RSDOSSEG``
8       2     version, 3
10      2     zero
12      4     z, the length of the zlib stream
16      8     n
24      8     how many of the entries are tombstones
32      4     CRC-32 of all that follows this header
36      4     d, how many dictionaries the batch brings into its pack
40      4     the number of the first of them in the pack
44      4     zero
48      16    first 16 bytes of the SHA-256 of bytes 0 to 48
64      32 n  the keys, in storage order: by (pack id, offset)
...     4 n   CRC-32 of the stored bytes of each, XORed with the first 4 key bytes as a big-endian number
...     z     a zlib stream of the other columns (below), 30 n bytes
...     56 d  of each dictionary: SHA-256 (32), length (8), the offsets of its two copies (8 each)
======  ====  ====================================================================

The columns of the stream, one after another: gap (8 bytes an entry), length (8), size (8), pack id (4), codec (1),
flags (1). The gap is the offset of an entry minus the end of the entry before it, modulo 2^64: 0 if they follow one
another. Each column has the first bytes of all entries, then the second bytes of all, and so on: most are zeros.

An entry takes about 38 bytes, of which 32 are its key. numpy is imported only where a table is encoded or decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from rsdos.codecs.checksum import crc32
from rsdos.errors import DamagedContainer, DecodeError
from rsdos.index.dictionaries import MOST_DICTIONARIES, PackDictionary, is_in_bounds
from rsdos.index.segment import UNEVEN, CompactFound, Segment, view_of
from rsdos.index.segment_layout import COMPACT_VERSION, HEADER_SIZE, MAGIC, encode_segment
from rsdos.index.table_bytes import OwnTable, TableBytes
from rsdos.model import DIGEST_BYTES, BytesLike
from rsdos.storage.base import Version
from rsdos.storage.opened import RandomAccess, View

if TYPE_CHECKING:
    from rsdos.index.entries import Entries

COMPACT_FROM = 8192
"""Entries of a batch from which on its table is compact. The entries of a smaller batch are looked up in the pack
itself: one more segment file costs a commit 0.5 ms, 10 % of a commit of 2,000 objects."""

MOST_ENTRIES = 1 << 19
"""The most entries of a table: twice those of the largest batch that is written. Decoding so many takes 100 MB."""

_COPIES = 16
_COPIES_FROM = 1024
"""A table of this many entries or more has at most `_COPIES` entries for each key. A hole in a sparse file, with keys
that are all the same, would ask for much memory and take a few bytes of the disk."""

_LEVEL = 1
_HEADER = struct.Struct("<8sHHIQQIII4x")
_DICTIONARY = struct.Struct("<32sQQQ")
_CHECKED = 48
_CRC_BYTES = 4
_SHUFFLED_BYTES = 30
assert _HEADER.size == _CHECKED


def compact_parts(entries: Entries, dictionaries: Sequence[PackDictionary] = (), first: int = 0) -> list[BytesLike]:
    """Return the table of some entries, in any order, as parts that follow one another.

    ``dictionaries`` are those that the batch brings into its pack. ``first`` is the number of the first of these.
    """
    from rsdos.codecs.deflate import compress
    from rsdos.index.columns import columns_of

    columns = columns_of(entries)
    stream = compress(columns.shuffled, _LEVEL)
    rows = (_DICTIONARY.pack(one.digest, one.length, *one.offsets) for one in dictionaries)
    parts: list[BytesLike] = [columns.keys, columns.crcs, stream, *rows]
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    counts = len(entries), entries.tombstones, crc, len(dictionaries), first
    head = _HEADER.pack(MAGIC, COMPACT_VERSION, 0, len(stream), *counts)
    return [head + sha256(head).digest()[:16], *parts]


class CompactTable:
    """A compact table in a pack: all of its bytes are checked when it is made. Any number of threads.

    Raises `DamagedContainer` where it is not whole.
    """

    def __init__(self, file: RandomAccess, offset: int, length: int, view: View | None = None) -> None:
        """Read ``length`` bytes at ``offset`` of an open pack, which may be closed afterwards.

        ``view`` is a view of these bytes, if there is one.
        """
        self.path = file.path
        self.offset = offset
        self.length = length
        self._version = file.version
        source = view or view_of(file, offset, length, (0, length))
        self._data = source.data
        self._mapped = None if source.keeps_open else source
        """The view, unless it keeps the pack open: of a thousand tables that would be a thousand files."""
        head = bytes(self._data[:HEADER_SIZE])
        fields = head[:_CHECKED]
        if sha256(fields).digest()[:16] != head[_CHECKED:]:
            raise self._damage("the header of a table is damaged")
        magic, version, _, stream, count, tombstones, crc, brought, first = _HEADER.unpack(fields)
        if magic != MAGIC or version != COMPACT_VERSION or count > MOST_ENTRIES:
            raise self._damage(f"not a table of version 3, of up to {MOST_ENTRIES} entries")
        self.count: int = count
        """The number of entries."""
        self.tombstones: int = tombstones
        self._keys = HEADER_SIZE + DIGEST_BYTES * count
        self._crcs = self._keys + _CRC_BYTES * count
        self._stream = self._crcs + stream
        if length != self._stream + _DICTIONARY.size * brought:
            raise self._damage("a table has another length than its header says")
        if crc32(self._data[HEADER_SIZE:]) != crc:
            raise self._damage("a table is damaged")
        self.dictionaries = self._dictionaries()
        """The dictionaries that the batch brings into its pack."""
        self.first_dictionary: int = first
        """The number in the pack of the first of these."""
        if brought and first + brought > MOST_DICTIONARIES:
            raise self._damage(f"a table names more than {MOST_DICTIONARIES} dictionaries of a pack")

    def _damage(self, reason: str) -> DamagedContainer:
        return DamagedContainer(self.path, reason, self.offset)

    def _dictionaries(self) -> tuple[PackDictionary, ...]:
        rows = _DICTIONARY.iter_unpack(self._data[self._stream :])
        found = tuple(PackDictionary(digest, length, (one, two)) for digest, length, one, two in rows)
        if not all(is_in_bounds(dictionary, self.offset) for dictionary in found):
            raise self._damage("a table names a dictionary that is not in its pack")
        return found

    def __len__(self) -> int:
        return self.count

    def entries(self) -> Entries:
        """Decode the entries, and sort them as in a segment. Memory: 66 bytes an entry, three times that while it runs.

        Raise `DamagedContainer`.
        """
        return self._decoded().sort()

    def _decoded(self) -> Entries:
        from rsdos.codecs.deflate import decompress_many
        from rsdos.index.columns import Columns, entries_of

        data = self._data
        try:
            (shuffled,) = decompress_many([data[self._crcs : self._stream]], [_SHUFFLED_BYTES * self.count])
        except DecodeError as error:
            raise self._damage(f"a table does not decode: {error}") from error
        entries = entries_of(Columns(data[HEADER_SIZE : self._keys], data[self._keys : self._crcs], shuffled))
        if self._mapped:
            self._mapped.let_go(0, self.length)
        if self.count > _COPIES * max(entries.different_prefixes, _COPIES_FROM // _COPIES):
            raise self._damage(UNEVEN)
        return entries

    def verify(self) -> Entries:
        """Decode the entries, and count the tombstones. Raise `DamagedContainer`."""
        return self.verify_as_stored().sort()

    def verify_as_stored(self) -> Entries:
        """Do `verify`, but leave the entries in the table's own order: that of their extents, unless it is forged."""
        entries = self._decoded()
        if entries.tombstones != self.tombstones:
            raise self._damage("a table has another number of tombstones than its header says")
        return entries

    def as_segment(self) -> DecodedTable:
        """Return the entries as a segment in memory, for lookups: 66 bytes for each. Raise `DamagedContainer`."""
        return DecodedTable(self.path, self._version, encode_segment(self.entries()))


class DecodedTable(OwnTable):
    """A compact table in memory, in the form of a segment."""

    is_decoded = True

    def __init__(self, path: str, version: Version, data: bytes) -> None:
        super().__init__(TableBytes(path, version, data))


def open_table(file: RandomAccess, offset: int, length: int) -> Segment | CompactTable:
    """Open the table of contents of a batch, in either form. Raise `DamagedContainer`."""
    try:
        return Segment(file, offset, length)
    except CompactFound:
        return CompactTable(file, offset, length)

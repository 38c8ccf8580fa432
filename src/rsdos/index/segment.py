"""A segment: an immutable table of index entries, sorted by key, in a file of its own or inside a pack.

`rsdos.index.segment_layout` has its bytes. A large file is a `rsdos.index.fenced.FencedSegment`.

SHA-256 keys are uniform, so the entry of a key is at about ``key / 2^64 * n``, within a few sqrt(n). The entry there
tells the place within a few times the fourth root of n. A single lookup bisects only that window. A block's CRC is
checked when the block is first read, so damage never looks like "not there". The check runs at 16 GB/s (isal), once per
block and process.

Segments are mapped, except small ones and those on other machines, which are read.

A single lookup works on a ``memoryview``. numpy is imported only for work on many entries: importing it takes 90 ms,
twice as long as everything else that a short command does.
"""

from __future__ import annotations

import errno
import struct
from bisect import bisect_left
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING

from rsdos.codecs.checksum import crc32
from rsdos.errors import DamagedContainer
from rsdos.index.segment_layout import (
    COMPACT_VERSION,
    ENTRY_SIZE,
    HEADER_SIZE,
    MAGIC,
    PREFIX_SIZE,
    RECORD,
    RECORD_SIZE,
    SegmentHeader,
    SegmentLayout,
    check_of,
    decode_header,
)
from rsdos.model import Record
from rsdos.storage.base import says_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from rsdos.index.dictionaries import PackDictionary
    from rsdos.index.digests import Digests, Positions
    from rsdos.index.entries import Entries
    from rsdos.model import BytesLike
    from rsdos.storage.opened import RandomAccess, View

    _T = TypeVar("_T")

_TOGETHER = 8 << 20
"""Bytes that are read and checked together before their memory is given back. 100 million entries have 6.6 GB."""

KEY_SPACE = 1 << 64
"""The number of values of the first 8 bytes of a key."""

UNEVEN = "the keys of a segment are not those of digests"
EVEN_FROM = 1 << 20
"""Entries from which on a table is checked for different keys. A smaller table takes at most 70 MB."""

read_prefix = struct.Struct(">Q").unpack_from
make = tuple.__new__
"""Makes a `Record`, 0.2 us faster than a call of the class."""

VERIFIED = 1 << 18
"""Entries whose order is checked together: 17 MB."""


class CompactFound(DamagedContainer):
    """The bytes are not a segment but a compact table, which `rsdos.index.compact` reads."""


def view_of(file: RandomAccess, offset: int, length: int, *needed: tuple[int, int]) -> View:
    """Return the bytes of a table in an open file. The ``needed`` ranges are read. Raise `DamagedContainer`."""
    path = file.path
    if length < HEADER_SIZE or offset + length > file.size():
        raise DamagedContainer(path, "a segment is cut short", offset)
    try:
        view = file.view(offset, length)
        for start, end in needed:
            view.need(start, end)
    except (ValueError, OverflowError) as error:
        raise DamagedContainer(path, f"a segment of {length} bytes: {error}", offset) from error
    except MemoryError as error:
        raise OSError(errno.ENOMEM, f"no room for a segment of {length} bytes", path) from error
    except OSError as error:
        if error.errno != errno.EIO or isinstance(error, DamagedContainer):
            raise
        raise DamagedContainer(path, f"a segment cannot be read: {error.strerror or error}", offset) from error
    return view


class Segment:
    """A segment opened for lookups, by any number of threads. Raises `DamagedContainer` where it is not whole."""

    dictionaries: tuple[PackDictionary, ...] = ()
    """The dictionaries that its batch brings into its pack: none, otherwise the table would be compact."""
    first_dictionary = 0
    is_decoded = False
    """Whether it is in memory, decoded from a compact table."""

    _is_own = False
    """Whether this process has made its bytes: they are not checked again."""

    _form = SegmentLayout

    def __init__(
        self, file: RandomAccess, offset: int = 0, length: int | None = None, view: View | None = None
    ) -> None:
        """Read ``length`` bytes at ``offset`` of an open file (default: all of it), which may be closed afterwards.

        ``view`` is a view of these bytes, if there is one. The header in it was read.
        """
        self.path = file.path
        self.offset = offset
        self.version = file.version
        if view is None:
            view = view_of(file, offset, file.size() - offset if length is None else length, (0, HEADER_SIZE))
        self._source = view
        self._data = view.data
        header = self._read_header()
        self.count = header.entries
        """The number of entries."""
        self.length = len(self._data)
        """The bytes of the segment."""
        self.tombstones = header.tombstones
        self._filter_crc = header.filter_crc
        layout = self._layout = self._form(header.entries)
        if self.length != layout.length:
            raise self._damage("a segment has another length than its header says")
        self._need(layout.table, layout.tail_end)
        if crc32(self._data[layout.table : layout.tail_end]) != header.table_crc:
            raise self._damage("the block table of a segment is damaged")
        self._columns = self._data[layout.start : layout.table]
        self._prefixes = self._data[layout.start : layout.records].cast("Q")
        self._records = self._data[layout.records : layout.table]
        self._table = self._data[layout.table : layout.table_end].cast("I")
        self._checked = bytearray(b"\1" if self._is_own else b"\0") * len(self._table)
        self._unchecked = self._checked.count(0)
        self._is_at_hand = not self._unchecked
        """Whether a lookup can read the entries without checking blocks first."""
        self._entries: Entries | None = None
        """The columns as arrays, once they were asked for."""
        self._spread = 4 * isqrt(self.count) + 8
        self._reach = 2 * isqrt(self._spread)

    @property
    def keeps_open(self) -> bool:
        """Whether its file stays open for as long as this object."""
        return self._source.keeps_open

    @property
    def check(self) -> int:
        """See `check_of`."""
        return check_of(bytes(self._data[:HEADER_SIZE]))

    def _read_header(self) -> SegmentHeader:
        header = decode_header(bytes(self._data[:HEADER_SIZE]))
        if header is None:
            raise self._damage("the header of a segment is damaged")
        if (header.magic, header.version) == (MAGIC, COMPACT_VERSION):
            raise CompactFound(self.path, "a segment in the form of a compact table", self.offset)
        if (header.magic, header.version, header.block_size) != (MAGIC, self._form.version, self._form.block_size):
            raise self._damage(f"not a segment of version {self._form.version}")
        return header

    def _damage(self, reason: str) -> DamagedContainer:
        return DamagedContainer(self.path, reason, self.offset)

    def _check(self, start: int, end: int) -> None:
        """Check the blocks of the columns' bytes from ``start`` to ``end``; neighbours are read together."""
        size = self._form.block_size
        last = (end - 1) // size + 1
        block = self._checked.find(0, start // size, last)
        while block >= 0:
            until = self._checked.find(1, block, min(last, block + _TOGETHER // size))
            until = until if until >= 0 else min(last, block + _TOGETHER // size)
            self._check_blocks(block, until)
            block = self._checked.find(0, until, last)

    def _check_blocks(self, first: int, last: int) -> None:
        size, begin = self._form.block_size, self._layout.start
        self._need(begin + first * size, min(begin + last * size, self._layout.table))
        for block in range(first, last):
            self._check_block(block, self._columns[block * size : (block + 1) * size])
        if self._unchecked <= 0:
            self._count_checked()

    def _check_block(self, block: int, data: BytesLike) -> None:
        if crc32(data) != self._table[block]:
            at = self.offset + self._layout.start + block * self._form.block_size
            raise DamagedContainer(self.path, "a block of a segment is damaged", at)
        self._checked[block] = 1
        self._unchecked -= 1

    def _count_checked(self) -> None:
        """Count the unchecked blocks anew: two threads may have checked the same block."""
        self._unchecked = self._checked.count(0)
        self._is_at_hand = not self._unchecked

    def _need(self, start: int, end: int) -> None:
        self._read(self._source.need, start, end)

    def _copy(self, start: int, end: int) -> bytes:
        return self._read(self._source.copy, start, end)

    def _read(self, read: Callable[[int, int], _T], start: int, end: int) -> _T:
        try:
            return read(start, end)
        except OSError as error:
            if says_nothing(error):
                raise
            raise self._damage(f"a segment cannot be read: {error.strerror}") from error

    def first(self, digest: bytes) -> Record | None:
        """Return the first entry of one key."""
        if not self._is_at_hand:
            return self._first_checked(digest)
        (prefix,) = read_prefix(digest)
        count = self.count
        if not count:
            return None
        prefixes = self._prefixes
        guess = prefix * count >> 64
        # The entry there tells how far off the guess is. A bisection around it waits for memory half as often.
        guess += (prefix - prefixes[guess]) * count >> 64
        low, high = guess - self._reach, guess + self._reach
        if low < 0:  # noqa: PLR1730  min and max take 0.1 us each, of 5
            low = 0
        if high > count:  # noqa: PLR1730
            high = count
        at = bisect_left(prefixes, prefix, low, high)
        if not low < at < high:
            return next(self._entries_of(digest), None)
        if prefixes[at] != prefix:
            return None
        tail, offset, length, size, pack_id, crc, codec, flags = RECORD.unpack_from(self._records, at * RECORD_SIZE)
        if tail != digest[8:]:
            return next(self._entries_of(digest), None)
        return make(Record, (digest, pack_id, offset, length, size, crc, codec, flags))

    def first_of_several(self, digest: bytes) -> Record | None:
        """Do `first` when several segments are searched for the key: most of them do not have it."""
        return self.first(digest)

    def wait(self) -> None:
        """From now on read for each lookup: the index is larger than memory. A plain segment is small: do nothing."""

    def _first_checked(self, digest: bytes) -> Record | None:
        """Do `first` as long as not all blocks are checked."""
        return next(self._entries_of(digest), None)

    def find(self, digest: bytes) -> list[Record]:
        """Return all entries of one key."""
        return list(self._entries_of(digest))

    def _entries_of(self, digest: bytes) -> Iterator[Record]:
        (prefix,) = read_prefix(digest)
        count = self.count
        at = self._bisect(prefix)
        while at < count:
            self._check(at * PREFIX_SIZE, (at + 1) * PREFIX_SIZE)
            if self._prefixes[at] != prefix:
                return
            start = at * RECORD_SIZE
            self._check(count * PREFIX_SIZE + start, count * PREFIX_SIZE + start + RECORD_SIZE)
            tail, *rest = RECORD.unpack_from(self._records, start)
            if tail == digest[8:]:
                offset, length, size, pack_id, crc, codec, flags = rest
                yield Record(digest, pack_id, offset, length, size, crc, codec, flags)
            at += 1

    def _bisect(self, prefix: int) -> int:
        """Return where the first entry of a key is, or would be."""
        count = self.count
        guess = prefix * count >> 64
        low, high = max(guess - self._spread, 0), min(guess + self._spread, count)
        self._check(low * PREFIX_SIZE, high * PREFIX_SIZE)
        at = bisect_left(self._prefixes, prefix, low, high)
        if (at == low and low) or (at == high and high < count):
            # The first entry may be outside of the window: the keys are not uniform here.
            self._check(0, count * PREFIX_SIZE)
            at = bisect_left(self._prefixes, prefix)
        return at

    def _refuse_uneven(self) -> None:
        """Check seven keys of a large table, so that no more is read of a table that is a hole in a sparse file.

        A file of 4 KB on disk may claim four million keys, 264 MB of zeros. Keys need not spread as digests do: those
        that were deleted in the order of a listing are in a part of the key space. But they ascend.
        """
        if self.count >= EVEN_FROM:
            some = [self._prefix_near(self.count * eighth // 8) for eighth in range(1, 8)]
            if not all(low < high for low, high in pairwise(some)):
                raise self._damage(UNEVEN)

    def _prefix_near(self, at: int) -> int:
        self._check(at * PREFIX_SIZE, (at + 1) * PREFIX_SIZE)
        return self._prefixes[at]

    def passing(self, wanted: Digests) -> Positions | None:
        """Return the positions of the wanted digests that a filter lets pass; None for all of them."""
        return None

    def passing_of_large(self, wanted: Digests) -> Positions | None:
        """Do `passing` in a large index: leave out more, if that is possible without mapping the entries."""
        return self.passing(wanted)

    def find_many(self, wanted: Digests) -> Positions:
        """Return for each wanted digest the position of its first entry, or -1."""
        return self.find_unfiltered(wanted)

    def find_unfiltered(self, wanted: Digests) -> Positions:
        """Do `find_many` without the filter: it was asked before."""
        import numpy as np

        if not self.count:
            return np.full(len(wanted.prefixes), -1, np.intp)
        self._refuse_uneven()
        return self._search(wanted)

    def _search(self, wanted: Digests) -> Positions:
        """Do `find_many` in a table that is not empty."""
        from rsdos.index.digests import search

        if not self._is_at_hand:
            self._check(0, self.count * PREFIX_SIZE)
        entries = self.unchecked_entries()
        return search(entries.prefixes, entries.records, wanted, None if self._is_at_hand else self._check_records)

    def find_all_many(self, wanted: Digests) -> Entries:
        """Return all entries of the wanted digests, each once, in no particular order."""
        import numpy as np

        entries = self.unchecked_entries()
        # Not ``np.unique``: it takes 0.18 us each, and this 0.04.
        at = np.sort(self.find_many(wanted))
        at = at[np.diff(at, prepend=-1) > 0]
        found = [at]
        while len(at):
            # Another copy of the same key, or a tombstone of one, follows immediately.
            at = at[at + 1 < self.count] + 1
            if not self._is_at_hand:
                self._check_each(at * PREFIX_SIZE, PREFIX_SIZE)
            at = at[entries.prefixes[at] == entries.prefixes[at - 1]]
            if not self._is_at_hand:
                self._check_records(at)
            at = at[entries.records["tail"][at] == entries.records["tail"][at - 1]]
            found.append(at)
        return entries.take(np.concatenate(found))

    def _check_records(self, at: Positions) -> None:
        self._check_each(self.count * PREFIX_SIZE + at * RECORD_SIZE, RECORD_SIZE)

    def _check_each(self, starts: Positions, length: int) -> None:
        """Check the blocks of the ``length`` bytes from each of the ``starts`` on."""
        if not self._is_at_hand:
            blocks = self._unchecked_blocks(starts, length)
            self._announce(blocks)
            for block in blocks:
                if not self._checked[block]:
                    self._check_blocks(block, block + 1)

    def _unchecked_blocks(self, starts: Positions, length: int) -> Sequence[int]:
        """Return the unchecked blocks of the ``length`` bytes from each of the ``starts`` on, ascending."""
        import numpy as np

        size = self._form.block_size
        # Not a mask of all blocks: of 30 million entries there are 125,000, and most lookups touch a hundred.
        blocks = np.concatenate((starts // size, (starts + (length - 1)) // size))
        blocks = blocks[np.frombuffer(self._checked, np.uint8)[blocks] == 0]
        return np.unique(blocks).tolist() if len(blocks) else ()

    def _announce(self, blocks: Sequence[int]) -> None:
        """Let the system begin to read some blocks."""
        size, begin = self._form.block_size, self._layout.start
        for block in blocks:
            self._source.will_need(begin + block * size, min(begin + (block + 1) * size, self._layout.table))

    def entries(self) -> Entries:
        """Return the whole table, without a copy if it is mapped."""
        self.check_all()
        return self.unchecked_entries()

    def check_all(self) -> None:
        """Check every block, and give its memory back."""
        self._refuse_uneven()
        begin, end = self._layout.start, self.count * ENTRY_SIZE
        for at in range(0, end if self._unchecked else 0, _TOGETHER):
            self._source.will_need(begin + at, begin + min(at + 2 * _TOGETHER, end))
            self._check(at, min(at + _TOGETHER, end))
            self._source.let_go(begin + at, begin + min(at + _TOGETHER, end))
        if self._unchecked:
            self._count_checked()

    def will_need(self, start: int, end: int) -> None:
        """Let the system begin to read the entries from ``start`` to before ``end``."""
        layout = self._layout
        self._source.will_need(layout.prefix(start), layout.prefix(end))
        self._source.will_need(layout.record(start), layout.record(end))

    def will_need_keys(self, start: int, end: int) -> None:
        """Do `will_need` for the first column alone."""
        self._source.will_need(self._layout.prefix(start), self._layout.prefix(end))

    def let_go(self, start: int, end: int) -> None:
        """Give back the memory of the entries from ``start`` to before ``end``, if they are mapped."""
        layout = self._layout
        self._source.let_go(layout.prefix(start), layout.prefix(end))
        self._source.let_go(layout.record(start), layout.record(end))

    def let_all_go(self) -> None:
        """Give back the memory of all that lookups have mapped."""
        self.let_go(0, self.count)

    def verify(self) -> Entries:
        """Check every block, the order of the entries, and how many of them are tombstones; return the entries."""
        entries = self.entries()
        tombstones = 0
        for start in range(0, self.count, VERIFIED):
            end = min(start + VERIFIED, self.count)
            prefixes = entries.prefixes[start : end + 1]
            if (prefixes[1:] < prefixes[:-1]).any():
                raise self._damage("the entries of a segment are not sorted")
            tombstones += entries.take(slice(start, end)).tombstones
            self.let_go(start, end)
        if tombstones != self.tombstones:
            raise self._damage("a segment has another number of tombstones than its header says")
        return entries

    def unchecked_entries(self) -> Entries:
        """Return the table without checking it: for entries that `find_many` has returned, and so checked."""
        if self._entries is None:
            import numpy as np

            from rsdos.index.digests import PREFIX
            from rsdos.index.entries import RECORD, Entries

            self._entries = Entries(np.frombuffer(self._prefixes, PREFIX), np.frombuffer(self._records, RECORD))
        return self._entries

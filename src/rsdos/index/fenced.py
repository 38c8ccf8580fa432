"""A fenced segment: a large file of entries. A lookup reads one place of it, and for most absent keys nothing.

The first key bytes of every 256th entry, the fences, are in memory: 8 bytes for 256 entries. A lookup finds the two
fences between which a key belongs. One request reads the second column of the 256 entries there, 14.5 KiB, which is
searched for the other 24 bytes of the key. (Another key with the same 24 bytes between the same fences would break
SHA-256.)

Entries whose blocks are checked are searched in the mapping, as in any segment. If the index is larger than memory
(`wait`), each lookup reads them by one request; a mapping would be read page by page, by two or three.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from rsdos.errors import DamagedContainer
from rsdos.index.key_filter import KeyFilter
from rsdos.index.segment import VERIFIED, Segment, make, read_prefix
from rsdos.index.segment_layout import FENCE, PREFIX_SIZE, RECORD, RECORD_SIZE, FencedLayout
from rsdos.model import Record
from rsdos.storage.opened import RandomAccess, View

if TYPE_CHECKING:
    from rsdos.index.digests import Digests, Mask, Positions, Prefixes
    from rsdos.index.entries import Entries

_SPARSE = 2048
"""A bulk lookup of fewer keys than one in this many entries reads a block for each key, and not the whole first
column."""


_ROW = FENCE * PREFIX_SIZE
"""Bytes of the first column from one fence to the next. They are in one block."""

_RARE = 16
"""A table of a large index reads what is between the fences of keys of which no more than one in this many passes its
filter: most of these are not there."""

_BYTES = 1 << 16
"""Bytes that can be checked in 4 us: a lookup takes that much longer while not all blocks are checked."""

_FILTER_BYTES = 1 << 18
"""Bytes of a filter that can be read in 0.4 ms, the time of a lookup that waits for a disk."""

_BAD_FILTER = "the filter of a segment is damaged"

_FEW = 64
"""Keys of one bulk lookup below which the filter costs more than a search of entries that are in memory: 60 us."""

_WITHOUT = 4
"""Lookups that are made before the filter is read: a program that wants one object gets it sooner without."""


class FencedSegment(Segment):
    """See the module. Any number of threads."""

    _form = FencedLayout
    _layout: FencedLayout

    def __init__(
        self, file: RandomAccess, offset: int = 0, length: int | None = None, view: View | None = None
    ) -> None:
        super().__init__(file, offset, length, view)
        layout = self._layout
        self._fences = self._data[layout.table_end : layout.fences_end].cast("Q")
        self._filter: KeyFilter | None = None
        """The filter, once it was read and is whole."""
        self._until_filter = (
            (layout.length - layout.filter) // _FILTER_BYTES + _WITHOUT if layout.filter_blocks else inf
        )
        """Lookups until the filter is read. A damaged filter is not used: then every key may be there."""
        self._until_all: float = self.length // _BYTES
        """Lookups until all blocks are checked."""
        self._waits = False

    def wait(self) -> None:
        self._fences = memoryview(bytes(self._fences)).cast("Q")
        self._waits = True
        self._is_at_hand = False

    def _count_checked(self) -> None:
        super()._count_checked()
        if self._waits:
            self._is_at_hand = False

    def first_of_several(self, digest: bytes) -> Record | None:
        if not self._is_at_hand:
            return self._first_checked(digest)
        (prefix,) = read_prefix(digest)
        known = self._filter or self._filter_after(1)
        return None if known and not known.may_have(prefix) else self.first(digest)

    def _filter_after(self, lookups: int) -> KeyFilter | None:
        """Count these lookups. Return the filter, if it was read before or is read now."""
        self._until_filter -= lookups
        if self._until_filter < 0 and self._filter is None:
            read = KeyFilter(self._source, self._layout.filter, self._layout.length)
            if read.is_whole(self._filter_crc):
                self._filter = read
            self._until_filter = inf
        return self._filter

    def _first_checked(self, digest: bytes) -> Record | None:
        (prefix,) = read_prefix(digest)
        known = self._filter or self._filter_after(1)
        if known and not known.may_have(prefix):
            return None
        self._until_all -= 1
        if self._until_all < 0 and not self._waits:
            self._until_all = inf
            with suppress(DamagedContainer):  # Only a lookup that meets the damage raises it.
                self.check_all()
        return self._first_near(prefix, digest)

    def _first_near(self, prefix: int, digest: bytes) -> Record | None:
        """Do `first` by the fences: the entry is between two of them, or is the upper one."""
        fences = self._fences
        behind = bisect_left(fences, prefix)
        is_fence = behind < len(fences) and fences[behind] == prefix
        low = (behind - 1) * FENCE if behind else 0
        high = min(behind * FENCE, self.count)
        base = self.count * PREFIX_SIZE
        start, end = base + low * RECORD_SIZE, base + (high + is_fence) * RECORD_SIZE
        size = self._form.block_size
        first, last = start // size, (end - 1) // size + 1
        is_checked = self._checked.find(0, first, last) < 0
        if is_checked and not self._waits:
            self._check(low * PREFIX_SIZE, high * PREFIX_SIZE)
            at = bisect_left(self._prefixes, prefix, low, high)
            if not (is_fence if at == high else self._prefixes[at] == prefix):
                return None
            found = RECORD.unpack_from(self._records, at * RECORD_SIZE)
            if found[0] != digest[8:]:
                return next(self._entries_of(digest), None)
        else:
            if is_checked:
                self._source.will_need(self._layout.start + start, self._layout.start + end)
            else:
                self._check_blocks(first, last)
            records = bytes(self._columns[start:end])
            place = records.find(digest[8:])
            while place % RECORD_SIZE and place > 0:
                place = records.find(digest[8:], place + 1)
            if place < 0:
                # Another key that begins like this one may be the fence.
                return next(self._entries_of(digest), None) if is_fence else None
            found = RECORD.unpack_from(records, place)
        _, offset, length, size, pack_id, crc, codec, flags = found
        return make(Record, (digest, pack_id, offset, length, size, crc, codec, flags))

    def _bisect(self, prefix: int) -> int:
        low = max(bisect_left(self._fences, prefix) - 1, 0) * FENCE
        high = min(low + FENCE, self.count)
        self._check(low * PREFIX_SIZE, high * PREFIX_SIZE)
        return bisect_left(self._prefixes, prefix, low, high)

    def _prefix_near(self, at: int) -> int:
        return self._fences[at // FENCE]

    def passing(self, wanted: Digests) -> Positions | None:
        import numpy as np

        known = self._filter or self._filter_after(len(wanted.prefixes))
        is_worth_it = len(wanted.prefixes) >= _FEW or not self._is_at_hand
        mask = known.among(wanted.prefixes) if known and len(wanted.prefixes) and is_worth_it else None
        return None if mask is None else np.flatnonzero(mask)

    def passing_of_large(self, wanted: Digests) -> Positions | None:
        passed = self.passing(wanted)
        if passed is None or self._waits:
            return passed
        is_sparse = len(passed) * _SPARSE <= self.count and len(passed) * _RARE <= len(wanted.prefixes)
        return passed[self._have_prefixes(wanted.prefixes[passed])] if is_sparse else passed

    def _have_prefixes(self, wanted: Prefixes) -> Mask:
        """Return a mask of the prefixes that may be between their fences, which are read for each, or are a fence."""
        import numpy as np

        fences = np.frombuffer(self._fences, wanted.dtype)
        behind = np.searchsorted(fences, wanted)
        mask: Mask = fences[np.minimum(behind, len(fences) - 1)] == wanted
        starts = np.maximum(behind - 1, 0) * _ROW
        self._announce(self._unchecked_blocks(starts, _ROW))
        begin, last, size = self._layout.start, self._layout.table - _ROW, self._form.block_size
        checked, copy = self._checked, self._copy
        found = []
        for number, (prefix, start) in enumerate(zip(wanted.view("V8").tolist(), starts.tolist(), strict=True)):
            at = min(begin + start, last)
            row = copy(at, at + _ROW) if checked[start // size] else self._read_row(start)
            # Bytes that are equal across two prefixes do no harm: the key is looked up then.
            if prefix in row:
                found.append(number)
        mask[found] = True
        return mask

    def _read_row(self, start: int) -> bytes:
        """Return the prefixes between two fences, which begin at a byte of the columns. Check the block first."""
        size = self._form.block_size
        block = start // size
        begin = self._layout.start + block * size
        data = self._copy(begin, min(begin + size, self._layout.table))
        self._check_block(block, data)
        if self._unchecked <= 0:
            self._count_checked()
        return data[start - block * size :][:_ROW]

    def find_many(self, wanted: Digests) -> Positions:
        import numpy as np

        some = self.passing(wanted) if self.count else None
        if some is None:
            return self.find_unfiltered(wanted)
        found = np.full(len(wanted.prefixes), -1, np.intp)
        found[some] = self.find_unfiltered(wanted.take(some))
        return found

    def _search(self, wanted: Digests) -> Positions:
        if self._is_at_hand or (len(wanted.prefixes) * _SPARSE > self.count and not self._waits):
            return super()._search(wanted)
        return self._search_near(wanted)

    def _search_near(self, wanted: Digests) -> Positions:
        """Do `find_many` by the fences: ask for the needed blocks at once, and read nothing else."""
        from rsdos.index.digests import search

        entries = self.unchecked_entries()
        return search(entries.prefixes, entries.records, wanted, self._fetch_entries, self._places_near)

    def _places_near(self, column: Prefixes, wanted: Prefixes) -> Positions:
        """Return where each wanted prefix belongs. The prefixes there are checked."""
        import numpy as np

        last = self.count - 1
        behind = np.searchsorted(np.frombuffer(self._fences, column.dtype), wanted)
        low = np.maximum(behind - 1, 0) * FENCE
        high = np.minimum(low + FENCE, self.count)
        self._fetch_each(low * PREFIX_SIZE, FENCE * PREFIX_SIZE)
        for _ in range(FENCE.bit_length()):
            middle = low + high >> 1
            is_less = (column[np.minimum(middle, last)] < wanted) & (low < high)
            low, high = np.where(is_less, middle + 1, low), np.where(is_less, high, middle)
        # It may be the entry of the next fence.
        self._check_each(np.minimum(low, last) * PREFIX_SIZE, PREFIX_SIZE)
        return low

    def _fetch_entries(self, at: Positions) -> None:
        """Read the records at some positions, and the following prefixes, which may belong to the same keys."""
        import numpy as np

        self._fetch_each(self.count * PREFIX_SIZE + at * RECORD_SIZE, RECORD_SIZE)
        self._check_each(np.minimum(at + 1, self.count - 1) * PREFIX_SIZE, PREFIX_SIZE)

    def _fetch_each(self, starts: Positions, length: int) -> None:
        """Check the blocks of the ``length`` bytes from each of the ``starts`` on; ask for all of them first."""
        import numpy as np

        if self._waits:
            # Checked blocks may have left the memory since then: ask for these. The others are asked for by the check.
            checked = np.frombuffer(self._checked, np.bool_)
            begin, size = self._layout.start, self._form.block_size
            for start in np.unique(starts[checked[starts // size]]).tolist():
                self._source.will_need(begin + start, begin + min(start + length, len(self._columns)))
        self._check_each(starts, length)

    def let_all_go(self) -> None:
        super().let_all_go()
        self._source.let_go(self._layout.filter, self._layout.length)

    def verify(self) -> Entries:
        """Check the fences and the filter too."""
        import numpy as np

        entries, layout = super().verify(), self._layout
        known = KeyFilter(self._source, layout.filter, layout.length) if layout.filter_blocks else None
        if known and not known.is_whole(self._filter_crc):
            raise self._damage(_BAD_FILTER)
        fences = np.frombuffer(self._fences, entries.prefixes.dtype)
        for start in range(0, self.count, VERIFIED):
            prefixes = entries.prefixes[start : start + VERIFIED]
            if not np.array_equal(prefixes[::FENCE], fences[start // FENCE :][: -(-len(prefixes) // FENCE)]):
                raise self._damage("the fences of a segment are not those of its entries")
            if known and not known.has_all(prefixes):
                raise self._damage(_BAD_FILTER)
            self.let_go(start, start + len(prefixes))
            self._source.let_go(layout.filter, layout.length)
        return entries

"""The filter of a fenced segment: it excludes most absent keys without reading the entries.

A blocked Bloom filter. ``p`` is the first 8 key bytes as a number; keys are SHA-256, so no hash is needed. The bits of
a key are in block ``p * m >> 64`` of the m blocks of 4096 bits: bit ``(p + i * (p >> 12 | 1)) mod 4096`` for i from 0
to 4. Bit b is bit ``b mod 8`` of byte ``b / 8``. So the blocks are in the order of the keys: a merge writes them one
after another (`rsdos.index.fenced_parts`), and a lookup reads one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsdos.codecs.checksum import crc32
from rsdos.index.segment_layout import FILTER_BLOCK
from rsdos.storage.base import says_nothing

if TYPE_CHECKING:
    from rsdos.index.digests import Mask, Prefixes
    from rsdos.storage.opened import View

BITS = 8 * FILTER_BLOCK
"""The bits of a block."""

ROUND = range(5)
"""Counts the bits of a key."""

_LAST_BYTE = FILTER_BLOCK - 1

_TOGETHER = 8 << 20
"""Bytes that are checked before their memory is given back."""

_MASKED_TOGETHER = 1 << 16
"""The most keys that the filter checks together."""

_SAMPLE = 256
"""Keys that the filter checks first, as a sample."""

_MOST_PASS = 3 / 4
"""If more than this part of the sample passes, the other keys are not checked: that would cost more than it saves."""


class KeyFilter:
    """A filter. Use it only after `is_whole` has returned True. Any number of threads."""

    def __init__(self, source: View, start: int, end: int) -> None:
        """``source`` is the view of the segment; the filter is its bytes from ``start`` to ``end``."""
        self._source = source
        self._start = start
        self._end = end
        self._data = source.data[start:end]
        self._blocks = (end - start) // FILTER_BLOCK
        self._excluded = False
        """Whether it excluded enough of the last keys: then the next ones need no sample, which takes 60 us."""

    def is_whole(self, crc: int) -> bool:
        """Read the filter, and return whether it has this checksum; False if it cannot be read."""
        read = 0
        try:
            for start in range(self._start, self._end, _TOGETHER):
                end = min(start + _TOGETHER, self._end)
                self._source.need(start, end)
                read = crc32(self._source.data[start:end], read)
                if end - start == _TOGETHER:
                    self._source.let_go(start, end)
        except OSError as error:
            if says_nothing(error):
                raise
            return False
        return read == crc

    def has_all(self, prefixes: Prefixes) -> bool:
        """Return whether all of these keys pass the filter."""
        parts = range(0, len(prefixes), _MASKED_TOGETHER)
        return all(self.mask(prefixes[start : start + _MASKED_TOGETHER]).all() for start in parts)

    def may_have(self, prefix: int) -> bool:
        """Return whether a key that begins with ``prefix`` may be there."""
        # The loop is written out: as a loop it takes 1.0 us instead of 0.75 for a key that is there.
        data = self._data
        base = (prefix * self._blocks >> 64) * FILTER_BLOCK
        at, step = prefix & 4095, prefix >> 12 & 4095 | 1
        if not data[base + (at >> 3)] >> (at & 7) & 1:
            return False
        at = at + step & 4095
        if not data[base + (at >> 3)] >> (at & 7) & 1:
            return False
        at = at + step & 4095
        if not data[base + (at >> 3)] >> (at & 7) & 1:
            return False
        at = at + step & 4095
        if not data[base + (at >> 3)] >> (at & 7) & 1:
            return False
        at = at + step & 4095
        return data[base + (at >> 3)] >> (at & 7) & 1 > 0

    def among(self, prefixes: Prefixes) -> Mask | None:
        """Return a mask of the keys that may be there; None if the filter would exclude too few."""
        if not self._excluded and self.mask(prefixes[:_SAMPLE]).mean() > _MOST_PASS:
            return None
        mask = self.mask(prefixes)
        self._excluded = bool(mask.mean() <= _MOST_PASS)
        return mask

    def mask(self, prefixes: Prefixes) -> Mask:
        """Return a mask of the keys that may be there.

        In a table of 3 million entries a key takes 15 ns: 25 with arithmetic that makes a new array at each step, and
        with bits that are no booleans to numpy.
        """
        import numpy as np

        data = np.frombuffer(self._data, np.uint8)
        base = block_of(prefixes, self._blocks).view(np.int64)
        base *= FILTER_BLOCK
        at = (prefixes & np.uint64(0xFFFFFF)).view(np.int64)
        step = at >> 12 | 1
        left = np.arange(len(prefixes))
        for _ in ROUND:
            byte = at >> 3
            byte &= _LAST_BYTE
            byte += base
            bit = data[byte]
            bit >>= at.astype(np.uint8) & 7
            bit &= 1
            hit = np.flatnonzero(bit.view(np.bool_))
            if len(hit) < len(at):  # Half of the absent keys fail each time.
                base, at, step, left = base[hit], at[hit], step[hit], left[hit]
            at += step
        mask = np.zeros(len(prefixes), np.bool_)
        mask[left] = True
        return mask


def block_of(prefixes: Prefixes, blocks: int) -> Prefixes:
    """Return ``prefix * blocks >> 64`` of each, for less than 2^32 blocks."""
    import numpy as np

    half, many = np.uint64(32), np.uint64(blocks)
    low = prefixes & np.uint64(0xFFFFFFFF)
    return ((prefixes >> half) * many + (low * many >> half)) >> half

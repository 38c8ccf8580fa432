"""A range of a large object behind a network, of which blocks are fetched when they are needed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from math import inf

from rsdos.storage.opened import RandomAccess
from rsdos.stores.packed.ahead import MOST_SPAN, under_way

BLOCK = 1 << 16
"""Bytes of a block: a request takes as long for one as for a byte."""

GAP = 2
"""Blocks between two needed ones that are fetched with them, so that both are one request."""

_SPAN = MOST_SPAN // BLOCK
_HELD = 16 * MOST_SPAN

_PART = 4
"""When one in so many blocks is there, or needed, the whole object is fetched: faster than the others one by one."""


def spans_of(blocks: Sequence[int], gap: int = GAP, most: int = _SPAN) -> Iterator[range]:
    """Yield the spans of blocks to fetch, given the needed ones in ascending order: of at most ``most`` blocks each."""
    start = end = -1
    for block in blocks:
        if start < 0 or block > end + gap or block >= start + most:
            if start >= 0:
                yield range(start, end)
            start = block
        end = block + 1
    if start >= 0:
        yield range(start, end)


class BlockView:
    """See `rsdos.storage.base.View`. Any number of threads; two of them may fetch the same block.

    A hint (`will_need`) is remembered: the next `need` asks for all hinted blocks at once.
    """

    keeps_open = True

    def __init__(
        self,
        file: RandomAccess,
        offset: int,
        length: int,
        copied: Callable[[], RandomAccess | None],
        patience: int | None = None,
    ) -> None:
        """``copied`` fetches the whole object and returns its copy on this machine, or None. It is called once.

        After ``patience`` fetches all that is missing is fetched at once; None: never.
        """
        self._left = inf if patience is None else patience
        self._file = file
        self._offset = offset
        self._copied: Callable[[], RandomAccess | None] | None = copied
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._buffer = memoryview(mmap.mmap(-1, length, flags=flags))
        self.data = self._buffer.toreadonly()
        self._is_there = bytearray(-(-length // BLOCK))
        self._hinted: set[int] = set()

    def need(self, start: int, end: int) -> None:
        first, last = start // BLOCK, -(-end // BLOCK)
        if self._is_there.find(0, first, last) < 0:
            return
        hinted, self._hinted = self._hinted, set()
        hinted.update(range(first, last))
        self._left -= 1
        if self._left < 0:
            hinted.update(range(len(self._is_there)))
        missing = [block for block in sorted(hinted) if not self._is_there[block]]
        if self._copied and (self._is_there.count(1) + len(missing)) * _PART >= len(self._is_there):
            copied, self._copied = self._copied, None
            self._file = copied() or self._file
        for _ in under_way(self._fetch, spans_of(missing), len, _HELD):
            pass

    def _fetch(self, span: range) -> None:
        start, end = span.start * BLOCK, min(span.stop * BLOCK, len(self._buffer))
        self._buffer[start:end] = self._file.read(self._offset + start, end - start)
        self._is_there[span.start : span.stop] = b"\1" * len(span)

    def will_need(self, start: int, end: int) -> None:
        self._hinted.update(range(start // BLOCK, -(-min(end, len(self._buffer)) // BLOCK)))

    def copy(self, start: int, end: int) -> bytes:
        self.need(start, end)
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        """Do nothing: the bytes would have to be fetched again."""

"""The rows of the state that a checkout makes: in memory up to 64 MiB, and in a temporary file beyond."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from rsdos.model import BytesLike
from rsdos.worktree.rows import NO_ROW, ROW, ROW_BYTES, SETTLING, settle
from rsdos.worktree.settled import Clocks

_IN_MEMORY = 64 << 20
"""Bytes of rows in memory: those of 1.6 million entries."""

_RECENT = 4 << 20
"""Bytes of rows that stay changeable in memory before they go to the file: more than one batch of files has."""

_RUN = ROW_BYTES << 15
"""Bytes of rows that are read together: 1.3 MB."""

_TICK = 20_000_000
"""Nanoseconds: two ticks of a kernel whose clock ticks a hundred times a second, the slowest there is."""

_MILLISECOND = 1_000_000


class RowSpool:
    """Rows in the order of their entries, each of which may be replaced later. A context manager; one thread."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)
        self._recent = bytearray()
        self._base = 0
        """The number of the first recent row."""
        self._last = NO_ROW
        """The last row that was put."""
        self._clock = 1 << 62
        """The time that `settle` compares with, in ns. If no file was written, every row keeps its flag."""

    def add(self, rows: BytesLike) -> None:
        """Append rows."""
        if len(self._recent) > _RECENT:
            self._flush()
        self._recent += rows

    def put(self, number: int, row: bytes) -> None:
        """Replace a row that was added."""
        self._last = row
        at = (number - self._base) * ROW_BYTES
        if at >= 0:
            self._recent[at : at + ROW_BYTES] = row
        else:
            self._file.seek(number * ROW_BYTES)
            self._file.write(row)

    def put_all(self, numbers: Sequence[int], rows: bytes) -> None:
        """Replace rows that were added: joined, with the number of each."""
        for at, number in enumerate(numbers):
            self.put(number, rows[at * ROW_BYTES : (at + 1) * ROW_BYTES])

    def settle(self, directory: int, path: str) -> None:
        """Wait until the clock of the file system has moved on, so that later changes get later times.

        This process has made and named the written files itself. Within the same tick of the clock another process
        might change one of them unnoticed; after the tick, a change shows in the ctime. If the file system counts whole
        seconds, a file younger than two seconds is compared by its content the next time.
        """
        if self._last == NO_ROW:
            return
        _, _, ctime, _, _, _ = ROW.unpack(self._last)
        grain = SETTLING
        if ctime % _MILLISECOND:
            time.sleep(_TICK / 10**9)
            grain = _TICK
        self._clock = Clocks().now(directory, os.fstat(directory).st_dev, path) + SETTLING - grain

    def read(self) -> Iterator[bytes]:
        """Yield all rows, in runs, with the flag of those that may be trusted. Call `settle` before."""
        self._flush()
        self._file.seek(0)
        while run := self._file.read(_RUN):
            yield settle(run, self._clock)

    def _flush(self) -> None:
        self._file.seek(self._base * ROW_BYTES)
        self._file.write(self._recent)
        self._base += len(self._recent) // ROW_BYTES
        self._recent = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

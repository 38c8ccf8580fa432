"""What storages behind a network have in common: they read ranges, and each range is a request."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from rsdos.errors import DamagedContainer
from rsdos.storage.base import FileInfo, Span, Storage, Version

IN_FLIGHT = 16
"""Requests of `RangedStorage.read_spans` that are under way at once."""

MOST_HELD = 1 << 27
"""Bytes that `RangedStorage.read_spans` has asked for and not given out yet: 16 spans of the longest, 8 MiB."""

BLOCK = 1 << 16
"""Bytes of a view that are fetched together."""


class RangedStorage(Storage):
    """Reads everything through `read_range` and `stat`, which a subclass defines."""

    _pool: ThreadPoolExecutor | None = None
    _starting = threading.Lock()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return ``length`` bytes, which are more than none.

        Raise `DamagedContainer` if the object is too short, FileNotFoundError if it is missing, and OSError.
        """
        raise NotImplementedError

    def open(self, name: str, length: int | None = None) -> RangedFile:
        path = self.path(name)
        if length is not None:
            return RangedFile(self, name, path, length)
        info = self._info(name)
        return RangedFile(self, name, path, info.length, info.version)

    def _info(self, name: str) -> FileInfo:
        info = self.stat(name)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(name))
        return info

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        info = self._info(name)
        if info.length > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", self.path(name))
        return self.read_range(name, 0, info.length) if info.length else b"", info.version

    def read_spans(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """See `Storage.read_spans`. Up to `IN_FLIGHT` requests are under way at once."""
        waiting: deque[tuple[int, Future[bytes]]] = deque()
        held = 0
        try:
            for span in spans:
                while waiting and (len(waiting) >= IN_FLIGHT or held + span.length > MOST_HELD):
                    length, first = waiting.popleft()
                    held -= length
                    yield first.result()
                waiting.append((span.length, self._threads().submit(self._read_span, span)))
                held += span.length
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            for _, left in waiting:
                left.cancel()

    def _read_span(self, span: Span) -> bytes:
        return self.read_range(*span) if span.length else b""

    def _threads(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(IN_FLIGHT, "rsdos-read")
            return self._pool

    def close(self) -> None:
        with self._starting:
            pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(wait=False, cancel_futures=True)


class RangedFile:
    """An object that is read by ranges: see `rsdos.storage.base.RandomAccess`. Opening it holds nothing open."""

    def __init__(
        self, storage: RangedStorage, name: str, path: str, length: int, version: Version | None = None
    ) -> None:
        self.path = path
        self._storage = storage
        self._name = name
        self._length = length
        self._version = version
        self.is_open = True

    @property
    def version(self) -> Version:
        """The version of the object when it was opened, or when it was first asked for; () for a missing object."""
        if self._version is None:
            self._version = self._storage.version(self._name) or ()
        return self._version

    def size(self) -> int:
        return self._length

    def read(self, offset: int, length: int) -> bytes:
        if not self.is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        if offset + length > self._length:
            raise DamagedContainer(self.path, f"cut short: it has {self._length} bytes", offset)
        return self._storage.read_range(self._name, offset, length) if length else b""

    def read_into(self, offset: int, buffer: memoryview) -> int:
        buffer[:] = self.read(offset, len(buffer))
        return len(buffer)

    def view(self, offset: int, length: int) -> RangedView:
        return RangedView(self, offset, length)

    def is_cached(self, offset: int) -> bool | None:
        return None

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        self.is_open = False


class RangedView:
    """A range of an object, fetched block by block when it is needed: see `rsdos.storage.base.View`. Any thread."""

    keeps_open = True

    def __init__(self, file: RangedFile, offset: int, length: int) -> None:
        if offset + length > file.size():
            raise DamagedContainer(file.path, f"cut short: it has {file.size()} bytes", offset)
        self._buffer = memoryview(mmap.mmap(-1, length)) if length else memoryview(bytearray())
        self.data = self._buffer.toreadonly()
        self._file = file
        self._offset = offset
        self._present = bytearray(-(-length // BLOCK))
        """1 for each block that was fetched."""

    def need(self, start: int, end: int) -> None:
        """Fetch the missing blocks, neighbours by one request. Two threads may fetch the same bytes."""
        first, last = start // BLOCK, -(-min(end, len(self.data)) // BLOCK)
        while (first := self._present.find(0, first, last)) >= 0:
            after = self._present.find(1, first, last)
            after = last if after < 0 else after
            low, high = first * BLOCK, min(after * BLOCK, len(self.data))
            self._buffer[low:high] = self._file.read(self._offset + low, high - low)
            self._present[first:after] = b"\1" * (after - first)
            first = after

    def will_need(self, start: int, end: int) -> None:
        """Do nothing: `need` fetches neighbours together."""

    def copy(self, start: int, end: int) -> bytes:
        self.need(start, end)
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        """Do nothing: the bytes would have to be fetched again."""

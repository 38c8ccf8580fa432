"""Ranges of a file of a file system as buffers: mapped, or read when they are needed."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from contextlib import suppress

from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor

READ_BELOW = 1 << 18
"""Ranges shorter than this are read, not mapped: a ``pread`` of 256 KiB costs as much as a mapping and its faults."""

_POPULATES = sys.platform == "linux"
_POPULATE_READ = 22
"""MADV_POPULATE_READ, from Linux 5.14 on; Python has no name for it. An older one says EINVAL."""

_COPIED_FROM = 1 << 24
"""Ranges from which on bytes are copied by ``pread``: 1.2 us for 2 KiB. To map and unmap them takes 3.5."""

HINTED_FROM = 1 << 22
"""Ranges from which on the system is told what is read of a mapping: of a shorter one it may as well read all."""

_BEFORE = 1 << 21
"""Bytes before one that is read which Linux may map with it: 64 KiB, or all of the large page that is in its cache."""


class LocalView:
    """Bytes of a file: mapped or, if that is as fast, read. The descriptor is not needed afterwards.

    A mapping of Python keeps the file open, though nobody can use that descriptor. So one more for `copy` changes
    nothing for the file system.
    """

    keeps_open = False

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._mapped: mmap.mmap | None = None
        self._is_hinted = False
        self._file: Descriptor | None = None
        if length < READ_BELOW:
            self.data = memoryview(posix.read_at(fd, offset, length))
            return
        start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        self._before = offset - start
        if length >= _COPIED_FROM:
            self._file, self._offset = Descriptor(map(os.dup, (fd,))), offset
        self._mapped = mmap.mmap(fd, offset + length - start, access=mmap.ACCESS_READ, offset=start)
        self.data = memoryview(self._mapped)[offset - start :].toreadonly()
        self._is_hinted = length >= HINTED_FROM and hasattr(mmap, "MADV_RANDOM")
        if self._is_hinted:
            # Else a fault reads as much around it as the device's read-ahead says: up to megabytes for 8 bytes.
            self._mapped.madvise(mmap.MADV_RANDOM)

    def need(self, start: int, end: int) -> None:
        """Let the system read the pages, if they are mapped. Raise OSError where one cannot be read.

        To touch such a page, on a bad sector or behind the end of a file that was cut, would kill the process.
        """
        self.will_need(start, end)
        if self._mapped is not None and _POPULATES:
            try:
                self._advise(_POPULATE_READ, start, end)
            except OSError as error:
                if error.errno == errno.EFAULT:
                    raise OSError(errno.EIO, os.strerror(errno.EIO)) from error

    def will_need(self, start: int, end: int) -> None:
        """Let the system begin to read the pages, if they are mapped, by one request where it can."""
        if self._is_hinted:
            with suppress(OSError):
                self._advise(mmap.MADV_WILLNEED, start, end)

    def copy(self, start: int, end: int) -> bytes:
        if self._file is None:
            self.need(start, end)
            return bytes(self.data[start:end])
        data = os.pread(self._file.fd, end - start, self._offset + start)
        if len(data) < end - start:
            data = posix.read_at(self._file.fd, self._offset + start, end - start)
        if len(data) < end - start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    def _advise(self, what: int, start: int, end: int) -> None:
        first = (self._before + start) // mmap.PAGESIZE * mmap.PAGESIZE
        length = self._before + end - first
        if length > 0:
            assert self._mapped is not None
            self._mapped.madvise(what, first, length)

    def let_go(self, start: int, end: int) -> None:
        """Unmap pages, as far as they are mapped: they stay in the system's cache, and the next use maps them again.

        Those shortly before ``start`` too: what was read behind them has mapped them again. A merge of 50 tables in 300
        steps left 120 MB of 660.
        """
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-max(self._before + start - _BEFORE, 0) // mmap.PAGESIZE) * mmap.PAGESIZE
            length = (self._before + end) // mmap.PAGESIZE * mmap.PAGESIZE - first
            if length > 0:
                self._mapped.madvise(mmap.MADV_DONTNEED, first, length)


class LazyView:
    """Bytes of a file on another machine, where a mapping would turn an OSError into a SIGBUS.

    Bytes are read when they are needed: of ten million entries, 660 MB, one lookup needs three blocks.
    """

    keeps_open = True

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._buffer = memoryview(mmap.mmap(-1, length))
        self.data = self._buffer.toreadonly()
        self._offset = offset
        self._file = Descriptor(map(os.dup, (fd,)))

    def need(self, start: int, end: int) -> None:
        """Read the bytes from ``start`` to ``end``. Raises OSError."""
        data = posix.read_at(self._file.fd, self._offset + start, min(end, len(self.data)) - start)
        self._buffer[start : start + len(data)] = data

    def will_need(self, start: int, end: int) -> None:
        """Do nothing: the bytes would be read again where they are needed."""

    def copy(self, start: int, end: int) -> bytes:
        self.need(start, end)
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        """Do nothing: the bytes would have to be read again."""

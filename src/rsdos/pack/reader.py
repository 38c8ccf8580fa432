"""Open pack files, for reading."""

from __future__ import annotations

import os
from contextlib import suppress

from rsdos.errors import DamagedContainer
from rsdos.pack.format import HEADER_SIZE, header_fault, named_by
from rsdos.storage import posix
from rsdos.storage.descriptors import Opened


class BarePack(Opened):
    """A pack, open for reading by any number of threads: ``pread`` only, no shared position, no mapping of payloads.

    The descriptor is closed when the last reference goes, so that a reader that still works on a pack keeps it.
    Raises FileNotFoundError when the pack is gone. A pack of container version 1 is this and no more.
    """

    def __init__(self, path: str) -> None:
        super().__init__(posix.opening_for_reading(path))
        self.path = path
        status = os.fstat(self.fd)
        posix.refuse_irregular(status, path)
        self._size = status.st_size
        """What it had when that was asked last: it may have more."""

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``. Raises `DamagedContainer` when the pack is too short for that.

        The numbers come from disk: nothing is allocated before they are found to fit.
        """
        if offset + length > self._size:  # Asked here as well: a call saved, of twelve that one object takes.
            self._refuse_beyond_end(offset, length)
        data = os.pread(self.fd, length, offset)
        return data if len(data) == length else posix.read_at(self.fd, offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer``, of bytes, from ``offset``; returns how many. Raises `DamagedContainer` as `read` does."""
        self._refuse_beyond_end(offset, len(buffer))
        return posix.read_into(self.fd, offset, buffer)

    def _refuse_beyond_end(self, offset: int, length: int) -> None:
        if offset + length > self._size:
            self._size = self.size()
            if offset + length > self._size:
                raise DamagedContainer(self.path, f"the pack is cut short: it has {self._size} bytes", offset)

    def is_cached(self, offset: int) -> bool:
        """Whether a byte is in the system's cache; where that cannot be told, it is.

        Only Linux can tell, with a read that may not wait.
        """
        if not hasattr(os, "RWF_NOWAIT"):
            return True
        try:
            os.preadv(self.fd, (bytearray(1),), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:  # Not on this file system.
            return True
        return True

    def will_need(self, offset: int, length: int) -> None:
        """Have bytes read from the disk, of which many are wanted soon; does not wait for them."""
        with suppress(OSError):
            os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def size(self) -> int:
        """Bytes in the file now, the unfinished tail of a writer included."""
        return os.fstat(self.fd).st_size


class PackFile(BarePack):
    """A pack of container version 2. Raises `DamagedContainer` as well, when the file is not that pack."""

    def __init__(self, path: str, pack_id: int, container_id: bytes, *, any_header: bool = False) -> None:
        """``any_header``: for repair, which has to read on when that is damaged; footers say as well whose they are."""
        super().__init__(path)
        self.pack_id = pack_id
        self.container_id = container_id
        if not any_header:
            check_header(self.fd, path, pack_id, container_id)


def check_header(fd: int, path: str, pack_id: int, container_id: bytes) -> None:
    """Raise `DamagedContainer` when an open file is not that pack of that container."""
    if fault := header_fault(posix.read_at(fd, 0, HEADER_SIZE), container_id, pack_id):
        raise DamagedContainer(path, fault)


def true_id(path: str, container_id: bytes) -> int | None:
    """Which pack of this container a file is, whatever its name; None when its header does not say. Raises OSError."""
    with posix.open_for_reading(path) as fd:
        return named_by(posix.read_at(fd, 0, HEADER_SIZE), container_id)

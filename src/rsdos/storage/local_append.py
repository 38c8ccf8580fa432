"""Files of a file system that a writer appends to, or has made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from rsdos.errors import Busy
from rsdos.model import BytesLike
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.storage.permissions import inherit


class LocalAppendFile(Working):
    """A file that its one writer has locked: see `AppendFile`. In a forked child it is closed."""

    def __init__(self, path: str, *, new: bool) -> None:
        self.path = path
        super().__init__(iter(()))
        try:
            if new:
                self._make()
            else:
                self.take(opening(path, posix.WRITE))
            # If its lock file was removed, a new lock file would not keep the next writer out: lock the file itself.
            if not locks.try_lock(self.fd) or not os.path.samestat(os.fstat(self.fd), os.stat(path)):
                raise Busy(path, "a writer whose lock file was removed")
        except BaseException:
            if new and self.fd >= 0:
                posix.remove(path)
            self.end()
            raise

    def _make(self) -> None:
        """Make the file. Never reuse that of a dead writer: it may have another name, in a copy, as a live pack."""
        try:
            self.take(posix.opening_new(self.path))
        except FileExistsError:
            _remove_left(self.path)
            self.take(posix.opening_new(self.path))
        inherit(self.path, self.fd)

    @property
    def is_open(self) -> bool:
        return self.fd >= 0

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        return posix.read_at(self.fd, offset, length)

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        return posix.write_many_at(self.fd, offset, buffers, lengths, each)

    def cut(self, length: int) -> None:
        os.ftruncate(self.fd, length)

    def sync(self) -> None:
        posix.sync_file(self.fd)

    def remove(self) -> None:
        posix.remove(self.path)

    def end(self) -> None:
        """Close the file and unlock it, even if a child between its fork and its exec has it open too."""
        if self.fd >= 0:
            try:
                locks.unlock(self.fd)
            finally:
                self.close()


class LocalNewFile(LocalAppendFile):
    """A new file that no other process writes. It is not locked."""

    def __init__(self, path: str) -> None:
        self.path = path
        Working.__init__(self, posix.opening_new(path))
        inherit(path, self.fd)

    def end(self) -> None:
        self.close()


def _remove_left(path: str) -> None:
    """Remove a file of a dead writer. Raise `Busy` if the writer is alive."""
    try:
        file = Working(opening(path, posix.WRITE | os.O_NONBLOCK))
    except FileNotFoundError:
        return
    except OSError:
        posix.remove(path)  # A link, or a file that may not be written: no writer of ours made it.
        return
    with file as fd:
        if not locks.try_lock(fd):
            raise Busy(path, "a writer whose lock file was removed")
        posix.remove(path)

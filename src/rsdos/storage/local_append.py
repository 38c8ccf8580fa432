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

    def __init__(self, path: str, *, new: bool, still: Callable[[], bool] | None = None) -> None:
        self.path = path
        super().__init__(iter(()))
        is_held = False
        try:
            if new:
                self._make(still)
            else:
                self.take(opening(path, posix.WRITE))
            # If its lock file was removed, a new lock file would not keep the next writer out: lock the file itself.
            # Until then another writer may take a new file for that of a dead one, and remove it.
            is_held = locks.try_lock(self.fd) and locks.is_in_place(self.fd, path)
            if not is_held:
                raise _has_a_writer(path)
            if new:
                inherit(path, self.fd)
        except BaseException:
            if new and is_held:
                posix.remove(path)
            self.end()
            raise

    def _make(self, still: Callable[[], bool] | None) -> None:
        """Make the file. Never reuse that of a dead writer: it may have another name, in a copy, as a live pack."""
        try:
            self.take(posix.opening_new(self.path))
        except FileExistsError:
            _remove_left(self.path, still)
            self.take(posix.opening_new(self.path))

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


def _has_a_writer(path: str) -> Busy:
    return Busy(path, "a writer whose lock file was removed")


def _remove_left(path: str, still: Callable[[], bool] | None) -> None:
    """Remove a file of a dead writer. Raise `Busy` if the writer is alive, or ``still`` returns False."""
    try:
        file = Working(opening(path, posix.WRITE | os.O_NONBLOCK))
    except FileNotFoundError:
        return
    except OSError:
        # A link, or a file that may not be written: no writer of ours made it.
        is_left = still is None or still()
        if is_left:
            posix.remove(path)
    else:
        with file as fd:
            is_left = locks.try_lock(fd) and (still is None or still())
            if is_left:
                posix.remove(path)
    if not is_left:
        raise _has_a_writer(path)

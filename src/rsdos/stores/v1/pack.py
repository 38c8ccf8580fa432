"""A pack of version 1 that is open for appending, under the lock of rsdos and that of disk-objectstore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count

from rsdos.errors import Busy
from rsdos.layout import V1Layout
from rsdos.model import BytesLike
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.storage.permissions import inherit
from rsdos.stores.v1.database import Database

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


_OURS = b"rsdos\n"


class V1Pack:
    """A pack that is open for appending, under both its locks: a `rsdos.stores.encoding.Sink`."""

    def __init__(self, layout: V1Layout, pack_id: int, lock: locks.Lock, peer_lock: Working) -> None:
        self.id = pack_id
        self.path = layout.pack(pack_id)
        self._lock = lock
        self._peer_path = layout.peer_lock(pack_id)
        self._peer_lock = peer_lock
        self.is_new = not os.path.lexists(self.path)
        self.is_kept = False
        """Whether it is unknown if a commit has reached the disk. If so, `close` cuts nothing off."""
        self._file = Working(iter(()))
        try:
            self._file.take(opening(self.path, _FLAGS, 0o666))
            # 2. Append after the bytes that are there.
            self.committed = self.position = self._highest = os.fstat(self.fd).st_size
            if not self.committed:
                inherit(self.path, self.fd)
        except BaseException:
            self._file.close()
            self._release()
            raise

    @property
    def fd(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._file.fd

    def write(self, buffers: Sequence[BytesLike]) -> int:
        """Append the buffers. Return the offset of the first byte."""
        self._refuse_company()
        offset = self.position
        try:
            self.position += posix.write_many_at(self.fd, offset, buffers)
        except BaseException:
            self._own_part(offset, buffers)
            raise
        self._highest = max(self._highest, self.position)
        return offset

    def _own_part(self, offset: int, buffers: Sequence[BytesLike]) -> None:
        """After a failed write, recognise our own partial bytes at the end of the pack, for `close` to cut off."""
        with suppress(OSError):
            length = os.fstat(self.fd).st_size - offset
            if length > 0 and self.read(offset, length) == b"".join(buffers)[:length]:
                self._highest = max(self._highest, offset + length)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that were written."""
        return posix.read_at(self.fd, offset, length)

    def rewind(self, offset: int) -> None:
        """Append from ``offset`` on next."""
        assert self.committed <= offset <= self.position
        self.position = offset

    def _refuse_company(self) -> None:
        self._file.refuse_closed(self.path)
        if os.fstat(self.fd).st_size != self._highest:
            raise Busy(self.path)

    def finish(self) -> None:
        """Cut off the bytes that a rewind has left after the end, if no other program has appended there."""
        # 5. A program that ignores the locks may have written after, or into, the bytes to commit.
        self._refuse_company()
        if self._highest > self.position:
            os.ftruncate(self.fd, self.position)
            self._highest = self.position

    def close(self) -> None:
        """Cut off what was not committed, and release both locks. In a forked child do nothing."""
        try:
            with suppress(FileNotFoundError):  # Some FUSE file systems raise this for a file without a name.
                if self.fd >= 0 and os.fstat(self.fd).st_size == self._highest and not self.is_kept:
                    if self._highest > self.committed:
                        os.ftruncate(self.fd, self.committed)
                    if self.is_new and not self.committed:
                        posix.remove(self.path)
        finally:
            self._file.close()
            self._release()

    def _release(self) -> None:
        try:
            _let_in_peers(self._peer_path, self._peer_lock)
        finally:
            self._lock.release()


def _lock_out_peers(path: str, own: str) -> Working:
    """Make the lock file that locks disk-objectstore out. Raise FileExistsError if that program holds it.

    Lock files that disk-objectstore makes are empty. One with the mark of rsdos was left by a process of rsdos that
    died, because the caller holds the lock of rsdos, on the file ``own``. The new lock file is a second name of that
    file, so it has the mark from the first moment on, even after a power loss.
    """
    file = Working(opening(own, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    try:
        if os.fstat(file.fd).st_size != len(_OURS):
            posix.write_at(file.fd, 0, _OURS)
            posix.sync_file(file.fd)
        try:
            os.link(own, path)
        except FileExistsError:
            if not is_ours(path):
                raise
            posix.remove(path)
            os.link(own, path)
    except (FileExistsError, FileNotFoundError):
        file.close()
        raise
    except BaseException:
        _let_in_peers(path, file)
        raise
    return file


def is_ours(path: str) -> bool:
    """Return whether rsdos made this lock file of disk-objectstore's kind. False if it was just removed."""
    try:
        return posix.read_file(path, len(_OURS)) == _OURS
    except OSError:
        return False


def _let_in_peers(path: str, file: Working) -> None:
    """Remove the lock file that `_lock_out_peers` made, unless disk-objectstore has replaced it by its own."""
    try:
        if file.fd >= 0 and os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file.fd)):
            posix.remove(path)
    except FileNotFoundError:
        pass
    finally:
        file.close()


def fresh_ids(layout: V1Layout, database: Database) -> Iterator[int]:
    """Yield ids that no pack has had. The lock files of removed packs stay, and show their ids."""
    return count(max([-1, *layout.pack_ids(), *layout.locked_ids(), *database.stats()]) + 1)


def try_pack(layout: V1Layout, pack_id: int) -> V1Pack | None:
    """Lock a pack by both its locks, and return it. Make it if it is missing. Return None if another writer has a lock.

    Return None also if a foreign directory has its name, or if our lock file was removed and so keeps nobody out.
    """
    lock = locks.try_acquire(layout.pack_lock(pack_id))
    if lock is None:
        return None
    peer_lock: Working | None = None
    try:
        peer_lock = _lock_out_peers(layout.peer_lock(pack_id), layout.pack_lock(pack_id))
        return V1Pack(layout, pack_id, lock, peer_lock)
    except FileExistsError:
        lock.release()
        return None
    except BaseException as error:
        if peer_lock:
            _let_in_peers(layout.peer_lock(pack_id), peer_lock)
        lock.release()
        if isinstance(error, IsADirectoryError):
            return None
        if isinstance(error, FileNotFoundError) and not os.path.lexists(layout.pack_lock(pack_id)):
            layout.refuse_another()
            return None
        raise

"""Locks between processes and threads: ``flock`` on files that are never deleted, freed by the kernel on death.

Every acquisition opens its own description, so that two threads of one process exclude each other as two processes
do. A lock that was refused is not held, and so never released, by the one refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Self

from rsdos.directory import sync_entries
from rsdos.sharing import inherit

_MOST_DESCRIPTION = 500
_MOST_BYTES = 4096
"""Of a lock file, which holds a line at most."""

_LOCK = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
IN_DIRECTORY = ".lock"
"""The file that is locked in the place of its directory, where directories cannot be locked."""

_MOST_TRIES = 1000
"""Times that a lock file is opened anew because another has its name. Where the number of a file changes whenever one
asks (some FUSE) that is so for ever; each removal of it by others makes one of those who wait try once more."""

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What the file system says where nothing can be locked."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Lock:
    """A held lock; a context manager that releases it. Made by `acquire` and `try_acquire`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pid = os.getpid()
        _held.add(self)

    def describe(self, holder: str) -> None:
        """Write into the file who holds the lock, for those who are refused. A full disk is no reason to fail."""
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, holder.encode(), 0)

    def fileno(self) -> int:
        """The descriptor of the locked file, for who writes into it what is read without the lock."""
        return self._fd

    def release(self) -> None:
        """Give the lock back. Idempotent. A forked child only drops its descriptor: the lock stays the parent's."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            if self._pid == os.getpid():
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _drop_inherited() -> None:
    """In a forked child: a descriptor that it keeps would hold the parent's lock beyond the parent's death."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_drop_inherited)


def _open(path: str) -> int:
    for _ in range(_MOST_TRIES):
        try:
            return os.open(path, _LOCK)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, _LOCK | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue  # Somebody else has made it meanwhile.
        inherit(path, fd)
        return fd
    raise OSError(errno.ESTALE, f"there and not there, {_MOST_TRIES} times", path)


def acquire(path: str) -> Lock:
    """Wait for the exclusive lock on the file at ``path`` (made if it is not there)."""
    return _lock(path, fcntl.LOCK_EX)


def share(path: str) -> Lock:
    """Wait for a shared lock on the file at ``path`` (made if it is not there): it keeps exclusive ones out."""
    return _lock(path, fcntl.LOCK_SH)


def try_acquire(path: str) -> Lock | None:
    """The exclusive lock on the file at ``path``, or None when somebody holds it."""
    try:
        return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _Refused:
        return None


def _lock(path: str, kind: int) -> Lock:
    for _ in range(_MOST_TRIES):
        fd = _open(path)
        _flock(fd, kind, path)
        # Somebody may have deleted the file, and a lock on what has no name keeps nobody out.
        with suppress(FileNotFoundError):
            status = os.fstat(fd)
            if os.path.samestat(status, os.stat(path)):
                if status.st_nlink <= 1 or kind & fcntl.LOCK_SH:
                    return Lock(fd)
                _make_own(path, fd)
        os.close(fd)
    reason = f"locked {_MOST_TRIES} times, and each time it was another file that had the name"
    raise OSError(errno.ESTALE, reason, path)


def _make_own(path: str, fd: int) -> None:
    """Put a copy in the place of a lock file that has another name too, in a copy of the container by ``cp -al``.

    What its holder writes into it would be said of both containers otherwise: that of `locks/commit` stops all writers
    of the other. The caller holds the lock on the file, exclusively: everybody who waits for it looks anew.
    """
    own = f"{path}.own"
    with suppress(FileNotFoundError):
        os.unlink(own)
    new = os.open(own, _LOCK | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        inherit(own, new)
        line = os.pread(fd, _MOST_BYTES, 0)
        done = 0
        while done < len(line):  # Most of it would be a line that says nothing.
            done += os.pwrite(new, line[done:], done)
        os.fsync(new)
    finally:
        os.close(new)
    os.rename(own, path)
    # A power loss that brought the shared one back would bring what the other container has written meanwhile.
    directory = os.open(os.path.dirname(path) or ".", _DIRECTORY)
    try:
        sync_entries(directory)
    finally:
        os.close(directory)


class _Refused(Exception):
    """Somebody else holds the lock."""


def _flock(fd: int, kind: int, path: str) -> None:
    """Lock an open file, or close it. Raises `_Refused`, and OSError with the path."""
    try:
        fcntl.flock(fd, kind)
    except OSError as error:
        os.close(fd)
        if kind & fcntl.LOCK_NB and error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _Refused from None
        error.filename = path
        raise
    except BaseException:
        os.close(fd)
        raise


def is_in_place(lock: Lock, path: str) -> bool:
    """Whether a held lock is on the file that is at ``path`` now: another keeps nobody out. Two calls."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def try_lock(fd: int) -> bool:
    """Lock an open file itself, exclusively, until it is closed or given to `unlock`; whether nobody else has it.

    Where its lock file is removed while it is held, this is what keeps others out of the file.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int) -> None:
    """Undo `try_lock`, also where a forked child has the file open as well."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def holder(path: str) -> str:
    """What the one who holds the lock, or held it last, has said of itself; "" where nothing is known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        return os.pread(fd, _MOST_DESCRIPTION, 0).decode(errors="replace")
    finally:
        os.close(fd)


def acquire_directory(path: str) -> Lock:
    """Wait for the exclusive lock on an existing directory. Raises FileNotFoundError."""
    return _lock_directory(path, fcntl.LOCK_EX)


def try_acquire_directory(path: str) -> Lock | None:
    """The exclusive lock on an existing directory, or None when somebody holds it. Raises FileNotFoundError."""
    try:
        return _lock_directory(path, fcntl.LOCK_EX | fcntl.LOCK_NB, os.O_NOFOLLOW)
    except _Refused:
        return None


def _lock_directory(path: str, kind: int, flags: int = 0) -> Lock:
    fd = os.open(path, _DIRECTORY | flags)
    try:
        _flock(fd, kind, path)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        # NFS makes of flock a lock for writing, and a directory cannot be opened for that.
        return _lock(os.path.join(path, IN_DIRECTORY), kind)
    return Lock(fd)

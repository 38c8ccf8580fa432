"""Locks between processes and threads: ``flock`` on files that are never deleted, freed by the kernel on death.

Every acquisition opens its own description, so that two threads of one process exclude each other as two processes
do. A lock that was refused is not held, and so never released, by the one refused. Who would wait for a lock that its
own thread holds, in a callback, a finalizer or the handler of a signal, would wait for ever: that is `Busy` at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Self

from rsdos.errors import Busy
from rsdos.storage.descriptors import Descriptor, Working, opening
from rsdos.storage.directory import remove_own, sync_entries
from rsdos.storage.permissions import inherit

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

OWN_THREAD = "this thread itself, which would wait for ever"
"""Who holds what a thread asks for in a callback, a finalizer or the handler of a signal."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Lock:
    """A held lock; a context manager that releases it. Made by `acquire` and `try_acquire`.

    It is released with the last reference too. In a forked child it is closed, and stays the parent's.
    """

    def __init__(self, path: str, flags: int = _LOCK) -> None:
        """Of a file that is there, which is not locked yet. Raises OSError."""
        self._path = path
        self._file = Working(opening(path, flags, 0o666))

    def take(self, kind: int, path: str) -> None:
        """Lock it. Raises `_Refused`, `Busy` instead of waiting for its own thread, and OSError with the path."""
        try:
            # Before it is locked: the handler of a signal may run as soon as flock has returned.
            status = os.fstat(self._file.fd)
            self._thread, self._kind = threading.get_ident(), kind
            self._inode = status.st_dev, status.st_ino
            _held[id(self)] = self
            try:
                fcntl.flock(self._file.fd, kind | fcntl.LOCK_NB)
            except OSError as error:
                if kind & fcntl.LOCK_NB or error.errno not in _TAKEN:
                    raise
                self._refuse_own(kind, path)
                fcntl.flock(self._file.fd, kind)
        except OSError as error:
            if kind & fcntl.LOCK_NB and error.errno in _TAKEN:
                raise _Refused from None
            error.filename = path
            _refuse_unsupported(error)
            raise

    def _refuse_own(self, kind: int, path: str) -> None:
        """Raise `Busy` when this thread has what it would wait for, or is about to have it."""
        ours = self._thread, self._inode
        for lock in filter(None, (reference() for reference in _held.valuerefs())):
            if lock is self or (lock._thread, lock._inode) != ours or lock._file.fd < 0:
                continue
            if (kind | lock._kind) & fcntl.LOCK_EX:
                raise Busy(path, OWN_THREAD)

    def describe(self, holder: str) -> None:
        """Write into the file who holds the lock, for those who are refused. A full disk is no reason to fail."""
        with suppress(OSError):
            os.ftruncate(self._file.fd, 0)
            os.pwrite(self._file.fd, holder.encode(), 0)

    @property
    def is_held(self) -> bool:
        """Whether this process holds it: not released, and not the parent's of a forked child."""
        return self._file.fd >= 0

    def write_note(self, data: bytes) -> None:
        """Write at the beginning of the locked file what others read without the lock. Raises OSError."""
        done = 0
        while done < len(data):
            done += os.pwrite(self._file.fd, data[done:], done)

    def is_in_place(self) -> bool:
        """Whether the locked file still has its name: another one of that name keeps nobody out. Two calls."""
        return is_in_place(self, self._path)

    def fileno(self) -> int:
        """The descriptor of the lock file. The holder may write to it; readers do not need the lock."""
        return self._file.fd

    def release(self) -> None:
        """Give the lock back. Idempotent. In a forked child nothing: the lock is the parent's."""
        if self._file.fd >= 0:
            try:
                # A child that is between its fork and its exec has a copy of the descriptor.
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)
            except OSError:
                pass  # It cannot be locked, and so never was.
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_held: weakref.WeakValueDictionary[int, Lock] = weakref.WeakValueDictionary()
"""By ``id``. Not a set: another thread may be at it, and this one copies all references in one step."""

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


def _open(path: str) -> Lock:
    for _ in range(_MOST_TRIES):
        try:
            return Lock(path)
        except FileNotFoundError:
            pass
        try:
            lock = Lock(path, _LOCK | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue  # Another process has made it first.
        inherit(path, lock.fileno())
        return lock
    raise OSError(errno.ESTALE, f"there and not there, {_MOST_TRIES} times", path)


def acquire(path: str) -> Lock:
    """Wait for the exclusive lock on the file at ``path`` (made if it is not there)."""
    return _lock(path, fcntl.LOCK_EX)


def acquire_shared(path: str) -> Lock:
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
        lock = _open(path)
        try:
            lock.take(kind, path)
            # Somebody may have deleted the file, and a lock on what has no name keeps nobody out.
            with suppress(FileNotFoundError):
                status = os.fstat(lock.fileno())
                if os.path.samestat(status, os.stat(path)):
                    if status.st_nlink <= 1 or kind & fcntl.LOCK_SH:
                        return lock
                    _make_own(path, lock.fileno())
        except BaseException:
            lock.release()  # Not with the last reference: a kept error keeps its frames, and so this lock.
            raise
        lock.release()
    reason = f"locked {_MOST_TRIES} times, and each time it was another file that had the name"
    raise OSError(errno.ESTALE, reason, path)


def _make_own(path: str, fd: int) -> None:
    """Put a copy in the place of a lock file that has another name too, in a copy of the container by ``cp -al``.

    What its holder writes into it would be said of both containers otherwise: that of `locks/commit` stops all writers
    of the other. The caller holds the lock on the file, exclusively: everybody who waits for it looks anew.
    """
    own = f"{path}.own"
    remove_own(own)
    with Working(opening(own, _LOCK | os.O_CREAT | os.O_EXCL, 0o666)) as new:
        inherit(own, new)
        line = os.pread(fd, _MOST_BYTES, 0)
        done = 0
        while done < len(line):  # Most of it would be a line that says nothing.
            done += os.pwrite(new, line[done:], done)
        os.fsync(new)
    os.rename(own, path)
    # A power loss that brought the shared one back would bring what the other container has written since.
    with Working(opening(os.path.dirname(path) or ".", _DIRECTORY)) as directory:
        sync_entries(directory)


class _Refused(Exception):
    """Somebody else holds the lock."""


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
        if error.errno in _TAKEN:
            return False
        _refuse_unsupported(error)
        raise
    return True


def _refuse_unsupported(error: OSError) -> None:
    """Raise ENOTSUP where EINVAL was said: so do some of FUSE, of a call that they do not have."""
    if error.errno == errno.EINVAL:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), error.filename) from error


def unlock(fd: int) -> None:
    """Undo `try_lock`, also where a forked child has the file open as well."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def holder(path: str) -> str:
    """What the one who holds the lock, or held it last, has said of itself; "" where nothing is known."""
    try:
        with Descriptor(opening(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd:
            return os.pread(fd, _MOST_DESCRIPTION, 0).decode(errors="replace")
    except OSError:
        return ""


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
    lock = Lock(path, _DIRECTORY | flags)
    try:
        lock.take(kind, path)
    except OSError as error:
        lock.release()
        if error.errno != errno.EBADF:
            raise
        # NFS makes of flock a lock for writing, and a directory cannot be opened for that.
        return _lock(os.path.join(path, IN_DIRECTORY), kind)
    except BaseException:
        lock.release()
        raise
    return lock

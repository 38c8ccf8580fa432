"""Locks between processes and threads: ``flock`` on files that are never deleted, freed by the kernel on death.

Every acquisition opens the file anew, so that two threads of one process exclude each other as two processes do. A
caller that was refused a lock does not hold it, and so never releases it. A callback, a finalizer or the handler of a
signal that waited for a lock of its own thread would wait forever: it gets `Busy` at once.
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
"""The most bytes that are read of a lock file, which holds a line at most."""

_LOCK = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
IN_DIRECTORY = ".lock"
"""The file that is locked instead of its directory, if directories cannot be locked."""

_MOST_TRIES = 1000
"""Times that a lock file is opened again, because another file has its name by then. Each removal of the file makes
a waiting caller try once more. On some FUSE the inode number of a file changes at every `stat`: there it never ends."""

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""Errors of file systems on which nothing can be locked."""

OWN_THREAD = "this thread itself, which would wait forever"
"""The holder that `Busy` names if a thread asks again for its own lock."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Lock:
    """A held lock; a context manager that releases it. Made by `acquire` and `try_acquire`.

    The last reference releases it too. In a forked child its descriptor is closed, and the parent keeps the lock.
    """

    def __init__(self, path: str, flags: int = _LOCK) -> None:
        """Open an existing file, without locking it. Raise OSError."""
        self._path = path
        self._file = Working(opening(path, flags, 0o666))

    def take(self, kind: int, path: str) -> None:
        """Lock the file. Raise `_Refused`, `Busy` instead of waiting for its own thread, and OSError with the path."""
        try:
            # Registered before it is locked: the handler of a signal may run as soon as flock has returned.
            self._status = status = os.fstat(self._file.fd)
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
        """Raise `Busy` if this thread holds the lock that it would wait for, or is about to hold it."""
        ours = self._thread, self._inode
        for lock in filter(None, (reference() for reference in _held.valuerefs())):
            if lock is self or (lock._thread, lock._inode) != ours or lock._file.fd < 0:
                continue
            if (kind | lock._kind) & fcntl.LOCK_EX:
                raise Busy(path, OWN_THREAD)

    def describe(self, holder: str) -> None:
        """Write into the file who holds the lock, for callers that are refused. A full disk is no error."""
        with suppress(OSError):
            os.ftruncate(self._file.fd, 0)
            os.pwrite(self._file.fd, holder.encode(), 0)

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock: it is not released, and not inherited by a fork."""
        return self._file.fd >= 0

    def write_note(self, data: bytes) -> None:
        """Write at the beginning of the locked file. Others read it without the lock. Raise OSError."""
        done = 0
        while done < len(data):
            done += os.pwrite(self._file.fd, data[done:], done)

    def is_in_place(self) -> bool:
        """Return whether the locked file still has its name. If not, the lock keeps nobody out. Two system calls."""
        return is_in_place(self.fileno(), self._path)

    def fileno(self) -> int:
        """Return the descriptor of the lock file. The holder may write to it; readers do not need the lock."""
        return self._file.fd

    def release(self) -> None:
        """Release the lock. Idempotent. In a forked child do nothing: the lock is the parent's."""
        if self._file.fd >= 0:
            try:
                # Unlock, not only close: a child between its fork and its exec has a copy of the descriptor.
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)
            except OSError:
                pass  # This file cannot be locked, and so never was.
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_held: weakref.WeakValueDictionary[int, Lock] = weakref.WeakValueDictionary()
"""The held locks by ``id``. Not a set: of a dict all references are copied in one step, beside other threads."""

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
    raise OSError(errno.ESTALE, f"the lock file came and went {_MOST_TRIES} times", path)


def acquire(path: str) -> Lock:
    """Wait for the exclusive lock on the file at ``path``, and return it. Make the file if it is missing."""
    return _lock(path, fcntl.LOCK_EX)


def acquire_shared(path: str) -> Lock:
    """Wait for a shared lock on the file at ``path``; it keeps exclusive ones out. Make the file if it is missing."""
    return _lock(path, fcntl.LOCK_SH)


def try_acquire(path: str) -> Lock | None:
    """Return the exclusive lock on the file at ``path``, or None if another caller holds it."""
    try:
        return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _Refused:
        return None


def _lock(path: str, kind: int) -> Lock:
    for _ in range(_MOST_TRIES):
        lock = _open(path)
        try:
            lock.take(kind, path)
            # The file may have been deleted, and a lock on a file without a name keeps nobody out.
            with suppress(FileNotFoundError):
                status = os.stat(path)
                if os.path.samestat(status, lock._status):
                    if status.st_nlink <= 1 or kind & fcntl.LOCK_SH:
                        return lock
                    _make_own(path, lock.fileno())
        except BaseException:
            lock.release()  # At once: an error that is kept would keep its frames, and so this lock.
            raise
        lock.release()
    reason = f"locked {_MOST_TRIES} times, and each time it was another file that had the name"
    raise OSError(errno.ESTALE, reason, path)


def _make_own(path: str, fd: int) -> None:
    """Replace a lock file that has a second name, in a copy of the container by ``cp -al``, by a copy of the file.

    Otherwise a note of its holder would count for both containers: that in `locks/commit` stops all writers of the
    other. The caller holds the exclusive lock on the file; every process that waits for it opens the new file.
    """
    own = f"{path}.own"
    remove_own(own)
    with Working(opening(own, _LOCK | os.O_CREAT | os.O_EXCL, 0o666)) as new:
        inherit(own, new)
        line = os.pread(fd, _MOST_BYTES, 0)
        done = 0
        while done < len(line):  # A part of the line would mean nothing.
            done += os.pwrite(new, line[done:], done)
        os.fsync(new)
    os.rename(own, path)
    # Synced, because a power loss could bring the shared file back, with what the other container has written since.
    with Working(opening(os.path.dirname(path) or ".", _DIRECTORY)) as directory:
        sync_entries(directory)


class _Refused(Exception):
    """Another caller holds the lock."""


def is_in_place(fd: int, path: str) -> bool:
    """Return whether an open file is the one at ``path`` now. If not, a lock on it keeps nobody out. Two calls."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def try_lock(fd: int) -> bool:
    """Lock an open file itself, exclusively, until it is closed or given to `unlock`. Return False if another has it.

    If its lock file is removed while it is held, this still keeps others out of the file.
    """
    return _try_lock(fd, fcntl.LOCK_EX)


def try_lock_shared(fd: int) -> bool:
    """Do `try_lock`, for a lock that others may share. A lock that is held already is exchanged, not in one step."""
    return _try_lock(fd, fcntl.LOCK_SH)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        _refuse_unsupported(error)
        raise
    return True


def _refuse_unsupported(error: OSError) -> None:
    """Raise ENOTSUP for EINVAL, by which some FUSE file systems say that they lack a call."""
    if error.errno == errno.EINVAL:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), error.filename) from error


def unlock(fd: int) -> None:
    """Undo `try_lock` and `try_lock_shared`, even if a forked child has the file open as well."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def holder(path: str) -> str:
    """Return the text that the present or last holder of the lock has left; "" if there is none."""
    try:
        with Descriptor(opening(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)) as fd:
            return os.pread(fd, _MOST_DESCRIPTION, 0).decode(errors="replace")
    except OSError:
        return ""


def acquire_directory(path: str) -> Lock:
    """Wait for the exclusive lock on an existing directory, and return it. Raise FileNotFoundError."""
    return _lock_directory(path, fcntl.LOCK_EX)


def try_acquire_directory(path: str) -> Lock | None:
    """Return the exclusive lock on an existing directory, or None if another holds it. Raise FileNotFoundError."""
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
        # NFS turns flock into a lock that needs a file open for writing, and a directory cannot be opened so.
        return _lock(os.path.join(path, IN_DIRECTORY), kind)
    except BaseException:
        lock.release()
        raise
    return lock

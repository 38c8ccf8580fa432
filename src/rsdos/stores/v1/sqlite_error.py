"""The meaning of SQLite's errors: another program has a lock, the disk is full, a wrong call, or damage."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sqlite3
import tempfile

from rsdos.errors import Busy, DamagedContainer, ReadOnlyContainer, means_full
from rsdos.layout import V1Layout
from rsdos.storage import posix

LOG_ROOM = 128 << 10
"""Bytes that a commit needs besides the index: 32 KiB that processes share, and a log of a few pages."""

NO_RANGE_LOCKS = "its file system has no locks of a range of bytes (fcntl), which SQLite, and so version 1, needs"

_OTHERS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,  # The log stayed locked: a stopped process holds the lock.
        sqlite3.SQLITE_SCHEMA,  # The schema changed each time that the statement was prepared again.
    }
)
"""Another program holds a lock."""

_OWN = frozenset(
    {
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_ABORT,  # The transaction ended while a statement was running.
    }
)
"""A call at the wrong moment, from another thread or a finalizer. The file is not at fault."""

_REFUSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})

_IO_OF_SYNCS = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})

_IO_OF_LOCKS = frozenset(
    {
        sqlite3.SQLITE_IOERR_BLOCKED,
        sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_IOERR_UNLOCK,
    }
)
"""Disk errors of SQLite that come from a lock: a lock server does not answer."""


def primary(error: sqlite3.Error) -> int:
    """Return SQLite's primary error code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def translated(error: sqlite3.Error, layout: V1Layout) -> Exception:
    """Return the error to raise instead of SQLite's.

    Errors without another meaning are damage: the file is no database (NOTADB, CORRUPT), not an index of a container
    (ERROR, CONSTRAINT, MISMATCH, TOOBIG: foreign tables and values), or cannot be read (IOERR, CANTOPEN).
    """
    own = isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError))
    code, extended = primary(error), getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if own or code in _OWN:
        return Busy(layout.database, f"another call of this program: {error}")
    if code == sqlite3.SQLITE_NOMEM or extended == sqlite3.SQLITE_IOERR_NOMEM:
        return MemoryError(str(error))
    if code in _OTHERS or extended in _IO_OF_LOCKS:
        return Busy(layout.database)
    if code in _REFUSED:
        return ReadOnlyContainer(layout.root, str(error))
    if code == sqlite3.SQLITE_NOLFS:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG), layout.database)
    if code == sqlite3.SQLITE_INTERRUPT:
        return DamagedContainer(layout.database, "a query takes more steps than an index of this size needs")
    return no_room(layout.database, error) or DamagedContainer(layout.database, str(error))


def left_nothing(error: OSError) -> bool:
    """Return whether an error of a commit means that no room was left for it, so that none of it was written.

    A disk or a quota may also turn out to be full when written bytes are synced. Then the whole commit is in SQLite's
    log, and a crash brings it back.
    """
    return means_full(error) and getattr(error.__cause__, "sqlite_errorcode", None) not in _IO_OF_SYNCS


def not_made(path: str, error: sqlite3.Error) -> OSError:
    """Return the error to raise if no index can be made at a path. It is not damage: there was none before."""
    if full := no_room(path, error):
        return full
    root = os.path.dirname(path)
    return ReadOnlyContainer(root, NO_RANGE_LOCKS if lacks_locks(root) else f"SQLite can make no index here: {error}")


def lacks_locks(directory: str) -> bool:
    """Return whether the file system lacks locks of byte ranges, which SQLite needs even for reading. Try it on a file.

    Return False if a lock server does not answer, or if the directory cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
    return False


def no_room(path: str, error: sqlite3.Error) -> OSError | None:
    """Return the error of a full disk, a quota or a limit of files that has caused an error of SQLite's, or None.

    Over a quota, SQLite says "disk I/O error", or that it cannot open a file. So some bytes are written beside the
    index to find out. It says the same where a process may write only small files (``ulimit -f``).
    """
    code = primary(error)
    if code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return None
    most, needed = resource.getrlimit(resource.RLIMIT_FSIZE)[0], posix.length_of(path) + LOG_ROOM
    if most != resource.RLIM_INFINITY and most < needed:
        reason = f"this process may write {most >> 10} KiB to a file (ulimit -f), and SQLite needs {-(-needed >> 10)}"
        return OSError(errno.EFBIG, reason, path)
    number = errno.ENOSPC
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(path), buffering=0) as file:
            file.write(os.urandom(LOG_ROOM))
            os.fsync(file.fileno())
    except OSError as found:
        if not means_full(found):
            return None
        number = found.errno or number
    else:
        if code != sqlite3.SQLITE_FULL:
            return None
    reason = f"{os.strerror(number)}: to write, SQLite needs {LOG_ROOM >> 10} KiB; free that much"
    return OSError(number, reason, path)

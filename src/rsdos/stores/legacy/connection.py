"""Connections to the index of container version 1: how it is made, opened, kept and given up.

Nothing but SQLite opens the file while the container is in use: whoever closes a descriptor of it gives up all locks
that his process has on it (POSIX), and with them those of SQLite's connections, unknown to it. The next program to
close its last connection then takes itself for the last of all, and removes the log that ours go on to commit to.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from contextlib import ExitStack, closing
from urllib.parse import quote

from rsdos import fsio
from rsdos.errors import DamagedContainer, ReadOnlyContainer
from rsdos.layout import LegacyLayout

_TABLE = (
    "CREATE TABLE db_object (id INTEGER NOT NULL, hashkey VARCHAR NOT NULL, compressed BOOLEAN NOT NULL, "
    'size INTEGER NOT NULL, "offset" INTEGER NOT NULL, length INTEGER NOT NULL, pack_id INTEGER NOT NULL, '
    "PRIMARY KEY (id))"
)
_SCHEMA = (_TABLE, "CREATE UNIQUE INDEX ix_db_object_hashkey ON db_object (hashkey)")
"""To the letter what disk-objectstore 1.5.0 makes."""

_NAMES = {"id", "hashkey", "compressed", "size", "offset", "length", "pack_id"}

_PATIENCE = 60.0
"""Seconds to wait for another program's lock: disk-objectstore commits a whole pack at once."""

_log = logging.getLogger("rsdos")


class Connection(sqlite3.Connection):
    """A connection of one thread of one process, open to be written or not."""

    pid = 0
    is_immutable = False
    path = ""
    file: tuple[int, int] = (0, 0)
    """Device and inode of the index."""

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self.close()

    def version(self) -> object:
        """A value that changes when others commit."""
        if self.is_immutable:
            status = os.stat(self.path)
            return status.st_mtime_ns, status.st_size
        return self.execute("PRAGMA data_version").fetchone()


class Parked(threading.local):
    """This thread's connections that were given up, the last few of them.

    Who opens and closes a container for each object (AiiDA does) pays 350 us for a connection, mostly because the
    last one to close makes SQLite remove its log and the next one make it again; one that is kept costs 5.
    """

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def put(self, connection: Connection) -> None:
        """Keep a connection, in the place of the one that was kept longest."""
        if not connection.is_immutable and not connection.in_transaction:
            self._connections[connection.path] = connection
            while len(self._connections) > _MOST_PARKED:
                del self._connections[next(iter(self._connections))]

    def take(self, path: str) -> Connection | None:
        """The connection to what is the file at ``path`` now, if there is one."""
        connection = self._connections.pop(path, None)
        if connection is None:
            return None
        if connection.pid != os.getpid():
            inherited.append(connection)
            return None
        try:
            status = os.stat(path)
        except OSError:
            return None
        return connection if connection.file == (status.st_dev, status.st_ino) else None


_MOST_PARKED = 4

parked = Parked()

inherited: list[Connection] = []
"""The connections of a parent: SQLite forbids to use them, or to close them, in a child."""


def create_database(path: str) -> None:
    """Make an empty index. Raises OSError, sqlite3's among them as `DamagedContainer`."""
    try:
        # SQLite gives its log the rights of the file that is there.
        os.close(fsio.create(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _prefer_wal(connection, path)
            connection.execute("BEGIN")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise DamagedContainer(path, str(error)) from error


def _prefer_wal(connection: sqlite3.Connection, path: str) -> None:
    """A write-ahead log lets readers go on while somebody commits; it needs memory that processes share."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=wal").fetchone()
    except sqlite3.OperationalError:
        mode = "delete"
    if mode != "wal":
        _log.warning("%s: no write-ahead log here (a network file system?): readers wait for commits", path)


def connect(layout: LegacyLayout) -> Connection:
    path = layout.database
    if not os.path.exists(path):
        raise DamagedContainer(path, "the index is missing")
    writable = can_write(layout)
    try:
        return _opened(path, "mode=rw" if writable else "mode=ro")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_IOERR,
        ):
            raise
        if writable and not fsio.has_other_names(path):  # Of another container as well: nothing is changed in it.
            _need_descriptors(path)
            return without_shared_memory(path)
        log = f"{path}-wal"
        if os.path.exists(log) and os.path.getsize(log):
            reason = "its log has changes that only a user with write permission can bring in"
            raise ReadOnlyContainer(layout.root, reason) from error
    return _opened(path, "mode=ro&immutable=1", is_immutable=True)


def _need_descriptors(path: str) -> None:
    """Raise OSError when it was for want of descriptors: SQLite, which needs three, does not tell that from others."""
    with ExitStack() as opened:
        for _ in range(3):
            opened.callback(os.close, fsio.open_directory(os.path.dirname(path)))


def _is_cut_short(connection: Connection) -> bool:
    """Whether a part of the last page is missing: SQLite may take what is left of it for a table that is empty.

    Whole pages it misses itself. While there is a log or a journal the file may be shorter than it says.
    """
    (page,), (pages,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count"))
    path = connection.path
    return os.stat(path).st_size < page * pages and not any(map(fsio.length_of, (f"{path}-wal", f"{path}-journal")))


def can_write(layout: LegacyLayout) -> bool:
    """Whether the file system lets us write the index, and make the files that SQLite needs beside it."""
    return os.access(layout.database, os.W_OK) and os.access(layout.root, os.W_OK)


def _opened(path: str, how: str, is_immutable: bool = False) -> Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?{how}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    try:
        connection.pid, connection.path, connection.is_immutable = os.getpid(), path, is_immutable
        status = os.stat(path)
        connection.file = status.st_dev, status.st_ino
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        names = {name for _, name, *_ in connection.execute("PRAGMA table_info(db_object)")}
        # Twice: the log may have been brought in and removed between two of the calls.
        if _is_cut_short(connection) and _is_cut_short(connection):
            raise DamagedContainer(path, "the index is cut short")
    except BaseException:
        connection.close()
        raise
    if not names >= _NAMES:
        connection.close()
        lacking = "table db_object" if not names else f"column {min(_NAMES - names)}"
        raise DamagedContainer(path, f"not the index of a container: no {lacking}")
    return connection


def without_shared_memory(path: str) -> Connection:
    """Give the write-ahead log up: in exclusive mode SQLite can read it without shared memory, once."""
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    finally:
        connection.close()
    _log.warning("%s: no shared memory here (a network file system?): went from a log to a rollback journal", path)
    return _opened(path, "mode=rw")


def copy_alone(path: str, target: str) -> None:
    """Write a copy of an index, log and all, to a new file. Raises sqlite3.OperationalError when anybody has it open.

    They would go on with the file that they have, which is somebody else's then.
    """
    with (
        closing(sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=0, isolation_level=None)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        # In this mode SQLite shares nothing with other programs, and keeps the lock until the end.
        old.execute("PRAGMA locking_mode=EXCLUSIVE")
        old.execute("BEGIN EXCLUSIVE")
        old.execute("ROLLBACK")
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")

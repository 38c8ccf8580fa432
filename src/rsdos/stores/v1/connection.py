"""Connections to the index of container version 1: making, opening, keeping and closing them.

Only SQLite opens the file while the container is in use. A process that closes any descriptor of a file releases all of
its locks on the file (POSIX), and so also those of SQLite's connections, which SQLite does not notice. Another program
that closes its last connection would then take itself for the last user, and remove the log to which this process still
commits.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import repeat
from typing import Any
from urllib.parse import quote

from rsdos.errors import DamagedContainer, ReadOnlyContainer
from rsdos.layout import V1Layout
from rsdos.storage import posix
from rsdos.stores.v1.schema import COLUMNS, SCHEMA, check_schema
from rsdos.stores.v1.sqlite_error import NO_RANGE_LOCKS, lacks_locks, no_room, not_made, primary

_PATIENCE = 60.0
"""Seconds to wait for another program's lock: disk-objectstore commits a whole pack at once."""

_MOST_VALUE = 1 << 20
"""The most bytes of a value (the longest ones are keys) and of a statement (which may have a thousand values)."""

_STEPS = 1 << 20
"""Steps of SQLite's machine (10 to 20 ms) between two checks whether a statement may continue."""

_PATIENT = 50
"""The number of checks after which every statement may still continue, whatever the size of the file."""

_STEPS_PER_BYTE = 4
"""The steps that a statement may take besides, for each byte of the file. A row has 170 bytes, and takes 30 steps in
the longest statement."""

_log = logging.getLogger("rsdos")


class Connection:
    """A connection of one process, for reading or also for writing. One thread at a time uses it.

    It is closed by `close`, or with the last reference: SQLite's own object is part of a cycle, and would keep its
    three descriptors until the garbage collector runs. In a forked child it is neither used nor closed: SQLite forbids
    both.
    """

    patience = _PATIENT

    _getpid = staticmethod(os.getpid)
    """An attribute of the class: at its end the interpreter removes a module's names before the last connections."""

    def __init__(self, path: str, how: str, *, is_immutable: bool = False) -> None:
        self.path = path
        self.pid = os.getpid()
        self.is_immutable = is_immutable
        self.writer: weakref.ref[object] | None = None
        """The object that has begun a transaction and must end it."""
        self._left: deque[int] = deque()
        self._sqlite: sqlite3.Connection | None = sqlite3.connect(
            f"file:{quote(path)}?{how}", uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        status = os.stat(path)
        self.file = status.st_dev, status.st_ino
        """Device and inode of the index."""

    @property
    def sqlite(self) -> sqlite3.Connection:
        """Return SQLite's own connection. Raise `sqlite3.ProgrammingError` if it is closed."""
        if self._sqlite is None:
            raise sqlite3.ProgrammingError("this connection is closed")
        return self._sqlite

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open, and belongs to this process."""
        return self._sqlite is not None and self.pid == os.getpid()

    def guard(self) -> None:
        """Limit what a hostile file can make SQLite do."""
        sqlite = self.sqlite
        for limit, most in (
            (sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE),
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MOST_VALUE),
            (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 1),  # VACUUM needs one.
        ):
            sqlite.setlimit(limit, most)
        if sys.version_info >= (3, 12):  # An extra guard: the check of the schema refuses triggers and views already.
            sqlite.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
            sqlite.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            sqlite.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
        # Not a Python function: an interrupt in one is lost. An empty queue raises an error, which ends it.
        sqlite.set_progress_handler(self._left.popleft, _STEPS)
        sqlite.execute("PRAGMA trusted_schema=OFF")
        sqlite.execute("PRAGMA cell_size_check=ON")
        sqlite.execute("PRAGMA cache_size=-2000")  # SQLite's default, whatever the file says.

    def look_at_size(self) -> None:
        """Set the steps that a statement over all rows may take, by the present size of the file."""
        length = sum(map(posix.length_of, (self.path, f"{self.path}-wal")))
        self.patience = _PATIENT + length * _STEPS_PER_BYTE // _STEPS

    def execute(self, query: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a statement. If it takes more steps than the size of the file explains, it is interrupted.

        Keep this connection while fetching the answers.
        """
        if len(self._left) < self.patience:
            self._left.extend(repeat(0, self.patience - len(self._left)))
        return self.sqlite.execute(query, values)

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of the result."""
        return self.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[object] = ()) -> Any:
        """Return the first row of the result, or None."""
        return self.execute(query, values).fetchone()

    def change(self, query: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute a statement for many rows. Return how many were changed."""
        return self.sqlite.executemany(query, rows).rowcount

    def commit(self) -> None:
        """Commit a transaction."""
        self.execute("COMMIT")

    def undo(self) -> None:
        """Roll back the open transaction, if this process has begun it. Never raise."""
        if self.is_usable:
            with suppress(sqlite3.Error):
                self.sqlite.rollback()

    def version(self) -> object:
        """Return a value that changes when another connection commits."""
        if self.is_immutable:
            status = os.stat(self.path)
            return status.st_mtime_ns, status.st_size
        return self.one("PRAGMA data_version")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        sqlite, self._sqlite = self._sqlite, None
        if sqlite is None:
            return
        if self.pid == self._getpid():
            sqlite.close()
        else:
            _keep_for_ever(sqlite)

    def __del__(self) -> None:
        if getattr(self, "_sqlite", None) is not None:
            self.close()


def _keep_for_ever(connection: sqlite3.Connection) -> None:
    """Keep a parent's connection from being closed at the end of the interpreter.

    Closing it would end the parent's transaction in the memory that both processes share.
    """
    import ctypes  # Needed only here.

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


class CachedConnections:
    """The connections that were kept when their containers were closed, the last few of them.

    A program that opens and closes a container for each object (AiiDA does) pays 350 us for a connection, mostly
    because SQLite removes its log with the last connection and makes it again for the next. A kept one costs 5 us.
    """

    def __init__(self) -> None:
        self._connections: dict[tuple[str, int], Connection] = {}
        """The connections of all threads, by path and thread. Taking one out, or listing them, is atomic."""

    def put(self, connection: Connection) -> None:
        """Keep a connection, and drop the oldest kept one if there are too many."""
        if connection.is_usable and not connection.is_immutable and not connection.sqlite.in_transaction:
            self._connections[connection.path, threading.get_ident()] = connection
            for oldest in list(self._connections)[:-_MOST_PARKED]:
                self._connections.pop(oldest, None)

    def take(self, path: str) -> Connection | None:
        """Return the connection to the file that is at ``path`` now, if one is kept."""
        connection = self._connections.pop((path, threading.get_ident()), None)
        if connection is None or not connection.is_usable:
            return None
        try:
            status = os.stat(path)
        except OSError:
            return None
        return connection if connection.file == (status.st_dev, status.st_ino) else None

    def drop(self, path: str) -> None:
        """Close the connections of all threads to the index at ``path``."""
        for key in list(self._connections):
            if key[0] == path:
                self._connections.pop(key, None)


BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite appends to the index's name for its own files."""

_MOST_PARKED = 8
"""Enough for two threads with four containers each. A connection has three descriptors."""

parked = CachedConnections()


def create_database(path: str) -> None:
    """Make an empty index. Raise OSError, and `ReadOnlyContainer` if SQLite cannot work there.

    With a write-ahead log, readers are not blocked by a commit; it needs memory that processes share.
    """
    try:
        _create(path, "wal")
    except sqlite3.Error:
        try:
            _create(path, "delete")
        except sqlite3.Error as error:
            raise not_made(path, error) from error
        _log.warning("%s: no write-ahead log here (a network file system?): readers wait for commits", path)


def _create(path: str, journal: str) -> None:
    try:
        # SQLite gives its log the permissions of the index.
        posix.create(path).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            (mode,) = connection.execute(f"PRAGMA journal_mode={journal}").fetchone()
            if mode != journal:
                raise sqlite3.OperationalError(f"its journal mode is {mode}, not {journal}")
            connection.execute("BEGIN")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
    except sqlite3.Error:
        for suffix in ("", *BESIDE):
            posix.remove(path + suffix)
        raise


def connect(layout: V1Layout) -> Connection:
    """Open the index, for reading at least. Raise `DamagedContainer`, `ReadOnlyContainer`, OSError, `sqlite3.Error`."""
    path = layout.database
    if not os.path.exists(path):
        raise DamagedContainer(path, "the index is missing")
    _refuse_foreign_files(layout)
    writable = can_write(layout)
    try:
        return _opened(path, "mode=rw" if writable else "mode=ro")
    except sqlite3.OperationalError as error:
        if writable and (full := no_room(path, error)):
            # Reading an index without a log needs no room on the disk; writing it needs room for a log.
            if _has_log(path):
                raise full from error
            return _opened(path, "mode=ro&immutable=1", is_immutable=True)
        # Without locks the index cannot be written, and is read as on a read-only mount.
        is_lockless = writable and lacks_locks(layout.root)
        known = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
        if primary(error) not in known and not is_lockless:
            raise
        if (
            writable and not is_lockless and not posix.has_other_names(path)
        ):  # An index that another container shares is not changed.
            _need_descriptors(path)
            return without_shared_memory(path)
        if _has_log(path):
            reason = "its log has changes that only a user with write permission can add to the index"
            raise ReadOnlyContainer(layout.root, NO_RANGE_LOCKS if is_lockless else reason, "opened") from error
    return _opened(path, "mode=ro&immutable=1", is_immutable=True)


def _refuse_foreign_files(layout: V1Layout) -> None:
    """Raise `ReadOnlyContainer` if a file that SQLite writes beside the index has another name, and the index has not.

    It could be any file of the user. In a copy by ``cp -al`` of a container that is open, the index has two names too.
    """
    for suffix in BESIDE:
        path = layout.database + suffix
        if posix.has_other_names(path) and os.path.isfile(path) and not posix.has_other_names(layout.database):
            reason = f"its {layout.relative(path)} has another name: use a copy of the container made with `cp -a`"
            raise ReadOnlyContainer(layout.root, reason, "opened")


def _has_log(path: str) -> bool:
    return posix.length_of(f"{path}-wal") > 0


def _need_descriptors(path: str) -> None:
    """Raise OSError if there are no descriptors left: SQLite needs three, and has no error for that."""
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(posix.open_directory(os.path.dirname(path)))


def _is_cut_short(connection: Connection) -> bool:
    """Return whether a part of the last page is missing. SQLite might take the rest of it for an empty table.

    SQLite itself notices missing whole pages. While there is a log or a journal the file may be shorter than it says.
    """
    (page,), (pages,) = (connection.one(f"PRAGMA {name}") for name in ("page_size", "page_count"))
    path = connection.path
    return os.stat(path).st_size < page * pages and not any(map(posix.length_of, (f"{path}-wal", f"{path}-journal")))


def can_write(layout: V1Layout) -> bool:
    """Return whether the index can be written, and the files that SQLite needs beside it can be made."""
    return os.access(layout.database, os.W_OK) and os.access(layout.root, os.W_OK)


def _opened(path: str, how: str, *, is_immutable: bool = False) -> Connection:
    connection = Connection(path, how, is_immutable=is_immutable)
    try:
        connection.guard()
        check_schema(connection.sqlite, path)
        connection.look_at_size()
        names = {name for _, name, *_ in connection.all("PRAGMA table_info(db_object)")}
        # Checked twice: the log may be merged into the file and removed between two of these calls.
        if _is_cut_short(connection) and _is_cut_short(connection):
            raise DamagedContainer(path, "the index is cut short")
        if not names >= COLUMNS:
            lacking = "table db_object" if not names else f"column {min(COLUMNS - names)}"
            raise DamagedContainer(path, f"not the index of a container: no {lacking}")
    except BaseException:
        connection.close()
        raise
    return connection


def without_shared_memory(path: str) -> Connection:
    """Change from the write-ahead log to a journal: in exclusive mode SQLite can read the log without shared memory."""
    # Never make the file: it may just be replaced.
    connection = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    finally:
        connection.close()
    _log.warning("%s: no shared memory here (a network file system?): went from a log to a rollback journal", path)
    return _opened(path, "mode=rw")


def copy_alone(path: str, target: str) -> None:
    """Write a copy of an index with its log to a new file. Raise sqlite3.OperationalError if any program has it open.

    That program would continue to use the old file, which will belong only to the other container.
    """
    with (
        closing(sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=0, isolation_level=None)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        # In this mode SQLite shares nothing with other programs, and keeps the lock until it closes.
        old.execute("PRAGMA locking_mode=EXCLUSIVE")
        old.execute("BEGIN EXCLUSIVE")
        old.execute("ROLLBACK")
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")

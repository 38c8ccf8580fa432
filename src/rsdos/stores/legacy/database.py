"""The index of container version 1: the one door to SQLite.

One table, ``db_object`` (hashkey, compressed, size, offset, length, pack_id), as disk-objectstore makes it. Its rows
come from outside: every number is checked before it is used.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from rsdos.errors import Busy, DamagedContainer, ReadOnlyContainer
from rsdos.layout import LegacyLayout
from rsdos.model import Durability

_TABLE = (
    "CREATE TABLE db_object (id INTEGER NOT NULL, hashkey VARCHAR NOT NULL, compressed BOOLEAN NOT NULL, "
    'size INTEGER NOT NULL, "offset" INTEGER NOT NULL, length INTEGER NOT NULL, pack_id INTEGER NOT NULL, '
    "PRIMARY KEY (id))"
)
_SCHEMA = (_TABLE, "CREATE UNIQUE INDEX ix_db_object_hashkey ON db_object (hashkey)")
"""To the letter what disk-objectstore 1.5.0 makes."""

_COLUMNS = 'hashkey, compressed, size, "offset", length, pack_id'
_NAMES = {"id", "hashkey", "compressed", "size", "offset", "length", "pack_id"}

_PATIENCE = 60.0
"""Seconds to wait for another program's lock: disk-objectstore commits a whole pack at once."""

_IN = 10_000
"""Keys of one IN list: SQLite takes 32,766; with 10,000 a lookup costs 3 us a key, with 950 (as the peer) 4."""

_PAGE = 4096
"""Rows that are fetched at a time."""

_MOST = 1 << 62

_log = logging.getLogger("rsdos")
_T = TypeVar("_T")


class Row(NamedTuple):
    """An object in a pack: ``size`` raw bytes in ``length`` stored bytes from ``offset``."""

    key: str
    compressed: int
    size: int
    offset: int
    length: int
    pack_id: int


class Sums(NamedTuple):
    """The rows added up."""

    objects: int
    size: int
    length: int


class Sight(NamedTuple):
    """What a connection saw: two of the same connection that are equal have seen the same rows."""

    connection: int
    version: object


class Database:
    """The rows of one container. Any number of threads, each with a connection of its own; a fork makes new ones.

    Every method raises `DamagedContainer` when the file is no such index, `Busy` when another program keeps it locked,
    and `ReadOnlyContainer` for a write without permission. Reads never write; without write permission the index is
    read as it is.
    """

    def __init__(self, layout: LegacyLayout) -> None:
        self._layout = layout
        self._path = layout.database
        self._local = threading.local()

    # Reading.

    def find(self, key: str) -> Row | None:
        """The row of a key."""
        with self._errors():
            query = f"SELECT {_COLUMNS} FROM db_object WHERE hashkey = ?"
            row = self._connection().execute(query, (key,)).fetchone()
        return None if row is None else _checked(row, self._path)

    def find_many(self, keys: Sequence[str]) -> list[Row]:
        """The rows of those keys that have one, in no particular order. A key that comes twice is found once."""
        rows: list[Row] = []
        with self._errors():
            for at in range(0, len(keys), _IN):
                some = keys[at : at + _IN]
                query = f"SELECT {_COLUMNS} FROM db_object WHERE hashkey IN ({','.join('?' * len(some))})"
                rows += self._connection().execute(query, tuple(some)).fetchall()
        return [_checked(row, self._path) for row in rows]

    def keys(self, prefix: str = "") -> Iterator[list[str]]:
        """All keys that begin with ``prefix``, sorted, in lists of bounded size."""
        last = prefix
        query = "SELECT hashkey FROM db_object WHERE hashkey >= ? ORDER BY hashkey LIMIT ?"
        later = query.replace(">=", ">")
        while True:
            with self._errors():
                rows = self._connection().execute(query, (last, _PAGE)).fetchall()
            keys = [key for (key,) in rows if isinstance(key, str) and key.startswith(prefix)]
            yield keys
            if len(keys) < _PAGE:
                return
            last, query = keys[-1], later

    def rows(self, pack_id: int) -> Iterator[list[Row]]:
        """The rows of one pack in the order of their offsets, in lists of bounded size; as they are at the first."""
        query = f'SELECT {_COLUMNS} FROM db_object WHERE pack_id = ? ORDER BY "offset"'
        with self._errors():
            cursor = self._connection().execute(query, (pack_id,))
        try:
            while True:
                with self._errors():
                    rows = cursor.fetchmany(_PAGE)
                if not rows:
                    return
                yield [_checked(row, self._path) for row in rows]
        finally:
            cursor.close()

    def sums(self) -> dict[int, Sums]:
        """What the rows of each pack add up to."""
        query = "SELECT pack_id, COUNT(*), TOTAL(size), TOTAL(length) FROM db_object GROUP BY pack_id ORDER BY pack_id"
        with self._errors():
            rows = self._connection().execute(query).fetchall()
        return {pack_id: Sums(count, int(size), int(length)) for pack_id, count, size, length in rows}

    def count(self) -> int:
        """How many rows there are."""
        with self._errors():
            (count,) = self._connection().execute("SELECT COUNT(*) FROM db_object").fetchone()
        assert isinstance(count, int)
        return count

    def sight(self) -> Sight:
        """What this thread's connection sees now."""
        with self._errors():
            connection = self._connection()
            return Sight(id(connection), connection.version())

    def check(self) -> None:
        """SQLite's own check of the file."""
        with self._errors():
            (answer,) = self._connection().execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise DamagedContainer(self._path, str(answer))

    # Writing.

    @contextmanager
    def writing(self, durability: Durability = Durability.FULL) -> Iterator[Transaction]:
        """A transaction: committed at the end of the block, and then on stable storage; undone when it raises."""
        with self._errors():
            connection = self._connection()
            if connection.is_immutable:
                raise ReadOnlyContainer(self._layout.root, "no permission to write packs.idx")
            level = "FULL" if durability is Durability.FULL else "NORMAL"
            connection.execute(f"PRAGMA synchronous={level}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def vacuum(self) -> None:
        """Give the space of deleted rows back to the file system."""
        with self._errors():
            self._connection().execute("VACUUM")

    def copy_to(self, path: str) -> None:
        """Write a consistent copy of the index, as it is now, to a new file."""
        with self._errors():
            target = sqlite3.connect(path)
            try:
                self._connection().backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
            finally:
                target.close()

    # Connections.

    def _connection(self) -> _Connection:
        own: _Connection | None = getattr(self._local, "connection", None)
        if own is None or own.pid != os.getpid():
            if own is not None:
                _inherited.append(own)
            own = self._local.connection = _connect(self._layout)
        return own

    def close(self) -> None:
        """Let go of all connections: each is closed as soon as no thread is at work with it."""
        self._local = threading.local()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translated(error, self._layout) from error


class Transaction:
    """What can be done between ``BEGIN`` and ``COMMIT``."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def insert(self, rows: Iterable[Row]) -> int:
        """Add rows; those whose key has one already are passed over. Returns how many were added."""
        query = f"INSERT OR IGNORE INTO db_object ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        return self._connection.executemany(query, rows).rowcount

    def replace(self, rows: Iterable[Row]) -> None:
        """Put rows in the place of those of the same key, if there are any."""
        query = 'UPDATE db_object SET compressed=?, size=?, "offset"=?, length=?, pack_id=? WHERE hashkey=?'
        self._connection.executemany(query, ((*row[1:], row.key) for row in rows))

    def move(self, pack_id: int, other: int) -> None:
        """Say that the objects of one pack stand, at the same offsets, in another."""
        self._connection.execute("UPDATE db_object SET pack_id=? WHERE pack_id=?", (other, pack_id))

    def delete(self, keys: Iterable[str]) -> int:
        """Remove the rows of keys; returns how many there were."""
        return self._connection.executemany("DELETE FROM db_object WHERE hashkey=?", ((key,) for key in keys)).rowcount


class _Connection(sqlite3.Connection):
    """A connection of one thread of one process, open to be written or not."""

    pid = 0
    is_immutable = False
    path = ""

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self.close()

    def version(self) -> object:
        """A value that changes when others commit."""
        if self.is_immutable:
            status = os.stat(self.path)
            return status.st_mtime_ns, status.st_size
        return self.execute("PRAGMA data_version").fetchone()


_inherited: list[_Connection] = []
"""The connections of a parent: SQLite forbids to use them, or to close them, in a child."""


def create_database(path: str) -> None:
    """Make an empty index. Raises OSError, sqlite3's among them as `DamagedContainer`."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _prefer_wal(connection, path)
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise DamagedContainer(path, str(error)) from error
    finally:
        connection.close()


def _prefer_wal(connection: sqlite3.Connection, path: str) -> None:
    """A write-ahead log lets readers go on while somebody commits; it needs memory that processes share."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=wal").fetchone()
    except sqlite3.OperationalError:
        mode = "delete"
    if mode != "wal":
        _log.warning("%s: no write-ahead log here (a network file system?): readers wait for commits", path)


def _connect(layout: LegacyLayout) -> _Connection:
    path = layout.database
    if not os.path.exists(path):
        raise DamagedContainer(path, "the index is missing")
    can_write = os.access(path, os.W_OK) and os.access(layout.root, os.W_OK)
    try:
        return _opened(path, "mode=rw" if can_write else "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_IOERR,
        ):
            raise
        if can_write:
            return _without_shared_memory(path)
        log = f"{path}-wal"
        if os.path.exists(log) and os.path.getsize(log):
            reason = "its log has changes that only a user with write permission can bring in"
            raise ReadOnlyContainer(layout.root, reason) from error
    return _opened(path, "mode=ro&immutable=1", is_immutable=True)


def _opened(path: str, how: str, is_immutable: bool = False) -> _Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?{how}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    try:
        connection.pid, connection.path, connection.is_immutable = os.getpid(), path, is_immutable
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        names = {name for _, name, *_ in connection.execute("PRAGMA table_info(db_object)")}
    except BaseException:
        connection.close()
        raise
    if not names >= _NAMES:
        connection.close()
        lacking = "table db_object" if not names else f"column {min(_NAMES - names)}"
        raise DamagedContainer(path, f"not the index of a container: no {lacking}")
    return connection


def _without_shared_memory(path: str) -> _Connection:
    """Give the write-ahead log up: in exclusive mode SQLite can read it without shared memory, once."""
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    finally:
        connection.close()
    _log.warning("%s: no shared memory here (a network file system?): went from a log to a rollback journal", path)
    return _opened(path, "mode=rw")


def _checked(row: tuple[object, ...], path: str) -> Row:
    """A row of which the numbers are in range. What is not is damage, never used."""
    key, *numbers = row
    compressed, *rest = numbers
    whole = all(type(number) is int for number in numbers) and isinstance(key, str)
    if not whole or compressed not in (0, 1) or not all(-1 <= number < _MOST for number in rest):  # type: ignore[operator]
        raise DamagedContainer(path, f"the row of {key!r:.80} makes no sense")
    checked = Row(*row)  # type: ignore[arg-type]
    if min(checked.size, checked.offset, checked.length) < 0:
        raise DamagedContainer(path, f"the row of {key!r:.80} has a negative number")
    return checked


def _translated(error: sqlite3.Error, layout: LegacyLayout) -> Exception:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy(layout.database)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return ReadOnlyContainer(layout.root, str(error))
        case sqlite3.SQLITE_FULL:
            import errno

            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), layout.database)
        case _:
            return DamagedContainer(layout.database, str(error))

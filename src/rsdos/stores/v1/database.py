"""The index of container version 1: its rows, read and written through one connection for each thread.

One table, ``db_object`` (hashkey, compressed, size, offset, length, pack_id), as disk-objectstore makes it. Its rows
come from outside: every number is checked before it is used.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from rsdos.config import VERSION_1
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, InvalidKey, ReadOnlyContainer
from rsdos.hashing import HashType
from rsdos.layout import V1Layout
from rsdos.migration import Original
from rsdos.model import Durability
from rsdos.storage import posix
from rsdos.storage.locks import OWN_THREAD
from rsdos.stores.v1.connection import Connection, can_write, connect, copy_alone, parked, without_shared_memory
from rsdos.stores.v1.row import COLUMNS, MOST, PAGE, SOUND, Row, checked
from rsdos.stores.v1.sqlite_error import LOG_ROOM, NO_RANGE_LOCKS, lacks_locks, primary, translated
from rsdos.stores.v1.transaction import Transaction

_IN = 1000
"""Keys of one IN list. 100,000 of 500,000 keys, sorted: 4.4 us each with 950, 5.6 with 10,000. Unsorted: 8.9."""

SHARED = "has another name, in a copy of the container that was made with hard links"
"""Why an index with a second name is not written."""

REPLACED = "it was replaced by another index after it was opened: open the container again"
"""Why a write fails if its index was replaced after the write began."""


class Sums(NamedTuple):
    """The sums of some rows."""

    objects: int
    size: int
    length: int


class Sight(NamedTuple):
    """The state that a connection saw. Two equal states have the same rows."""

    connection: int
    version: object


class Database:
    """The rows of one container. Any number of threads, each with a connection of its own; a fork makes new ones.

    Every method raises `DamagedContainer` if the file is not such an index, `Busy` if another program keeps it locked,
    `ContainerReplaced` if another container is at the path by now, and `ReadOnlyContainer` for a write without
    permission, or to a file that another container shares. Reads change no row, and need no permission to write.
    """

    def __init__(self, layout: V1Layout, original: Original | None = None) -> None:
        """``original`` identifies the container that was opened; by default it is the one of the first check."""
        self._layout = layout
        self._path = layout.database
        self._original = original or Original(layout, VERSION_1)
        self._local = threading.local()
        self._relaxed = 0
        """The number of relaxed transactions of this object, whose commits are not synced."""

    # Reading.

    def find(self, key: str) -> Row | None:
        """Return the row of a key."""
        with self._errors():
            query = f"SELECT {COLUMNS} FROM db_object WHERE hashkey = ?"
            row = self._connection().one(query, (key,))
        return None if row is None else checked(row)

    def find_many(self, keys: Sequence[str]) -> list[Row]:
        """Return the rows of those keys that have one, in no particular order; for a repeated key only one."""
        rows: list[tuple[Any, ...]] = []
        with self._errors():
            keys = sorted(keys)
            for at in range(0, len(keys), _IN):
                some = keys[at : at + _IN]
                query = f"SELECT {COLUMNS} FROM db_object WHERE hashkey IN ({','.join('?' * len(some))})"
                rows += self._connection().all(query, tuple(some))
        if not {row[0] for row in rows} <= set(keys):
            raise DamagedContainer(self._path, "SQLite's index of the keys leads to rows with other keys")
        return list(map(checked, rows))

    def keys(self, prefix: str = "") -> Iterator[list[str]]:
        """Yield all keys that begin with ``prefix``, sorted, in lists of bounded size."""
        last = prefix
        query = "SELECT hashkey FROM db_object WHERE hashkey >= ? ORDER BY hashkey LIMIT ?"
        later = query.replace(">=", ">")
        while True:
            with self._errors():
                rows = self._connection().all(query, (last, PAGE))
            if query is later and rows and not (isinstance(rows[0][0], str) and rows[0][0] > last):
                raise DamagedContainer(self._path, "SQLite's index of the keys is not in order")
            keys = [key for (key,) in rows if isinstance(key, str) and key.startswith(prefix)]
            if keys and not last <= keys[0] <= keys[-1]:
                raise DamagedContainer(self._path, "SQLite's index of the keys is not in the order of the keys")
            yield keys
            if len(keys) < PAGE or keys[-1] == last:
                return
            last, query = keys[-1], later

    def _pages(self, query: str, values: tuple[object, ...] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the answers of a query in lists of bounded size, as of the first list."""
        with self._errors():
            connection = self._scanning()  # Kept to the end: another thread may drop the connection.
            cursor = connection.execute(query, values)
        try:
            while True:
                with self._errors():
                    rows = cursor.fetchmany(PAGE)
                if not rows:
                    return
                yield rows
        finally:
            cursor.close()

    def places(self) -> Iterator[list[Row]]:
        """Yield all rows in the order of their keys, in lists of bounded size, as of the first list."""
        for rows in self._pages(f"SELECT {COLUMNS} FROM db_object ORDER BY hashkey"):
            yield list(map(checked, rows))

    def in_storage_order(self) -> Iterator[tuple[int, str]]:
        """Yield (pack id, key) of all rows that make sense, in storage order, as of the first."""
        for rows in self._pages(f'SELECT {COLUMNS} FROM db_object ORDER BY pack_id, "offset"'):
            yield from ((row.pack_id, row.key) for row in map(checked, rows) if row.makes_sense)

    def rows(self, pack_id: int) -> Iterator[list[Row]]:
        """Yield the rows of one pack in the order of their offsets, in lists of bounded size, as of the first list."""
        query = f'SELECT {COLUMNS} FROM db_object WHERE pack_id = ? ORDER BY "offset"'
        for rows in self._pages(query, (pack_id,)):
            yield [row for row in map(checked, rows) if row.makes_sense]

    def hostile(self, hash_type: HashType) -> Iterator[list[tuple[str, str]]]:
        """Yield (key, fault) of rows that cannot be used, in lists of bounded size; most lists are empty."""
        for rows in self._hostile(hash_type):
            yield [
                (str(key), "its row makes no sense" if hash_type.is_key(key) else "its row has no valid key")
                for _, key, *_ in rows
            ]

    def hostile_rows(self, hash_type: HashType) -> Iterator[tuple[object, ...]]:
        """Yield (id, columns) of the rows that `hostile` reports, unchanged."""
        for rows in self._hostile(hash_type):
            yield from rows

    def _hostile(self, hash_type: HashType) -> Iterator[list[tuple[object, ...]]]:
        for rows in self._pages(f"SELECT id, {COLUMNS} FROM db_object WHERE NOT ({SOUND})"):
            yield [row for row in rows if not (checked(row[1:]).makes_sense and hash_type.is_key(row[1]))]
        for rows in self._pages(f"SELECT id, {COLUMNS} FROM db_object WHERE {SOUND}"):
            try:
                hash_type.parse_keys([row[1] for row in rows])
            except InvalidKey:
                yield [row for row in rows if not hash_type.is_key(row[1])]
            else:
                yield []

    def stats(self) -> dict[int, Sums]:
        """Return the sums of the rows of each pack; an impossible size or length counts as 0."""
        size, length = (
            f"TOTAL(CASE WHEN typeof({name}) = 'integer' AND {name} BETWEEN 0 AND ? THEN {name} ELSE 0 END)"
            for name in ("size", "length")
        )
        query = f"SELECT pack_id, COUNT(*), {size}, {length} FROM db_object GROUP BY pack_id ORDER BY pack_id"
        with self._errors():
            rows = self._scanning().all(query, (MOST - 1, MOST - 1))
        # Rows whose pack id is not an integer are not counted.
        return {row[0]: Sums(row[1], int(row[2]), int(row[3])) for row in rows if type(row[0]) is int}

    def count(self) -> int:
        """Return the number of rows."""
        with self._errors():
            # COUNT(*) is one step for SQLite, however long it takes (8 ms for a million rows), and so could not be
            # interrupted. This takes 70 ms.
            (count,) = self._scanning().one("SELECT COUNT(hashkey) FROM db_object")
        assert isinstance(count, int)
        return count

    def ends(self) -> dict[int, int]:
        """Return, for each pack id, the length that the pack needs for its rows that make sense."""
        query = (
            "SELECT pack_id, MAX(\"offset\" + length) FROM db_object WHERE typeof(pack_id) = 'integer' "
            "AND typeof(\"offset\") = 'integer' AND typeof(length) = 'integer' "
            'AND pack_id BETWEEN -1 AND ? AND "offset" BETWEEN 0 AND ? AND length BETWEEN 0 AND ? GROUP BY pack_id'
        )
        with self._errors():
            return dict(self._scanning().all(query, (MOST - 1,) * 3))

    def has_rows(self, pack_id: int) -> bool:
        """Return whether any row leads to a pack."""
        with self._errors():
            query = "SELECT 1 FROM db_object WHERE pack_id = ? LIMIT 1"
            return self._scanning().one(query, (pack_id,)) is not None

    def pack_ids(self) -> list[int]:
        """Return the packs that rows lead to, ascending."""
        return sorted(self.stats())

    def version(self) -> Sight:
        """Return the state that this thread's connection sees now."""
        with self._errors():
            connection = self._connection()
            return Sight(id(connection), connection.version())

    def check(self) -> None:
        """Run SQLite's own check of the file. Raise `DamagedContainer`."""
        with self._errors():
            (answer,) = self._scanning().one("PRAGMA quick_check(1)")
        if answer != "ok":
            raise DamagedContainer(self._path, str(answer))

    # Writing.

    @contextmanager
    def writing(self, durability: Durability = Durability.FULL) -> Iterator[Transaction]:
        """Begin a transaction. The end of the block commits and syncs it; if the block raises, it is rolled back.

        In a forked child neither happens: the transaction is the parent's. Raise `Busy` inside another transaction of
        the same thread.
        """
        with self._errors():
            transaction = Transaction()
            try:
                self._begin(transaction, durability)
                self._original.check()
                self._relaxed += durability is not Durability.FULL
                yield transaction
                transaction.connection.commit()
            except BaseException:
                transaction.undo()
                raise

    def _begin(self, transaction: Transaction, durability: Durability) -> None:
        connection = self._own_connection()
        if connection.is_immutable:
            if not can_write(self._layout):
                raise ReadOnlyContainer(self._layout.root, "no permission to write packs.idx")
            # The connection was opened on a full disk, or on a file system without locks.
            self._local.connection = None
            connection.close()
            connection = self._own_connection()
            if connection.is_immutable:
                if lacks_locks(self._layout.root):
                    raise ReadOnlyContainer(self._layout.root, NO_RANGE_LOCKS)
                reason = f"{os.strerror(errno.ENOSPC)}: SQLite needs {LOG_ROOM >> 10} KiB; free that much"
                raise OSError(errno.ENOSPC, reason, self._path)
        if connection.sqlite.in_transaction:
            if connection.writer and connection.writer():
                raise Busy(self._path, OWN_THREAD)
            connection.undo()  # The end of its block was interrupted.
        connection.look_at_size()
        connection.execute(f"PRAGMA synchronous={'FULL' if durability is Durability.FULL else 'NORMAL'}")
        # Registered before it begins: an interrupt may come right after.
        connection.writer, transaction.begun = weakref.ref(transaction), connection
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if primary(error) != sqlite3.SQLITE_READONLY or not can_write(self._layout):
                raise
            # The shared memory of the log cannot be written.
            connection.close()
            self._local.connection = without_shared_memory(self._path)
            self._begin(transaction, durability)

    def _own_connection(self) -> Connection:
        """Return a connection for writing, to the file that now has the index's name.

        Raise `ReadOnlyContainer` if the file has a second name: a copy of the container by ``cp -al`` shares it, and
        would get our rows without our packs.
        """
        connection = self._connection()
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._original.check()
            raise DamagedContainer(self._path, "the index is missing") from None
        if status.st_nlink > 1:
            raise ReadOnlyContainer(self._layout.root, f"its packs.idx {SHARED}: `rsdos repair index` gives it its own")
        if connection.file != (status.st_dev, status.st_ino):
            self._original.check()
            self._local.connection = None
            raise ContainerReplaced(self._path, REPLACED)
        return connection

    @property
    def is_connected(self) -> bool:
        """Return whether this thread has a connection already."""
        own: Connection | None = getattr(self._local, "connection", None)
        return own is not None and own.is_usable

    def is_in_place(self) -> bool:
        """Return whether this thread reads the file that now has the index's name. It costs one ``stat``."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return False
        return self._connection().file == (status.st_dev, status.st_ino)

    def is_of_now(self) -> bool:
        """Return whether this thread has read the container's own index. Inserts check this after their last lookup.

        Return False if another file has its name by now; the next lookup reads that one. Raise `ContainerReplaced`,
        `NotAContainer`.
        """
        self._original.check()
        if self.is_in_place():
            return True
        if self._connection().sqlite.in_transaction:
            raise ContainerReplaced(self._path, REPLACED)
        self.renew()
        return False

    def renew(self) -> None:
        """Continue with the file that has the index's name now, if this thread has another one open.

        Raise `ContainerReplaced` or `NotAContainer` if the file belongs to another container or version.
        """
        self._original.check()
        if getattr(self._local, "connection", None) is not None and not self.is_in_place():
            self._local.connection = None

    def settle(self) -> None:
        """Commit an empty transaction, so that the log ends with the rows that are visible now.

        A commit whose sync failed is rolled back, but it is still in the log, and the next program to open an unused
        index would replay it. Any further commit overwrites it. This one changes nothing else.
        """
        with self.writing() as transaction:
            transaction.touch()

    def sync_log(self) -> bool:
        """Put the visible rows on stable storage, also those of relaxed writers. Return False if they already were.

        Opening and closing the log here releases no lock of SQLite's: its locks are on the index and the shared memory.
        """
        seen = self.version(), self._relaxed
        if getattr(self._local, "synced", None) == seen:
            return False
        with suppress(FileNotFoundError):
            posix.sync_path(f"{self._path}-wal")
        posix.sync_directory(self._layout.root)
        self._local.synced = seen
        return True

    def vacuum(self) -> None:
        """Free the space of deleted rows."""
        with self._errors():
            connection = self._own_connection()
            connection.look_at_size()
            connection.execute("VACUUM")

    def seal(self) -> None:
        """Make the index one synced file, which can then be renamed. No other program has it open."""
        with self._errors():
            connection = self._connection()
            connection.one("PRAGMA wal_checkpoint(TRUNCATE)")
            self._local = threading.local()
            connection.close()
        posix.sync_path(self._path)

    def copy_to(self, path: str) -> None:
        """Write a consistent copy of the present index to a new file."""
        with self._errors():
            target = sqlite3.connect(path)
            try:
                connection = self._connection()
                connection.sqlite.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
            finally:
                target.close()

    def copy_alone(self, path: str) -> None:
        """Do `copy_to` after `close`. Raise `Busy` if any program has the index open."""
        with self._errors():
            copy_alone(self._path, path)

    # Connections.

    def _connection(self) -> Connection:
        own: Connection | None = getattr(self._local, "connection", None)
        # Unusable in a forked child, or if Python's garbage collector has closed the container while a finalizer reads.
        if own is None or not own.is_usable:
            own = self._local.connection = parked.take(self._path) or connect(self._layout)
            self._local.synced = None
        elif own.is_immutable and posix.length_of(f"{self._path}-wal"):
            # A program with write permission has begun a log, which this connection does not see.
            own.close()
            self._local.connection = None
            own = self._local.connection = connect(self._layout)
            self._local.synced = None
        return own

    def _scanning(self) -> Connection:
        """Return this thread's connection, for a statement that reads all rows."""
        connection = self._connection()
        connection.look_at_size()
        return connection

    def let_go(self) -> None:
        """Drop all connections: each is closed as soon as no thread uses it."""
        self._local = threading.local()

    def rest(self) -> None:
        """Do `let_go`, but keep this thread's connection for the next opening of the index: `CachedConnections`."""
        own: Connection | None = getattr(self._local, "connection", None)
        self._local = threading.local()
        if own is not None:
            parked.put(own)

    def close(self) -> None:
        """Do `let_go`, and close the kept connections as well."""
        self.let_go()
        parked.drop(self._path)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            told = translated(error, self._layout)
            if isinstance(told, DamagedContainer):
                self._original.check()
            raise told from error
        except DamagedContainer:
            self._original.check()
            raise
        except FileNotFoundError as error:
            # The last step of a migration has run between two statements.
            self._original.check()
            if error.filename != self._path:
                raise
            raise DamagedContainer(self._path, "the index is missing") from error
        except UnicodeDecodeError as error:
            # Not SQLite's own message, which quotes the data.
            raise DamagedContainer(self._path, "not the index of a container: its schema is not text") from error

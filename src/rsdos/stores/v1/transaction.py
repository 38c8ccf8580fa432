"""Changing the rows of container version 1's index, between ``BEGIN`` and ``COMMIT``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rsdos.errors import WriterPoisoned
from rsdos.stores.v1.connection import Connection
from rsdos.stores.v1.row import COLUMNS, PAGE, Row


class Transaction:
    """An open transaction. One thread."""

    def __init__(self) -> None:
        self.begun: Connection | None = None
        """The connection on which the transaction was begun; None before."""

    @property
    def connection(self) -> Connection:
        """The connection of the transaction. Raises `WriterPoisoned` in a forked child: it is the parent's."""
        if self.begun is None or not self.begun.is_usable:
            raise WriterPoisoned("a transaction belongs to the process that began it, until it is closed")
        return self.begun

    def undo(self) -> None:
        """Roll the transaction back, if this process has begun it. Never raise."""
        if self.begun:
            self.begun.undo()

    def touch(self) -> None:
        """Write a page unchanged."""
        (version,) = self.connection.one("PRAGMA user_version")
        self.connection.execute(f"PRAGMA user_version={int(version)}")

    def insert(self, rows: Iterable[Row]) -> int:
        """Add rows, except those whose key has a row already. Return how many were added."""
        query = f"INSERT OR IGNORE INTO db_object ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
        return self.connection.change(query, rows)

    def replace(self, rows: Iterable[Row]) -> None:
        """Replace the rows that have the same keys. Add no row."""
        query = 'UPDATE db_object SET compressed=?, size=?, "offset"=?, length=?, pack_id=? WHERE hashkey=?'
        self.connection.change(query, ((*row[1:], row.key) for row in rows))

    def move(self, pack_id: int, other: int) -> None:
        """Point the rows of one pack to the same offsets of another."""
        self.connection.execute("UPDATE db_object SET pack_id=? WHERE pack_id=?", (other, pack_id))

    def rows(self, pack_id: int) -> Iterator[list[tuple[int, int, int]]]:
        """Yield (id, offset, length) of a pack's rows, in lists of bounded size; `place` may be called between them."""
        last = -1
        query = 'SELECT id, "offset", length FROM db_object WHERE pack_id = ? AND id > ? ORDER BY id LIMIT ?'
        while rows := self.connection.all(query, (pack_id, last, PAGE)):
            yield rows
            last = rows[-1][0]

    def place(self, places: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Point rows to other places: (id, compressed, offset, length, pack_id)."""
        query = 'UPDATE db_object SET compressed=?, "offset"=?, length=?, pack_id=? WHERE id=?'
        self.connection.change(query, ((*rest, number) for number, *rest in places))

    def delete_rows(self, numbers: Iterable[object]) -> None:
        """Remove rows by their ids."""
        self.connection.change("DELETE FROM db_object WHERE id=?", ((number,) for number in numbers))

    def delete_exactly(self, row: Row) -> None:
        """Remove a row, unless it now leads to another place. A row that makes no sense is always removed."""
        query = "DELETE FROM db_object WHERE hashkey=?"
        if row.makes_sense:
            query += ' AND compressed=? AND size=? AND "offset"=? AND length=? AND pack_id=?'
        self.connection.execute(query, row if row.makes_sense else (row.key,))

    def delete(self, keys: Iterable[str]) -> int:
        """Remove the rows of keys. Return how many there were."""
        return self.connection.change("DELETE FROM db_object WHERE hashkey=?", ((key,) for key in keys))

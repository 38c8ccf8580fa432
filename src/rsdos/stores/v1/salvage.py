"""Repairing the index of version 1. Its packs do not describe themselves: only readable rows can be saved.

Hostile rows, which cannot be used, are written to quarantine and deleted. If SQLite finds the index damaged, its rows
are read one by one, as far as possible, into a new index ``packs.idx.new``. When that is complete and synced, it is
renamed to ``packs.idx.salvaged``; then the old index gets another name, and the new one becomes ``packs.idx``. After a
kill at any moment the next run continues. No other program may have the index open: it would continue to use the old
file.

An index with a second name, in a copy of the container by ``cp -al``, is copied and replaced in the same way.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from rsdos.errors import DamagedContainer
from rsdos.hashing import HashType
from rsdos.layout import V1Layout
from rsdos.storage import posix
from rsdos.stores.findings import Finding, Rebuilt
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.v1.connection import BESIDE, create_database
from rsdos.stores.v1.database import SHARED, Database
from rsdos.stores.v1.row import COLUMNS, checked
from rsdos.stores.v1.schema import check_table

_MOST_ID = 1 << 40
_MOST_KNOWN = 1 << 31
"""256 MB of bits. SQLite gives out ids from 1 on."""

_PAGE = 500

Values = tuple[object, ...]


def faults(layout: V1Layout, database: Database, hash_type: HashType) -> list[Finding]:
    """Return the faults that `rebuild` would repair, and those that it cannot."""
    name = os.path.basename(layout.database)
    if os.path.lexists(layout.salvaged):
        return [Finding(name, "an earlier repair of it was interrupted")]
    try:
        database.check()
        bad = sum(len(rows) for rows in database.hostile(hash_type))
    except DamagedContainer as error:
        return [Finding(name, error.reason)]
    found = [Finding(name, f"{bad} rows that cannot be used")] if bad else []
    return [Finding(name, f"it {SHARED}"), *found] if posix.has_other_names(layout.database) else found


def rebuild(layout: V1Layout, database: Database, hash_type: HashType, quarantine: Quarantine) -> Rebuilt:
    """See `PackMaintenance.rebuild_index`. Raise `DamagedContainer` if no row at all can be read."""
    found = faults(layout, database, hash_type)
    if not found:
        return Rebuilt()
    unknown = 0
    is_whole = not os.path.lexists(layout.salvaged)
    if is_whole:
        try:
            database.check()
        except DamagedContainer as error:
            if not os.path.lexists(layout.database):
                raise
            is_whole = False
            try:
                unknown = _salvage(layout, hash_type, quarantine)
            except sqlite3.Error:
                raise error from None
    if is_whole and posix.has_other_names(layout.database):
        _make_own(layout, database)
        if not faults(layout, database, hash_type):
            return Rebuilt(True)
    if is_whole:
        return Rebuilt(True, 0, (_delete_hostile(database, hash_type, quarantine),))
    database.close()
    _swap(layout, quarantine)
    return Rebuilt(True, 0, tuple(quarantine.moved), (), unknown)


def _make_own(layout: V1Layout, database: Database) -> None:
    """Replace an index that is shared with another container by a copy of its own."""
    database.close()
    new = _free_new(layout)
    database.copy_alone(new)
    _finish_new(layout)
    _put(layout)


def _write_down(rows: list[Values], quarantine: Quarantine) -> str:
    """Write rows to quarantine, after those of a run that was killed. Return the path."""
    name = "rows.json"
    with suppress(OSError, ValueError):
        before = json.loads(posix.read_file(os.path.join(quarantine.directory, name), 1 << 28))
        rows = [*map(tuple, before), *rows]
    return quarantine.report(name, [[_json_value(value) for value in row] for row in rows])


def _json_value(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _delete_hostile(database: Database, hash_type: HashType, quarantine: Quarantine) -> str:
    rows = list(database.hostile_rows(hash_type))
    path = _write_down([row[1:] for row in rows], quarantine)
    with database.writing() as transaction:
        transaction.delete_rows(row[0] for row in rows)
    return path


def _salvage(layout: V1Layout, hash_type: HashType, quarantine: Quarantine) -> int:
    """Copy all readable rows to a new index. Return how many rows are known to be missing."""
    new = _free_new(layout)
    create_database(new)
    hostile: list[Values] = []
    saved = 0
    with (
        closing(sqlite3.connect(f"file:{layout.database}?mode=rw", uri=True, isolation_level=None)) as old,
        closing(sqlite3.connect(new, isolation_level=None)) as target,
    ):
        old.execute("PRAGMA trusted_schema=OFF")
        check_table(old, layout.database)
        old.text_factory = lambda data: data.decode(errors="replace")
        known = _known_ids(old)
        target.execute("BEGIN")
        query = f"INSERT OR IGNORE INTO db_object (id, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        for number, *values in _rows(old, known):
            row = checked(tuple(values))
            if row.makes_sense and hash_type.is_key(row.key):
                saved += target.execute(query, (number, *row)).rowcount
            else:
                hostile.append(tuple(values))
        if not saved:
            raise DamagedContainer(layout.database, "no row of the index can be read: restore the index from a backup")
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if hostile:
        _write_down(hostile, quarantine)
    _finish_new(layout)
    return max(len(known) - saved - len(hostile), 0)


def _free_new(layout: V1Layout) -> str:
    """Return the path for a new index, after removing what an earlier run has left there."""
    new = f"{layout.database}.new"
    for suffix in ("", *BESIDE):
        layout.remove(new + suffix)
    return new


def _finish_new(layout: V1Layout) -> None:
    """Mark the new index, durably, as complete."""
    new = f"{layout.database}.new"
    for suffix in BESIDE:
        layout.remove(new + suffix)
    posix.sync_path(new)
    os.rename(new, layout.salvaged)
    posix.sync_directory(layout.root)


class _Ids:
    """A set of the ids of rows, one bit each. Ids that SQLite cannot have given out are ignored."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: object) -> None:
        if isinstance(number, int) and 0 <= number < _MOST_KNOWN:
            if number >> 3 >= len(self._bits):
                self._bits.extend(bytes((number >> 3) + 1 - len(self._bits)))
            self._bits[number >> 3] |= 1 << (number & 7)

    def __len__(self) -> int:
        return sum(byte.bit_count() for byte in self._bits)

    def without(self, other: _Ids) -> Iterator[int]:
        """Yield the ids that the other set does not have, ascending."""
        theirs = other._bits.ljust(len(self._bits), b"\0")
        for at, byte in enumerate(self._bits):
            rest = byte & ~theirs[at]
            if rest:
                yield from (8 * at + bit for bit in range(8) if rest >> bit & 1)


def _known_ids(old: sqlite3.Connection) -> _Ids:
    """Return the ids in SQLite's index of the keys, which is on other pages than the rows."""
    ids = _Ids()
    # Read from both ends: a damaged page in the middle stops each direction.
    for order in ("ASC", "DESC"):
        query = (
            f"SELECT rowid FROM db_object INDEXED BY ix_db_object_hashkey WHERE hashkey > '' ORDER BY hashkey {order}"
        )
        with suppress(sqlite3.Error):
            for (number,) in old.execute(query):
                ids.add(number)
    return ids


def _rows(old: sqlite3.Connection, known: _Ids) -> Iterator[Values]:
    """Yield (id, columns) of every readable row: first forwards, past unreadable ones, then one by one."""
    seen = _Ids()
    query = f"SELECT id, {COLUMNS} FROM db_object NOT INDEXED WHERE id > ? ORDER BY id LIMIT {_PAGE}"
    last, step = -1, 1
    while last < _MOST_ID:
        count = 0
        try:
            for row in old.execute(query, (last,)):
                count += 1
                last, step = row[0], 1
                seen.add(row[0])
                yield row
            if not count:
                break
        except sqlite3.DatabaseError:
            if not count:
                last, step = last + step, step * 2
    one = f"SELECT id, {COLUMNS} FROM db_object NOT INDEXED WHERE id = ?"
    for number in list(known.without(seen)):
        with suppress(sqlite3.DatabaseError):
            for row in old.execute(one, (number,)):
                seen.add(number)
                yield row


def _swap(layout: V1Layout, quarantine: Quarantine) -> None:
    """Replace the old index by the salvaged one. The old one is moved to quarantine, unless it has a second name."""
    for path in layout.database_files:
        if not posix.has_other_names(path):
            quarantine.link(path)
    _put(layout)


def _put(layout: V1Layout) -> None:
    """Give the salvaged index its name."""
    # The log of the old index must not be taken for that of the new one.
    for path in layout.database_files[1:]:
        layout.remove(path)
    posix.sync_directory(layout.root)
    os.rename(layout.salvaged, layout.database)
    posix.sync_directory(layout.root)

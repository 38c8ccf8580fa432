"""The pack tables that a manifest names: opening them, and the members of the manifest that describe them."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rsdos import names
from rsdos.index.pack_entry import PackEntry
from rsdos.index.pack_table import MOST_LENGTH, MOST_ROWS, PackTable, TableEntry, table_length
from rsdos.index.packs import Packs, PackTables
from rsdos.names import LAST_NUMBER
from rsdos.storage.base import Storage

_SUFFIX = re.compile(r"([0-9a-f]{16})?")


class TableReader:
    """Opens the tables that manifests name; those of the last one stay in memory. Any number of threads."""

    def __init__(self, read: Callable[[TableEntry], bytes]) -> None:
        """``read`` returns the bytes of a table, and takes no more memory than its length."""
        self._read = read
        self._last = PackTables()

    def __call__(self, entries: tuple[TableEntry, ...]) -> PackTables:
        """Return the tables. Raise ValueError for what is not the table of its entry, and what ``read`` raises."""
        last = self._last
        if last.entries != entries:
            known = {table.entry: table for table in last.tables}
            opened = (known.get(entry) or PackTable(self._read(entry), entry) for entry in entries)
            self._last = last = PackTables(tuple(opened))
        return last

    def forget(self) -> None:
        """Read the tables again the next time."""
        self._last = PackTables()


def read_pack_table(storage: Storage, entry: TableEntry) -> bytes:
    """Return the bytes of a table. Raise ValueError for an object that is longer, and OSError."""
    try:
        return storage.read(names.pack_table(entry.number), entry.length)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise ValueError(f"pack table {entry.number}: it has more than {entry.length} bytes") from None


# The members of a manifest.


def members_of(packs: Packs) -> dict[str, object]:
    """Return what a manifest says of tables: their entries, and the rows in them that no longer count."""
    rows = [entry._asdict() for entry in packs.tables.entries]
    for row in rows:
        if not row["suffix"]:
            del row["suffix"]
    return {"tables": rows, "gone": sorted(packs.gone)}


def packs_of(
    members: Mapping[str, Any],
    packs: Sequence[PackEntry],
    open_tables: Callable[[tuple[TableEntry, ...]], PackTables],
) -> Packs:
    """Return the packs of a manifest, from its members and its own rows, in any order.

    Raise ValueError where they make no sense, before any memory is taken, and what ``open_tables`` raises.
    """
    rows, gone = members.get("tables"), members.get("gone")
    if not isinstance(rows, list) or not isinstance(gone, list):
        raise ValueError("tables or gone is not a list")
    entries = tuple(map(_table_entry, rows))
    after = 0
    for entry in entries:
        if not after < entry.first <= entry.last < members["next_pack_id"]:
            raise ValueError(f"pack table {entry.number} is not behind the one before it")
        if entry.number >= members["next_segment"]:
            raise ValueError(f"pack table {entry.number} has a number that was never given out")
        after = entry.last
    tables = open_tables(entries)
    changed = dict(sorted((pack.id, pack) for pack in packs))
    if any(type(pack_id) is not int or not tables.has(pack_id) for pack_id in gone):
        raise ValueError("a pack is gone that no table has")
    hidden = {*gone, *filter(tables.has, changed)}
    if len(hidden) != len(gone) + sum(map(tables.has, changed)):
        raise ValueError("a pack is gone twice, or gone and listed")
    return Packs(tables, changed, frozenset(hidden))


def _table_entry(row: object) -> TableEntry:
    members: dict[str, Any] = row if isinstance(row, dict) else {}
    numbers = [members.get(name) for name in TableEntry._fields[:-1]]
    if set(map(type, numbers)) != {int}:
        raise ValueError(f"not a pack table: {row!r:.200}")
    suffix = members.get("suffix", "")
    entry = TableEntry._make([*numbers, suffix])
    is_good = (
        isinstance(suffix, str)
        and _SUFFIX.fullmatch(suffix)
        and 0 < entry.number <= LAST_NUMBER
        and 0 < entry.count <= min(MOST_ROWS, entry.last - entry.first + 1)
        and table_length(entry.count, 0) <= entry.length <= MOST_LENGTH
        and 0 <= entry.check < 1 << 32
    )
    if not is_good:
        raise ValueError(f"pack table {entry.number}: its numbers contradict each other")
    return entry

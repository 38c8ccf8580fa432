"""The schema of version 1's index: the one that rsdos makes, and the check of a stranger's before a statement runs.

SQLite runs code from the schema by itself: triggers, views, generated columns, CHECK and DEFAULT expressions, indexes
of expressions, virtual tables. Only the text of an entry matters to SQLite, whatever kind the entry claims to be. So
each text is compared, word for word, with all that disk-objectstore and rsdos have ever made.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from rsdos.errors import DamagedContainer

TABLE = (
    "CREATE TABLE db_object (id INTEGER NOT NULL, hashkey VARCHAR NOT NULL, compressed BOOLEAN NOT NULL, "
    'size INTEGER NOT NULL, "offset" INTEGER NOT NULL, length INTEGER NOT NULL, pack_id INTEGER NOT NULL, '
    "PRIMARY KEY (id))"
)
SCHEMA = (TABLE, "CREATE UNIQUE INDEX ix_db_object_hashkey ON db_object (hashkey)")
"""Exactly the text that disk-objectstore 1.5.0 makes."""

COLUMNS = frozenset({"id", "hashkey", "compressed", "size", "offset", "length", "pack_id"})

_MOST_ENTRIES = 64
_WORD = re.compile(r"[A-Za-z_]\w*|\d+|\S")
_WORDS = {"create", "table", "db_object", "integer", "varchar", "boolean", "not", "null", "primary", "key"}
# A release of SQLAlchemy turned BOOLEAN into CHECK (compressed IN (0, 1)). These words allow no other expression.
_MORE_WORDS = {"autoincrement", "unique", "constraint", "check", "in", "0", "1", "(", ")", ","}
_TABLE_WORDS = COLUMNS | _WORDS | _MORE_WORDS
_INDEX_WORDS = COLUMNS | {"(", ")", ",", "asc", "desc"}
_INDEX = re.compile(r'create\s+(unique\s+)?index\s+"?\w+"?\s+on\s+"?db_object"?\s*\((.*)\)', re.DOTALL)
_OF_SQLITE = re.compile(r"create table sqlite_(sequence|stat1|stat4)\([\w,]+\)")


def check_schema(connection: sqlite3.Connection, path: str) -> None:
    """Raise `DamagedContainer` if the schema has an entry that no such program makes. Once for each connection."""
    entries = connection.execute(f"SELECT name, sql FROM sqlite_master LIMIT {_MOST_ENTRIES + 1}").fetchall()
    strange = [str(name) for name, text in entries if not (text is None or _is_ours(text))]
    if strange or len(entries) > _MOST_ENTRIES:
        what = f"{strange[0]!r:.60} in its schema" if strange else "the many entries of its schema"
        raise DamagedContainer(path, f"not the index of a container: no known program makes {what}")


def check_table(connection: sqlite3.Connection, path: str) -> None:
    """Raise `DamagedContainer` if reading the table of objects could run any other code."""
    entries = connection.execute("SELECT sql FROM sqlite_master WHERE lower(name) = 'db_object' LIMIT 2").fetchall()
    if len(entries) != 1 or not _is_table(str(entries[0][0]).lower()):
        raise DamagedContainer(path, "not the index of a container: no known program makes its table of objects")


def _is_ours(text: object) -> bool:
    if not isinstance(text, str):
        return False
    text = text.lower()
    match = _INDEX.fullmatch(text)
    return bool(_of(_INDEX_WORDS, match[2]) if match else _OF_SQLITE.fullmatch(text) or _is_table(text))


def _is_table(text: str) -> bool:
    words = _WORD.findall(text.replace('"', " "))
    return words[:3] == ["create", "table", "db_object"] and _TABLE_WORDS.issuperset(words)


def _of(words: Iterable[str], text: str) -> bool:
    return set(_WORD.findall(text.replace('"', " "))) <= set(words)

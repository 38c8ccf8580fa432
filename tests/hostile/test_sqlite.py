"""An index of version 1 that somebody has made to do more than hold rows."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer
from rsdos.maintenance.repair import index as repair_index
from tests.data import key_of

CONTENTS = {key_of(data): data for data in (b"packed %d" % number for number in range(40))}

_COLUMNS = "hashkey, compressed, size, [offset], length, pack_id"
_ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
_DISGUISED = "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2, 'CREATE TRIGGER x AFTER DELETE ON db_object"

HOSTILE = {
    "a trigger that undoes an insert": """
        CREATE TRIGGER t AFTER INSERT ON db_object BEGIN DELETE FROM db_object WHERE id = new.id; END""",
    "a trigger that refuses": """
        CREATE TRIGGER t BEFORE DELETE ON db_object BEGIN SELECT RAISE(IGNORE); END""",
    "a trigger that never ends": f"""
        CREATE TABLE other (x); CREATE TRIGGER t AFTER INSERT ON db_object BEGIN INSERT INTO other {_ENDLESS}; END""",
    "a view in the place of the table": f"""
        ALTER TABLE db_object RENAME TO other; DROP INDEX ix_db_object_hashkey;
        CREATE VIEW db_object AS SELECT id, {_COLUMNS} FROM other WHERE ({_ENDLESS}) > 0""",
    "a generated column": """
        ALTER TABLE db_object ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(length))) VIRTUAL""",
    "a check that is an expression": """
        CREATE TABLE other (id INTEGER PRIMARY KEY, hashkey, compressed, size, [offset], length, pack_id,
        CHECK (length(randomblob(100000000)) > 0)); DROP TABLE db_object; ALTER TABLE other RENAME TO db_object""",
    "an index of an expression": """
        CREATE INDEX more ON db_object (hex(zeroblob(length)))""",
    "an index of a part": """
        CREATE INDEX more ON db_object (pack_id) WHERE abs(length) > 1""",
    "a virtual table": """
        CREATE VIRTUAL TABLE more USING fts5(x)""",
    "a trigger that is said to be a table": f"""
        PRAGMA writable_schema=ON; {_DISGUISED} BEGIN SELECT 1; END')""",
}

Call = Callable[[Container], object]
CALLS: dict[str, Call] = {
    "insert many": lambda c: c.insert_many([b"new"]),
    "has": lambda c: c.has(next(iter(CONTENTS))),
    "extract": lambda c: c.extract(next(iter(CONTENTS))),
    "list": list,
    "len": len,
    "status": lambda c: c.status(),
    "delete": lambda c: c.delete(list(CONTENTS)),
    "pack": lambda c: c.pack_all_loose(),
    "repack": lambda c: c.repack(min_dead=0.0),
    "clean": lambda c: c.clean_storage(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Container.create(tmp_path / "made", container_version=1) as container:
        container.insert_many(CONTENTS.values())
        container.insert(b"loose")
    # Elsewhere: of what was open in this process before, its connection is kept.
    return Path(shutil.copytree(tmp_path / "made", tmp_path / "container"))


def _change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path / "packs.idx")) as connection:
        try:
            connection.executescript(script)
        except sqlite3.OperationalError as error:
            pytest.skip(f"this SQLite cannot make it: {error}")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_schema_that_does_more_than_hold_rows_is_refused_before_it_runs(path: Path, hostile: str) -> None:
    _change(path, HOSTILE[hostile])
    for name, call in CALLS.items():
        with Container(path) as container:
            with pytest.raises(DamagedContainer, match=r"packs\.idx.*(not the index|malformed)"):
                call(container)
                pytest.fail(name)


@pytest.mark.parametrize("hostile", [name for name in HOSTILE if "trigger" in name and "said" not in name])
def test_a_repair_brings_the_objects_out_of_such_an_index(path: Path, hostile: str) -> None:
    _change(path, HOSTILE[hostile])
    engine = Container(path).engine
    repair_index.execute(engine, repair_index.plan(engine))
    engine.close()
    with Container(path) as container:
        assert dict(container.extract_many(CONTENTS)) == CONTENTS
        assert container.extract(container.insert_many([b"new"])[0]) == b"new"


@pytest.mark.parametrize(
    "more",
    [
        "CREATE INDEX ix_pack_id ON db_object (pack_id)",
        "ANALYZE",
        'CREATE INDEX both ON db_object (pack_id, "offset" DESC)',
    ],
)
def test_an_index_or_statistics_that_an_administrator_has_made_are_no_harm(path: Path, more: str) -> None:
    _change(path, more)
    with Container(path) as container:
        assert dict(container.extract_many(CONTENTS)) == CONTENTS
        container.repack(min_dead=0.0)
        assert len(container) == 41


@pytest.mark.parametrize("table", ["db_object", "ix_db_object_hashkey"])
def test_a_tree_whose_branches_are_all_the_same_branch_is_not_climbed_for_ever(path: Path, table: str) -> None:
    _make_a_thicket(path / "packs.idx", table)
    for name in ("insert many", "list", "len", "status"):
        with Container(path) as container:
            try:
                CALLS[name](container)
            except (DamagedContainer, OSError):
                pass


def _make_a_thicket(path: Path, table: str) -> None:
    """Put nine pages in the place of a tree's root, of 100 branches each, that all lead to the next one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
    data = bytearray(path.read_bytes())
    first = len(data) // page
    pages = [root, *range(first + 2, first + 10), first + 1]  # The last is a copy of the leaf that the root was.
    data += data[(root - 1) * page : root * page] + bytes(8 * page)
    is_table = table == "db_object"
    key = b"\1" if is_table else b"\5\3\x0f\1a\1"  # A record of "a" and 1, and its length.
    for number, below in pairwise(pages):
        cell = struct.pack(">I", below) + key
        body = bytearray(page)
        count = 100
        body[0:12] = struct.pack(">BHHHBI", 5 if is_table else 2, 0, count, page - len(cell) * count, 0, below)
        for at in range(count):
            where = page - len(cell) * (at + 1)
            body[12 + 2 * at : 14 + 2 * at] = struct.pack(">H", where)
            body[where : where + len(cell)] = cell
        data[(number - 1) * page : number * page] = body
    data[28:32] = struct.pack(">I", len(data) // page)
    path.write_bytes(data)
    assert os.path.getsize(path) % page == 0


def test_an_index_of_keys_that_runs_backwards_deletes_nothing_that_is_to_be_kept(path: Path) -> None:
    """SQLite takes the order of the keys from it: those to keep would be looked for in the wrong places."""
    with closing(sqlite3.connect(path / "packs.idx")) as index:
        (sql,) = index.execute("SELECT sql FROM sqlite_master WHERE name = 'ix_db_object_hashkey'").fetchone()
        index.executescript(
            "DROP INDEX ix_db_object_hashkey; CREATE UNIQUE INDEX ix_db_object_hashkey ON db_object (hashkey DESC);"
            f"PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = '{sql}' WHERE name = 'ix_db_object_hashkey';"
        )
    with Container(path) as container, pytest.raises(DamagedContainer, match="not in the order of the keys"):
        container.retain(list(CONTENTS)[:20])

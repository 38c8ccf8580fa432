"""The operations on containers whose manifests have pack tables, and that fold rows into others in each commit or two.

Step 5b of a commit: the tables and their names are on stable storage before the manifest that names them is put.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from rsdos import Container, names
from rsdos.maintenance.repair import index as repair_index
from tests.crash.operation import BASE, NEW, OLD, Ack, Operation
from tests.helpers import flip, manifest_of


@contextmanager
def folding(rows: int = 2, most: int = 4) -> Iterator[None]:
    """Have manifests with no more than so many rows of packs, and tables of no more than ``most``."""
    with (
        patch("rsdos.index.table_files.MOST_CHANGED", rows),
        patch("rsdos.index.pack_table.MOST_ROWS", most),
    ):
        yield


@folding()
def base(path: Path) -> None:
    """Each object in a pack of its own: two tables, and rows beside them."""
    with Container.create(path, pack_size_target=1) as container:
        for data in BASE.values():
            container.insert_many([data])
    packs = manifest_of(path).packs
    assert len(packs.tables.tables) > 1
    assert packs.changed


@folding()
def _with_dead(path: Path) -> None:
    base(path)
    with Container(path) as container:
        for data in NEW.values():
            container.insert_many([data])
        container.delete(list(NEW)[:4])


@folding()
def _damaged(path: Path) -> None:
    """One table is damaged, and with it the manifests that name it: all that there are."""
    _with_dead(path)
    with Container(path) as container:
        container.delete(list(NEW)[4:])
    flip(path / names.pack_table(manifest_of(path).packs.tables.entries[0].number), 60)


@folding()
def _insert(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for data in [*NEW.values(), *OLD.values()]:
            (key,) = container.insert_many([data])
            ack(key)
    assert len(manifest_of(path).packs.tables.entries) > 2


@folding()
def _delete(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.delete(NEW)
        assert not any(container.has_many(NEW))


@folding()
def _repack(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack(min_dead=0)
        assert container.status().dead_objects == 0


@folding()
def _repair(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        engine = container.engine
        report = repair_index.execute(engine, repair_index.plan(engine))
        assert report.is_good
        assert not repair_index.plan(engine).faults


OPERATIONS = {
    f"{name}, pack tables": operation
    for name, operation in {
        "insert packed": Operation(base, _insert, least=40),
        "delete": Operation(_with_dead, _delete, wanted=BASE, gone=NEW),
        "repack": Operation(_with_dead, _repack, wanted=dict(BASE), least=15, rewrites=True),
        "repair index": Operation(_damaged, _repair, wanted=BASE, gone=NEW, least=8),
    }.items()
}

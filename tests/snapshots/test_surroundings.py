"""Snapshots beside the rest of a container: backups, old releases, migrations, read-only containers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rsdos import Container, UnsupportedContainer
from rsdos.engine.publish import read_refs
from rsdos.index import manifest
from rsdos.maintenance import gc
from rsdos.maintenance.backup import backup
from tests.data import key_of
from tests.helpers import manifest_of
from tests.snapshots.saving import save
from tests.snapshots.test_gc import copies_of, forget_named
from tests.snapshots.test_publish import FILES, assert_whole, fresh


def test_a_backup_has_the_refs_and_all_that_they_lead_to(store: Container, tmp_path: Path) -> None:
    snapshot = save(store.engine, "flowers", FILES)
    engine = store.engine
    place = tmp_path / "backup"
    backup.execute(engine, backup.plan(engine, backup.BackupOptions(str(place))))
    save(store.engine, "flowers", {"later": b"later"})
    copied = Container(place / "last-backup")
    assert read_refs(copied.engine)[0].find("flowers") == snapshot
    assert_whole(copied, snapshot, FILES)
    assert copied.validate("full").is_good


def test_a_copy_that_was_restored_goes_on_by_itself(store: Container, tmp_path: Path) -> None:
    """Attack 15: the numbers of documents come again, and mean something else."""
    save(store.engine, "flowers", FILES)
    store.close()
    place = shutil.copytree(store.path, tmp_path / "copy")
    save(store.engine, "flowers", {"later": b"later"})
    copied = Container(place)
    snapshot = save(copied.engine, "flowers", {"other": b"other"})
    assert read_refs(fresh(copied))[0].number == read_refs(fresh(store))[0].number == 2
    forget_named(copied, "flowers@1")
    gc.execute(copied.engine, gc.plan(copied.engine))
    assert_whole(copied, snapshot, {"other": b"other"})


def test_an_old_release_refuses_to_write_and_reads(store: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 13: it can neither drop the refs, nor delete what they need."""
    save(store.engine, "flowers", FILES)
    store.insert_many([b"plain"])
    refs = manifest_of(store.path).refs
    monkeypatch.setattr(manifest, "_READ", (2, 3))
    old = Container(store.path)
    for write in (
        lambda: old.insert_many([b"new"]),
        lambda: old.delete([key_of(b"plain")]),
        lambda: old.delete([key_of(FILES["a.txt"])]),
        old.pack_all_loose,
    ):
        with pytest.raises(UnsupportedContainer):
            write()
    assert old.extract(key_of(b"plain")) == b"plain"
    assert old.extract(key_of(FILES["a.txt"])) == FILES["a.txt"]
    monkeypatch.undo()
    assert manifest_of(store.path).refs == refs
    assert Container(store.path).validate("full").is_good


def test_a_container_that_never_saved_stays_one_of_before(store: Container) -> None:
    store.insert_many(FILES.values())
    store.delete([key_of(FILES["a.txt"])])
    assert manifest_of(store.path).epoch == 0
    assert b'"manifest_version": 3' in max((store.path / "index").glob("manifest-*")).read_bytes()


def test_optimizing_and_repairing_keep_both_lives_apart(store: Container) -> None:
    store.insert_many([FILES["a.txt"], b"plain"])
    snapshot = save(store.engine, "flowers", FILES)
    store.insert(FILES["sub/b.txt"])
    store.optimize()
    store.repack(min_dead=0.0)
    before = {data: copies_of(store, data) for data in FILES.values()}
    assert_whole(store, snapshot, FILES)
    forget_named(store, "flowers")
    gc.execute(store.engine, gc.plan(store.engine))
    store.repack(min_dead=0.0)
    assert set(Container(store.path)) == {key_of(data) for data in (FILES["a.txt"], FILES["sub/b.txt"], b"plain")}
    assert before[FILES["empty"]]

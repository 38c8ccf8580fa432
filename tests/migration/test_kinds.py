"""Migrations to version 1, which has no snapshots: what was inserted by key goes, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container, Durability, InvalidOption, Place
from rsdos.maintenance.migrate import migrate
from rsdos.model import PackKind
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, flip, native

BY_KEY = {key_of(data): data for data in (b"", text(3000), noise(4000, 1), b"loose", b"both")}
HELD = {key_of(data): data for data in (b"held", noise(2000, 2), b"both")}


@pytest.fixture
def store(tmp_path: Path) -> Container:
    container = Container.create(tmp_path / "store")
    objects = container.engine.objects
    objects.insert_many(HELD.values(), kind=PackKind.HELD)
    objects.insert_many([b"page"], kind=PackKind.TREES)
    container.insert_many([data for data in BY_KEY.values() if data != b"loose"])
    container.insert(b"loose", to=Place.LOOSE)
    native(container.engine).index.commit(
        lambda newest: newest._replace(refs=key_of(b"page"), epoch=1), Durability.FULL
    )
    return container


def test_a_container_with_snapshots_is_not_migrated_to_version_1(store: Container, tmp_path: Path) -> None:
    for destination in (None, tmp_path / "new"):
        with pytest.raises(InvalidOption, match="--without-snapshots"):
            store.migrate(1, destination)
    assert_holds(store, BY_KEY | HELD)
    assert not (tmp_path / "new").exists()


def test_a_snapshot_that_is_saved_after_the_plan_is_not_dropped(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store")
    store.insert_many(BY_KEY.values())
    plan = migrate.plan(store.engine, migrate.MigrateOptions(1))
    (tmp_path / "directory").mkdir()
    store.snapshots.save("saved", tmp_path / "directory")
    with pytest.raises(InvalidOption, match="--without-snapshots"):
        migrate.execute(store.engine, plan)
    store = Container(store.path)
    assert [*store.snapshots.branches()] == ["saved"]
    assert_holds(store, BY_KEY)
    assert store.validate("full").is_good
    store.migrate(1, snapshots="leave behind")
    assert_holds(Container(store.path), BY_KEY)


def test_snapshots_are_left_behind_on_request(store: Container, tmp_path: Path) -> None:
    report = store.migrate(1, tmp_path / "new", snapshots="leave behind")
    assert (report.damaged, report.missing) == ((), ())
    assert_holds(Container(tmp_path / "new"), BY_KEY)
    assert_holds(store, BY_KEY | HELD)
    report = store.migrate(1, snapshots="leave behind")
    assert (report.damaged, report.missing) == ((), ())
    store = Container(store.path)
    assert store.config.version == 1
    assert_holds(store, BY_KEY)
    assert not store.has(key_of(b"page"))


def test_a_damaged_plain_copy_is_migrated_from_the_held_one(store: Container) -> None:
    view = native(store.engine).index.refresh().of_kinds((PackKind.PLAIN,))
    data = noise(4000, 1)
    store.engine.objects.insert_many([b"another"], kind=PackKind.HELD)
    store.engine.objects.insert_many([data], kind=PackKind.TREES)
    (record,) = view.find_all(bytes.fromhex(key_of(data)))
    flip(Path(store.engine.layout.pack(record.pack_id)), record.offset)
    store.close()
    report = store.migrate(1, snapshots="leave behind")
    assert (report.damaged, report.missing) == ((), ())
    assert_holds(Container(store.path), BY_KEY)


def test_a_container_without_refs_is_migrated_as_ever(tmp_path: Path) -> None:
    """What a save that was killed has left is of no snapshot."""
    container = Container.create(tmp_path / "store")
    container.insert_many(BY_KEY.values())
    container.engine.objects.insert_many([b"held"], kind=PackKind.HELD)
    container.migrate(1)
    assert_holds(Container(container.path), BY_KEY)

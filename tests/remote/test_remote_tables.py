"""Containers of version 3 with many packs: most of their rows are in tables, which are uploaded beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rsdos import Container, Durability
from rsdos.index import pack_table, reservations, table_files
from rsdos.index.manifest import Manifest
from rsdos.model import Place
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.remote.dead import DeadNames
from rsdos.stores.remote.placed import names_of, object_of
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.remote.test_remote_container import bucket, commits_of, ids_are_unique, in_threads, is_whole


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(table_files, "MOST_CHANGED", 4)
    monkeypatch.setattr(pack_table, "MOST_ROWS", 8)
    yield


def filled(storage: MemoryStorage, count: int) -> dict[str, bytes]:
    container = Container.create(storage)
    return {container.insert(b"%d" % number, to=Place.PACKED): b"%d" % number for number in range(count)}


def newest(storage: MemoryStorage) -> Manifest:
    return commits_of(Container(storage)).newest()


def test_rows_of_packs_go_to_tables_and_all_objects_are_found() -> None:
    storage = bucket()
    objects = filled(storage, 40)
    manifest = newest(storage)
    assert len(manifest.packs.tables.entries) >= 4 and len(manifest.packs.changed) <= 5
    assert len(manifest.packs) == 40
    late = Container(storage)
    assert dict(late.extract_many(objects)) == objects
    assert {late.extract(key) for key in objects} == set(objects.values())
    assert ids_are_unique(late) and is_whole(late)
    # What leads to them is there.
    assert all(storage.exists(name) for name in names_of(manifest))


def test_a_table_is_read_once() -> None:
    storage = bucket()
    filled(storage, 40)
    recording = RecordingStorage(storage)
    log = commits_of(Container(recording))
    log.newest()
    tables = [call.name for call in recording.calls if call.name.startswith("tables/")]
    assert len(tables) == len(set(tables)) == len(newest(storage).packs.tables.entries)
    Container(storage).insert_many([b"another"])
    recording.forget()
    assert log.newest().number == newest(storage).number
    assert len([call for call in recording.calls if call.name.startswith("tables/")]) <= 1


def test_deletes_and_repacks_reach_what_is_in_tables() -> None:
    storage = bucket()
    objects = filled(storage, 30)
    gone = list(objects)[::3]
    assert set(Container(storage).delete(gone)) == set(gone)
    left = {key: data for key, data in objects.items() if key not in gone}
    assert sorted(Container(storage)) == sorted(left)
    Container(storage).repack(min_dead=0.0)
    late = Container(storage)
    assert dict(late.extract_many(left)) == left
    assert not any(late.has_many(gone))
    assert is_whole(late)


def test_ids_of_tables_are_reserved_and_old_tables_are_retired() -> None:
    storage = bucket()
    filled(storage, 40)
    manifest = newest(storage)
    kinds = {row.kind for row in reservations.state_of(manifest).retired}
    assert "table" in kinds
    ids = [*manifest.pack_ids, *(table.number for table in manifest.packs.tables.entries)]
    assert len(ids) == len(set(ids)) and max(ids) < manifest.next_pack_id


def test_live_tables_are_not_dead_and_retired_ones_are_once_they_lapse() -> None:
    storage = bucket()
    filled(storage, 40)
    manifest = newest(storage)
    dead = DeadNames(manifest)
    names = list(filter(None, map(object_of, storage.list("tables"))))
    live = {(table.number, table.suffix) for table in manifest.packs.tables.entries}
    assert not any(dead.has(*name) for name in names)
    lapsed = DeadNames(reservations.without_retired(manifest, manifest.number))
    assert {name[1:] for name in names if not lapsed.has(*name)} == live


def test_writers_at_once_fold_and_lose_nothing() -> None:
    storage = bucket()
    Container.create(storage)
    stored: list[str] = []

    def insert(seed: int) -> Callable[[], None]:
        def run() -> None:
            container = Container(storage)
            for number in range(8):
                stored.append(container.insert(b"%d %d" % (seed, number), to=Place.PACKED))

        return run

    in_threads(*map(insert, range(5)))
    late = Container(storage)
    assert len(stored) == 40 and all(late.has_many(stored))
    assert is_whole(late) and ids_are_unique(late)
    assert newest(storage).packs.tables.count


class _Killed(BaseException):
    """The process is dead."""


def test_a_writer_that_is_killed_while_it_folds_loses_nothing() -> None:
    """At each of its requests; another one folds then."""
    for number in range(1000):
        storage = bucket()
        objects = filled(storage, 4)
        passing = [number]

        def fault(call: StorageCall, passing: list[int] = passing) -> Exception | None:
            passing[0] -= 1
            if passing[0] < 0:
                raise _Killed
            return None

        try:
            Container(FaultyStorage(storage, fault)).insert_many([b"dying"])
            is_done = True
        except _Killed:
            is_done = False
        (key,) = Container(storage).insert_many([b"after"])
        late = Container(storage)
        assert dict(late.extract_many({**objects, key: b"after"})) == {**objects, key: b"after"}
        assert newest(storage).packs.tables.count
        if is_done:
            assert number > 8
            return
    raise AssertionError("it never ended")


def test_a_reader_with_an_old_manifest_finds_packs_of_tables_that_are_gone() -> None:
    storage = bucket()
    objects = filled(storage, 12)
    old = Container(storage)
    assert old.has_many(objects) == [True] * 12
    for number in range(100, 120):
        Container(storage).insert_many([b"%d" % number])
    live = {table.suffix for table in newest(storage).packs.tables.entries}
    for name in list(storage.list("tables")):
        found = object_of(name)
        if found and found[2] not in live:
            storage.remove(f"tables/{name}")
    assert dict(old.extract_many(objects)) == objects


def test_a_missing_table_is_damage_of_the_newest_manifest_alone() -> None:
    storage = bucket()
    objects = filled(storage, 20)
    number = newest(storage).number
    for name in list(storage.list("tables")):
        storage.remove(f"tables/{name}")
    late = Container(storage)
    assert dict(late.extract_many(objects)) == objects
    log = commits_of(Container(storage))
    with pytest.raises(OSError, match="a pack table is missing"):
        log.commit(lambda now: now.with_note("x", 1), Durability.FULL)
    with pytest.raises(FileNotFoundError):
        log.read(number - 1)

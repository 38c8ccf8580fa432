"""Containers of many packs, whose manifests have pack tables: every operation, damage, crashes and older releases."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Durability, UnsupportedContainer, names
from rsdos.index import cache, table_files
from rsdos.index import manifest as manifests
from rsdos.index.commits import CommitLog
from rsdos.index.manifest import decode_manifest
from rsdos.index.pack_table import PackTable
from rsdos.index.packs import PackTables
from rsdos.index.pruning import KEPT
from rsdos.storage.base import Put, PutResult
from rsdos.storage.local import LocalStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.crash.with_tables import folding
from tests.data import key_of, noise
from tests.helpers import assert_holds, flip, manifest_of

OBJECTS = {key_of(data): data for data in (noise(90, seed) for seed in range(24))}


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with folding():
        yield


def fill(container: Container, objects: list[bytes]) -> None:
    for data in objects:
        container.insert_many([data])


def filled(path: Path, **settings: object) -> Path:
    with Container.create(path, pack_size_target=1, **settings) as container:  # type: ignore[arg-type]
        fill(container, [*OBJECTS.values()])
    assert len(manifest_of(path).packs.tables.entries) > 2
    return path


def tables(path: Path) -> list[Path]:
    return sorted((path / "index").glob("*.tab"))


def named(path: Path) -> list[Path]:
    """The files of the tables that the newest manifest names."""
    return [path / names.pack_table(entry.number) for entry in manifest_of(path).packs.tables.entries]


def newest(path: Path) -> Path:
    return max((path / "index").glob("manifest-*"))


def damage(path: Path) -> None:
    flip(named(path)[0], 70)


def lose(path: Path) -> None:
    named(path)[0].unlink()


def lengthen(path: Path) -> None:
    with named(path)[0].open("ab") as file:
        file.write(bytes(8))


def exchange(path: Path) -> None:
    one, two, *_ = named(path)
    shutil.copy(two, one)


@pytest.mark.parametrize("durability", list(Durability))
def test_every_operation_works_with_tables(tmp_path: Path, durability: Durability) -> None:
    path = filled(tmp_path / "store", durability=durability)
    gone, kept = list(OBJECTS)[::3], {key: OBJECTS[key] for key in list(OBJECTS) if key not in list(OBJECTS)[::3]}
    with Container(path) as container:
        assert_holds(container, OBJECTS)
        container.delete(gone)
        assert not any(container.has_many(gone))
        report = container.repack(min_dead=0)
        assert len(report.pack_ids) == len(gone)
        assert container.status().packs == len(kept) + 1  # One has the tombstones.
        container.optimize()
        assert container.validate().is_good
    with Container(path) as container:
        assert_holds(container, kept)
        assert container.status().packed_objects == len(kept)
        container.insert_many([b"one more"])
        assert container.validate().is_good


def test_a_container_of_few_packs_is_written_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "MOST_CHANGED", 512)
    with Container.create(tmp_path / "store", pack_size_target=1) as container:
        fill(container, [*OBJECTS.values()])
    assert b'"manifest_version": 3,' in newest(tmp_path / "store").read_bytes()
    assert not tables(tmp_path / "store")


def test_a_release_that_knows_no_tables_says_so_and_reads_the_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "store")
    monkeypatch.setattr(manifests, "_READ", (2, 3, 4))
    cache._cache.clear()
    with Container(path) as container:
        assert_holds(container, OBJECTS)
        with pytest.raises(UnsupportedContainer, match="manifest version 5 is not known: a later release"):
            container.insert_many([b"refused"])
        assert container.status().is_recovered


@pytest.mark.parametrize("harm", [damage, lose, lengthen, exchange])
def test_a_table_that_is_not_whole_is_as_a_damaged_manifest(tmp_path: Path, harm: object) -> None:
    path = filled(tmp_path / "store")
    assert callable(harm)
    harm(path)
    cache._cache.clear()
    with Container(path) as container:
        assert_holds(container, OBJECTS)
        with pytest.raises(DamagedContainer, match="the newest manifest; nothing is written before a repair"):
            container.insert_many([b"refused"])
        report = container.validate()
        assert not report.is_good
        assert any("pack table" in finding.reason for finding in report.files)
        assert container.repair_index().is_good
        assert manifest_of(path).packs.tables.entries
        container.insert_many([b"taken"])
        assert container.validate().is_good
    with Container(path) as container:
        assert_holds(container, {**OBJECTS, key_of(b"taken"): b"taken"})


def test_a_check_reads_tables_that_are_in_memory_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    with Container(path) as container:
        container.insert_many([b"loads the tables"])
        damage(path)
        assert not container.validate().is_good


def test_tables_go_with_the_manifests_that_name_them(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    stray = path / "index" / "0000000001.tab"
    stray.write_bytes(b"of a dead writer")
    with Container(path) as container:
        number = manifest_of(path).number
        while number % KEPT:
            container.insert_many([b"%d" % number])
            number += 1
        log = CommitLog(container.engine.layout, container.container_id)
        named = {
            entry.number
            for kept in container.engine.layout.manifest_numbers()
            for entry in log.read(kept).packs.tables.entries
        }
        assert container.engine.layout.table_numbers() == sorted(named)
    assert not stray.exists()


def test_a_manifest_and_its_tables_that_are_pruned_are_gone_and_not_damaged(tmp_path: Path) -> None:
    path = filled(tmp_path / "store")
    with Container(path) as container:
        number = manifest_of(path).number
        log = CommitLog(container.engine.layout, container.container_id)

        class Pruned(LocalStorage):
            """Loses a table and, a moment later, the manifest that names it."""

            def read(self, name: str, most: int) -> bytes:
                if name.endswith(".tab"):
                    newest(path).unlink()
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
                return super().read(name, most)

        log._storage = Pruned(str(path))
        with pytest.raises(FileNotFoundError):
            log.read(number)


def test_a_table_has_its_name_before_the_manifest_that_names_it(tmp_path: Path) -> None:
    """Also under relaxed durability: else a power loss that takes it makes every manifest since a damaged one."""
    Container.create(tmp_path / "store", pack_size_target=1, durability=Durability.RELAXED).close()
    storage = RecordingStorage(LocalStorage(str(tmp_path / "store")))
    with Container(storage) as container:
        fill(container, [*OBJECTS.values()])
    steps = [(call.verb, call.name) for call in storage.calls]
    folds = 0
    for at, (verb, name) in enumerate(steps):
        if verb == "put_new" and name.endswith(".tab"):
            following = next(
                n for n, step in enumerate(steps[at:], at) if step[0] == "put_new" and "manifest" in step[1]
            )
            assert ("sync_names", "index") in steps[at:following]
            folds += 1
    assert folds > 3


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), Put.TAKEN, Put.UNKNOWN])
def test_a_commit_without_room_for_a_table_is_one_without_it(tmp_path: Path, fault: OSError | Put) -> None:
    Container.create(tmp_path / "store", pack_size_target=1).close()
    is_full = True

    def faults(call: StorageCall) -> Exception | Put | None:
        return fault if is_full and call.verb == "put_new" and call.name.endswith(".tab") else None

    with Container(FaultyStorage(LocalStorage(str(tmp_path / "store")), faults)) as container:
        fill(container, [*OBJECTS.values()][:6])
        assert not manifest_of(tmp_path / "store").packs.tables.entries
        assert_holds(container, dict([*OBJECTS.items()][:6]))
        is_full = False
        fill(container, [*OBJECTS.values()][6:7])
        assert manifest_of(tmp_path / "store").packs.tables.entries
        assert container.validate().is_good


def test_a_fold_that_fails_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "store")

    class Died(Exception):
        pass

    def put_new(self: LocalStorage, name: str, data: bytes, still: object = None) -> PutResult:
        if name.startswith("index/manifest"):
            raise Died
        return whole(self, name, data, still)  # type: ignore[arg-type]

    whole = LocalStorage.put_new
    with Container(path) as container:
        before = tables(path)
        monkeypatch.setattr(LocalStorage, "put_new", put_new)
        for number in range(3):
            with pytest.raises(Died):
                container.insert_many([b"%d" % seed for seed in range(number + 3)])
        monkeypatch.setattr(LocalStorage, "put_new", whole)
        assert tables(path) == before
        assert_holds(container, OBJECTS)


def test_neither_a_commit_nor_a_lookup_goes_through_all_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "store")
    with Container(path) as container:
        container.delete(container.insert_many([b"deleted"]))
        container.repack(min_dead=0)

    def refused(self: object, *_: object) -> object:
        raise AssertionError("all rows of a table are made entries")

    monkeypatch.setattr(table_files, "MOST_CHANGED", 100)
    monkeypatch.setattr(PackTable, "rows", refused)
    monkeypatch.setattr(PackTables, "rows", refused)
    with Container(path) as container:
        fill(container, [b"one", b"two"])
        key = container.insert(b"three")
        container.delete([key, next(iter(OBJECTS))])
        assert container.has_many([*OBJECTS]) == [False] + [True] * (len(OBJECTS) - 1)
        assert container.extract(list(OBJECTS)[1]) == OBJECTS[list(OBJECTS)[1]]


def test_a_backup_has_the_tables_and_what_is_restored_is_whole(tmp_path: Path) -> None:
    path = filled(tmp_path / "store", durability=Durability.RELAXED)
    with Container(path) as container:
        container.backup(tmp_path / "backup", verify=True)
        fill(container, [b"later"])
        container.backup(tmp_path / "backup", verify=True)
    copy = tmp_path / "backup" / os.readlink(tmp_path / "backup" / "last-backup")
    assert tables(copy)
    with Container(copy) as opened:
        assert_holds(opened, {**OBJECTS, key_of(b"later"): b"later"})
    Container.restore(tmp_path / "backup", tmp_path / "again")
    with Container(tmp_path / "again") as opened:
        assert_holds(opened, {**OBJECTS, key_of(b"later"): b"later"})
        opened.insert_many([b"goes on"])
        assert opened.validate().is_good


def test_a_migration_there_and_back_keeps_everything(tmp_path: Path) -> None:
    path = filled(tmp_path / "store", compression="none")
    with Container(path) as container:
        container.migrate(1)
    assert not tables(path)
    with Container(path) as container:
        assert_holds(container, OBJECTS)
        container.migrate(2)
    with Container(path) as container:
        assert_holds(container, OBJECTS)
        fill(container, [b"goes on"])
        assert container.validate().is_good


def test_a_manifest_with_tables_is_read_by_what_reads_them_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing reads them"):
        decode_manifest(newest(filled(tmp_path / "store")).read_bytes())

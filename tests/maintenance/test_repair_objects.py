"""Repair of objects: a good copy takes the place of a bad one, and what is beyond help is kept and told of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption, Place
from rsdos.maintenance.check.resume import MOST_FINDINGS
from rsdos.maintenance.check.validate import check_all
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.maintenance.repair.objects import HERE, RepairObjectsOptions, RepairObjectsReport, Unrepairable
from rsdos.model import FRAME_SIZE
from rsdos.stores.findings import Depth
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, flip
from tests.maintenance.test_validate import OBJECTS, damaged_keys, filled, loose_file, place, run
from tests.test_golden import NAMES, unpack


def repair(container: Container, *sources: Path, beyond_help: Unrepairable = Unrepairable.KEEP) -> RepairObjectsReport:
    engine = Container(container.path).engine
    options = RepairObjectsOptions([Container(path).engine for path in sources], beyond_help=beyond_help)
    return repair_objects.execute(engine, repair_objects.plan(engine, options))


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return filled(tmp_path / "store", request.param)


def break_all(container: Container) -> list[str]:
    """Damage every object that has bytes; returns the keys."""
    broken = []
    for key, data in OBJECTS.items():
        if not data:
            continue
        if container.meta(key).place is Place.LOOSE:
            flip(loose_file(container, data), 0)
        else:
            path, offset = place(container, data)
            flip(path, offset + 1 if len(data) > 1 else offset)
        broken.append(key)
    container.close()
    return broken


@pytest.mark.parametrize("version", [1, 2])
def test_from_another_container_of_any_version(version: int, store: Container, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", version)
    other.pack_all_loose()
    backup = tmp_path / "backup"
    shutil.copytree(other.path, backup)
    broken = break_all(store)
    assert damaged_keys(run(Container(store.path))) == set(broken)
    report = repair(store, tmp_path / "other", backup)
    assert report.is_good
    assert {remedy.key for remedy in report.repaired} == set(broken)
    assert {remedy.source for remedy in report.repaired} == {str(tmp_path / "other")}
    assert_holds(Container(store.path), OBJECTS)
    assert run(Container(store.path)).is_good
    assert repair(store).repaired == ()


def test_what_was_deleted_since_the_plan_stays_deleted(store: Container, tmp_path: Path) -> None:
    filled(tmp_path / "other", 2)
    gone, *others = break_all(store)
    engine = Container(store.path).engine
    plan = repair_objects.plan(engine, RepairObjectsOptions([Container(tmp_path / "other").engine]))
    Container(store.path).delete([gone])
    report = repair_objects.execute(engine, plan)
    assert {remedy.key for remedy in report.repaired} == set(others)
    assert report.is_good
    assert not Container(store.path).has(gone)


def test_an_object_without_a_good_copy_is_kept_until_a_source_has_one(store: Container, tmp_path: Path) -> None:
    """Whoever forgets to name the backup loses nothing."""
    other = filled(tmp_path / "other", 2)
    broken = break_all(store)
    report = repair(store)
    assert ({remedy.key for remedy in report.beyond_help}, report.described) == (set(broken), None)
    assert not report.is_good
    assert damaged_keys(run(Container(store.path))) == set(broken)
    assert {remedy.key for remedy in repair(store, other.path).repaired} == set(broken)
    assert_holds(Container(store.path), OBJECTS)


def test_an_object_without_a_good_copy_is_moved_to_quarantine(store: Container) -> None:
    broken = break_all(store)
    report = repair(store, beyond_help=Unrepairable.QUARANTINE)
    assert not report.is_good
    assert {remedy.key for remedy in report.beyond_help} == set(broken)
    assert report.described is not None
    directory = (store.path / report.described).parent
    told = json.loads((store.path / report.described).read_text())
    assert {key for key, _ in told["beyond_help"]} == set(broken)
    for key in broken:
        assert (directory / f"{key}.json").exists()
        assert [path for path in directory.glob(f"{key}.*") if path.suffix != ".json"]
    good = {key: data for key, data in OBJECTS.items() if key not in broken}
    assert_holds(Container(store.path), good)
    assert run(Container(store.path)).is_good
    store.insert_many(OBJECTS.values())
    assert_holds(Container(store.path), OBJECTS)


def test_from_a_copy_of_its_own(store: Container) -> None:
    data = [noise(3000, 1), noise(3000, 2), text(FRAME_SIZE + 77)]
    store.insert_many(data, to=Place.LOOSE)
    store.pack_all_loose(clean=False)
    path, offset = place(store, data[0])
    flip(path, offset)
    flip(loose_file(store, data[1]), 10)
    path, offset = place(store, data[2])
    flip(path, offset + 20)
    store.close()
    assert len(run(Container(store.path)).damaged) == 3
    report = repair(store)
    assert report.is_good
    assert {(remedy.key, remedy.source) for remedy in report.repaired} == {(key_of(one), HERE) for one in data}
    assert_holds(Container(store.path), OBJECTS | {key_of(one): one for one in data})
    assert run(Container(store.path)).is_good


def test_a_dry_run_changes_nothing(store: Container, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", 2)
    other.delete([key_of(b"x")])
    broken = break_all(store)
    engine = Container(store.path).engine
    plan = repair_objects.plan(engine, RepairObjectsOptions([other.engine]))
    assert {remedy.key for remedy in plan.remedies} == set(broken)
    assert {remedy.key for remedy in plan.remedies if remedy.source is None} == {key_of(b"x")}
    assert not (store.path / "quarantine").exists()
    assert damaged_keys(run(Container(store.path))) == set(broken)


def test_a_damaged_source_is_no_help(store: Container, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", 2)
    broken = break_all(other)
    break_all(store)
    assert {remedy.key for remedy in repair(store, other.path).beyond_help} == set(broken)


def test_a_file_that_is_none(store: Container, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", 2)
    file = loose_file(store, list(OBJECTS.values())[6])
    file.unlink()
    file.symlink_to("/etc/hostname")
    report = repair(store, other.path)
    assert report.is_good
    assert not file.is_symlink()
    assert_holds(Container(store.path), OBJECTS)


def test_sources_that_make_no_sense(store: Container, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption):
        repair(store, store.path)
    sha1 = Container.create(tmp_path / "sha1", container_version=1, hash_type="sha1")
    with pytest.raises(InvalidOption):
        repair(store, sha1.path)


def test_after_a_repair_of_the_index_lost_objects_come_from_a_backup(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", pack_size_target=5000)
    objects = {key_of(data): data for data in (noise(1000, seed) for seed in range(40))}
    data = list(objects.values())
    for at in range(0, 40, 2):
        container.insert_many(data[at : at + 2])
    container.engine.packed.maintenance.merge_index()
    container.close()
    backup = tmp_path / "backup"
    shutil.copytree(container.path, backup)
    (container.path / "packed" / "0000000002.pack").unlink()
    engine = Container(container.path).engine
    report = repair_index.execute(engine, repair_index.plan(engine))
    assert report.lost and not report.unknown
    repaired = repair(container, backup)
    assert {remedy.key for remedy in repaired.repaired} == set(report.lost)
    assert repaired.is_good
    assert_holds(Container(container.path), objects)
    assert run(Container(container.path)).is_good


def test_what_is_too_much_for_one_run_is_counted_and_repaired_by_the_next(
    store: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run repairs more than a validation lists."""
    backup = tmp_path / "backup"
    shutil.copytree(store.path, backup)
    broken = break_all(store)
    checked = check_all(Container(store.path).engine, Depth.FULL, most=2)
    assert (len(checked.damaged), checked.unlisted) == (2, len(broken) - 2)
    assert repair_objects.MOST_REPAIRED > MOST_FINDINGS
    monkeypatch.setattr(repair_objects, "MOST_REPAIRED", len(broken) - 1)
    report = repair(store, backup)
    assert (len(report.repaired), report.unlisted, report.is_good) == (len(broken) - 1, 1, False)
    report = repair(store, backup)
    assert (len(report.repaired), report.unlisted, report.is_good) == (1, 0, True)
    assert_holds(Container(store.path), {key_of(data): data for data in OBJECTS.values()})


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("damaged") and "config" not in name])
def test_golden_damaged_containers_are_good_after_both(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    engine = Container(root).engine
    repair_index.execute(engine, repair_index.plan(engine))
    # There is no quarantine on object storage.
    report = repair(Container(root), beyond_help=Unrepairable.QUARANTINE if engine.directory else Unrepairable.KEEP)
    assert (report.files, report.unlisted) == ((), 0)
    assert {remedy.key for remedy in report.beyond_help} <= set(expected["errors"])
    with Container(root) as container:
        assert set(expected["objects"]) == set(container)
        for key in expected["objects"]:
            assert key_of(container.extract(key)) == key
    assert run(Container(root)).is_good


@pytest.mark.parametrize("beyond_help", Unrepairable)
def test_many_objects_are_repaired_with_few_commits(tmp_path: Path, beyond_help: Unrepairable) -> None:
    contents = [noise(300 + number, number) for number in range(200)]
    with Container.create(tmp_path / "container") as container, Container.create(tmp_path / "other") as other:
        keys = container.insert_many(contents)
        extents = [container.meta(key).extent for key in keys]
        other.insert_many(contents[:150])
    pack = tmp_path / "container" / "packed" / "0000000001.pack"
    for extent in extents:
        assert extent is not None
        flip(pack, extent.offset)
    before = max(container.engine.layout.manifest_numbers())
    length = sum(path.stat().st_size for path in pack.parent.iterdir())
    report = repair(container, other.path, beyond_help=beyond_help)
    assert (len(report.repaired), len(report.beyond_help)) == (150, 50)
    assert max(container.engine.layout.manifest_numbers()) - before <= 3
    assert sum(path.stat().st_size for path in pack.parent.iterdir()) - length < 2 * sum(map(len, contents))
    fresh = Container(container.path)
    assert dict(fresh.extract_many(keys[:150])) == dict(zip(keys, contents[:150], strict=False))
    fresh.close()

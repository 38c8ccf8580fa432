"""Repair: the index comes back from the packs, and nothing that could be read is lost by it."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, ObjectNotFound, Place, RsdosError
from rsdos.index.manifest import encode_manifest
from rsdos.index.packs import Packs
from rsdos.maintenance.check import validate
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair.index import RepairIndexReport
from rsdos.model import FRAME_SIZE
from rsdos.stores.findings import Depth
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, child_environment, flip, manifest_of, native
from tests.maintenance.test_validate import OBJECTS, damage, filled, rows, run
from tests.test_golden import NAMES, unpack

SOME = {key_of(data): data for data in (b"x", text(3000), noise(5000), text(FRAME_SIZE + 5), noise(70), text(90))}


def repair(path: Path) -> RepairIndexReport:
    engine = Container(path).engine
    return repair_index.execute(engine, repair_index.plan(engine))


def assert_good(path: Path, objects: dict[str, bytes]) -> None:
    """All is there and right, everything agrees, and there is nothing more to repair."""
    assert_holds(Container(path), objects)
    report = run(Container(path))
    assert (report.damaged, report.files) == ((), ())
    engine = Container(path).engine
    assert repair_index.plan(engine).faults == ()
    # And it goes on from there.
    with Container(path) as container:
        (key,) = container.insert_many([b"one more"])
        assert_holds(container, objects | {key: b"one more"})
        container.delete([key])
        container.clean_storage()
        assert_holds(container, objects)
        container.repack(min_dead=0)
        assert_holds(container, objects)
    assert run(Container(path)).is_good


def many(path: Path, **settings: object) -> dict[str, bytes]:
    """Thirty batches, so that there are merged segments; with deletes, in several packs."""
    with Container.create(path, **settings) as container:  # type: ignore[arg-type]
        objects = {key_of(data): data for data in (noise(700, seed) for seed in range(90))} | SOME
        data = list(objects.values())
        for at in range(0, len(data), 3):
            container.insert_many(data[at : at + 3])
        gone = list(objects)[10:40:3]
        container.delete(gone)
        container.insert_many([objects[gone[0]]])
    return {key: data for key, data in objects.items() if key not in gone[1:]}


@pytest.fixture(params=[{}, {"pack_size_target": 6000}], ids=["one pack", "many packs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    return tmp_path / "store", many(tmp_path / "store", **request.param)


def files(path: Path, pattern: str) -> list[Path]:
    return sorted(path.glob(pattern))


def test_nothing_is_done_where_nothing_is_wrong(store: tuple[Path, dict[str, bytes]]) -> None:
    path, objects = store
    before = manifest_of(path)
    report = repair(path)
    assert replace(report, seconds=0.0) == RepairIndexReport()
    assert manifest_of(path) == before
    assert not (path / "quarantine").exists()
    assert_holds(Container(path), objects)


@pytest.mark.parametrize("name", ["index", "packed"])
def test_a_directory_that_is_missing_is_made(name: str, store: tuple[Path, dict[str, bytes]]) -> None:
    path, objects = store
    shutil.rmtree(path / name)
    engine = Container(path).engine
    faults = repair_index.plan(engine).faults
    assert [fault.path for fault in faults] == [name]
    report = repair(path)
    assert report.is_changed
    assert report.is_good == (name == "index")
    if report.is_good:
        assert_good(path, objects)
    Container(path).insert_many([b"goes on"])


@pytest.mark.parametrize("name", ["index", "packed"])
def test_a_missing_directory_of_an_empty_container_is_reported_and_made(name: str, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    Container.create(path).close()
    shutil.rmtree(path / name)
    report = repair(path)
    assert (report.is_changed, report.is_good) == (True, True)
    assert not repair(path).is_changed
    assert Container(path).insert_many([b"goes on"]) == [key_of(b"goes on")]


@pytest.mark.parametrize("kind", ["newest manifest", "all manifests", "segments", "all", "half a manifest"])
def test_the_index_comes_back(kind: str, store: tuple[Path, dict[str, bytes]]) -> None:
    path, objects = store
    next_id = manifest_of(path).next_pack_id
    manifests = files(path, "index/manifest-*")
    segments = files(path, "index/*.seg")
    assert segments
    for one in {"newest manifest": manifests[-1:], "all manifests": manifests, "half a manifest": manifests[-1:]}.get(
        kind, segments if kind == "segments" else [*manifests, *segments]
    ):
        if kind == "half a manifest":
            os.truncate(one, one.stat().st_size // 2)
        elif kind == "newest manifest":
            flip(one, 50)
        else:
            one.unlink()
    dead = Container(path).status().dead_length if kind == "segments" else None
    report = repair(path)
    assert (report.is_changed, report.is_good) == (True, True)
    assert dead is None or Container(path).status().dead_length == dead
    if kind in ("newest manifest", "half a manifest"):
        assert (path / report.moved[0]).name == manifests[-1].name
    assert manifest_of(path).next_pack_id >= next_id
    assert_good(path, objects)


def test_a_manifest_that_was_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path, pack_size_target=6000)
    old = tmp_path / "old"
    shutil.copytree(path / "index", old)
    with Container(path) as container:
        fresh = container.insert_many(list(SOME.values()) + [noise(6500, 1000), noise(6500, 1001)])
        more = {key: container.extract(key) for key in fresh}
        container.delete(list(objects)[:3])
    shutil.rmtree(path / "index")
    shutil.copytree(old, path / "index")
    assert repair(path).is_good
    assert_good(path, {key: data for key, data in (objects | more).items() if key not in list(objects)[:3]})


def test_deletes_are_honoured_without_any_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path, pack_size_target=6000)
    Container(path).repack(min_dead=0.1)
    Container(path).clean_storage()
    shutil.rmtree(path / "index")
    (path / "index").mkdir()
    assert repair(path).is_good
    assert_good(path, objects)


def test_a_torn_index_after_a_power_loss(tmp_path: Path) -> None:
    """Relaxed: a merged segment file and the tail of a pack have reached the disk in part only."""
    path = tmp_path / "store"
    objects = many(path, durability="relaxed")
    (segment, *_) = files(path, "index/*.seg")
    os.truncate(segment, segment.stat().st_size // 2)
    pack = files(path, "packed/*")[-1]
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size - 4096)
        file.write(bytes(4096))
    report = repair(path)
    assert report.is_changed
    there = set(Container(path))
    lost = set(objects) - there
    assert len(lost) <= 1  # Of a relaxed writer: it is no damage, and nothing is said of it (ADR 11).
    assert_good(path, {key: objects[key] for key in there})


def test_packs_that_were_exchanged_get_their_names_back(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path, pack_size_target=6000)
    one, two, three, *_ = files(path, "packed/*")
    os.rename(one, tmp_path / "x")
    os.rename(two, one)
    os.rename(three, two)
    os.rename(tmp_path / "x", three)
    report = repair(path)
    assert (report.is_changed, report.is_good) == (True, True)
    assert_good(path, objects)
    shutil.copy(one, two)
    report = repair(path)
    assert not report.is_good  # Pack two was overwritten: its objects are gone.
    assert report.lost or report.unknown


@pytest.mark.parametrize("part", ["header", "footer", "segment", "last footer", "all footers"])
def test_a_damaged_pack_is_emptied_and_kept(part: str, store: tuple[Path, dict[str, bytes]]) -> None:
    path, objects = store
    with Container(path) as container:
        native(container.engine).maintenance.merge_index()
        pack = files(path, "packed/*")[1 if len(files(path, "packed/*")) > 1 else 0]
        batches = container.engine.packed.inspection.scan(int(pack.stem)).batches
    before = pack.read_bytes()
    middle = batches[len(batches) // 2]
    for offset in {
        "header": [5],
        "footer": [middle.footer_offset + 9],
        "segment": [middle.segment_offset + 70],
        "last footer": [batches[-1].footer_offset],
        "all footers": [batch.footer_offset + 60 for batch in batches],
    }[part]:
        flip(pack, offset)
    broken = pack.read_bytes()
    report = repair(path)
    assert (report.packs, report.is_good) == (1, True), report
    assert not pack.exists() or pack.read_bytes() != broken
    assert broken in [(path / name).read_bytes() for name in report.moved]
    assert before != broken
    assert_good(path, objects)


def test_a_pack_that_is_cut_or_gone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path, pack_size_target=6000)
    native(Container(path).engine).maintenance.merge_index()
    one, two, *_ = files(path, "packed/*")
    os.truncate(one, 4096 + 800)
    two.unlink()
    report = repair(path)
    assert (report.packs, report.is_good, report.unknown) == (2, False, 0)
    assert report.lost
    container = Container(path)
    assert set(container) == set(objects)
    for key, data in objects.items():
        if key in report.lost:
            with pytest.raises(RsdosError):
                container.extract(key)
            with pytest.raises(RsdosError):
                list(container.extract_many([key]))
        else:
            assert container.extract(key) == data
    checked = run(container)
    assert ({finding.key for finding in checked.damaged}, checked.files) == (set(report.lost), ())
    # Inserted again, they are whole.
    container.insert_many([objects[key] for key in report.lost])
    assert_holds(Container(path), objects)


def test_a_live_writer_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path)
    with Container(path) as container, container.engine.packed.writer() as writer:
        encoding = _raw(container)
        digests = writer.add_many([b"in the making", noise(6000, 77)], encoding)
        flip(files(path, "index/*.seg")[0], 100)
        assert repair(path).is_good
        writer.commit()
    for digest, data in zip(digests, (b"in the making", noise(6000, 77)), strict=True):
        objects[digest.hex()] = data
    assert_good(path, objects)


WRITER = """
import sys
from rsdos import Container
from tests.data import noise
container = Container(sys.argv[1])
for number in range(80):
    print(*container.insert_many([noise(300, 1000 * int(sys.argv[2]) + number), b"shared %d" % number]))
"""


def test_writers_go_on_while_the_index_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "store"
    objects = many(path, pack_size_target=20_000)
    command = [sys.executable, "-W", "error", "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen([*command, str(n)], env=child_environment(), stdout=subprocess.PIPE, text=True) for n in (1, 2)
    ]
    repaired = 0
    while any(writer.poll() is None for writer in writers):
        for segment in files(path, "index/*.seg")[-1:]:
            segment.unlink(missing_ok=True)
        repaired += repair(path).is_changed
    acknowledged = {key for writer in writers for key in writer.communicate()[0].split()}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert repaired and len(acknowledged) == 80 * 3
    repair(path)
    assert set(Container(path)) == set(objects) | acknowledged
    assert readable(path, set(objects) | acknowledged) == set(objects) | acknowledged
    assert run(Container(path)).is_good


def _raw(container: Container):  # type: ignore[no-untyped-def]
    from rsdos import CompressMode
    from rsdos.stores.encoding import Encoding

    return Encoding(CompressMode.NO, container.config.codec)


def test_hostile_tables_do_no_harm(tmp_path: Path) -> None:
    """A manifest with a whole checksum that names what is not there."""
    path = tmp_path / "store"
    objects = many(path)
    newest = manifest_of(path)
    for changed in (
        newest._replace(packs=Packs.of([newest.packs[0]._replace(id=77)]), next_pack_id=78),
        newest._replace(packs=Packs.of([newest.packs[0]._replace(length=1 << 60, synced=0)])),
        newest._replace(segments=(newest.segments[0]._replace(number=0, pack_id=1, offset=1 << 61, length=1 << 61),)),
    ):
        (path / f"index/manifest-{newest.number:010d}.json").write_bytes(encode_manifest(changed))
        repair(path)
        container = Container(path)
        assert {key: container.extract(key) for key in objects} == objects
        shutil.rmtree(path)
        objects = many(path)
        newest = manifest_of(path)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("damaged")])
def test_golden_damaged_containers(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    if "open" in expected:
        with pytest.raises(RsdosError):
            repair(root)
        return
    report = repair(root)
    with Container(root) as container:
        for key in expected["objects"]:
            assert key_of(container.extract(key)) == key
        container.insert_many([b"writers go on"])
        assert (
            validate.execute(
                container.engine, validate.plan(container.engine, validate.ValidateOptions(Depth.FULL))
            ).files
            == ()
        )
    if name in ("damaged-cut-pack", "damaged-pack-segment"):
        assert report.unknown == len(expected["errors"])
    assert not repair(root).is_changed


def test_any_damage_to_any_file_loses_nothing_more(tmp_path: Path) -> None:
    """What could be read before a repair can be read after it, and everything else is damaged or was told of."""
    chance = random.Random(11)
    for version in (1, 2):
        template = filled(tmp_path / f"template {version}", version)
        for number in range(20 * (version - 1)):
            template.insert_many([noise(50, number)])
        template.close()
        if version == 1:
            rows(template, "PRAGMA wal_checkpoint(TRUNCATE)")
        keys = {*OBJECTS, *(key_of(noise(50, number)) for number in range(20 * (version - 1)))}
        names = [
            path.relative_to(template.path)
            for path in sorted(template.path.rglob("*"))
            if path.is_file() and {"locks", "loose"}.isdisjoint(path.parts) and path.name != "config.json"
        ]
        for number in range(50):
            root = tmp_path / "container"
            shutil.copytree(template.path, root)
            name = chance.choice(names)
            if (root / name).stat().st_size:
                damage(root / name, chance)
            before = readable(root, keys)
            try:
                report = repair(root)
            except DamagedContainer:
                assert version == 1
                report = RepairIndexReport(unknown=1)
            note = f"{name}, {number}"
            after = readable(root, keys)
            assert before <= after, note
            missing = {key for key in keys - after if is_missing(root, key)}
            # The index of version 1 has no checksums: a flipped bit in a row's key hides its object (docs/security.md).
            if version == 2 or name.name != "packs.idx":
                assert len(missing) <= report.unknown, note
            shutil.rmtree(root)


def readable(root: Path, keys: set[str]) -> set[str]:
    found = set()
    with Container(root) as container:
        for key in keys:
            try:
                assert key_of(container.extract(key)) == key
            except RsdosError:
                continue
            found.add(key)
    return found


def is_missing(root: Path, key: str) -> bool:
    try:
        Container(root).extract(key)
    except ObjectNotFound:
        return True
    except RsdosError:
        return False
    return False


# Version 1.


def test_hostile_rows_are_written_down_and_deleted(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Container.create(path, container_version=1) as container:
        keys = container.insert_many([noise(500, seed) for seed in range(6)])
        container.insert_many([b"loose"], to=Place.LOOSE)
        rows(container, "UPDATE db_object SET length = -1 WHERE hashkey = ?", keys[1])
        rows(container, "UPDATE db_object SET hashkey = '../../x' WHERE hashkey = ?", keys[2])
    report = repair(path)
    assert report.is_good and report.is_changed
    assert "../../x" in (path / report.moved[0]).read_text()
    objects = {key: noise(500, seed) for seed, key in enumerate(keys) if seed not in (1, 2)}
    assert_good(path, objects | {key_of(b"loose"): b"loose"})


def test_the_index_of_version_1_is_salvaged(tmp_path: Path) -> None:
    template = tmp_path / "template"
    with Container.create(template, container_version=1) as container:
        objects = {key_of(data): data for data in (noise(40, seed) for seed in range(2000))}
        container.insert_many(objects.values())
        rows(container, "PRAGMA wal_checkpoint(TRUNCATE)")
    pages = (template / "packs.idx").stat().st_size // 4096
    saved = 0
    for page in range(1, pages, 7):
        path = tmp_path / f"page {page}"
        shutil.copytree(template, path)
        with (path / "packs.idx").open("r+b") as file:
            file.seek(page * 4096)
            file.write(noise(4096, page))
        try:
            report = repair(path)
        except DamagedContainer:
            continue  # The root of the table.
        assert report.is_changed
        there = set(Container(path))
        assert len(objects) - len(there) <= 200
        assert_good(path, {key: objects[key] for key in there})
        assert sqlite3.connect(path / "packs.idx").execute("PRAGMA integrity_check").fetchone() == ("ok",)
        saved += 1
    assert saved > 5


def test_without_an_index_of_version_1_nothing_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Container.create(path, container_version=1) as container:
        container.insert_many([b"x"])
    (path / "packs.idx").unlink()
    with pytest.raises(DamagedContainer):
        repair(path)
    assert not (path / "packs.idx").exists()
    assert (path / "packs" / "0").exists()


def test_what_a_delete_that_died_was_about_to_take_stays_for_an_insert_that_found_it(tmp_path: Path) -> None:
    """Its tombstones are whole and synced, and were never committed: an insert since then was told that all is well."""
    path = tmp_path / "store"
    filled(path, 2).close()
    packed = list(Container(path).keys("packed"))[:2]
    child = os.fork()
    if child == 0:
        try:
            container = Container(path)
            native(container.engine).index.commit = lambda *_: os._exit(9)  # type: ignore[method-assign]
            container.delete(packed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    before = Container(path).extract(packed[0])
    assert Container(path).insert(before) == packed[0]  # It writes nothing: there is a good copy.
    repair(path)
    assert Container(path).extract(packed[0]) == before
    assert set(Container(path)) >= {*packed}
    assert run(Container(path)).is_good


def test_without_the_directory_of_the_index_everything_is_read_from_the_packs_until_a_repair(tmp_path: Path) -> None:
    path = tmp_path / "store"
    filled(path, 2).close()
    shutil.rmtree(path / "index")
    assert_holds(Container(path), OBJECTS)
    with pytest.raises(DamagedContainer, match=r"no manifest .*repair index"):
        Container(path).insert_many([b"not before a repair"])
    container = Container(path)
    for operation in (
        container.optimize,
        container.clean,
        container.pack,
        lambda: container.repack(min_dead=0),
        container.merge,
        lambda: container.backup(tmp_path / "backups"),
    ):
        with pytest.raises(DamagedContainer, match=r"no manifest .*repair index"):
            operation()
    assert container.status().packed_objects == len(list(container.keys("packed")))
    assert "no manifest" in " ".join(finding.reason for finding in run(Container(path)).files)
    assert not (path / "index").exists()
    repair(path)
    assert_good(path, OBJECTS)


def with_older_index(path: Path, change: Callable[[Container], object]) -> None:
    """Make changes to a container, and bring its index back as it was, with the number of its last commit."""
    for name in ("index", "locks"):
        shutil.copytree(path / name, path.parent / "kept" / name)
    with Container(path) as container:
        change(container)
    for name in ("index", "locks"):
        shutil.rmtree(path / name)
        shutil.copytree(path.parent / "kept" / name, path / name)


def test_what_was_inserted_behind_a_delete_stays_where_an_older_index_came_back(
    store: tuple[Path, dict[str, bytes]],
) -> None:
    """Nothing tells that the manifest is not the newest; but behind what a dead delete has left there is no batch."""
    path, objects = store
    gone = list(objects)[50:53]
    late = {key_of(data): data for data in (noise(800, 1000 + n) for n in range(9))}

    def change(container: Container) -> None:
        container.delete(gone)
        for data in late.values():
            container.insert_many([data])

    with_older_index(path, change)
    report = repair(path)
    assert report.is_good
    back = [key in Container(path) for key in gone]
    # Of the last batch of a pack nobody knows whether it was committed.
    is_last = len(manifest_of(path).packs) > 1
    assert back == [is_last] * 3
    assert_good(path, {key: data for key, data in objects.items() if is_last or key not in gone} | late)


@pytest.mark.parametrize("late", [[], [b"behind", b"the tombstone"]], ids=["last", "not last"])
def test_what_was_repacked_is_not_lost_where_an_older_index_came_back(
    store: tuple[Path, dict[str, bytes]], late: list[bytes]
) -> None:
    path, objects = store

    def change(container: Container) -> None:
        container.repack(min_dead=0)
        if late:
            container.insert_many(late)

    with_older_index(path, change)
    report = repair(path)
    assert report.is_good
    assert_good(path, objects | {key_of(data): data for data in late})


def test_a_repack_that_died_before_its_commit_replaces_nothing(store: tuple[Path, dict[str, bytes]]) -> None:
    """What it copied is there twice; the dry run and the repair agree, and a second repair finds nothing."""
    path, objects = store
    child = os.fork()
    if child == 0:
        try:
            container = Container(path)
            index = native(container.engine).index
            commit, count = index.commit, iter(range(9))
            # The first commit seals the pack, unless it is full.
            sealed = index.view.manifest.packs[0].sealed
            index.commit = lambda *all: commit(*all) if not sealed and not next(count) else os._exit(9)  # type: ignore[method-assign]
            container.repack(min_dead=0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    before = manifest_of(path)
    engine = Container(path).engine
    assert "whole batches" in " ".join(fault.reason for fault in repair_index.plan(engine).faults)
    report = repair(path)
    assert (report.is_good, report.packs) == (True, 0)
    now = manifest_of(path)
    assert set(now.pack_ids) > set(before.pack_ids)
    assert now.next_pack_id > max(now.pack_ids)
    assert_good(path, objects)


def test_a_rescue_that_died_before_its_commit_is_done_by_the_next_repair(tmp_path: Path) -> None:
    """It leaves nothing for a third, though the pack that its tombstone names is gone by then."""
    path = tmp_path / "store"
    with Container.create(path, pack_size_target=6000) as container:
        container.insert_many(SOME.values())
    # The footer is damaged: the objects are known from the index alone.
    pack = path / "packed" / "0000000001.pack"
    flip(pack, pack.stat().st_size - 40)
    child = os.fork()
    if child == 0:
        try:
            engine = Container(path).engine
            native(engine).index.commit = lambda *_: os._exit(9)  # type: ignore[method-assign]
            repair_index.execute(engine, repair_index.plan(engine))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    report = repair(path)
    assert (report.is_good, report.packs) == (True, 1)
    assert_good(path, SOME)

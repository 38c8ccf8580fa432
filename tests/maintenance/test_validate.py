"""Validate: what is damaged is found, whatever and wherever it is, and nothing else is."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Busy, CompressMode, Container, InvalidOption, Place, RsdosError
from rsdos.maintenance.check import validate
from rsdos.maintenance.check.validate import ValidateOptions, ValidateReport
from rsdos.model import FRAME_SIZE
from rsdos.stores.findings import Depth
from tests.data import key_of, noise, text
from tests.helpers import child_environment, flip, manifest_of, native
from tests.test_golden import NAMES, unpack

OBJECTS = {
    key_of(data): data
    for data in (b"", b"x", text(3000), noise(5000), text(FRAME_SIZE + 5), noise(FRAME_SIZE + 9), noise(70), text(90))
}

FULL = ValidateOptions(Depth.FULL)
QUICK = ValidateOptions()
BOTH = pytest.mark.parametrize("options", [QUICK, FULL], ids=["quick", "full"])


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return filled(tmp_path / "store", request.param)


@pytest.fixture
def newest(tmp_path: Path) -> Container:
    return filled(tmp_path / "store", 2)


def filled(path: Path, version: int) -> Container:
    """Packed in three batches, with something deleted, and loose objects."""
    container = Container.create(path, container_version=version)
    data = list(OBJECTS.values())
    container.insert_many(data[:3], compress=CompressMode.YES)
    container.insert_many([*data[3:6], b"deleted"])
    container.insert_many(data[6:], to=Place.LOOSE)
    container.delete([key_of(b"deleted")])
    return container


def run(container: Container, options: ValidateOptions = FULL) -> ValidateReport:
    engine = container.engine
    return validate.execute(engine, validate.plan(engine, options))


def damaged_keys(report: ValidateReport) -> set[str]:
    return {finding.key for finding in report.damaged if finding.key}


def place(container: Container, data: bytes) -> tuple[Path, int]:
    extent = container.meta(key_of(data)).extent
    assert extent is not None
    return Path(container.engine.layout.pack(extent.pack_id)), extent.offset


def loose_file(container: Container, data: bytes) -> Path:
    return Path(container.engine.layout.loose_file(key_of(data)))


@BOTH
def test_nothing_is_found_where_nothing_is(store: Container, options: ValidateOptions) -> None:
    report = run(store, options)
    assert (report.is_good, report.damaged, report.files, report.leftovers) == (True, (), (), ())
    assert report.is_finished
    assert report.objects == len(OBJECTS)
    last = store.status().validation
    assert last is not None
    assert (last["depth"], last["damaged"], last["objects"]) == (options.depth.value, 0, len(OBJECTS))


@BOTH
def test_an_empty_container(options: ValidateOptions, tmp_path: Path) -> None:
    for version in (1, 2):
        report = run(Container.create(tmp_path / str(version), container_version=version), options)
        assert (report.is_good, report.leftovers, report.objects) == (True, (), 0)


def test_one_bit_of_each_packed_object(store: Container) -> None:
    for data in list(OBJECTS.values())[1:6]:
        path, offset = place(store, data)
        before = path.read_bytes()
        flip(path, offset + len(data) // 3000)
        report = run(Container(store.path))
        assert damaged_keys(report) == {key_of(data)}
        assert {finding.path for finding in report.damaged} == {str(path.relative_to(store.path))}
        assert {finding.offset for finding in report.damaged} == {offset}
        quick = run(Container(store.path), QUICK)
        assert damaged_keys(quick) == ({key_of(data)} if store.config.version == 2 else set())
        path.write_bytes(before)
    assert run(Container(store.path)).is_good


def test_what_only_a_hash_tells(newest: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that were wrong before their CRC was computed."""
    other = key_of(b"other")
    monkeypatch.setattr(type(newest.config.hash), "keys_of", lambda self, payloads: [other for _ in payloads])
    newest.insert_many([b"not the other"])
    monkeypatch.undo()
    assert run(newest, QUICK).is_good
    assert damaged_keys(run(newest)) == {key_of(b"other")}


def test_loose_files(store: Container) -> None:
    first, second = (loose_file(store, data) for data in list(OBJECTS.values())[6:])
    flip(first, 5)
    second.unlink()
    second.symlink_to("/etc/hostname")
    foreign = store.path / "loose" / ".DS_Store"
    foreign.write_bytes(b"not of this store")
    beside = first.parent / "notes.txt"
    beside.write_bytes(b"")
    assert damaged_keys(run(store, QUICK)) == {key_of(list(OBJECTS.values())[7])}
    report = run(store)
    assert damaged_keys(report) == set(list(OBJECTS)[6:])
    assert {finding.path for finding in report.leftovers} == {str(p.relative_to(store.path)) for p in (foreign, beside)}
    second.unlink()
    second.write_bytes(b"")
    assert damaged_keys(run(store, QUICK)) == {key_of(list(OBJECTS.values())[7])}


@BOTH
def test_structure_of_packs(newest: Container, options: ValidateOptions) -> None:
    pack = next((newest.path / "packed").iterdir())
    good = pack.read_bytes()
    segments = manifest_of(newest.path).segments
    for offset in (0, 30, segments[0].offset + 70, segments[1].offset + 3, len(good) - 50, segments[2].offset + 64):
        flip(pack, offset)
        report = run(Container(newest.path), options)
        assert report.files, offset
        assert all(finding.path == "packed/0000000001.pack" for finding in report.files)
        pack.write_bytes(good)
    for length in (0, 100, 4096, len(good) - 64, len(good) - 1):
        pack.write_bytes(good[:length])
        assert run(Container(newest.path), options).files, length
    pack.unlink()
    (finding,) = run(Container(newest.path), options).files
    assert "missing" in finding.reason
    pack.write_bytes(good)
    assert run(Container(newest.path), options).is_good


@BOTH
def test_files_of_the_index(newest: Container, options: ValidateOptions, tmp_path: Path) -> None:
    for number in range(20):
        newest.insert_many([b"%d" % number])
    newest.close()
    for name in sorted(path.name for path in (newest.path / "index").iterdir()):
        length = (newest.path / "index" / name).stat().st_size
        for offset in (10, length // 2, length - 70):
            copy = tmp_path / "copy"
            shutil.copytree(newest.path, copy)
            flip(copy / "index" / name, offset)
            assert {finding.path for finding in run(Container(copy), options).files} == {f"index/{name}"}
            shutil.rmtree(copy)
    segment = next(newest.path.glob("index/*.seg"))
    segment.unlink()
    (finding,) = run(Container(newest.path), options).files
    assert (finding.path, "missing" in finding.reason) == (f"index/{segment.name}", True)
    for path in (newest.path / "index").iterdir():
        path.unlink()
    (finding,) = run(Container(newest.path), options).files
    assert finding.path == "index"


@BOTH
@pytest.mark.parametrize("merged", [False, True], ids=["tables in the packs", "tables in the index"])
def test_objects_of_a_pack_that_is_gone_are_counted(tmp_path: Path, options: ValidateOptions, merged: bool) -> None:
    """Also where their keys went with it."""
    container = Container.create(tmp_path / "store", pack_size_target=30_000)
    keys: list[str] = []
    for start in range(0, 60, 10):
        keys = container.insert_many(noise(2000, seed) for seed in range(start, start + 10))
    container.insert_many([noise(90_000)])
    container.delete(keys[:3])
    if merged:
        container.engine.packed.maintenance.merge_index()
    pack = Path(container.engine.layout.pack(2))
    alive = sum(meta.extent is not None and meta.extent.pack_id == 2 for meta in map(container.meta, container))
    container.close()
    assert alive > 10
    data = pack.read_bytes()
    pack.unlink()
    for _ in range(2):
        report = run(Container(container.path), options)
        assert (report.unreadable, report.damaged_files, report.damaged) == (alive, 1, ())
        assert str(alive) in report.files[0].reason
        pack.write_bytes(b"another header" + data[14:])
    pack.write_bytes(data[: len(data) * 2 // 3])
    report = run(Container(container.path), options)
    lost = report.unreadable + len(report.damaged)
    assert 0 < lost <= alive
    assert report.unreadable == 0 if merged else not report.damaged
    last = container.status().validation
    assert last is not None and (last["unreadable"], last["files"]) == (report.unreadable, 1)
    pack.write_bytes(data)
    assert run(Container(container.path), options).is_good


def test_packs_that_were_exchanged(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", pack_size_target=1000)
    container.insert_many([noise(3000, 1)])
    container.insert_many([noise(3000, 2)])
    one, two = sorted((container.path / "packed").iterdir())
    os.rename(one, one.with_suffix(".x"))
    os.rename(two, one)
    os.rename(one.with_suffix(".x"), two)
    assert {finding.path for finding in run(container).files} == {f"packed/{path.name}" for path in (one, two)}


def test_files_of_dead_writers_are_no_damage(newest: Container) -> None:
    pack = next((newest.path / "packed").iterdir())
    with pack.open("ab") as file:
        file.write(noise(5000))
    (newest.path / "packed" / "0000000009.pack").write_bytes(noise(100))
    (newest.path / "index" / "0000000099.seg").write_bytes(noise(100))
    report = run(newest)
    assert report.is_good
    assert {Path(finding.path).name for finding in report.leftovers} == {
        pack.name,
        "0000000009.pack",
        "0000000099.seg",
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("damaged")])
def test_golden_damaged_containers(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    if "open" in expected:
        with pytest.raises(RsdosError):
            run(Container(root))
        return
    report = run(Container(root))
    if name == "damaged-tail":
        assert (report.is_good, len(report.leftovers)) == (True, 1)
        return
    assert not report.is_good
    assert not damaged_keys(report) & set(expected["objects"]) or name == "damaged-copy"
    wrong = {key for key, error in expected["errors"].items() if error == "DamagedObject"}
    assert wrong <= damaged_keys(report)
    if name in ("damaged-payload", "damaged-trailer", "damaged-mixed-frames"):
        assert (damaged_keys(report), report.files) == (wrong, ())
    elif name == "damaged-copy":
        assert len(report.damaged) == 2
    else:
        assert report.files


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("damaged")])
def test_golden_good_containers(name: str, tmp_path: Path) -> None:
    root, _ = unpack(name, tmp_path)
    for options in (QUICK, FULL):
        assert run(Container(root), options).is_good


# Version 1.


def rows(container: Container, statement: str, *values: object) -> None:
    container.close()
    connection = sqlite3.connect(container.path / "packs.idx")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('"offset" = 4611686018427387904', "no sense"),
        ("length = -1", "no sense"),
        ("size = 'many'", "no sense"),
        ("pack_id = 'x'", "no sense"),
        ("pack_id = 77", "missing"),
        ("length = 4611686018427387000", "cut short"),
        ('"offset" = 20', "overlaps"),
        ("hashkey = 'nonsense'", "no valid key"),
    ],
)
def test_hostile_rows(change: str, reason: str, tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", container_version=1)
    keys = container.insert_many([noise(3000, seed) for seed in range(4)])
    rows(container, f"UPDATE db_object SET {change} WHERE hashkey = ?", keys[2])
    for options in (QUICK, FULL):
        report = run(Container(container.path), options)
        assert [finding for finding in report.damaged if reason in finding.reason], report
        assert damaged_keys(report) <= {keys[2], keys[0], keys[1], "nonsense"}


def test_the_index_of_version_1(tmp_path: Path) -> None:
    container = filled(tmp_path / "store", 1)
    container.engine.packed.close()
    rows(container, "PRAGMA wal_checkpoint(TRUNCATE)")
    index = container.path / "packs.idx"
    good = index.read_bytes()
    index.write_bytes(good[:4096] + noise(len(good) - 4096))
    assert run(Container(container.path), QUICK).files
    index.write_bytes(b"not an index" * 1000)
    assert run(Container(container.path), QUICK).files
    index.unlink()
    assert run(Container(container.path), QUICK).files


# Samples, budgets, resuming.


def test_a_sample_is_always_the_same_share(tmp_path: Path) -> None:
    for version in (1, 2):
        container = Container.create(tmp_path / str(version), container_version=version)
        container.insert_many(b"%d" % number for number in range(2000))
        container.insert_many([b"loose %d" % number for number in range(50)], to=Place.LOOSE)
        report = run(container, ValidateOptions(Depth.FULL, 0.25))
        assert 400 < report.objects < 620
        assert run(container, ValidateOptions(Depth.FULL, 0.25)).objects == report.objects
        assert run(container, ValidateOptions(Depth.FULL, 1)).objects == 2050
        for share in (0, -1, 2):
            with pytest.raises(InvalidOption):
                run(container, ValidateOptions(share=share))


def test_a_run_is_spread_over_many(tmp_path: Path) -> None:
    for version in (1, 2):
        container = Container.create(tmp_path / str(version), container_version=version, pack_size_target=20_000)
        data = [noise(3000, seed) for seed in range(40)]
        for at in range(0, 40, 4):
            container.insert_many(data[at : at + 4])
        container.insert_many([b"loose %d" % number for number in range(5)], to=Place.LOOSE)
        path, offset = place(container, data[1])
        flip(path, offset + 1)
        options = ValidateOptions(Depth.FULL, resume=True, seconds=0)
        runs: list[ValidateReport] = []
        while not runs or not runs[-1].is_finished:
            # Each in a new process, as far as it can tell; one adds something on the way.
            runs.append(run(Container(container.path), options))
            if len(runs) == 3:
                container.insert_many([noise(3000, 99)])
            assert len(runs) < 100
        assert len(runs) > 5
        # Of version 1 the object that a run ended with is looked at again by the next.
        assert runs[-1].objects == 46 or (version == 1 and 46 < runs[-1].objects <= 46 + len(runs))
        assert damaged_keys(runs[-1]) == {key_of(data[1])}
        assert not (container.path / "validation.json").exists()
        with pytest.raises(InvalidOption):
            run(container, ValidateOptions(Depth.FULL, seconds=0))
            run(container, ValidateOptions(Depth.QUICK, resume=True))
        assert run(container).is_finished


def test_a_damaged_or_hostile_position_starts_again(newest: Container) -> None:
    for data in (b"", b"{}", b'{"validation_version": 1}', noise(100)):
        (newest.path / "validation.json").write_bytes(data)
        report = run(newest, ValidateOptions(Depth.FULL, resume=True))
        assert (report.objects, report.is_good) == (len(OBJECTS), True)


def test_a_run_that_fails_can_be_resumed(newest: Container) -> None:
    class Interrupting:
        def start(self, description: str, total: int | None, unit: str) -> None:
            if "loose" in description:
                raise KeyboardInterrupt

        def advance(self, amount: int) -> None: ...

        def finish(self) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        validate.execute(newest.engine, validate.plan(newest.engine, FULL), Interrupting())
    plan = validate.plan(newest.engine, ValidateOptions(Depth.FULL, resume=True))
    assert (plan.is_resumed, plan.length) == (True, 0)
    assert run(newest, ValidateOptions(Depth.FULL, resume=True)).objects == len(OBJECTS)


WRITER = """
import sys
from rsdos import Busy, Container, Place
from tests.data import noise
container = Container(sys.argv[1], when_busy="wait")
for round in range(int(sys.argv[2])):
    keys = container.insert_many([noise(900, 1000 * round + n) for n in range(30)], to=Place.LOOSE)
    keys += container.insert_many([noise(900, 1000 * round + n) for n in range(30, 60)])
    container.pack_all_loose()
    container.delete(keys[::2])
    container.repack(min_dead=0.01)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_found_while_others_change_everything(version: int, tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", container_version=version, pack_size_target=30_000)
    container.insert_many([noise(2000, seed) for seed in range(100)])
    command = [sys.executable, "-W", "error", "-c", WRITER, str(container.path), "12"]
    writer = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True)
    checked = 0
    while writer.poll() is None or checked < 2:
        for options in (FULL, QUICK):
            report = run(Container(container.path), options)
            assert (report.damaged, report.files) == ((), ())
        checked += 1
    _, complaint = writer.communicate()
    assert (writer.returncode, complaint) == (0, "")
    assert run(container).is_good


def test_any_damage_to_any_file_is_found_or_does_no_harm(tmp_path: Path) -> None:
    """One file at a time: a bit flipped, a cut, a removal. What is not found leaves every read right."""
    chance = random.Random(7)
    for version in (1, 2):
        template = filled(tmp_path / f"template {version}", version)
        template.close()
        if version == 1:
            rows(template, "PRAGMA wal_checkpoint(TRUNCATE)")
        names = [
            path.relative_to(template.path)
            for path in sorted(template.path.rglob("*"))
            if path.is_file() and "locks" not in path.parts and path.name != "config.json" and path.stat().st_size
        ]
        for number in range(60):
            root = tmp_path / "container"
            shutil.copytree(template.path, root)
            name = chance.choice(names)
            damage(root / name, chance)
            with Container(root) as container:
                report = run(container)
                if report.is_good:
                    for key, data in OBJECTS.items():
                        assert container.extract(key) == data, f"{name}, {number}"
            shutil.rmtree(root)


def damage(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    match chance.randrange(4):
        case 0 | 1:
            flip(path, chance.randrange(size), 1 << chance.randrange(8))
        case 2:
            os.truncate(path, chance.randrange(size))
        case _ if path.parent.parent.name != "loose":
            path.unlink()  # (A loose file that is gone is a delete: nobody else knows of it.)


def test_from_the_container(store: Container) -> None:
    assert store.validate("full").objects == store.validate().objects == len(OBJECTS)
    with pytest.raises(InvalidOption):
        store.validate("deep")


def test_it_waits_for_nobody(newest: Container) -> None:
    with newest.engine.maintenance():
        assert run(Container(newest.path)).is_good
    with newest.engine.protect_packs():
        assert run(Container(newest.path)).is_good
    with pytest.raises(Busy), newest.engine.maintenance():
        Container(newest.path).clean_storage()
    assert native(newest.engine).index.commits.newest().notes

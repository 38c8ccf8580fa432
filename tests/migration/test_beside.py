"""Transfer and migration while others pack, repack, delete and insert: another operation runs whole at every step."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rsdos import Busy, CompressMode, Container, InvalidOption, Place
from rsdos.cli.main import rsdos
from rsdos.cli.progress_bar import Bar
from rsdos.compat import disk_objectstore
from rsdos.maintenance import optimize, repack, transfer
from rsdos.maintenance.check.verify_all import verify_all
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.migrate.migrate import MigrateOptions, MigrateReport
from rsdos.maintenance.migrate.to_v1 import ToVersion1
from rsdos.maintenance.repair.quarantine import copy_damaged
from rsdos.progress import SILENCE
from tests.data import key_of, noise, text
from tests.helpers import ROOT, child_environment, flip

PEER = ROOT / ".venv-peers" / "bin" / "python"
needs_peer = pytest.mark.skipif(not PEER.exists(), reason="disk-objectstore is not installed in .venv-peers")

PACKED = {key_of(data): data for data in (noise(3000, seed) for seed in range(16))}
LOOSE = {key_of(data): data for data in (b"loose", text(5000, 99), noise(2000, 98), noise(2 << 20, 97))}


class Beside:
    """A progress that lets something else run whole after each step of the first."""

    def __init__(self, run: Callable[[int], object]) -> None:
        self._run = run
        self.steps = 0

    def start(self, description: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int) -> None:
        self.steps += 1
        self._run(self.steps)

    def finish(self) -> None: ...


def make(path: Path, version: int) -> Container:
    """Several packs, and loose objects."""
    container = Container.create(path, container_version=version, pack_size_target=10_000)
    objects = list(PACKED.values())
    for at in range(0, len(objects), 4):
        container.insert_many(objects[at : at + 4], compress=CompressMode.NO)
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    return container


def move(path: Path, what: str) -> None:
    """Move every object of a container somewhere else within it."""
    with Container(path) as other:
        if what == "pack":
            other.pack_all_loose()
            other.clean_storage()
        elif what == "repack":
            engine = other.engine
            for pack in engine.packed.maintenance.stats().packs:
                repack.execute(engine, repack.plan(engine, repack.RepackOptions(pack_id=pack.id)))
        else:
            engine = other.engine
            optimize.execute(engine, optimize.plan(engine, optimize.OptimizeOptions()))


def assert_whole(path: Path, objects: dict[str, bytes]) -> None:
    with Container(path) as container:
        assert set(container) == set(objects)
        assert dict(container.extract_many(objects)) == objects


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("what", ["pack", "repack", "optimize"])
def test_a_transfer_beside_maintenance_leaves_nothing_out(tmp_path: Path, what: str, step: int, version: int) -> None:
    source, target = make(tmp_path / "source", version), Container.create(tmp_path / "target")

    def once(number: int) -> None:
        if number == step:
            move(source.path, what)

    beside = Beside(once)
    plan = transfer.plan(target.engine, source.engine, transfer.TransferOptions())
    report = transfer.execute(target.engine, plan, beside)
    assert beside.steps > step
    assert (report.objects, report.missing, report.damaged) == (len(PACKED | LOOSE), (), ())
    assert_whole(tmp_path / "target", PACKED | LOOSE)


@pytest.mark.parametrize("version", [1, 2])
def test_a_transfer_beside_maintenance_at_every_step(tmp_path: Path, version: int) -> None:
    source, target = make(tmp_path / "source", version), Container.create(tmp_path / "target")
    beside = Beside(lambda number: move(source.path, ("repack", "pack")[number % 2]))
    plan = transfer.plan(target.engine, source.engine, transfer.TransferOptions())
    report = transfer.execute(target.engine, plan, beside)
    assert (report.objects, report.missing) == (len(PACKED | LOOSE), ())
    assert_whole(tmp_path / "target", PACKED | LOOSE)


@pytest.mark.parametrize("version", [1, 2])
def test_a_transfer_to_another_hash_beside_maintenance(tmp_path: Path, version: int) -> None:
    source = make(tmp_path / "source", version)
    target = Container.create(tmp_path / "target", container_version=1, hash_type="sha1")
    beside = Beside(lambda number: move(source.path, ("repack", "pack")[number % 2]))
    keys: dict[str, str] = {}
    report = transfer.execute(
        target.engine,
        transfer.plan(target.engine, source.engine, transfer.TransferOptions()),
        beside,
        lambda theirs, ours: keys.update(zip(theirs, ours, strict=True)),
    )
    assert report.missing == ()
    assert {key: target.extract(name) for key, name in keys.items()} == PACKED | LOOSE


@pytest.mark.parametrize("version", [1, 2])
def test_a_migration_to_a_directory_beside_maintenance_leaves_nothing_out(tmp_path: Path, version: int) -> None:
    source = make(tmp_path / "source", version)
    beside = Beside(lambda number: move(source.path, ("repack", "pack")[number % 2]))
    engine = source.engine
    options = MigrateOptions(3 - version, str(tmp_path / "new"))
    report = migrate.execute(engine, migrate.plan(engine, options), beside)
    assert (report.objects, report.missing) == (len(PACKED | LOOSE), ())
    assert_whole(tmp_path / "new", PACKED | LOOSE)


@pytest.mark.parametrize("version", [1, 2])
def test_an_object_deleted_before_it_is_copied_is_named(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "source", version)
    Container.create(tmp_path / "target").close()
    gone = sorted([*list(PACKED)[-2:], *list(LOOSE)[:1]])

    def delete(number: int) -> None:
        if number == 1:
            with Container(source.path) as other:
                other.delete(gone)

    beside = Beside(delete)
    monkeypatch.setattr(Bar, "advance", lambda bar, amount: beside.advance(amount))
    outcome = CliRunner().invoke(rsdos, ["transfer", str(source.path), str(tmp_path / "target")], standalone_mode=False)
    assert outcome.return_value == 1
    told = {line.split()[3] for line in outcome.output.splitlines() if "was deleted before it could be copied" in line}
    # Of version 2 the packs are still there, and their objects are copied as they were at the start.
    assert told and told <= set(gone)
    assert_whole(tmp_path / "target", {key: data for key, data in (PACKED | LOOSE).items() if key not in told})


@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_object_is_found_wherever_it_is_moved_to(tmp_path: Path, version: int) -> None:
    """The same list of packs, in what reads all objects of a container."""
    container = make(tmp_path / "source", version)
    extent = container.meta(list(PACKED)[-1]).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + 5)

    class Once(Beside):
        def advance(self, amount: int) -> None:
            if self.steps == 0:
                super().advance(amount)

    container.close()
    beside = Once(lambda number: move(container.path, "repack"))
    assert verify_all(str(container.path), beside).damaged == (list(PACKED)[-1],)
    assert beside.steps == 1


@pytest.mark.parametrize("version", [1, 2])
def test_validation_finds_it_as_well(tmp_path: Path, version: int) -> None:
    container = make(tmp_path / "source", version)
    bad = list(PACKED)[-1]
    extent = container.meta(bad).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + 5)
    container.close()
    moved: list[object] = []

    def once(number: int) -> None:
        if not moved:
            moved.append(number)
            move(container.path, "repack")

    report = container.validate("full", progress=Beside(once))
    assert moved and {finding.key for finding in report.damaged} == {bad}


def test_the_drop_in_finds_it_as_well(tmp_path: Path) -> None:
    container = make(tmp_path / "source", 1)
    bad = list(PACKED)[-1]
    extent = container.meta(bad).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + 5)
    container.close()
    moved: list[object] = []

    def callback(action: str, value: object) -> None:
        if action == "init" and isinstance(value, dict) and value["description"] == "Pack 0" and not moved:
            moved.append(value)
            move(container.path, "repack")

    with disk_objectstore.Container(tmp_path / "source") as other:
        issues = other.validate(callback)
    assert moved and issues.invalid_hashes_packed == [bad]


# In place.


def run(path: Path, to: int, beside: Beside | None = None, *, follow_links: bool = False) -> MigrateReport:
    with Container(path, follow_links=follow_links) as container:
        engine = container.engine
        return migrate.execute(engine, migrate.plan(engine, MigrateOptions(to)), beside or SILENCE)


@pytest.mark.parametrize("version", [1, 2])
def test_objects_inserted_during_a_migration_in_place_are_migrated(tmp_path: Path, version: int) -> None:
    make(tmp_path / "a", version).close()
    acknowledged: dict[str, bytes] = {}
    fresh = count()

    def insert(number: int) -> None:
        if number > 30:  # A migration back begins again when somebody commits: it is let come to an end.
            return
        with Container(tmp_path / "a") as other:
            for place in Place:
                sources = [b"fresh %d" % next(fresh), noise(4000, 1000 + next(fresh))]
                keys = other.insert_many(sources, to=place)
                acknowledged.update(zip(keys, sources, strict=True))
            assert dict(other.extract_many(acknowledged | PACKED)) == acknowledged | PACKED

    beside = Beside(insert)
    report = run(tmp_path / "a", 3 - version, beside)
    assert beside.steps >= 4
    assert not report.damaged and not report.missing
    assert_whole(tmp_path / "a", PACKED | LOOSE | acknowledged)


_PEER = """
import sys
from disk_objectstore import Container
with Container(sys.argv[1]) as container:
    data = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    print(*container.add_objects_to_pack(data))
"""


@needs_peer
def test_objects_that_disk_objectstore_inserts_during_a_migration_are_migrated(tmp_path: Path) -> None:
    """It takes the lowest pack that has room, and makes it if it is gone."""
    make(tmp_path / "a", 1).close()
    acknowledged: dict[str, bytes] = {}

    def insert(number: int) -> None:
        if number > 6:
            return
        sources = [noise(3000, 2000 + 2 * number), b"small %d" % number]
        done = subprocess.run(
            [PEER, "-c", _PEER, tmp_path / "a"],
            input="\n".join(map(bytes.hex, sources)),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            assert "FileExistsError" in done.stderr  # Its lock, on the pack that is being moved.
            return
        assert done.stdout.split() == list(map(key_of, sources))
        acknowledged.update(zip(done.stdout.split(), sources, strict=True))

    report = run(tmp_path / "a", 2, Beside(insert))
    assert acknowledged
    assert not report.damaged and not report.missing
    assert_whole(tmp_path / "a", PACKED | LOOSE | acknowledged)


KILLED = """
import os, sys
from rsdos import Container
from rsdos.engine.engine import Engine
from rsdos.maintenance.migrate import migrate
allowed = int(sys.argv[3])
CHANGES = {"open", "mkdir", "remove", "rename", "link", "unlink", "os.rename", "os.remove", "os.link", "os.rmdir"}
root = os.path.abspath(sys.argv[1])
inserting = False
def hook(event, arguments):
    global allowed
    if inserting or event not in CHANGES:
        return
    writes = os.O_CREAT | os.O_RDWR | os.O_WRONLY
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & writes):
        return
    if not any(isinstance(a, str) and a.startswith(root) for a in arguments):
        return
    allowed -= 1
    if allowed < 0:
        os.kill(os.getpid(), 9)
class Beside:
    number = 0
    def start(self, description, total, unit): ...
    def advance(self, amount):
        global inserting
        self.number += 1
        if self.number > 6:
            return
        inserting = True
        with Container(root) as other:
            print(*other.insert_many([b"%d %d" % (self.number, n) + os.urandom(2000) for n in range(3)]), flush=True)
        inserting = False
    def finish(self): ...
sys.addaudithook(hook)
engine = Engine(sys.argv[1])
migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(int(sys.argv[2]))), Beside())
print("done")
"""


def test_killed_at_any_call_objects_inserted_beside_it_are_there(tmp_path: Path) -> None:
    make(tmp_path / "original", 1).close()
    step = int(os.environ.get("EVERY", "70"))
    points = 0
    for allowed in range(20, 10_000, step):
        path = tmp_path / "copy"
        subprocess.run(["cp", "-a", tmp_path / "original", path], check=True)
        command = [sys.executable, "-c", KILLED, str(path), "2", str(allowed)]
        child = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
        words = child.stdout.split()
        is_done = words[-1:] == ["done"]
        assert is_done or child.returncode == -9, child.stderr
        keys = [word for word in words if word != "done"]
        run(path, 2)
        with Container(path) as container:
            assert container.config.version == 2
            assert all(container.has_many(keys))
            assert all(key_of(data or b"") == key for key, data in container.extract_many([*keys, *PACKED, *LOOSE]))
        subprocess.run(["rm", "-rf", path], check=True)
        points += 1
        if is_done:
            break
    assert points >= 3


def test_a_migration_that_an_older_release_began_is_gone_on_with(tmp_path: Path) -> None:
    """It called its packs 1000001, ..., took a writer's pack of such a name for its own, and pointed rows there."""
    make(tmp_path / "a", 1).close()
    command = [sys.executable, "-c", KILLED.replace(", Beside())", ")"), str(tmp_path / "a"), "2", "40"]
    assert subprocess.run(command, env=child_environment(), capture_output=True).returncode == -9
    packs = tmp_path / "a" / "packs"
    own = sorted(path for path in packs.iterdir() if path.name.isdigit() and path.stat().st_nlink > 1)
    assert own
    with sqlite3.connect(tmp_path / "a" / "packs.idx") as index:
        for path in own:
            native = next(p for p in (tmp_path / "a" / "packed").iterdir() if p.samefile(path))
            number = 1_000_000 + int(native.stem)
            path.rename(packs / str(number))
            index.execute("UPDATE db_object SET pack_id=? WHERE pack_id=?", (number, int(path.name)))
    index.close()
    with Container(tmp_path / "a") as other:
        there = set(other)
        (key,) = other.insert_many([noise(9000, 500)])
        extent = other.meta(key).extent
        assert extent is not None and extent.pack_id == 1_000_001 + len(own)
    assert set(PACKED | LOOSE) <= there
    report = run(tmp_path / "a", 2)
    assert not report.damaged and not report.missing
    with Container(tmp_path / "a") as container:
        assert container.extract(key) == noise(9000, 500)
        assert dict(container.extract_many(PACKED | LOOSE)) == PACKED | LOOSE


def test_an_object_inserted_compressed_during_a_migration_back_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = make(tmp_path / "a", 2)
    late = text(9000, 5)
    step = ToVersion1._expand_loose

    def insert_then(self: ToVersion1) -> None:
        step(self)
        with Container(tmp_path / "a") as other:
            other.insert_many([late], compress=CompressMode.YES)

    monkeypatch.setattr(ToVersion1, "_expand_loose", insert_then)
    container.close()
    run(tmp_path / "a", 1)
    with Container(tmp_path / "a") as container:
        meta = container.meta(key_of(late))
        assert meta.extent is not None
        pack = Path(container.engine.layout.pack(meta.extent.pack_id)).read_bytes()
    stored = pack[meta.extent.offset :][: meta.extent.length]
    # Nothing but zlib is read there by disk-objectstore.
    assert zlib.decompress(stored) == late


def test_a_row_that_makes_no_sense_does_not_stop_a_migration(tmp_path: Path) -> None:
    make(tmp_path / "a", 1).close()
    bad = next(iter(PACKED))
    with sqlite3.connect(tmp_path / "a" / "packs.idx") as index:
        index.execute("UPDATE db_object SET length=-5 WHERE hashkey=?", (bad,))
        index.execute("UPDATE db_object SET hashkey='no key' WHERE hashkey=?", (list(PACKED)[1],))
    index.close()
    report = run(tmp_path / "a", 2)
    assert {key for key, _ in report.damaged} == {bad, "no key"}
    assert "-5" in (tmp_path / "a" / "quarantine" / "rows.json").read_text()
    assert_whole(tmp_path / "a", {key: data for key, data in (PACKED | LOOSE).items() if key not in list(PACKED)[:2]})


@pytest.mark.parametrize("version", [1, 2])
def test_a_directory_that_is_a_link_is_refused_before(tmp_path: Path, version: int) -> None:
    make(tmp_path / "a", version).close()
    name = "packs" if version == 1 else "packed"
    os.rename(tmp_path / "a" / name, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "a" / name)
    before = sorted(path.name for path in (tmp_path / "a").iterdir())
    with pytest.raises(InvalidOption, match=f"{name} is a symbolic link"):
        run(tmp_path / "a", 3 - version, follow_links=True)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == before


@pytest.mark.parametrize("version", [1, 2])
def test_foreign_files_survive_a_migration_in_place(tmp_path: Path, version: int) -> None:
    """It stays, or goes to quarantine, and none goes over another."""
    make(tmp_path / "a", version).close()
    told = set()
    for number, to in enumerate((3 - version, version, 3 - version)):
        for name in ("packs", "packed", "index", "duplicates", "sandbox", "loose"):
            if (tmp_path / "a" / name).is_dir():
                for path in (tmp_path / "a" / name / "notes.txt", tmp_path / "a" / name / "five" / "deep.txt"):
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(f"{name} {number}")
                    told.add(path.read_text())
        assert not run(tmp_path / "a", to).damaged
        found = [path for path in (tmp_path / "a").rglob("*.txt*") if path.is_file()]
        # What stays has been written over by this test itself.
        assert {path.read_text() for path in found} >= {
            text for text in told if text.split()[0] not in ("sandbox", "loose") or text.endswith(str(number))
        }
    assert_whole(tmp_path / "a", PACKED | LOOSE)


@pytest.mark.parametrize("version", [1, 2])
def test_a_migration_in_place_beside_a_steady_writer_ends_with_an_error(tmp_path: Path, version: int) -> None:
    """Before, it went on forever. It is gone on with when the writer rests."""
    path = tmp_path / "container"
    inserted = {}
    with Container.create(path, container_version=version) as container:
        container.insert(b"first", to=Place.PACKED)
        writer = Container(path)

        def insert(step: int) -> None:
            assert step < 300, "it does not end"
            data = b"%d" % step
            inserted[writer.insert(data, to=Place.PACKED)] = data

        options = MigrateOptions(3 - version)
        with pytest.raises(Busy, match="others, which"):
            migrate.execute(container.engine, migrate.plan(container.engine, options), Beside(insert))
        writer.close()
    with Container(path) as container:
        assert container.config.version == version
        assert dict(container.extract_many(inserted)) == inserted
        migrate.execute(container.engine, migrate.plan(container.engine, options))
    with Container(path) as container:
        assert container.config.version == 3 - version
        assert dict(container.extract_many(inserted)) == inserted
        assert container.validate("full").is_good


@pytest.mark.parametrize("version", [1, 2])
def test_one_migration_at_a_time_fills_the_quarantine_of_a_new_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Before, both made the same names: one raised FileExistsError or FileNotFoundError, or left half a copy."""
    container = Container.create(tmp_path / "container", container_version=version)
    key = container.insert(noise(3000, 1))
    flip(Path(container.engine.layout.loose_file(key)), 100)
    options = MigrateOptions(3 - version, str(tmp_path / "new"))
    refused: list[str] = []

    def copy_beside_another(*arguments: Any) -> None:
        if not refused:
            refused.append("")
            with Container(container.path) as other, pytest.raises(Busy, match="migrate") as raised:
                migrate.execute(other.engine, migrate.plan(other.engine, options))
            refused.append(str(raised.value))
        copy_damaged(*arguments)

    monkeypatch.setattr(migrate, "copy_damaged", copy_beside_another)
    report = migrate.execute(container.engine, migrate.plan(container.engine, options))
    assert refused[1:]
    assert [damaged for damaged, _ in report.damaged] == [key]
    assert sorted(os.listdir(tmp_path / "new" / "quarantine")) == [f"{key}.json", f"{key}.loose"]

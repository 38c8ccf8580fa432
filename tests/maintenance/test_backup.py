"""Backup and restore: all that was there is there, whatever goes on meanwhile, and older backups stay as they are."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from rsdos import Busy, Container, ContainerExists, ContainerReplaced, InvalidOption, NotAContainer, Place
from rsdos.cli.main import rsdos
from rsdos.maintenance.backup import backup, remote, restore
from rsdos.maintenance.backup.backup import BackupOptions, BackupReport
from rsdos.maintenance.backup.copy_file import copy_prefix
from rsdos.maintenance.backup.generations import LOCK, Generations
from rsdos.maintenance.backup.restore import RestoreOptions
from rsdos.maintenance.backup.rsync import OtherMachine
from rsdos.maintenance.check.verify_all import verify_all
from rsdos.model import WhenBusy
from rsdos.progress import SILENCE
from rsdos.storage.locks import acquire
from tests.data import key_of, noise, text
from tests.helpers import (
    NOBODY,
    ROOT,
    SHELL,
    assert_holds,
    child_environment,
    flip,
    let_others_pass,
    run_python,
    writable_as_nobody,
)
from tests.patience import HANG
from tests.warm import warm

PEER = ROOT / ".venv-peers" / "bin" / "python"

PACKED = {key_of(data): data for data in (b"", text(3000), *(noise(4000, seed) for seed in range(10)))}
LOOSE = {key_of(data): data for data in (b"loose", noise(2000, 70), text(50_000, 71))}


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    container = Container.create(tmp_path / "store", container_version=request.param, pack_size_target=10_000)
    container.insert_many(PACKED.values())
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    return container


def run(container: Container, destination: Path, **options: bool | int) -> BackupReport:
    wanted = BackupOptions(str(destination), **options)  # type: ignore[arg-type]
    return backup.execute(container.engine, backup.plan(container.engine, wanted))


def bring_back(source: Path | str, destination: Path) -> Container:
    report = restore.execute(restore.plan(RestoreOptions(str(source), str(destination), verify=True)))
    assert report.is_good
    return Container(destination)


def contents(root: Path | str) -> dict[str, tuple[bytes, int]]:
    files = (path for path in Path(root).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def inodes(root: Path | str) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_ino for path in Path(root).rglob("*") if path.is_file()}


def test_a_generation_is_a_container(store: Container, tmp_path: Path) -> None:
    before = contents(store.path)
    report = run(store, tmp_path / "backups", verify=True)
    assert report.is_good
    assert (report.objects, report.linked) == (len(PACKED | LOOSE), 0)
    assert_holds(Container(report.generation), PACKED | LOOSE)
    assert Path(report.generation).name.startswith("backup_")
    assert (tmp_path / "backups" / "last-backup").resolve() == Path(report.generation)
    assert not (tmp_path / "backups" / "live-backup").exists()
    after = contents(store.path)
    assert {name for name in after if after[name] != before.get(name) and not name.startswith("locks/")} <= {
        "packs.idx-shm"
    }
    last = store.status().last_backup
    assert last is not None
    assert (last.place, last.verified) == (report.generation, True)


def test_unchanged_files_are_linked(store: Container, tmp_path: Path) -> None:
    (beginning,) = store.insert_many([b"the beginning of a pack"])
    first = run(store, tmp_path / "backups")
    old = contents(first.generation)
    new = {key_of(data): data for data in (noise(1500, 90), b"a new loose one")}
    keys = list(new)
    new[beginning] = b"the beginning of a pack"
    store.insert_many([new[keys[0]]])
    store.insert(new[keys[1]])
    second = run(store, tmp_path / "backups", verify=True)
    assert second.is_good
    assert contents(first.generation) == old
    assert_holds(Container(second.generation), PACKED | LOOSE | new)
    shared = {name for name, inode in inodes(second.generation).items() if inodes(first.generation).get(name) == inode}
    loose = {name for name in old if name.startswith("loose/")}
    packs = {name for name in old if name.startswith("pack") and name != "packs.idx"}
    assert loose <= shared
    assert len(packs - shared) == 1  # The one that was appended to.
    assert len(packs) >= 3
    assert second.linked == len(shared)
    # Of the open pack there may be anything up to its target, and a batch begins on the next 4 KiB; the rest is new.
    assert second.written <= 10_000 + 4096 + sum(map(len, new.values()))
    # Nothing is new, and nothing is written but the index.
    third = run(store, tmp_path / "backups")
    assert (third.written, third.linked) == (0, third.files)
    assert_holds(Container(third.generation), PACKED | LOOSE | new)
    fresh = run(store, tmp_path / "backups", link=False, verify=True)
    assert fresh.is_good
    assert (fresh.linked, fresh.written) == (0, fresh.length)


def test_deleted_objects_are_not_in_the_next_backup(store: Container, tmp_path: Path) -> None:
    run(store, tmp_path / "backups")
    gone = [*list(PACKED)[2:6], *list(LOOSE)[:1]]
    store.delete(gone)
    store.pack_all_loose()
    store.repack(min_dead=0)
    report = run(store, tmp_path / "backups", verify=True)
    assert_holds(Container(report.generation), {key: data for key, data in (PACKED | LOOSE).items() if key not in gone})
    assert not any(name.startswith("loose/") for name in contents(report.generation))


def test_so_many_are_kept(store: Container, tmp_path: Path) -> None:
    generations = Generations(str(tmp_path / "backups"))
    made = [Path(run(store, tmp_path / "backups", keep=2).generation).name for _ in range(5)]
    assert made == sorted(made)
    assert generations.names() == made[2:]
    assert run(store, tmp_path / "backups", keep=0).deleted == tuple(made[2:])
    assert len(generations.names()) == 1
    (tmp_path / "backups" / "backup_20000101000000_mine").mkdir()
    (tmp_path / "backups" / "notes.txt").write_text("mine")
    run(store, tmp_path / "backups", keep=0)
    assert (tmp_path / "backups" / "backup_20000101000000_mine").exists()
    with pytest.raises(InvalidOption):
        run(store, tmp_path / "backups", keep=-1)


def test_a_container_that_went_back_in_time(store: Container, tmp_path: Path) -> None:
    """Restored, it gets other objects of the same sizes: in packs of the same names and lengths."""
    run(store, tmp_path / "backups")
    other = bring_back(tmp_path / "backups", tmp_path / "restored")
    store.insert_many([noise(3000, 500), noise(3000, 501)])
    run(store, tmp_path / "backups")
    fresh = [noise(3000, 600), noise(3000, 601)]
    other.insert_many(fresh)
    report = run(other, tmp_path / "backups", verify=True)
    assert report.is_good
    assert_holds(Container(report.generation), PACKED | LOOSE | {key_of(data): data for data in fresh})


def test_restore(store: Container, tmp_path: Path) -> None:
    first = run(store, tmp_path / "backups")
    run(store, tmp_path / "backups")
    before = contents(tmp_path / "backups")
    sources = (tmp_path / "backups", Path(first.generation), tmp_path / "backups" / "last-backup")
    for number, source in enumerate(sources):
        restored = bring_back(source, tmp_path / f"restored {number}")
        assert_holds(restored, PACKED | LOOSE)
        assert contents(tmp_path / "backups") == before
        keys = restored.insert_many([b"new"]) + [restored.insert(b"new and loose")]
        restored.pack_all_loose()
        restored.delete(keys)
        restored.repack(min_dead=0)
        assert_holds(restored, PACKED | LOOSE)
        assert contents(tmp_path / "backups") == before
        assert restored.container_id == store.container_id
    with pytest.raises(ContainerExists):
        bring_back(tmp_path / "backups", tmp_path / "restored 0")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(ContainerExists):
        bring_back(tmp_path / "backups", tmp_path / "full")
    with pytest.raises(NotAContainer):
        bring_back(tmp_path / "nothing", tmp_path / "restored")


def test_an_unfinished_restore_says_to_run_it_again(store: Container, tmp_path: Path) -> None:
    """A `config.json` from the backup would make a container of it, without the packs that are not there yet."""
    run(store, tmp_path / "backups")
    restored = bring_back(tmp_path / "backups", tmp_path / "restored")
    restored.close()
    config = tmp_path / "restored" / "config.json"
    config.rename(config.with_name("config.json.new"))
    with pytest.raises(NotAContainer, match=r"unfinished copy .*run the same command again"):
        Container(tmp_path / "restored").status()
    bring_back(tmp_path / "backups", tmp_path / "restored")
    assert_holds(Container(tmp_path / "restored"), PACKED | LOOSE)


def test_a_copy_by_hand_is_a_restore(store: Container, tmp_path: Path) -> None:
    report = run(store, tmp_path / "backups")
    subprocess.run(["cp", "-a", report.generation, str(tmp_path / "copy")], check=True)
    copy = Container(tmp_path / "copy")
    copy.insert_many([b"new"])
    assert_holds(copy, PACKED | LOOSE | {key_of(b"new"): b"new"})


def test_another_container(store: Container, tmp_path: Path) -> None:
    run(store, tmp_path / "backups")
    other = Container.create(tmp_path / "other")
    with pytest.raises(ContainerExists, match="another container"):
        run(other, tmp_path / "backups")
    with pytest.raises(InvalidOption):
        run(other, tmp_path / "other" / "backups")


@pytest.mark.skipif(not writable_as_nobody(), reason="only root can become another user")
def test_a_user_who_may_only_read(store: Container, tmp_path: Path) -> None:
    code = """
import sys
from rsdos import Container
from rsdos.maintenance.backup import restore
report = Container(sys.argv[1]).backup(sys.argv[2], verify=True)
assert report.is_good, report
options = restore.RestoreOptions(sys.argv[2], sys.argv[3], verify=True)
assert restore.execute(restore.plan(options)).is_good
"""
    store.close()
    let_others_pass(tmp_path)
    # The root's, but anybody may write there: what can be done to modes is done.
    for name in ("backups", "restored"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    before = contents(store.path)
    run_python(code, store.path, tmp_path / "backups", tmp_path / "restored", user=NOBODY)
    assert contents(store.path) == before
    assert_holds(Container(tmp_path / "restored"), PACKED | LOOSE)


def test_one_at_a_time(store: Container, tmp_path: Path) -> None:
    run(store, tmp_path / "backups")
    with acquire(str(tmp_path / "backups" / ".rsdos-lock")):
        with pytest.raises(Busy):
            run(store, tmp_path / "backups")
    run(store, tmp_path / "backups")


def test_damage_is_copied_and_reported(store: Container, tmp_path: Path) -> None:
    keys = [list(PACKED)[3], list(LOOSE)[1]]
    extent = store.meta(keys[0]).extent
    assert extent is not None
    pack = Path(store.engine.layout.pack(extent.pack_id))
    flip(pack, extent.offset)
    flip(Path(store.engine.layout.loose_file(keys[1])), 100)
    assert run(store, tmp_path / "backups").is_good  # Nobody looked.
    report = run(store, tmp_path / "backups", verify=True)
    assert report.damaged == tuple(sorted(keys))
    good = {key: data for key, data in (PACKED | LOOSE).items() if key not in keys}
    assert dict(Container(report.generation).extract_many(good)) == good
    outcome = CliRunner().invoke(rsdos, ["-p", str(store.path), "backup", "--verify", str(tmp_path / "backups")])
    assert outcome.exit_code == 0  # click's own runner does not see what a command returns.
    assert f"object {keys[0]} is damaged" in outcome.output
    last = store.status().last_backup
    assert last is not None
    assert last.verified is False
    # A file that is short, or not there at all.
    os.truncate(pack, pack.stat().st_size - 10)
    short = run(store, tmp_path / "backups")
    assert short.unreadable == (str(pack.relative_to(store.path)),)
    pack.unlink()
    gone = run(store, tmp_path / "backups", verify=True)
    assert gone.unreadable[:1] == (str(pack.relative_to(store.path)),)
    rest = {key: data for key, data in good.items() if key in LOOSE}
    assert dict(Container(gone.generation).extract_many(rest)) == rest


def test_a_bad_sector_leaves_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(20_000)
    (tmp_path / "source").write_bytes(data)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    pread = os.pread

    def fails(fd: int, length: int, offset: int) -> bytes:
        if fd == source and offset <= 9000 < offset + length:
            raise OSError(errno.EIO, "bad sector")
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", fails)
    filled = copy_prefix(source, target, 20_000, lambda amount: None)
    assert (filled.length, filled.is_whole) == (20_000, False)
    assert (tmp_path / "target").read_bytes() == data[:8192] + bytes(4096) + data[12288:]
    os.close(source)
    os.close(target)


def test_only_what_is_new_is_written(tmp_path: Path) -> None:
    data = noise(10 << 20)
    (tmp_path / "source").write_bytes(data)
    (tmp_path / "target").write_bytes(data[: 9 << 20] + b"and something else")
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR)
    assert copy_prefix(source, target, 10 << 20, lambda amount: None).written == 2 << 20
    assert (tmp_path / "target").read_bytes() == data
    assert copy_prefix(source, target, 5 << 20, lambda amount: None).written == 0
    assert (tmp_path / "target").read_bytes() == data[: 5 << 20]
    os.close(source)
    os.close(target)


def test_an_unfinished_backup_is_gone_on_with(store: Container, tmp_path: Path) -> None:
    report = run(store, tmp_path / "backups")
    live = tmp_path / "backups" / "live-backup"
    os.rename(report.generation, live)
    (tmp_path / "backups" / "last-backup").unlink()
    names = [name for name in contents(live) if "pack" in name and name != "packs.idx" and name.endswith(("2", "k"))]
    os.truncate(live / names[0], 100)
    (live / "loose" / "zz").mkdir()
    (live / "loose" / "zz" / "stranger").write_text("no object")
    (live / "packs.idx-wal").write_text("another program's")
    (live / "sandbox" / "stranger").mkdir()
    again = run(store, tmp_path / "backups", verify=True)
    assert again.is_good
    assert 0 < again.written < again.length / 2
    assert not list(Path(again.generation).rglob("*stranger")) + list(Path(again.generation).rglob("*-wal"))
    assert_holds(Container(again.generation), PACKED | LOOSE)


def test_loose_files_without_a_prefix(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", loose_prefix_len=0, loose_compression="zstd")
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    assert_holds(Container(run(container, tmp_path / "backups").generation), LOOSE)
    os.rename(Generations(str(tmp_path / "backups")).last or "", tmp_path / "backups" / "live-backup")
    container.pack_all_loose()
    report = run(container, tmp_path / "backups")
    assert_holds(Container(report.generation), LOOSE)
    assert os.listdir(Path(report.generation) / "loose") == []


def test_the_command_line(store: Container, tmp_path: Path) -> None:
    def call(*arguments: object) -> str:
        done = subprocess.run(
            [*warm(), *map(str, arguments)],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=HANG,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    plan = json.loads(call("-p", store.path, "backup", "--dry-run", "--json", tmp_path / "backups"))
    assert plan["files"] >= len(LOOSE) + 3
    assert not (tmp_path / "backups").exists()
    report = json.loads(call("-p", store.path, "backup", "--json", "--verify", tmp_path / "backups"))
    assert report["objects"] == len(PACKED | LOOSE)
    assert report["generation"] in call("-p", store.path, "status")
    told = call("-p", store.path, "backup", tmp_path / "backups")
    assert re.search(r": [1-9]\d* linked \([\d.]+ \w+\), 0 B written$", told), told
    assert "to restore" in call("restore", "--dry-run", tmp_path / "backups", tmp_path / "restored")
    assert "objects verified" in call("restore", "--verify", tmp_path / "backups", tmp_path / "restored")
    assert_holds(Container(tmp_path / "restored"), PACKED | LOOSE)


# While others are at work.

WRITER = """
import sys
from rsdos import Container, Place
path, seed, place, stop = sys.argv[1], int(sys.argv[2]), Place(sys.argv[3]), sys.argv[4]
import os
container, round = Container(path), 0
while not os.path.exists(stop):
    sources = [b"%d %d %d %s" % (seed, round, number, os.urandom(200)) for number in range(20)]
    print(*container.insert_many(sources, to=place), sep="\\n", flush=True)
    round += 1
"""

MAINTENANCE = """
import os, sys
from rsdos import Container
path, what, stop = sys.argv[1:]
container = Container(path, when_busy="wait")
while not os.path.exists(stop):
    if what == "pack":
        assert container.pack_all_loose().damaged == ()
        container.clean_storage()
    else:
        keys = container.insert_many([os.urandom(2000) for _ in range(30)])
        container.delete(keys)
        assert container.repack(min_dead=0.05).damaged == ()
"""


@pytest.mark.parametrize("version", [1, 2])
def test_while_others_are_at_work(version: int, tmp_path: Path) -> None:
    back_up_while_others_are_at_work(version, tmp_path, 5, run)


def back_up_while_others_are_at_work(
    version: int, tmp_path: Path, rounds: int, back_up: Callable[..., BackupReport]
) -> None:
    container = Container.create(tmp_path / "store", container_version=version, pack_size_target=100_000)
    stop = tmp_path / "stop"
    logs = []
    children = []
    for number, arguments in enumerate(
        [
            (WRITER, 1, "loose"),
            (WRITER, 2, "packed"),
            (WRITER, 3, "loose"),
            (MAINTENANCE, "pack"),
            (MAINTENANCE, "dead"),
        ]
    ):
        logs.append(tmp_path / f"log {number}")
        with logs[-1].open("w") as log:
            command = [sys.executable, "-W", "error", "-c", arguments[0], container.path, *arguments[1:], stop]
            children.append(
                subprocess.Popen(
                    list(map(str, command)), env=child_environment(), stdout=log, stderr=subprocess.PIPE, text=True
                )
            )
    checked = 0
    try:
        while checked < rounds:
            acknowledged = {key for log in logs for key in log.read_text().split("\n")[:-1]}
            if not acknowledged:
                continue
            report = back_up(container, tmp_path / "backups", verify=True)
            assert report.is_good, report
            generation = Container(tmp_path / "backups" / "last-backup")
            assert verify_all(str(generation.path), SILENCE).damaged == ()
            keys = sorted(acknowledged)
            assert all(key_of(data or b"") == key for key, data in generation.extract_many(keys))
            generation.close()
            checked += 1
    finally:
        stop.touch()
        outcomes = [(child.communicate(timeout=HANG)[1], child.returncode) for child in children]
    assert outcomes == [("", 0)] * len(children)


# Broken off at every call.

_SWEEP = "import sys; from tests.crash.backups import main; main(*sys.argv[1:])"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mode", ["kill", "torn", "short", str(errno.EIO), str(-errno.ENOSPC)])
@pytest.mark.parametrize(("operation", "least"), [("backup", 35), ("restore", 25)])
def test_broken_off_at_every_call(operation: str, least: int, mode: str, version: int, in_memory: Path) -> None:
    points = int(run_python(_SWEEP, operation, mode, version, in_memory))
    assert points >= (3 if mode in ("torn", "short") else least)


# disk-objectstore.


@pytest.mark.skipif(not PEER.exists(), reason="disk-objectstore is not installed in .venv-peers")
def test_disk_objectstore_opens_a_backup(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", container_version=1, pack_size_target=10_000)
    container.insert_many(PACKED.values())
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    report = run(container, tmp_path / "backups")
    shutil.copytree(report.generation, tmp_path / "copy")
    code = """
import sys
from disk_objectstore import Container
container = Container(sys.argv[1])
assert container.is_initialised
problems = container.validate()
assert not any(vars(problems).values() if hasattr(problems, "__dict__") else problems.values()), problems
print(len(list(container.list_all_objects())))
"""
    command = [str(PEER), "-c", code, str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=True)
    assert int(done.stdout) == len(PACKED | LOOSE)


# To another machine.


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A remote shell that runs what it is told here, whatever the host is called."""
    path = tmp_path / "shell"
    path.write_text(SHELL)
    path.chmod(0o755)
    return path


needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


def run_remote(container: Container, place: Path, shell: Path, **options: bool | int) -> BackupReport:
    ways = remote.RemotePrograms(shell=str(shell))
    wanted = BackupOptions(f"me@elsewhere:{place}", **options)  # type: ignore[arg-type]
    return remote.execute(container.engine, remote.plan(container.engine, wanted, ways), ways)


@needs_rsync
def test_to_another_machine(store: Container, tmp_path: Path, shell: Path) -> None:
    place = tmp_path / "there it is"
    (beginning,) = store.insert_many([b"the beginning of a pack"])
    first = run_remote(store, place, shell, verify=True)
    assert first.is_good
    everything = PACKED | LOOSE | {beginning: b"the beginning of a pack"}
    (name,) = Generations(str(place)).names()
    assert first.generation == f"me@elsewhere:{place}/{name}"
    assert_holds(Container(place / name), everything)
    old = contents(place / name)
    key = store.insert_many([noise(1500, 90)])[0]
    second = run_remote(store, place, shell, verify=True)
    assert second.is_good
    everything[key] = noise(1500, 90)
    assert contents(place / name) == old
    newest = (place / "last-backup").resolve()
    assert_holds(Container(newest), everything)
    there = inodes(place / name)
    shared = {name for name, inode in inodes(newest).items() if there.get(name) == inode}
    assert {name for name in old if name.startswith("loose/")} <= shared
    assert len([name for name in shared if name.startswith("pack")]) >= 3
    store.delete(list(LOOSE)[:1])
    run_remote(store, place, shell, keep=0)
    assert len(Generations(str(place)).names()) == 1
    del everything[next(iter(LOOSE))]
    assert_holds(bring_back(place, tmp_path / "restored"), everything)
    with pytest.raises(ContainerExists, match="another container"):
        run_remote(Container.create(tmp_path / "other"), place, shell)
    with pytest.raises(InvalidOption):
        run_remote(store, place, shell, keep=-1)
    last = store.status().last_backup
    assert last is not None
    assert last.place.startswith("me@elsewhere:")


@needs_rsync
@pytest.mark.parametrize("version", [1, 2])
def test_to_another_machine_while_others_are_at_work(version: int, tmp_path: Path, shell: Path) -> None:
    back_up_while_others_are_at_work(version, tmp_path, 2, partial(run_remote, shell=shell))


@needs_rsync
def test_an_unfinished_one_on_another_machine(store: Container, tmp_path: Path, shell: Path) -> None:
    place = tmp_path / "there"
    run_remote(store, place, shell)
    (name,) = Generations(str(place)).names()
    os.rename(place / name, place / "live-backup")
    (place / "live-backup" / "packs.idx-wal").write_text("another program's")
    gone = list(LOOSE)[:2]
    store.delete(gone)
    pack = next(path for path in (place / "live-backup").glob("pack*/*"))
    os.truncate(pack, 100)
    report = run_remote(store, place, shell, verify=True)
    assert report.is_good
    newest = place / "last-backup"
    assert not list(newest.rglob("*-wal"))
    assert_holds(Container(newest), {key: data for key, data in (PACKED | LOOSE).items() if key not in gone})
    assert not (place / "live-backup").exists()


@needs_rsync
def test_another_machine_that_fails(store: Container, tmp_path: Path, shell: Path) -> None:
    run_remote(store, tmp_path / "there", shell)
    before = contents(tmp_path / "there")
    fails = tmp_path / "fails"
    fails.write_text(f'#!/bin/sh\ncase "$*" in *"rsync --server"*) exit 12;; esac\nexec {shell} "$@"\n')
    fails.chmod(0o755)
    with pytest.raises(OSError, match="ended with code"):
        run_remote(store, tmp_path / "there", fails)
    after = contents(tmp_path / "there")
    assert {name: after.get(name) for name in before if name != LOCK} | {LOCK: before[LOCK]} == before
    assert run_remote(store, tmp_path / "there", shell).is_good
    for wrong in ("-oProxyCommand=x:/there", ":/there", "host:"):
        with pytest.raises(InvalidOption):
            remote.plan(store.engine, BackupOptions(wrong), remote.RemotePrograms(shell=str(shell)))


@needs_rsync
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock(1) is not installed")
def test_one_at_a_time_to_one_place_on_another_machine(store: Container, tmp_path: Path, shell: Path) -> None:
    """From two machines, whose containers have one id: copies of one another. And from that machine itself."""
    place = tmp_path / "there"
    run_remote(store, place, shell)
    store.close()
    shutil.copytree(store.path, tmp_path / "copy")
    copy = Container(tmp_path / "copy")
    with OtherMachine(f"me@elsewhere:{place}", shell=str(shell)).locked(LOCK, "somebody", WhenBusy.RAISE):
        with pytest.raises(Busy, match="in use by somebody"):
            run_remote(copy, place, shell)
        with pytest.raises(Busy, match="in use by somebody"):
            run(copy, place)
    assert run_remote(copy, place, shell).is_good
    with Generations(str(place)).locked(WhenBusy.RAISE), pytest.raises(Busy, match="in use by a backup, process"):
        run_remote(copy, place, shell)
    # Who waits gets it when its holder dies, whatever killed it.
    code = (
        "import os, signal, sys\n"
        "from rsdos.maintenance.backup.rsync import OtherMachine\n"
        "from rsdos.model import WhenBusy\n"
        "with OtherMachine(sys.argv[1], shell=sys.argv[2]).locked(sys.argv[3], 'the dead', WhenBusy.RAISE):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, f"me@elsewhere:{place}", str(shell), LOCK]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=child_environment(), stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout and holder.stdin
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="in use by the dead"):
            run_remote(copy, place, shell)
        holder.stdin.close()
    waiting = Container(tmp_path / "copy")
    waiting.engine.when_busy = WhenBusy.WAIT
    assert run_remote(waiting, place, shell).is_good


@needs_rsync
def test_another_machine_without_flock(store: Container, tmp_path: Path, shell: Path) -> None:
    """macOS has none: nothing is held there."""
    without = tmp_path / "without"
    without.write_text(f"""#!/bin/sh
case "$*" in
*"command -v flock"*) shift; exec sh -c "$(printf '%s' "$*" | sed 's/command -v flock/false/')";;
esac
exec {shell} "$@"
""")
    without.chmod(0o755)
    assert run_remote(store, tmp_path / "there", without).is_good
    assert not (tmp_path / "there" / LOCK).exists()


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_that_was_cleared_after_the_plan_is_told_as_replaced(tmp_path: Path, version: int) -> None:
    """Before, the old index was copied beside the new configuration, and each pack was said to be unreadable."""
    container = Container.create(tmp_path / "store", container_version=version)
    container.insert(b"packed", to=Place.PACKED)
    plan = backup.plan(container.engine, BackupOptions(str(tmp_path / "backups")))
    assert container.status().packed_objects == 1
    with Container(tmp_path / "store") as other:
        other.init_container(clear=True, container_version=version)
    with pytest.raises(ContainerReplaced):
        backup.execute(container.engine, plan)
    assert not (tmp_path / "backups" / "last-backup").exists()

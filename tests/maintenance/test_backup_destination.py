"""What stands in the destination of a backup and was not made by one: nothing of it is followed, removed or changed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from rsdos import Container, InvalidOption, NotOurs, Place
from rsdos.cli.main import rsdos
from rsdos.maintenance.backup import backup, remote, restore
from rsdos.maintenance.backup.backup import BackupOptions, BackupReport
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.restore import RestoreOptions
from tests.data import key_of, noise, text
from tests.helpers import NOBODY, assert_holds, flip, writable_as_nobody

PACKED = {key_of(data): data for data in (b"", text(3000), *(noise(4000, seed) for seed in range(6)))}
LOOSE = {key_of(data): data for data in (b"loose", noise(2000, 70), text(50_000, 71))}

only_root = pytest.mark.skipif(not writable_as_nobody(), reason="only root gives files to others")
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

Run = Callable[..., BackupReport]


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    container = Container.create(tmp_path / "store", container_version=request.param, pack_size_target=10_000)
    container.insert_many(PACKED.values())
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    return container


def local(container: Container, destination: Path, **options: bool | int) -> BackupReport:
    wanted = BackupOptions(str(destination), **options)  # type: ignore[arg-type]
    return backup.execute(container.engine, backup.plan(container.engine, wanted))


def remotely(container: Container, destination: Path, **options: bool | int) -> BackupReport:
    shell = destination.parent / "shell"
    shell.write_text('#!/bin/sh\n[ "$1" = -l ] && shift 2\nshift\nexec sh -c "$*"\n')
    shell.chmod(0o755)
    ways = remote.RemotePrograms(shell=str(shell))
    wanted = BackupOptions(f"elsewhere:{destination}", **options)  # type: ignore[arg-type]
    return remote.execute(container.engine, remote.plan(container.engine, wanted, ways), ways)


@pytest.fixture(params=[local, pytest.param(remotely, marks=needs_rsync)])
def run(request: pytest.FixtureRequest) -> Run:
    made: Run = request.param
    return made


def seen(root: Path) -> dict[str, tuple[int, bytes]]:
    """Names, modes and contents of all that is there."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in [root, *root.rglob("*")]
    }


def foreign(path: Path) -> Path:
    """A directory of somebody else, with files of all kinds of names."""
    for name in ("mine.txt", "ab/cdef", "config.json", "0000000001.pack", "0", "manifest-0000000001.json", "packs.idx"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("mine")
    path.chmod(0o751)
    return path


def test_a_link_in_the_place_of_the_unfinished_backup_is_not_followed(
    store: Container, run: Run, tmp_path: Path
) -> None:
    outside = foreign(tmp_path / "outside")
    before = seen(outside)
    (tmp_path / "backups").mkdir()
    os.symlink(outside, tmp_path / "backups" / "live-backup")
    with pytest.raises(NotOurs, match="live-backup"):
        run(store, tmp_path / "backups")
    assert seen(outside) == before
    assert (tmp_path / "backups" / "live-backup").is_symlink()


@pytest.mark.parametrize("name", ["loose", "packed", "packs", "index", "sandbox", "locks", "duplicates"])
def test_a_link_in_an_unfinished_backup_is_not_followed(store: Container, run: Run, tmp_path: Path, name: str) -> None:
    if str(store.path / name) not in store.engine.layout.directories:
        pytest.skip("the other version's")
    outside = foreign(tmp_path / "outside")
    before = seen(outside)
    run(store, tmp_path / "backups")
    live = tmp_path / "backups" / "live-backup"
    os.rename(Generations(str(tmp_path / "backups")).last or "", live)
    shutil.rmtree(live / name, ignore_errors=True)
    os.symlink(outside, live / name)
    with pytest.raises(NotOurs, match=name):
        run(store, tmp_path / "backups")
    assert seen(outside) == before
    assert (live / name).is_symlink()


def test_somebodys_own_directory_of_that_name_is_left_alone(store: Container, run: Run, tmp_path: Path) -> None:
    live = foreign(tmp_path / "backups" / "live-backup")
    before = seen(live)
    with pytest.raises(NotOurs, match="live-backup"):
        run(store, tmp_path / "backups")
    assert seen(live) == before


def test_a_file_in_the_place_of_a_directory_is_left_alone(store: Container, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "live-backup").write_text("mine")
    with pytest.raises(NotOurs):
        local(store, tmp_path / "backups")
    assert (tmp_path / "backups" / "live-backup").read_text() == "mine"


def test_an_unfinished_backup_of_an_older_release_is_gone_on_with(store: Container, run: Run, tmp_path: Path) -> None:
    """It made no mark, but has the configuration under its other name."""
    run(store, tmp_path / "backups")
    live = tmp_path / "backups" / "live-backup"
    os.rename(Generations(str(tmp_path / "backups")).last or "", live)
    (live / ".rsdos-backup").unlink()
    os.rename(live / "config.json", live / "config.json.new")
    assert run(store, tmp_path / "backups", verify=True).is_good
    assert_holds(Container(tmp_path / "backups" / "last-backup"), PACKED | LOOSE)
    assert not live.exists()


def test_foreign_files_in_a_backup_are_never_removed(store: Container, run: Run, tmp_path: Path) -> None:
    """They stay, or go to quarantine, where none goes over another."""
    contents = [f"mine {number}" for number in range(5)]

    def put(root: Path, number: int) -> None:
        for name in ("notes.txt", "loose/zz/mine", "sandbox/mine/deep", "packs/mine.txt", "packed/mine.txt"):
            if (root / Path(name).parts[0]).is_dir() or "/" not in name:
                path = (root / name).with_name(f"{Path(name).name}-{number}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(contents[number])

    def found() -> set[str]:
        paths = [path for path in (tmp_path / "backups").rglob("*") if path.is_file() and not path.is_symlink()]
        return {
            path.read_text() for path in paths if path.name.split("-")[0] in ("notes.txt", "mine", "deep", "mine.txt")
        }

    run(store, tmp_path / "backups")
    for number in range(5):
        last = Path(Generations(str(tmp_path / "backups")).last or "")
        put(last, number)
        if number % 2:
            os.rename(last, tmp_path / "backups" / "live-backup")
        assert run(store, tmp_path / "backups", keep=0).is_good
        assert found() >= set(contents[: number + 1])
    assert len(Generations(str(tmp_path / "backups")).names()) == 1
    assert_holds(Container(tmp_path / "backups" / "last-backup"), PACKED | LOOSE)


def test_a_directory_named_as_a_dying_backup_is_left_alone(store: Container, run: Run, tmp_path: Path) -> None:
    outside = foreign(tmp_path / "outside")
    mine = foreign(tmp_path / "backups" / ".deleting-mine")
    before = seen(outside), seen(mine)
    run(store, tmp_path / "backups")
    os.symlink(outside, tmp_path / "backups" / ".deleting-backup_20000101000000_abcd")
    with pytest.raises(NotOurs):
        run(store, tmp_path / "backups")
    assert (seen(outside), seen(mine)) == before


@pytest.mark.parametrize("stamp", ["99991231235959", "99990101000000", "99999999999999"])
def test_a_backup_named_for_the_end_of_time_is_not_taken_for_the_newest(
    store: Container, run: Run, tmp_path: Path, stamp: str
) -> None:
    run(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    shutil.copytree(last, tmp_path / "backups" / f"backup_{stamp}_abcd")
    for _ in range(3):
        report = run(store, tmp_path / "backups", keep=1)
        made = tmp_path / "backups" / Path(report.generation).name
        assert made.is_dir()
        assert (tmp_path / "backups" / "last-backup").resolve() == made
        assert Generations(str(tmp_path / "backups")).last == str(made)
    assert (tmp_path / "backups" / f"backup_{stamp}_abcd").is_dir()
    assert len(Generations(str(tmp_path / "backups")).names()) == 2


# What --verify finds.


def test_a_rotten_copy_is_copied_again_and_reported_as_the_bad_one(store: Container, run: Run, tmp_path: Path) -> None:
    run(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    extent = store.meta(list(PACKED)[3]).extent
    assert extent is not None
    names = [os.path.relpath(store.engine.layout.pack(extent.pack_id), store.path)]
    names.append(os.path.relpath(store.engine.layout.loose_file(list(LOOSE)[1]), store.path))
    for name, offset in zip(names, (extent.offset + 10, 100), strict=True):
        status = (last / name).stat()
        flip(last / name, offset)
        os.utime(last / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = run(store, tmp_path / "backups", verify=True)
    assert report.is_good
    assert sorted(report.renewed) == sorted(names)
    assert_holds(Container(tmp_path / "backups" / "last-backup"), PACKED | LOOSE)
    again = run(store, tmp_path / "backups", verify=True)
    assert again.is_good and again.renewed == ()
    assert again.linked >= len(LOOSE)


def test_a_damaged_container_is_not_reported_as_a_damaged_copy(store: Container, tmp_path: Path) -> None:
    local(store, tmp_path / "backups")
    extent = store.meta(list(PACKED)[3]).extent
    assert extent is not None
    flip(Path(store.engine.layout.pack(extent.pack_id)), extent.offset + 10)
    report = local(store, tmp_path / "backups", verify=True)
    assert (report.damaged, report.renewed) == ((list(PACKED)[3],), ())
    outcome = CliRunner().invoke(rsdos, ["-p", str(store.path), "backup", "--verify", str(tmp_path / "backups")])
    assert f"object {list(PACKED)[3]} is damaged in the original" in outcome.output


# Modes and owners.


def files_below(root: Path) -> list[Path]:
    return [path for path in [root, *root.rglob("*")] if not path.is_symlink()]


def spoil_modes(root: Path) -> None:
    for path in files_below(root):
        if path.is_file() and path.parent.name != "locks":
            path.chmod(0o6755)


@pytest.mark.parametrize("is_shared", [False, True])
def test_nothing_in_a_backup_can_be_executed(store: Container, run: Run, tmp_path: Path, is_shared: bool) -> None:
    if is_shared:
        for path in files_below(store.path):
            path.chmod(0o2770 if path.is_dir() else 0o660)
    store.close()
    spoil_modes(store.path)
    run(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    restore.execute(restore.plan(RestoreOptions(str(last), str(tmp_path / "restored"))))
    for root in (last, tmp_path / "restored"):
        for path in files_below(root):
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_dir():
                assert mode & 0o7777 == (0o2770 if is_shared else 0o755), path
            elif path.parent.name != "locks":
                assert mode == (0o660 if is_shared else 0o644), path


def test_a_private_container_has_private_backups(store: Container, run: Run, tmp_path: Path) -> None:
    store.path.chmod(0o700)
    run(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_below(last)} == {0o700, 0o600}


def test_an_older_backup_with_such_files_is_not_linked_from(store: Container, tmp_path: Path) -> None:
    local(store, tmp_path / "backups")
    spoil_modes(Path(Generations(str(tmp_path / "backups")).last or ""))
    report = local(store, tmp_path / "backups")
    assert report.linked == 0
    assert not any(path.stat().st_mode & 0o111 for path in Path(report.generation).rglob("*") if path.is_file())


@only_root
def test_a_restore_by_root_gives_all_to_the_owner_of_the_directory_that_is_copied(
    store: Container, tmp_path: Path
) -> None:
    os.chown(store.path, NOBODY, 12345)
    local(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    os.chown(next(path for path in last.rglob("*") if path.is_file()), 54321, 54321)
    for owner, expected in ((None, (NOBODY, 12345)), ((77, 78), (77, 78))):
        target = tmp_path / f"restored {expected}"
        restore.execute(restore.plan(RestoreOptions(str(last), str(target), owner=owner)))
        found = {(p.stat().st_uid, p.stat().st_gid) for p in files_below(target) if p.parent.name != "locks"}
        assert found == {expected}
    outcome = CliRunner().invoke(rsdos, ["restore", "--owner", "77:78", str(last), str(tmp_path / "by hand")])
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "by hand").stat().st_uid == 77


# Odd file systems.


def test_without_symbolic_links_the_newest_has_none(
    store: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuses)
    reports = [local(store, tmp_path / "backups", keep=1) for _ in range(4)]
    assert len(Generations(str(tmp_path / "backups")).names()) == 2
    assert reports[-1].deleted
    assert not (tmp_path / "backups" / "last-backup").exists()


def test_a_file_in_the_place_of_the_link_stays(store: Container, run: Run, tmp_path: Path) -> None:
    mine = foreign(tmp_path / "backups" / "last-backup")
    before = seen(mine)
    assert run(store, tmp_path / "backups").is_good
    assert seen(mine) == before


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOTSUP])
def test_owners_modes_and_times_are_best_effort(
    store: Container, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        for name in ("chown", "fchown", "chmod", "fchmod", "utime"):
            patch.setattr(os, name, refuses)
        assert local(store, tmp_path / "backups", verify=True).is_good
        second = local(store, tmp_path / "backups", verify=True)
    assert_holds(Container(second.generation), PACKED | LOOSE)
    assert second.linked >= len(LOOSE)


@pytest.mark.parametrize("step", [100, 10**9, 2 * 10**9])
def test_times_that_are_kept_roughly(
    store: Container, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def rough(target: int, *, ns: tuple[int, int]) -> None:
        utime(target, ns=(ns[0] - ns[0] % step, ns[1] - ns[1] % step))

    monkeypatch.setattr(os, "utime", rough)
    local(store, tmp_path / "backups")
    second = local(store, tmp_path / "backups")
    assert second.linked == second.files
    assert second.linked_length == second.length and second.written == 0
    # Of one length and one second, and yet another.
    path = Path(store.engine.layout.loose_file(list(LOOSE)[1]))
    status = path.stat()
    path.write_bytes(bytes(2000))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns + (1 if step > 100 else step)))
    third = local(store, tmp_path / "backups")
    assert (Path(third.generation) / path.relative_to(store.path)).read_bytes() == bytes(2000)


def test_a_backup_that_cannot_be_renamed_is_deleted_where_it_is(
    store: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a directory of a lower layer of overlayfs."""
    rename = os.rename

    def refuses(source: str, target: str, **places: int) -> None:
        if ".deleting-" in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target, **places)

    monkeypatch.setattr(os, "rename", refuses)
    made = [Path(local(store, tmp_path / "backups", keep=0).generation).name for _ in range(3)]
    assert Generations(str(tmp_path / "backups")).names() == made[-1:]
    assert len(list((tmp_path / "backups").glob("backup_*"))) == 1


def test_a_restore_into_its_own_backup_is_refused(store: Container, tmp_path: Path) -> None:
    local(store, tmp_path / "backups")
    last = Path(Generations(str(tmp_path / "backups")).last or "")
    before = seen(last)
    os.symlink(last, tmp_path / "link")
    for inside in (last / "again", last / "loose" / "again", tmp_path / "link" / "again"):
        for source in (last, tmp_path / "backups"):
            with pytest.raises(InvalidOption, match="inside the backup"):
                restore.plan(RestoreOptions(str(source), str(inside)))
    assert seen(last) == before


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_in_the_root_of_a_file_system(tmp_path: Path, version: int) -> None:
    (tmp_path / "mount" / "lost+found").mkdir(parents=True)
    with Container.create(tmp_path / "mount", container_version=version) as container:
        key = container.insert(b"data")
        assert container.extract(key) == b"data"
    assert (tmp_path / "mount" / "lost+found").is_dir()


@pytest.mark.parametrize("version", [1, 2])
def test_a_pack_that_may_not_be_written_is_passed_over_and_named(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that ``chattr +i`` has made immutable."""
    container = Container.create(tmp_path / "store", container_version=version)
    (key,) = container.insert_many([b"in the pack"])
    extent = container.meta(key).extent
    assert extent is not None
    pack = container.engine.layout.pack(extent.pack_id)
    opens = os.open

    def refuses(path: str, flags: int, *rest: int, **more: int) -> int:
        if path == pack and flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        return opens(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuses)
    (other,) = container.insert_many([b"in another"])
    where = container.meta(other).extent
    assert where is not None and where.pack_id != extent.pack_id
    assert pack in caplog.text
    assert container.extract(key) == b"in the pack"


def test_a_restore_to_the_root_of_a_file_system(store: Container, tmp_path: Path) -> None:
    local(store, tmp_path / "backups")
    (tmp_path / "restored" / "lost+found").mkdir(parents=True)
    options = RestoreOptions(str(tmp_path / "backups"), str(tmp_path / "restored"), verify=True)
    assert restore.execute(restore.plan(options)).is_good
    assert (tmp_path / "restored" / "lost+found").is_dir()
    assert_holds(Container(tmp_path / "restored"), PACKED | LOOSE)

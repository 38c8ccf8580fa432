"""Checking out: a directory becomes what a snapshot says, and nothing is lost on the way."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import Busy, Conflicts, DamagedObject, InvalidOption, ObjectNotFound, RefNotFound
from rsdos.model import FRAME_SIZE
from rsdos.storage import locks, syscalls
from rsdos.trees.entry import Attributes
from rsdos.worktree.checkout import CheckoutOptions, CheckoutReport, checkout, plan_checkout
from rsdos.worktree.checkout_files import Holes, OnDamage
from rsdos.worktree.checkout_links import TreeLinks
from rsdos.worktree.checkout_rules import Obstacles, Unknown
from tests.data import key_of
from tests.helpers import flip, writable_as_nobody
from tests.worktree.saving import Directory, File, Link, Things, read_back, save, with_parents

EVERYTHING: Things = {
    b"a.txt": b"first\n",
    b"again/b.txt": b"first\n",
    b"empty": Directory(),
    b"nothing": b"",
    b"run.sh": File(b"#!/bin/sh\n", 0o755),
    b"link": Link(b"again/b.txt"),
    b"dangling": Link(b"../nowhere"),
    b"deep/er/still/c": b"c" * 5000,
    b"large": bytes(range(256)) * 4096 * 3 + b"end",
    b"frame": b"f" * FRAME_SIZE,
    b"\xff\xfe": b"no UTF-8",
    b"x" * 255: b"a long name",
    b"\xc3\xa9": b"e with an accent",
    b"e\xcc\x81": b"the same in two parts",
    b"new\nline\t\x1b[31m": b"odd",
    b"-rf": b"no option",
    b"README": b"1",
    b"Readme": b"2",
}


JOBS = 1
"""Processes that write files: `test_checkout_jobs` has some of these tests with two."""


def out(container: Container, directory: Path, reference: str = "flowers", **options: object) -> CheckoutReport:
    """Check out."""
    given = {"jobs": JOBS} | options
    return checkout(container.engine, CheckoutOptions(reference, str(directory), **given))  # type: ignore[arg-type]


def test_everything_is_there_again(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    report = out(container, tmp_path / "new")
    assert read_back(tmp_path / "new") == with_parents(EVERYTHING)
    assert (report.written, report.kept, report.conflicts, report.failed) == (len(EVERYTHING) - 1, 0, (), ())
    assert report.bytes == sum(
        len(thing.data) for thing in with_parents(EVERYTHING).values() if isinstance(thing, File)
    )


def test_a_second_checkout_writes_nothing_and_reads_nothing(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    out(container, tmp_path / "new")
    before = {path: path.lstat() for path in (tmp_path / "new").rglob("*") if not path.is_dir()}
    report = out(container, tmp_path / "new")
    assert (report.written, report.kept, report.adopted) == (0, len(EVERYTHING) - 1, 0)
    assert {path: path.lstat() for path in before} == before


def test_a_missing_directory_is_made_and_the_ones_above_it(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1"})
    out(container, tmp_path / "one" / "two")
    assert (tmp_path / "one" / "two" / "a").read_bytes() == b"1"


def test_an_empty_snapshot_makes_an_empty_directory(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {})
    out(container, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_paths_longer_than_the_system_allows_are_written(container: Container, tmp_path: Path) -> None:
    path = b"/".join([b"d" * 200] * 30) + b"/file"
    save(container, "flowers", {path: b"deep down"})
    out(container, tmp_path / "new")
    assert read_back(tmp_path / "new")[path] == File(b"deep down")


def test_new_files_get_the_permissions_of_the_umask(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1", b"run": File(b"2", 0o755), b"d/b": b"3"})
    before = os.umask(0o027)
    try:
        out(container, tmp_path / "new")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert modes == {"a": 0o640, "run": 0o750, "d": 0o750, "b": 0o640}


def test_times_and_modes_are_set_if_the_tree_has_them(container: Container, tmp_path: Path) -> None:
    second = 10**9
    things: Things = {
        b"d": Directory(0o500, 5 * second),
        b"d/a": File(b"1", 0o400, 1_234_567_890_123_456_789),
        b"d/run": File(b"2", 0o711, 3),
        b"old": File(b"3", 0o644, -second),
    }
    save(container, "flowers", things, Attributes.TIMES | Attributes.MODES)
    out(container, tmp_path / "new")
    for path, thing in things.items():
        status = os.stat(os.fsencode(tmp_path / "new") + b"/" + path)
        assert isinstance(thing, (File, Directory))
        assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (thing.mtime, thing.mode), path
    assert out(container, tmp_path / "new").written == 0
    os.utime(tmp_path / "new" / "old")
    assert out(container, tmp_path / "new").written == 1
    assert (tmp_path / "new" / "old").stat().st_mtime_ns == -second


def test_a_part_of_a_tree_is_checked_out_by_its_path(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"train/rose/1": b"1", b"train/rose/in/2": b"2", b"train/rosemary": b"3"})
    out(container, tmp_path / "new", under=b"train/rose")
    assert read_back(tmp_path / "new") == with_parents({b"1": b"1", b"in/2": b"2"})
    assert out(container, tmp_path / "new", under=b"train/rose").kept == 2
    with pytest.raises(FileNotFoundError):
        out(container, tmp_path / "other", under=b"train/tulip")
    with pytest.raises(NotADirectoryError):
        out(container, tmp_path / "other", under=b"train/rosemary")
    assert not (tmp_path / "other").exists()


def test_patterns_choose_a_part_and_the_rest_is_left_alone(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"train/rose/1": b"1", b"train/rose/2.tmp": b"2", b"test/rose/3": b"3", b"top": b"4"})
    new = tmp_path / "new"
    out(container, new, include=("train/**",), exclude=("*.tmp",))
    assert read_back(new) == with_parents({b"train/rose/1": b"1"})
    (new / "top").write_bytes(b"mine")
    out(
        container, new, include=("train/**",), exclude=("*.tmp",), unknown=Unknown.DELETE, obstacles=Obstacles.OVERWRITE
    )
    assert (new / "top").read_bytes() == b"mine"
    out(container, new, include=("rose",))
    assert read_back(new) == with_parents(
        {b"train/rose/1": b"1", b"train/rose/2.tmp": b"2", b"test/rose/3": b"3", b"top": b"mine"}
    )


def test_a_directory_follows_from_version_to_version_and_back(container: Container, tmp_path: Path) -> None:
    first: Things = {
        b"a": b"1",
        b"d/x": b"2",
        b"d/y/z": b"3",
        b"f": b"4",
        b"l": Link(b"a"),
        b"gone/in": b"5",
        b"e": b"6",
    }
    second: Things = {
        b"a": b"changed",
        b"d": b"a file now",
        b"f/inner": b"a directory now",
        b"l": Link(b"d"),
        b"new": b"7",
        b"e": Link(b"a"),
    }
    save(container, "flowers", first)
    save(container, "flowers", second)
    new = tmp_path / "new"
    for version, things in ((1, first), (2, second), (1, first), (2, second)):
        out(container, new, f"flowers@{version}")
        assert read_back(new) == with_parents(things)


def test_a_missing_file_comes_back(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1", b"d/b": b"2"})
    out(container, tmp_path / "new")
    (tmp_path / "new" / "d" / "b").unlink()
    (tmp_path / "new" / "d").rmdir()
    assert out(container, tmp_path / "new").written == 1
    assert (tmp_path / "new" / "d" / "b").read_bytes() == b"2"


def test_a_file_in_the_place_of_a_directory_above_a_chosen_part_is_a_conflict(
    container: Container, tmp_path: Path
) -> None:
    save(container, "flowers", {b"a/b/c/d.txt": b"1", b"x/y/z": b"2"})
    new = tmp_path / "new"
    new.mkdir()
    (new / "a").write_bytes(b"mine")
    with pytest.raises(Conflicts) as caught:
        out(container, new, include=("d.txt",), obstacles=Obstacles.OVERWRITE)
    assert caught.value.paths == (b"a/b/c",)
    assert out(container, new, include=("z",)).written == 1  # Nothing of what is chosen is below "a".
    assert (new / "a").read_bytes() == b"mine"


# What is in the way.


@pytest.fixture
def edited(container: Container, tmp_path: Path) -> Iterator[Path]:
    """A day of edits in a directory that is at the first of two versions."""
    save(container, "flowers", {b"a": b"1", b"b": b"2", b"d/c": b"3", b"old": b"4", b"l": Link(b"a")})
    save(container, "flowers", {b"a": b"one", b"b": b"two", b"d/c": b"three", b"new": b"4", b"l": Link(b"b")})
    new = tmp_path / "new"
    out(container, new, "flowers@1")
    (new / "a").write_bytes(b"X")
    (new / "d" / "c").write_bytes(b"my own work")
    (new / "d" / "mine").write_bytes(b"unknown")
    (new / "new").write_bytes(b"unknown, in the way")
    (new / "old").write_bytes(b"edited, and not in the tree")
    (new / "l").unlink()
    (new / "l").symlink_to("elsewhere")
    yield new


def test_conflicts_are_all_named_and_nothing_is_written(container: Container, edited: Path) -> None:
    before, state = read_back(edited), sorted(Path(container.path).rglob("*.state"))[0].read_bytes()
    with pytest.raises(Conflicts) as caught:
        out(container, edited)
    assert caught.value.paths == (b"a", b"l", b"new", b"old", b"d/c")
    assert read_back(edited) == before
    assert sorted(Path(container.path).rglob("*.state"))[0].read_bytes() == state
    plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(edited)))
    assert [path for path, _ in plan.report().conflicts] == list(caught.value.paths)


def test_force_overwrites_what_is_in_the_way_and_keeps_what_is_not(container: Container, edited: Path) -> None:
    out(container, edited, obstacles=Obstacles.OVERWRITE)
    assert read_back(edited) == with_parents(
        {b"a": b"one", b"b": b"two", b"d/c": b"three", b"new": b"4", b"l": Link(b"b"), b"d/mine": b"unknown"}
    )


def test_delete_removes_what_no_tree_knows_and_nothing_that_was_edited(container: Container, edited: Path) -> None:
    with pytest.raises(Conflicts):
        out(container, edited, unknown=Unknown.DELETE)
    assert (edited / "d" / "mine").exists()
    out(container, edited, unknown=Unknown.DELETE, obstacles=Obstacles.OVERWRITE)
    assert read_back(edited) == with_parents(
        {b"a": b"one", b"b": b"two", b"d/c": b"three", b"new": b"4", b"l": Link(b"b")}
    )


def test_delete_leaves_ignored_files_and_the_container_itself(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    with Container.create(new / "store") as container:
        save(container, "flowers", {b"a": b"1", b".rsdosignore": b"*.log\n"})
        (new / "sub").mkdir()
        (new / "sub" / "run.log").write_bytes(b"2")
        (new / "sub" / "other").write_bytes(b"3")
        (new / "fifo").touch()
        (new / "fifo").unlink()
        os.mkfifo(new / "fifo")
        out(container, new)
        out(container, new, unknown=Unknown.DELETE)
        assert sorted(path.name for path in new.rglob("*") if "store" not in path.parts) == [
            ".rsdosignore", "a", "run.log", "sub",
        ]  # fmt: skip
        assert container.has_many([save(container, "flowers", {b"b": b"2"})]) == [True]


def test_a_tree_that_has_the_containers_own_path_does_not_reach_it(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    with Container.create(new / "store") as container:
        config = (new / "store" / "config.json").read_bytes()
        save(container, "flowers", {b"store/config.json": b"{}", b"a": b"1"})
        with pytest.raises(Conflicts, match="the container itself"):
            out(container, new, obstacles=Obstacles.OVERWRITE, unknown=Unknown.DELETE)
        assert (new / "store" / "config.json").read_bytes() == config
        with pytest.raises(InvalidOption):
            out(container, new / "store" / "inside")


def test_files_that_are_there_already_are_adopted(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    out(container, tmp_path / "one")
    subprocess.run(["cp", "-r", tmp_path / "one", tmp_path / "two"], check=True)
    report = out(container, tmp_path / "two")
    assert (report.written, report.adopted) == (0, len(EVERYTHING) - 1)


def test_an_unknown_directory_in_the_place_of_a_file_is_never_removed_by_force_alone(
    container: Container, tmp_path: Path
) -> None:
    save(container, "flowers", {b"a": b"1"})
    new = tmp_path / "new"
    (new / "a").mkdir(parents=True)
    (new / "a" / "mine").write_bytes(b"2")
    with pytest.raises(Conflicts):
        out(container, new, obstacles=Obstacles.OVERWRITE)
    assert (new / "a" / "mine").read_bytes() == b"2"
    out(container, new, obstacles=Obstacles.OVERWRITE, unknown=Unknown.DELETE)
    assert (new / "a").read_bytes() == b"1"


def test_an_edited_file_below_a_directory_that_has_to_go_is_a_conflict(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"d/in/a": b"1", b"d/in/b": b"2"})
    save(container, "flowers", {b"d": b"a file"})
    new = tmp_path / "new"
    out(container, new, "flowers@1")
    (new / "d" / "in" / "a").write_bytes(b"edited")
    (new / "d" / "mine").write_bytes(b"unknown")
    with pytest.raises(Conflicts) as caught:
        out(container, new)
    assert caught.value.paths == (b"d/mine", b"d/in/a")


# Links.


def test_a_link_in_the_way_is_not_followed(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"d/a": b"1", b"f": b"2"})
    outside, new = tmp_path / "outside", tmp_path / "new"
    outside.mkdir()
    (outside / "f").write_bytes(b"theirs")
    new.mkdir()
    (new / "d").symlink_to(outside)
    (new / "f").symlink_to(outside / "f")
    with pytest.raises(Conflicts) as caught:
        out(container, new)
    assert caught.value.paths == (b"d", b"f")
    out(container, new, obstacles=Obstacles.OVERWRITE)
    assert read_back(new) == with_parents({b"d/a": b"1", b"f": b"2"})
    assert read_back(outside) == {b"f": File(b"theirs")}


def test_a_link_to_a_directory_that_is_named_is_followed(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1"})
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    out(container, tmp_path / "link")
    assert (tmp_path / "there" / "a").read_bytes() == b"1"
    assert (tmp_path / "link").is_symlink()


LINKS: Things = {
    b"in": Link(b"d/a"),
    b"out": Link(b"../etc"),
    b"d/a": b"1",
    b"d/up": Link(b"../in"),
    b"d/far": Link(b"../../out"),
    b"d/absolute": Link(b"/etc/passwd"),
    b"d/through": Link(b"x/../../../out"),
}


def test_links_that_may_lead_out_are_refused_for_the_data_of_a_stranger(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", LINKS)
    report = out(container, tmp_path / "new", links=TreeLinks.INSIDE)
    assert [path for path, _ in report.failed] == [b"out", b"d/absolute", b"d/far", b"d/through"]
    assert read_back(tmp_path / "new") == with_parents({b"in": LINKS[b"in"], b"d/a": b"1", b"d/up": LINKS[b"d/up"]})
    assert out(container, tmp_path / "new", links=TreeLinks.INSIDE).written == 0


def test_links_can_be_left_out(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", LINKS)
    report = out(container, tmp_path / "new", links=TreeLinks.NONE)
    assert (report.written, report.failed) == (1, ())
    assert read_back(tmp_path / "new") == with_parents({b"d/a": b"1"})
    assert out(container, tmp_path / "new").written == 6
    assert read_back(tmp_path / "new") == with_parents(LINKS)


# The rest.


def test_holes_are_made_again(container: Container, tmp_path: Path) -> None:
    data = b"begin" + bytes(8 << 20) + b"end" + bytes(1 << 20)
    save(container, "flowers", {b"a": data, b"small": bytes(200_000) + b"x"})
    out(container, tmp_path / "new", holes=Holes.MAKE)
    assert (tmp_path / "new" / "a").read_bytes() == data
    assert (tmp_path / "new" / "small").read_bytes() == bytes(200_000) + b"x"
    assert (tmp_path / "new" / "a").stat().st_blocks * 512 < 1 << 20


def test_leftovers_of_a_killed_checkout_are_removed(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"d/a": b"1"})
    out(container, tmp_path / "new")
    (tmp_path / "new" / "d" / ".rsdos-tmp-0123").write_bytes(b"half")
    (tmp_path / "new" / ".rsdos-tmp-0124").symlink_to("x")
    out(container, tmp_path / "new")
    assert read_back(tmp_path / "new") == with_parents({b"d/a": b"1"})


def test_a_tree_with_temporary_names_does_not_get_them(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b".rsdos-tmp-1": b"1", b"a": b"2"})
    report = out(container, tmp_path / "new")
    assert [path for path, _ in report.failed] == [b".rsdos-tmp-1"]
    assert read_back(tmp_path / "new") == {b"a": File(b"2")}


def test_two_checkouts_do_not_work_in_one_directory(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1"})
    (tmp_path / "new").mkdir()
    fd = os.open(tmp_path / "new", os.O_RDONLY)
    try:
        assert locks.try_lock(fd)
        with pytest.raises(Busy):
            out(container, tmp_path / "new")
    finally:
        os.close(fd)
    out(container, tmp_path / "new")


def test_what_is_damaged_is_named_and_the_rest_is_written_if_the_user_says_so(
    container: Container, tmp_path: Path
) -> None:
    save(container, "flowers", {b"a": b"will be damaged", b"b": b"1", b"c": b"will be damaged"})
    extent = container.meta(key_of(b"will be damaged")).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset)
    with pytest.raises(DamagedObject):
        out(container, tmp_path / "new")
    report = out(container, tmp_path / "new", on_damage=OnDamage.CONTINUE)
    assert [path for path, _ in report.failed] == [b"a", b"c"]
    assert read_back(tmp_path / "new") == {b"b": File(b"1")}


def test_a_dry_run_writes_nothing(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    report = plan_checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new"))).report()
    assert report.written == len(EVERYTHING) - 1
    assert not (tmp_path / "new").exists()


def test_an_unknown_reference_is_an_error_before_anything_is_made(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"a": b"1"})
    for reference in ("roses", "flowers@7", "0" * 64):
        with pytest.raises((RefNotFound, ObjectNotFound)):
            out(container, tmp_path / "new", reference)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root")
def test_nothing_is_written_into_a_directory_that_another_file_system_is_mounted_on(
    container: Container, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    save(container, "flowers", {b"d/a": b"1"})
    save(container, "flowers", {b"d": b"a file"})
    out(container, new, "flowers@1")
    if subprocess.run(["mount", "-t", "tmpfs", "none", new / "d"], capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        (new / "d" / "a").write_bytes(b"theirs")
        with pytest.raises(Conflicts, match="mounted"):
            out(container, new, obstacles=Obstacles.OVERWRITE, unknown=Unknown.DELETE)
        assert (new / "d" / "a").read_bytes() == b"theirs"
    finally:
        subprocess.run(["umount", new / "d"], check=True)


def test_the_state_is_written_behind_the_sync_of_the_file_system(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(container, "flowers", {b"a": b"1"})
    real, seen = syscalls.sync_file_system, []

    def states() -> list[Path]:
        return list(Path(container.path).rglob("*.state"))

    def sync(fd: int) -> None:
        seen.append(states())
        real(fd)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(syscalls, "sync_file_system", fail)
    with pytest.raises(OSError, match="Input/output error"):
        out(container, tmp_path / "new")
    assert states() == []
    monkeypatch.setattr(syscalls, "sync_file_system", sync)
    report = out(container, tmp_path / "other")
    assert (report.written, seen, len(states())) == (1, [[]], 1)


def test_an_interruption_leaves_no_temporary_name(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(container, "flowers", {b"d/a": b"1", b"d/b": b"2"})
    real = syscalls.rename_new

    def interrupted(name: bytes, new: bytes, directory: int) -> None:
        if new == b"b":
            raise KeyboardInterrupt
        real(name, new, directory)

    monkeypatch.setattr(syscalls, "rename_new", interrupted)
    with pytest.raises(KeyboardInterrupt):
        out(container, tmp_path / "new")
    assert read_back(tmp_path / "new") == with_parents({b"d/a": b"1"})

"""Scans: which entries a directory has, in which order, and what is passed over."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos.errors import InvalidName, UnreadableSource
from rsdos.trees.entry import EntryKind, tree_order
from rsdos.worktree import open_directories
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import Mounts, NameRule, PathReason, ScanOptions, Unreadable
from rsdos.worktree.rows import ROW_BYTES, SETTLED, pack_row
from rsdos.worktree.scan import RUN, DirectoryScan

KINDS = {0: "f", 1: "x", 2: "l", 3: "d"}


def make(top: Path, *paths: str | bytes) -> None:
    """Make files, and directories for paths that end with a slash."""
    for path in map(os.fsencode, paths):
        full = os.path.join(os.fsencode(top), path)
        os.makedirs(full if path.endswith(b"/") else os.path.dirname(full), exist_ok=True)
        if not path.endswith(b"/"):
            with open(full, "wb") as file:
                file.write(path)


def entries(scan: DirectoryScan, step: int = RUN) -> Iterator[tuple[bytes, str]]:
    for directory in scan:
        while not directory.is_over:
            run = directory.take(directory.at + step)
            assert len(run.rows) == ROW_BYTES * len(run.names) == ROW_BYTES * len(run.kinds)
            yield from ((directory.prefix + name, KINDS[kind]) for name, kind in zip(run.names, run.kinds, strict=True))


def scanned(top: Path, options: ScanOptions | None = None, own: Path | None = None) -> dict[bytes, str]:
    status = own.stat() if own else None
    with OpenDirectories(top) as opened:
        identity = (status.st_dev, status.st_ino) if status else None
        return dict(entries(DirectoryScan(opened, identity, options or ScanOptions())))


def test_entries_come_in_tree_order_as_bytes(tmp_path: Path) -> None:
    make(tmp_path, "a", "a.d/z", "a/".rstrip("/") + "b", "b/c/d", "b/c.x", "b-/y", b"\xff/\xfe", "B", "ä/é", "empty/")
    found = list(scanned(tmp_path))
    assert found == sorted(found, key=tree_order)
    assert set(found) == {
        *(b"a", b"a.d", b"a.d/z", b"ab", b"b", b"b/c", b"b/c/d", b"b/c.x", b"b-", b"b-/y", b"\xff", b"\xff/\xfe"),
        *(b"B", "ä".encode(), "ä/é".encode(), b"empty"),
    }


def test_runs_of_any_length_give_the_same_entries(tmp_path: Path) -> None:
    make(tmp_path, *(f"{directory}/{number}" for directory in "ab" for number in range(50)))
    with OpenDirectories(tmp_path) as top:
        whole = list(entries(DirectoryScan(top, None, ScanOptions())))
    with OpenDirectories(tmp_path) as top:
        assert list(entries(DirectoryScan(top, None, ScanOptions()), 7)) == whole
    assert len(whole) == 102


def test_kinds_are_those_of_the_names_themselves_and_links_are_not_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    make(top, "file", "program", "directory/inside")
    make(tmp_path, "outside/secret")
    (top / "program").chmod(0o744)
    (top / "others-may").touch()
    (top / "others-may").chmod(0o655)
    (top / "to-file").symlink_to("file")
    (top / "to-directory").symlink_to(tmp_path / "outside")
    (top / "dangling").symlink_to("nowhere")
    assert scanned(top) == {
        b"file": "f",
        b"program": "x",
        b"others-may": "f",
        b"directory": "d",
        b"directory/inside": "f",
        b"to-file": "l",
        b"to-directory": "l",
        b"dangling": "l",
    }


def test_the_directory_that_is_named_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path, "real/file")
    (tmp_path / "link").symlink_to("real")
    assert scanned(tmp_path / "link") == {b"file": "f"}


def test_special_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    make(tmp_path, "file")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    with OpenDirectories(tmp_path) as top:
        scan = DirectoryScan(top, None, ScanOptions())
        assert dict(entries(scan)) == {b"file": "f"}
        assert (scan.special.number, scan.special.first) == (2, (b"fifo", b"socket"))


def test_the_first_ten_special_files_in_tree_order_are_named_and_the_others_counted(tmp_path: Path) -> None:
    make(tmp_path, "a/file")
    for number in range(8):
        os.mkfifo(tmp_path / "a" / f"{number}")
        os.mkfifo(tmp_path / f"z{number}")
    with OpenDirectories(tmp_path) as top:
        scan = DirectoryScan(top, None, ScanOptions())
        assert dict(entries(scan)) == {b"a": "d", b"a/file": "f"}
        expected = (*(b"z%d" % number for number in range(8)), b"a/0", b"a/1")
        assert (scan.special.number, scan.special.first) == (16, expected)


def test_the_container_and_temporary_names_are_passed_over(tmp_path: Path) -> None:
    make(
        tmp_path, "deep/container/config.json", "deep/file", ".rsdos-tmp-1/x", ".rsdos-tmp-", ".rsdos-tmp", ".rsdos-tmq"
    )
    assert scanned(tmp_path, own=tmp_path / "deep/container") == {
        b".rsdos-tmp": "f",
        b".rsdos-tmq": "f",
        b"deep": "d",
        b"deep/file": "f",
    }


def test_rows_are_what_lstat_says(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/", "c")
    os.utime(tmp_path / "a", ns=(1, -5_000_000_001))
    with OpenDirectories(tmp_path) as top:
        directory = next(iter(DirectoryScan(top, None, ScanOptions())))
        run = directory.take(len(directory.names))
    assert run.rows == b"".join(pack_row(os.lstat(tmp_path / name), SETTLED) for name in "abc")


def test_a_directory_deeper_than_path_max_and_than_the_descriptors_that_are_kept(tmp_path: Path) -> None:
    depth = open_directories.MOST_OPEN * 2 + 30
    name = "d" * 100
    fd = os.open(tmp_path, os.O_RDONLY)
    for level in range(depth):
        for made in (name, "e" * 100) if level % 50 == 0 else (name,):
            os.mkdir(made, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
    os.close(fd)
    found = scanned(tmp_path)
    bottom = b"/".join([name.encode()] * depth) + b"/bottom"
    assert len(bottom) > 3 * 4096
    assert found[bottom] == "f"
    assert len(found) == depth + 4 + 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything; test_save has a process without that right")
def test_what_cannot_be_read_stops_the_scan_or_is_left_out_and_named(tmp_path: Path) -> None:
    make(tmp_path, "open/file", "closed/file")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(UnreadableSource, match="closed: Permission denied"):
            scanned(tmp_path)
        with OpenDirectories(tmp_path) as top:
            scan = DirectoryScan(top, None, ScanOptions(unreadable=Unreadable.LEAVE_OUT))
            assert dict(entries(scan)) == {b"open": "d", b"open/file": "f", b"closed": "d"}
            assert scan.unreadable == [PathReason(b"closed", "Permission denied")]
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_a_file_that_is_removed_between_listing_and_looking_is_no_entry(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "c")
    with OpenDirectories(tmp_path) as top:
        directory = next(iter(DirectoryScan(top, None, ScanOptions())))
        (tmp_path / "b").unlink()
        assert directory.take(3).names == [b"a", b"c"]


def test_a_directory_that_is_exchanged_for_a_link_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "top/a/file", "outside/secret")
    with OpenDirectories(tmp_path / "top") as top:
        scan = iter(DirectoryScan(top, None, ScanOptions()))
        next(scan).take(1)
        (tmp_path / "top/a").rename(tmp_path / "moved")
        (tmp_path / "top/a").symlink_to(tmp_path / "outside")
        assert list(scan) == []


def test_patterns_of_ignore_files_and_of_the_caller_are_honoured_at_any_depth(tmp_path: Path) -> None:
    make(
        tmp_path, "a.tmp", "keep.tmp", "build/x", "src/build", "src/b.tmp", "src/deep/c.tmp", "src/deep/d.log", "e.log"
    )
    (tmp_path / ".rsdosignore").write_text("# comment\n\n*.tmp\n!keep.tmp\nbuild/  \n")
    (tmp_path / "src/.rsdosignore").write_text("!deep/*.tmp\n/b.tmp\n")
    assert set(scanned(tmp_path, ScanOptions(exclude=("*.log", "!d.log")))) == {
        *(b".rsdosignore", b"keep.tmp", b"src", b"src/.rsdosignore", b"src/build"),
        *(b"src/deep", b"src/deep/c.tmp", b"src/deep/d.log"),
    }


def test_an_ignore_file_that_is_a_link_is_no_ignore_file(tmp_path: Path) -> None:
    make(tmp_path, "top/a")
    (tmp_path / "patterns").write_text("*\n")
    (tmp_path / "top/.rsdosignore").symlink_to(tmp_path / "patterns")
    assert set(scanned(tmp_path / "top")) == {b"a", b".rsdosignore"}


@pytest.mark.parametrize("name", ["a?b", "CON", "com1.txt", "dot.", "blank ", b"\xff", "tab\tin"])
def test_portable_refuses_names_that_some_systems_refuse(tmp_path: Path, name: str | bytes) -> None:
    make(tmp_path, "console", name)
    assert len(scanned(tmp_path)) == 2
    with pytest.raises(InvalidName):
        scanned(tmp_path, ScanOptions(names=NameRule.PORTABLE))


@pytest.mark.parametrize("names", [("Readme", "README"), ("\u00e9", "e\u0301"), ("stra\u00dfe", "STRASSE")])
def test_portable_refuses_names_that_differ_in_case_or_form_only(tmp_path: Path, names: tuple[str, str]) -> None:
    make(tmp_path, *names, *(f"other/{name}" for name in names[:1]))
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system takes them for one name")
    with pytest.raises(InvalidName, match="in case or Unicode form only"):
        scanned(tmp_path, ScanOptions(names=NameRule.PORTABLE))


def test_another_file_system_can_be_stayed_out_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan compares device numbers: one that is another than the top's stands for a mount."""
    make(tmp_path, "inside/file")
    with OpenDirectories(tmp_path) as top:
        scan = DirectoryScan(top, None, ScanOptions(mounts=Mounts.STAY))
        scan._device += 1
        assert dict(entries(scan)) == {b"inside": "d"}
    assert scanned(tmp_path, ScanOptions(mounts=Mounts.STAY)) == {b"inside": "d", b"inside/file": "f"}


def test_kinds_of_tree_entries_are_those_of_this_module() -> None:
    assert {EntryKind.FILE: "f", EntryKind.EXECUTABLE: "x", EntryKind.LINK: "l", EntryKind.DIRECTORY: "d"} == KINDS

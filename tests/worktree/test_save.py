"""Saving: what a snapshot has of a directory, what is read, what is refused, and what becomes of the branch."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.errors import InvalidName, InvalidOption, RefExists, RefMoved, SourceChanged, UnreadableSource
from rsdos.maintenance import forget as maintenance_forget
from rsdos.maintenance import gc
from rsdos.model import FRAME_SIZE
from rsdos.storage.descriptors import opening
from rsdos.streams import buffers
from rsdos.trees.entry import Attributes, EntryKind
from rsdos.trees.reach import keys_by_kind
from rsdos.trees.tree import Tree
from rsdos.worktree import file_batch, publish_tree, scan, settled
from rsdos.worktree.contents import read_as_it_was
from rsdos.worktree.options import Description, NameRule, Rehash, SaveOptions, Unreadable, WhenMoved
from rsdos.worktree.plan_save import plan_save
from rsdos.worktree.save import SavedChanges, SavedObjects
from tests.data import noise
from tests.helpers import NOBODY, flip, run_python, writable_as_nobody
from tests.worktree.trees import (
    content_of,
    content_on_disk,
    entries_of,
    saved,
    settle,
    status_and_summary,
    status_of,
    write,
)

FILES = {
    "a.txt": b"a",
    "empty": b"",
    "sub/b.txt": b"b" * 5000,
    "sub/deep/c.bin": noise(FRAME_SIZE + 5, 1),
    "sub/deep/same": b"a",
    "void/": b"",
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "flowers"
    write(made, FILES)
    (made / "link").symlink_to("sub/b.txt")
    return made


def test_a_snapshot_has_all_that_the_directory_has(container: Container, top: Path) -> None:
    report = saved(
        container, top, message="first", metadata={"licence": "CC0"}, author="me", time="2026-01-02T03:04:05Z"
    )
    assert content_of(container, "flowers") == content_on_disk(top)
    assert (report.name, report.version, report.parent, report.unchanged) == ("flowers", 1, None, False)
    assert (report.files, report.size) == (5, 5002 + FRAME_SIZE + 5)
    assert report.changed == SavedChanges(added=9)
    assert report.stored == SavedObjects(4, 5001 + FRAME_SIZE + 5, 1)
    record = read_record(container.engine, report.snapshot)
    assert (record.tree, record.files, record.size, record.entries) == (report.tree, report.files, report.size, 9)
    assert (record.message, record.author, record.time) == ("first", "me", "2026-01-02T03:04:05Z")
    assert (record.metadata, record.skipped, record.parents) == (
        {"licence": "CC0"},
        {"special": 0, "unreadable": 0},
        (),
    )


def test_the_same_files_give_the_same_tree_whatever_their_times_and_the_order(
    container: Container, top: Path, tmp_path: Path
) -> None:
    first = saved(container, top)
    write(tmp_path / "copy", dict(reversed(FILES.items())))
    (tmp_path / "copy/link").symlink_to("sub/b.txt")
    second = saved(container, tmp_path / "copy", "copy")
    assert second.tree == first.tree
    assert second.stored.objects == 0


def test_what_has_not_changed_is_neither_read_nor_written(container: Container, top: Path) -> None:
    first = saved(container, top)
    settle(container, top)
    before = packs(container)
    _, summary = status_and_summary(container, top)
    assert (summary.unchanged, summary.read) == (6, 0)
    again = saved(container, top)
    assert again.unchanged and again.snapshot == first.snapshot and again.version == 1
    assert again.stored == SavedObjects() and again.changed == SavedChanges()
    assert packs(container) == before


def test_only_what_changed_is_stored(container: Container, top: Path) -> None:
    saved(container, top)
    write(top, {"a.txt": b"other", "new/d.txt": b"d"})
    (top / "sub/b.txt").unlink()
    (top / "sub/deep/same").rename(top / "sub/moved")
    report = saved(container, top)
    assert content_of(container, "flowers@2") == content_on_disk(top)
    assert report.changed == SavedChanges(added=3, removed=2, modified=1)
    assert report.stored.objects == 2 and report.stored.size == 6
    assert content_of(container, "flowers@1")["a.txt"] == b"a"
    record = read_record(container.engine, report.snapshot)
    assert record.parents == (report.parent,)


def test_every_edit_gives_the_tree_that_a_new_save_gives(container: Container, top: Path, tmp_path: Path) -> None:
    """Whatever becomes of a name: a file a directory, a directory a link, an executable, gone and back."""
    saved(container, top)
    for number, (gone, made) in enumerate(STEPS, 2):
        for name in gone:
            remove(top / name)
        for name, data in made.items():
            if isinstance(data, str):
                (top / name).symlink_to(data)
            else:
                write(top, {name: data})
        report = saved(container, top)
        assert (report.version, content_of(container, "flowers")) == (number, content_on_disk(top))
        assert saved(container, top, f"anew{number}", rehash=Rehash.ALL).tree == report.tree
    assert content_on_disk(top) == {}


STEPS: list[tuple[tuple[str, ...], dict[str, bytes | str]]] = [
    ((), {"a.txt": b"changed", "sub/more/x": b"x"}),
    (("a.txt",), {"a.txt/inner": b"i"}),
    (("sub/deep",), {"sub/deep": ".."}),
    (("link", "sub/more"), {"link": b"no link", "sub/more": b"no directory"}),
    (("a.txt",), {"a.txt": b"back"}),
    (("sub/deep",), {"sub/deep/x/y/z": b"z"}),
    (("void",), {"void/not/": b""}),
    (("sub",), {}),
    (("a.txt", "link", "void", "empty"), {}),
]
"""What is removed, and what is made then: a link if it is a text."""


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink()


def packs(container: Container) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (container.path / "packed").iterdir()}


def list_of(top: Path) -> list[tuple[str, int, int]]:
    """The names below a directory, with sizes and times of files."""
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in top.rglob("*"))


def test_times_and_modes_are_kept_if_they_are_asked_for(container: Container, top: Path) -> None:
    os.utime(top / "a.txt", ns=(0, 123456789))
    (top / "a.txt").chmod(0o4640)
    (top / "sub").chmod(0o750)
    saved(container, top, attributes=Attributes.TIMES | Attributes.MODES)
    entries = entries_of(container, "flowers")
    assert (entries[b"a.txt"].mtime, entries[b"a.txt"].mode) == (123456789, 0o640)
    assert entries[b"sub"].mode == 0o750
    os.utime(top / "a.txt", ns=(0, 5))
    assert status_of(container, top) == {"a.txt": "modified"}
    report = saved(container, top, attributes=Attributes.TIMES | Attributes.MODES)
    assert entries_of(container, "flowers")[b"a.txt"].mtime == 5
    assert report.changed == SavedChanges(modified=1)
    without = saved(container, top)
    assert entries_of(container, "flowers")[b"a.txt"].mtime is None
    assert without.stored.objects == 0


def test_executable_is_the_owners_bit(container: Container, top: Path) -> None:
    (top / "a.txt").chmod(0o655)
    (top / "empty").chmod(0o700)
    saved(container, top)
    entries = entries_of(container, "flowers")
    assert entries[b"a.txt"].kind is EntryKind.FILE
    assert entries[b"empty"].kind is EntryKind.EXECUTABLE


def test_names_that_are_no_utf_8_and_links_to_anywhere(container: Container, tmp_path: Path) -> None:
    top = os.fsencode(tmp_path / "odd")
    os.mkdir(top)
    with open(top + b"/\xff\xfe\n", "wb") as file:
        file.write(b"x")
    os.symlink(b"/etc/passwd", top + b"/out")
    os.symlink(b"\xff/../..", top + b"/up")
    saved(container, tmp_path / "odd")
    entries = entries_of(container, "flowers")
    assert set(entries) == {b"\xff\xfe\n", b"out", b"up"}
    assert (entries[b"out"].target, entries[b"up"].target) == (b"/etc/passwd", b"\xff/../..")


@pytest.mark.parametrize("is_local", [True, False])
def test_a_save_and_a_status_leave_the_directory_as_it_is(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    """On a file system of another machine one file is made, to see its clock, and removed."""
    made = []

    def noted(path: str | bytes, flags: int, mode: int = 0o777, dir_fd: int | None = None) -> Iterator[int]:
        made.extend([path] if flags & os.O_CREAT else [])
        return opening(path, flags, mode, dir_fd)

    monkeypatch.setattr(settled, "opening", noted)
    monkeypatch.setattr(scan, "Clocks", partial(settled.Clocks, lambda device, path: is_local))
    before = list_of(top)
    saved(container, top)
    assert len(made) == (0 if is_local else 1)
    assert status_of(container, top) == {}
    assert len(made) == (0 if is_local else 2) and all(
        name.startswith(".rsdos-tmp-") for name in map(os.fsdecode, made)
    )
    assert list_of(top) == before


def test_special_files_are_counted_and_hard_links_are_files(container: Container, top: Path) -> None:
    os.mkfifo(top / "fifo")
    os.link(top / "a.txt", top / "a.hard")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(top / "socket"))
    planned = plan_save(container.engine, SaveOptions(Description("flowers"), top))
    report = saved(container, top)
    assert report.skipped.special == 2
    assert planned.special == report.special == (b"fifo", b"socket")
    assert read_record(container.engine, report.snapshot).skipped == {"special": 2, "unreadable": 0}
    assert content_of(container, "flowers")["a.hard"] == b"a"


def test_the_container_may_be_inside_and_the_directory_may_not_be_inside_of_it(tmp_path: Path) -> None:
    write(tmp_path / "top", {"file": b"f"})
    with Container.create(tmp_path / "top/container") as container:
        saved(container, tmp_path / "top")
        assert content_of(container, "flowers") == {"file": b"f"}
        assert saved(container, tmp_path / "top").unchanged
        for inside in ("top/container", "top/container/packed"):
            with pytest.raises(InvalidOption, match="inside the container"):
                saved(container, tmp_path / inside)


def test_a_missing_directory_is_an_error(container: Container, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        saved(container, tmp_path / "nothing")
    with pytest.raises(NotADirectoryError):
        write(tmp_path, {"file": b""})
        saved(container, tmp_path / "file")


def test_names_of_branches_and_files_are_checked(container: Container, top: Path) -> None:
    with pytest.raises(InvalidName):
        saved(container, top, "no such name")
    write(top, {"con.txt": b""})
    with pytest.raises(InvalidName, match="Windows"):
        saved(container, top, names=NameRule.PORTABLE)
    with pytest.raises(InvalidOption):
        saved(container, top, metadata={"set": {1}})
    assert read_refs(container.engine)[0].names() == []


def test_the_name_of_a_tag_is_refused_before_anything_is_read(container: Container, top: Path) -> None:
    report = saved(container, top)
    _, epoch = read_refs(container.engine)
    publish(container.engine, epoch, lambda refs: refs.tagged("v1", report.snapshot, "2026-01-01T00:00:00Z", "me"))
    with pytest.raises(RefExists):
        saved(container, top, "v1")


def test_a_dry_run_says_what_a_save_would_do_and_writes_nothing(
    container: Container, top: Path, tmp_path: Path
) -> None:
    for step in range(3):
        before = packs(container)
        planned = plan_save(container.engine, SaveOptions(Description("flowers"), top))
        assert packs(container) == before
        report = saved(container, top)
        said = (planned.name, planned.changed, planned.files, planned.size, planned.skipped, planned.unchanged)
        assert said == (report.name, report.changed, report.files, report.size, report.skipped, report.unchanged)
        if step == 0:
            write(top, {"a.txt": b"longer", "x/y": b"y"})
            (top / "sub/b.txt").unlink()
        made = (report.snapshot, report.tree, report.version, report.parent)
        expected = made if step == 2 else ("", "", step + 1, report.parent)
        assert (planned.snapshot, planned.tree, planned.version, planned.parent) == expected
    with_times = SaveOptions(Description("flowers"), top, attributes=Attributes.TIMES)
    assert (plan_save(container.engine, with_times).unchanged, plan_save(container.engine, with_times).version) == (
        False,
        3,
    )
    write(tmp_path / "part", {"file": b"f"})
    planned = plan_save(container.engine, SaveOptions(Description("flowers"), tmp_path / "part", at="sub/deep"))
    assert planned.changed == SavedChanges(added=1, removed=2)
    planned = plan_save(container.engine, SaveOptions(Description("flowers"), tmp_path / "part", at="new"))
    assert planned.changed == saved(container, tmp_path / "part", at="new").changed == SavedChanges(added=2)


# Two that save.


def test_a_save_from_an_older_version_is_refused_unless_it_is_forced(
    container: Container, top: Path, tmp_path: Path
) -> None:
    first = saved(container, top)
    write(tmp_path / "other", {"x": b"x"})
    second = saved(container, tmp_path / "other")
    assert second.parent == first.snapshot and second.changed == SavedChanges(added=1, removed=9)
    write(top, {"a.txt": b"edited"})
    expected = r"flowers@2 is newer than what .*/flowers was made from"
    with pytest.raises(RefMoved, match=expected):
        plan_save(container.engine, SaveOptions(Description("flowers"), top))
    with pytest.raises(RefMoved, match=expected) as caught:
        saved(container, top)
    assert read_record(container.engine, caught.value.snapshot).parents == (first.snapshot,)
    write(top, {"a.txt": FILES["a.txt"]})
    with pytest.raises(RefMoved):
        plan_save(container.engine, SaveOptions(Description("flowers"), top))
    forced = SaveOptions(Description("flowers"), top, when_moved=WhenMoved.OVERRIDE)
    planned = plan_save(container.engine, forced)
    assert (planned.changed, planned.parent) == (SavedChanges(added=9, removed=1), second.snapshot)
    third = saved(container, top, when_moved=WhenMoved.OVERRIDE)
    assert (third.version, third.parent, third.tree) == (3, second.snapshot, first.tree)
    assert saved(container, top).unchanged


def test_a_save_whose_state_was_lost_can_be_repeated(container: Container, top: Path) -> None:
    """A kill between step 6 and 7: the version is there, and the state is that of the version before."""
    saved(container, top)
    (path,) = (container.path / "checkouts").iterdir()
    before = path.read_bytes()
    write(top, {"a.txt": b"edited"})
    report = saved(container, top)
    path.write_bytes(before)
    assert plan_save(container.engine, SaveOptions(Description("flowers"), top)).unchanged
    path.write_bytes(before)
    again = saved(container, top)
    assert again.unchanged and (again.snapshot, again.version) == (report.snapshot, 2)
    write(top, {"a.txt": b"edited again"})
    assert saved(container, top).version == 3


def test_a_branch_that_moves_during_a_save_is_refused_and_the_snapshot_is_kept(
    container: Container, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "other", {"x": b"x"})

    def save_another(*arguments: Any) -> bytes | None:
        monkeypatch.undo()
        with Container(container.path) as another:
            saved(another, tmp_path / "other")
        return read_as_it_was(*arguments)

    monkeypatch.setattr(file_batch, "read_as_it_was", save_another)
    with pytest.raises(RefMoved) as caught:
        saved(container, top)
    assert read_record(container.engine, caught.value.snapshot).files == 5
    assert content_of(container, "flowers") == {"x": b"x"}
    assert saved(container, top).version == 2


def test_a_new_branch_has_what_was_saved_before_as_its_parent(container: Container, top: Path) -> None:
    first = saved(container, top)
    second = saved(container, top, "roses")
    assert (second.version, second.parent, second.tree, second.unchanged) == (1, first.snapshot, first.tree, False)
    assert second.changed == SavedChanges() and second.stored.pages == 0


# Beside gc.


def forget(container: Container, *names: str) -> None:
    """Forget branches or versions, and collect what nothing needs."""
    options = maintenance_forget.ForgetOptions(list(names))
    maintenance_forget.execute(container.engine, maintenance_forget.plan(container.engine, options))
    gc.execute(container.engine, gc.plan(container.engine))


def test_what_gc_has_taken_is_stored_again_although_the_state_knows_it(container: Container, top: Path) -> None:
    first = saved(container, top)
    settle(container, top)
    forget(container, "flowers")
    assert list(container) == []
    again = saved(container, top, "roses")
    assert (again.tree, again.stored.objects) == (first.tree, 4)
    assert content_of(container, "roses") == content_on_disk(top)


def test_a_part_of_what_the_state_knows_may_be_gone(container: Container, top: Path, tmp_path: Path) -> None:
    saved(container, top)
    settle(container, top)
    write(tmp_path / "other", {"sub/b.txt": FILES["sub/b.txt"]})
    saved(container, tmp_path / "other", "other")
    forget(container, "flowers")
    again = saved(container, top)
    assert (again.version, again.stored.objects) == (2, 3)
    assert content_of(container, "flowers") == content_on_disk(top)


@pytest.mark.parametrize("moment", ["read", "published"])
def test_what_gc_takes_during_a_save_is_stored_again(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The save finds objects that no ref keeps any more, and gc takes them before it publishes: the epoch tells."""
    saved(container, top, "old")
    settle(container, top)
    write(top, {"a.txt": b"new"})

    def collect(*arguments: Any) -> Any:
        monkeypatch.undo()
        with Container(container.path) as another:
            forget(another, "old")
        return (read_as_it_was if moment == "read" else publish)(*arguments)

    if moment == "read":
        monkeypatch.setattr(file_batch, "read_as_it_was", collect)
    else:
        monkeypatch.setattr(publish_tree, "publish", collect)
    report = saved(container, top)
    assert content_of(container, "flowers") == content_on_disk(top)
    assert report.version == 1
    assert saved(container, top).unchanged


def test_a_damaged_tree_is_no_obstacle_to_the_next_version(container: Container, tmp_path: Path) -> None:
    top = tmp_path / "many"
    write(top, {f"{number // 100}/{number}": b"%d" % number for number in range(1500)})
    saved(container, top)
    settle(container, top)
    tree = Tree(
        bytes.fromhex(read_record(container.engine, read_refs(container.engine)[0].find("flowers")).tree),
        StoredPages(container.engine),
    )
    pages = b"".join(reached.pages for reached in keys_by_kind([tree.root], StoredPages(container.engine)))
    with Container(container.path) as another:
        extent = another.meta(pages[-32:].hex()).extent
    assert extent is not None and len(pages) > 64
    flip(container.path / f"packed/{extent.pack_id:010d}.pack", extent.offset + extent.length // 2)
    write(top, {"0/0": b"changed"})
    with Container(container.path) as another:
        report = saved(another, top)
        assert report.version == 2 and report.files == 1500


# Files that cannot be read, or change.


def test_a_file_that_changes_while_it_is_read_is_read_again(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size and the time of a file after it was read are those of before: else what was read is not one moment."""
    reads: list[int] = []
    real = os.read

    def read(fd: int, length: int) -> bytes:
        data = real(fd, length)
        if data == b"a" and len(reads) < 2:
            reads.append(fd)
            (top / "a.txt").write_bytes(b"a" if len(reads) == 1 else b"z")
            os.utime(top / "a.txt", ns=(0, len(reads)))
        return data

    monkeypatch.setattr(os, "read", read)
    saved(container, top)
    monkeypatch.undo()
    assert content_of(container, "flowers") == content_on_disk(top)
    assert len(reads) == 2


def test_a_file_that_changes_each_time_gives_no_snapshot(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.read

    def read(fd: int, length: int) -> bytes:
        data = real(fd, length)
        if data == b"b" * 5000:
            os.utime(top / "sub/b.txt", ns=(0, os.stat(top / "sub/b.txt").st_mtime_ns + 1))
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(SourceChanged, match=r"sub/b.txt: changed while it was read"):
        saved(container, top)
    assert read_refs(container.engine)[0].names() == []


def test_a_large_file_that_changes_while_it_is_read_is_read_again(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[int] = []
    fill = buffers.Buffers.fill

    def fill_and_change(self: buffers.Buffers, readinto: object) -> memoryview:
        frame = fill(self, readinto)  # type: ignore[arg-type]
        if len(frame) == FRAME_SIZE and not changed:
            changed.append(1)
            (top / "sub/deep/c.bin").write_bytes(noise(FRAME_SIZE + 7, 2))
        return frame

    monkeypatch.setattr(buffers.Buffers, "fill", fill_and_change)
    report = saved(container, top)
    monkeypatch.undo()
    assert changed and content_of(container, "flowers") == content_on_disk(top)
    assert report.stored.objects == 4


def test_a_file_that_goes_while_the_directory_is_saved_is_not_in_the_snapshot(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: Any) -> bytes | None:
        (top / "empty").unlink(missing_ok=True)
        return read_as_it_was(*arguments)

    monkeypatch.setattr(file_batch, "read_as_it_was", read)
    saved(container, top)
    monkeypatch.undo()
    assert content_of(container, "flowers") == content_on_disk(top)
    assert status_of(container, top) == {}


CLOSED = """
import os, sys
from rsdos import Container
from rsdos.worktree.options import *
from rsdos.worktree.save import save
from rsdos.errors import UnreadableSource
container, top = Container(sys.argv[1]), sys.argv[2]
try:
    save(container.engine, SaveOptions(Description("flowers"), top))
except UnreadableSource as error:
    print(error)
options = SaveOptions(Description("flowers"), top, scan=ScanOptions(unreadable=Unreadable.LEAVE_OUT))
report = save(container.engine, options)
print(report.skipped, [left.path for left in report.unreadable])
"""


@pytest.mark.skipif(not writable_as_nobody(), reason="needs to become a user without rights")
def test_what_cannot_be_read_is_an_error_or_left_out_and_named(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o777)
        top = Path(place, "top")
        write(top, {"a": b"a", "closed/b": b"b", "c": b"c", "large": noise(FRAME_SIZE + 1)})
        for name in ("closed", "c", "large"):
            (top / name).chmod(0)
        output = run_python(f"from rsdos import Container; Container.create({place + '/container'!r})", user=NOBODY)
        output = run_python(CLOSED, Path(place, "container"), top, user=NOBODY)
        assert output.splitlines() == [
            f"{top}/c: Permission denied",
            "LeftOut(special=0, unreadable=3) [b'c', b'large', b'closed']",
        ]
        with Container(Path(place, "container")) as container:
            assert content_of(container, "flowers") == {"a": b"a", "closed": None}
            record = read_record(container.engine, read_refs(container.engine)[0].find("flowers"))
            assert record.metadata == {"unreadable": ["c", "large", "closed"]}


def test_unreadable_stops_by_default(container: Container, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def lstat(name: bytes, *, dir_fd: int | None = None) -> os.stat_result:
        if name == b"b.txt":
            raise OSError(5, "Input/output error")
        return real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", lstat)
    with pytest.raises(UnreadableSource, match=r"sub/b.txt: Input/output error"):
        saved(container, top)
    report = saved(container, top, unreadable=Unreadable.LEAVE_OUT)
    assert report.skipped.unreadable == 1 and b"sub/b.txt" not in entries_of(container, "flowers")


# A part of a tree.


def test_a_directory_of_the_tree_is_replaced_and_the_rest_stays(
    container: Container, top: Path, tmp_path: Path
) -> None:
    saved(container, top)
    write(tmp_path / "part", {"new": b"n"})
    report = saved(container, tmp_path / "part", at="sub/deep")
    expected = content_on_disk(top)
    del expected["sub/deep/c.bin"], expected["sub/deep/same"]
    assert content_of(container, "flowers") == expected | {"sub/deep/new": b"n"}
    assert report.changed == SavedChanges(added=1, removed=2)
    assert saved(container, tmp_path / "part").unchanged, "the state knows where it was"
    write(tmp_path / "part", {"new": b"newer"})
    again = saved(container, tmp_path / "part")
    assert content_of(container, "flowers") == expected | {"sub/deep/new": b"newer"}
    assert again.stored.objects == 1
    assert status_of(container, tmp_path / "part") == {}


def test_a_part_of_a_tree_that_is_not_there_yet(container: Container, tmp_path: Path) -> None:
    write(tmp_path / "part", {"file": b"f"})
    (tmp_path / "empty").mkdir()
    saved(container, tmp_path / "part", at="a/b")
    saved(container, tmp_path / "empty", at="c")
    assert content_of(container, "flowers") == {"a": None, "a/b": None, "a/b/file": b"f", "c": None}
    with pytest.raises(InvalidName):
        saved(container, tmp_path / "part", at="a/b/file/x")


def test_patterns_leave_out(container: Container, top: Path) -> None:
    write(top, {".rsdosignore": b"*.bin\n", "x.tmp": b"x"})
    saved(container, top, exclude=("*.tmp",))
    assert content_of(container, "flowers").keys() == content_on_disk(top).keys() - {"x.tmp", "sub/deep/c.bin"}

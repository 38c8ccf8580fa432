"""Status: what differs between a directory and a snapshot, what is read to know it, and what is trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import InvalidOption, RefNotFound
from rsdos.trees.entry import Attributes
from rsdos.worktree import settled
from rsdos.worktree.options import Rehash, StatusOptions
from rsdos.worktree.rows import ROW, ROW_BYTES, SETTLED, SETTLING
from rsdos.worktree.state import StateHead, read_state, write_state
from rsdos.worktree.status import StatusSummary, read_status
from tests.worktree.trees import content_of, content_on_disk, saved, status_and_summary, status_of, write

FILES = {"a": b"aaaa", "b": b"bbbb", "sub/c": b"cccc", "sub/d": b"dddd", "sub/deep/e": b"eeee"}
LATER = time.time_ns() + 3600 * 10**9


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "flowers"
    write(made, FILES)
    return made


class Clock:
    """The clock of the file system, as far as scans know."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time_ns() + 2 * SETTLING
        monkeypatch.setattr(settled.Clocks, "now", lambda clocks, directory, device, path: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that says that everything was done long ago; tests set it."""
    return Clock(monkeypatch)


def set_times(path: Path, mtime: int) -> None:
    os.utime(path, ns=(mtime, mtime))


def rows_of(container: Container, top: Path) -> list[tuple[int, ...]]:
    state = read_state(container.engine, top)
    assert state is not None
    with state:
        rows = state.rows(0, state.count)
    return [ROW.unpack_from(rows, at) for at in range(0, len(rows), ROW_BYTES)]


def test_nothing_is_read_of_what_has_not_changed(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    assert status_and_summary(container, top) == ({}, StatusSummary(unchanged=5))


def test_each_kind_of_change_is_named_in_tree_order(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    write(top, {"a": b"AAAA", "new/x": b"x"})
    (top / "b").unlink()
    (top / "sub/c").chmod(0o755)
    (top / "sub/deep/e").unlink()
    (top / "sub/deep/e").symlink_to("x")
    changes, summary = status_and_summary(container, top)
    assert list(changes.items()) == [
        ("a", "modified"),
        ("b", "removed"),
        ("new", "added"),
        ("new/x", "added"),
        ("sub/c", "modified"),
        ("sub/deep/e", "kind"),
    ]
    # The content of "a" may be what it was, and that of "sub/c" is hashed to see whether it is.
    assert summary == StatusSummary(added=2, removed=1, modified=2, kind=1, unchanged=1, read=2)


def test_what_is_unchanged_are_the_files_and_links_that_are_as_they_were(
    container: Container, top: Path, clock: Clock
) -> None:
    """Beside its own snapshot and beside another one. No directory is counted, whatever became of it."""
    (top / "link").symlink_to("a")
    (top / "empty").mkdir()
    saved(container, top)
    assert status_and_summary(container, top)[1] == StatusSummary(unchanged=6)
    write(top, {"b": b"BBBBB", "new/x": b"x"})
    (top / "sub/deep/e").unlink()
    (top / "sub/deep").rmdir()
    (top / "empty").rmdir()
    (top / "empty").symlink_to("a")
    _, beside_its_own = status_and_summary(container, top)
    assert beside_its_own == StatusSummary(added=2, removed=2, modified=1, kind=1, unchanged=4)
    saved(container, top)
    _, beside_another = status_and_summary(container, top, "flowers@1")
    assert beside_another == beside_its_own
    with read_status(container.engine, StatusOptions(top, "flowers@1", under="sub")) as status:
        list(status)
    assert status.summary.unchanged == 0, "sub/c is not c"


def test_a_whole_directory_that_is_gone_or_became_a_file(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    for name in ("sub/deep/e", "sub/c", "sub/d"):
        (top / name).unlink()
    (top / "sub/deep").rmdir()
    (top / "sub").rmdir()
    gone = {"sub": "removed", "sub/c": "removed", "sub/d": "removed", "sub/deep": "removed", "sub/deep/e": "removed"}
    assert status_of(container, top) == gone
    write(top, {"sub": b"file"})
    assert status_of(container, top) == gone | {"sub": "kind"}


def test_a_touched_file_is_hashed_once_and_known_the_next_time(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    set_times(top / "a", 5)
    assert status_and_summary(container, top) == ({}, StatusSummary(unchanged=5, read=1))
    assert status_and_summary(container, top) == ({}, StatusSummary(unchanged=5))


def test_a_modified_file_stays_modified_and_costs_a_hash_only_if_its_size_is_the_same(
    container: Container, top: Path, clock: Clock
) -> None:
    saved(container, top)
    write(top, {"a": b"AAAA", "b": b"longer"})
    for _ in range(2):
        changes, summary = status_and_summary(container, top)
        assert changes == {"a": "modified", "b": "modified"}
        assert summary.read == 1
    write(top, {"a": b"aaaa", "b": b"bbbb"})
    assert status_of(container, top) == {}


def test_rehash_reads_everything(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    assert status_and_summary(container, top, rehash=Rehash.ALL)[1].read == 5


# What may be trusted.


def write_without_a_trace(path: Path, data: bytes) -> None:
    """Change a file so that size, mtime and inode stay, as a write within one tick of the clock does."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def forget_ctime(container: Container, top: Path) -> None:
    """Give the rows of the state the ctimes of now: as if all had happened within one tick of that clock too."""
    state = read_state(container.engine, top)
    assert state is not None
    with state:
        rows = bytearray(state.rows(0, state.count))
        for at in range(0, len(rows), ROW_BYTES):
            size, mtime, _, inode, mode, flags = ROW.unpack_from(rows, at)
            (path,) = [path for path in top.rglob("*") if path.lstat().st_ino == inode]
            ROW.pack_into(rows, at, size, mtime, path.lstat().st_ctime_ns, inode, mode, flags)
        write_state(container.engine, top, state.head, [bytes(rows)])


def test_what_a_rehash_has_found_to_differ_is_found_again_without_one(
    container: Container, tmp_path: Path, clock: Clock
) -> None:
    """Not even if the rows of a whole directory lied."""
    top = tmp_path / "top"
    write(top, {"a": b"aaaa"})
    saved(container, top)
    write_without_a_trace(top / "a", b"AAAA")
    forget_ctime(container, top)
    assert status_of(container, top) == {}
    for rehash in (Rehash.ALL, Rehash.CHANGED):
        assert status_of(container, top, rehash=rehash) == {"a": "modified"}


def test_a_write_within_the_tick_of_the_clock_is_found(container: Container, top: Path, clock: Clock) -> None:
    """The racy case: the file is read, and written again with the same size and times. Its row must not be trusted."""
    stamp = (top / "a").stat().st_ctime_ns
    set_times(top / "a", stamp)
    clock.now = (top / "a").stat().st_ctime_ns + SETTLING - 1
    saved(container, top)
    write_without_a_trace(top / "a", b"AAAA")
    forget_ctime(container, top)
    clock.now = LATER
    assert status_of(container, top) == {"a": "modified"}
    assert content_of(container, "flowers@1")["a"] == b"aaaa"
    saved(container, top)
    assert content_of(container, "flowers@2") == content_on_disk(top)


def test_it_would_not_be_found_if_it_were_trusted(container: Container, top: Path, clock: Clock) -> None:
    """The test before can fail: the same write to a file that was settled has no trace."""
    saved(container, top)
    write_without_a_trace(top / "a", b"AAAA")
    forget_ctime(container, top)
    assert status_of(container, top) == {}


def test_a_write_with_its_times_set_back_is_found_by_the_ctime(container: Container, top: Path, clock: Clock) -> None:
    """`touch -r`, `rsync -t` and `cp -p` set the mtime; nothing sets the ctime."""
    saved(container, top)
    write_without_a_trace(top / "a", b"AAAA")
    assert status_of(container, top) == {"a": "modified"}


def test_a_file_that_another_one_is_renamed_to_is_found(container: Container, top: Path, clock: Clock) -> None:
    for name in ("a", "b"):
        set_times(top / name, 5)
    saved(container, top)
    (top / "a").rename(top / "x")
    (top / "b").rename(top / "a")
    (top / "x").rename(top / "b")
    assert status_of(container, top) == {"a": "modified", "b": "modified"}


@pytest.mark.parametrize("which", ["mtime", "ctime"])
def test_a_time_in_the_future_is_never_trusted(container: Container, top: Path, clock: Clock, which: str) -> None:
    """A clock that was set back, or a server ahead of this machine."""
    if which == "mtime":
        set_times(top / "a", clock.now + 3600 * 10**9)
    else:
        clock.now = (top / "a").stat().st_ctime_ns - 1
    saved(container, top)
    unsettled = sum(row[5] == 0 for row in rows_of(container, top))
    assert unsettled == (1 if which == "mtime" else 7)
    for _ in range(2):
        assert status_and_summary(container, top)[1].read == (1 if which == "mtime" else 5)


def test_what_was_saved_just_now_is_read_again_until_it_is_settled(
    container: Container, top: Path, clock: Clock
) -> None:
    clock.now = time.time_ns()
    saved(container, top)
    assert {row[5] for row in rows_of(container, top)} == {0}
    assert status_and_summary(container, top)[1].read == 5
    clock.now = LATER
    assert status_and_summary(container, top)[1].read == 5
    assert {row[5] for row in rows_of(container, top)} == {SETTLED}
    assert status_and_summary(container, top)[1].read == 0


def test_the_state_of_another_tree_gives_no_wrong_answer(container: Container, top: Path, clock: Clock) -> None:
    """Whatever rows a state has, only those that are what `lstat` says are trusted; here they are of other entries."""
    report = saved(container, top)
    state = read_state(container.engine, top)
    assert state is not None
    with state:
        rows = state.rows(0, state.count)
    write(top, {"a": b"AAAA"})
    head = StateHead(container.container_id, "flowers@1", report.snapshot, report.tree)
    for wrong in (rows[ROW_BYTES:], rows[ROW_BYTES:] + rows[:ROW_BYTES], b"", rows * 2):
        write_state(container.engine, top, head, [wrong])
        assert status_of(container, top) == {"a": "modified"}


# Against what.


def test_a_directory_that_nobody_knows_needs_a_reference(container: Container, top: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="no snapshot of it is known here"):
        status_of(container, top)
    saved(container, top)
    write(tmp_path / "other", FILES | {"a": b"other"})
    with pytest.raises(InvalidOption):
        status_of(container, tmp_path / "other")
    assert status_of(container, tmp_path / "other", "flowers") == {"a": "modified"}
    with pytest.raises(RefNotFound):
        status_of(container, top, "flowers@7")


def test_a_directory_beside_another_snapshot_is_read_no_more_than_beside_its_own(
    container: Container, top: Path, clock: Clock
) -> None:
    saved(container, top)
    write(top, {"a": b"AAAA", "b": b"longer", "new": b"n"})
    (top / "sub/c").unlink()
    saved(container, top)
    write(top, {"a": b"aaaa", "sub/d": b"DDDD", "sub/c": b"C"})
    (top / "new").unlink()
    changes, summary = status_and_summary(container, top, "flowers@1")
    assert changes == {"b": "modified", "sub/c": "modified", "sub/d": "modified"}
    assert summary == StatusSummary(modified=3, unchanged=2, read=2)
    assert status_of(container, top) == {"a": "modified", "new": "removed", "sub/c": "added", "sub/d": "modified"}


def test_modes_count_beside_another_snapshot_too(container: Container, top: Path, clock: Clock) -> None:
    (top / "a").chmod(0o600)
    saved(container, top, attributes=Attributes.MODES)
    write(top, {"a": b"AAAA"})
    (top / "a").chmod(0o640)
    saved(container, top, attributes=Attributes.MODES)
    write(top, {"a": b"aaaa"})  # As it was first, but for its mode.
    assert status_of(container, top, "flowers@1") == {"a": "modified"}
    (top / "a").chmod(0o600)
    assert status_of(container, top, "flowers@1") == {}


def test_times_count_beside_another_snapshot_too(container: Container, top: Path, clock: Clock) -> None:
    set_times(top / "a", 7)
    saved(container, top, attributes=Attributes.TIMES)
    write(top, {"a": b"AAAA"})
    saved(container, top, attributes=Attributes.TIMES)
    write(top, {"a": b"aaaa"})  # As it was first, but for its time.
    assert status_of(container, top, "flowers@1") == {"a": "modified"}
    set_times(top / "a", 7)
    assert status_of(container, top, "flowers@1") == {}


def test_a_directory_beside_a_directory_of_a_tree(container: Container, top: Path, tmp_path: Path) -> None:
    saved(container, top)
    write(tmp_path / "part", {"c": b"cccc", "deep/e": b"EEEE"})
    assert status_of(container, tmp_path / "part", "flowers", under="sub") == {"d": "removed", "deep/e": "modified"}
    assert status_of(container, top, "flowers", under="sub")["a"] == "added"
    with pytest.raises(InvalidOption, match="is not a directory of"):
        status_of(container, top, "flowers", under="nothing")


def test_a_directory_that_was_moved_or_copied_is_not_known(container: Container, top: Path, tmp_path: Path) -> None:
    saved(container, top)
    top.rename(tmp_path / "moved")
    with pytest.raises(InvalidOption):
        status_of(container, tmp_path / "moved")
    assert status_of(container, tmp_path / "moved", "flowers") == {}


def test_a_status_that_is_not_read_to_its_end_leaves_the_state(container: Container, top: Path, clock: Clock) -> None:
    saved(container, top)
    write(top, {"a": b"AAAA"})
    set_times(top / "b", 7)
    before = rows_of(container, top)
    with read_status(container.engine, StatusOptions(top)) as status:
        next(iter(status))
    assert rows_of(container, top) == before
    assert [path.suffix for path in (container.path / "checkouts").iterdir()] == [".state"]


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x"), lambda path: os.truncate(path, 50)]
)
def test_without_its_state_a_directory_is_saved_as_well(
    container: Container, top: Path, damage: Callable[[Path], object]
) -> None:
    first = saved(container, top)
    (path,) = (container.path / "checkouts").iterdir()
    damage(path)
    assert saved(container, top).unchanged
    write(top, {"a": b"AAAA"})
    damage(path)
    second = saved(container, top)
    assert (second.parent, second.changed.modified) == (first.snapshot, 1)
    assert content_of(container, "flowers") == content_on_disk(top)

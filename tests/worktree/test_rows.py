"""Rows of entries, and the rule that says which of them may be trusted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rsdos.worktree.rows import (
    NO_ROW,
    ROW,
    ROW_BYTES,
    SETTLED,
    SETTLING,
    is_settled,
    modes_of,
    mtimes_of,
    pack_row,
    pack_rows,
    settle,
    sizes_of,
    without_trust,
)
from rsdos.worktree.settled import MARGIN, Clocks

NOW = 1_700_000_000 * 10**9


def status(size: int = 5, mtime: int = 0, ctime: int = 0, inode: int = 7, mode: int = 0o100644) -> os.stat_result:
    """A status as the system gives it, of these values."""
    return os.stat_result(
        (mode, inode, 1, 1, 0, 0, size, 0, 0, 0),
        {"st_atime_ns": 0, "st_mtime_ns": mtime, "st_ctime_ns": ctime},
    )


def flags(rows: bytes) -> list[int]:
    return [ROW.unpack_from(rows, at)[5] for at in range(0, len(rows), ROW_BYTES)]


def test_many_rows_are_the_rows_of_each() -> None:
    statuses = [
        status(),
        status(size=0, mtime=-1, ctime=-(10**18)),
        status(size=1 << 62, mtime=2**62, inode=(1 << 64) - 1, mode=0o120777),
        status(inode=1 << 63, mode=0o041777),
    ]
    rows = pack_rows(statuses)
    assert rows == b"".join(map(pack_row, statuses))
    assert list(sizes_of(rows)) == [5, 0, 1 << 62, 5]
    assert list(mtimes_of(rows)) == [0, -1, 2**62, 0]
    assert modes_of(rows) == [0o644, 0o644, 0o777, 0o777]
    assert flags(rows) == [SETTLED] * 4
    assert flags(without_trust(rows)) == [0] * 4
    assert pack_rows([]) == b""
    assert len(NO_ROW) == ROW_BYTES == 40


@pytest.mark.parametrize(
    ("mtime", "ctime", "is_old"),
    [
        (NOW - SETTLING, NOW - SETTLING, True),
        (NOW - SETTLING + 1, 0, False),
        (0, NOW - SETTLING + 1, False),  # `touch -r` behind a write
        (NOW, NOW, False),
        (NOW + 10**15, 0, False),  # in the future
        (0, NOW + 10**15, False),
        (-5, -5, True),  # before 1970
    ],
)
def test_an_entry_is_trusted_if_both_of_its_times_are_old_enough(mtime: int, ctime: int, is_old: bool) -> None:
    one = status(mtime=mtime, ctime=ctime)
    assert is_settled(one, NOW) is is_old
    rows = pack_rows([status(), one, status()])
    assert flags(settle(rows, NOW)) == [SETTLED, SETTLED if is_old else 0, SETTLED]
    assert without_trust(settle(rows, NOW)) == without_trust(rows)


def test_on_a_file_system_of_this_machine_the_clock_is_the_machines(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        clocks = Clocks(lambda device, path: True)
        before = time.time_ns()
        assert before <= clocks.now(fd, 1, str(tmp_path)) <= time.time_ns()
        assert os.listdir(tmp_path) == []
    finally:
        os.close(fd)


def test_elsewhere_a_file_tells_the_clock_and_is_removed(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        clocks = Clocks(lambda device, path: False)
        told = clocks.now(fd, 1, str(tmp_path))
        (tmp_path / "after").touch()
        assert told <= (tmp_path / "after").stat().st_mtime_ns
        assert told > time.time_ns() - MARGIN
        assert os.listdir(tmp_path) == ["after"]
        assert clocks.now(fd, 1, str(tmp_path)) == told, "a file system is asked once"
    finally:
        os.close(fd)


def test_where_no_file_can_be_made_the_machines_clock_is_taken_with_a_margin() -> None:
    if not os.path.isdir("/proc/self"):
        pytest.skip("a directory is needed that nobody can make a file in")
    fd = os.open("/proc/self", os.O_RDONLY)
    try:
        before = time.time_ns()
        told = Clocks(lambda device, path: False).now(fd, 1, "/proc/self")
        assert before - MARGIN <= told <= time.time_ns() - MARGIN
    finally:
        os.close(fd)

"""Checkouts in several processes: the same directory as from one, the same errors, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import Busy
from rsdos.model import FRAME_SIZE
from rsdos.progress import Silence
from rsdos.storage import locks
from rsdos.trees.entry import Attributes
from rsdos.worktree import checkout as checkout_module
from rsdos.worktree import checkout_team
from rsdos.worktree.checkout import CheckoutOptions, checkout
from tests.data import noise
from tests.helpers import child_environment
from tests.worktree import test_checkout
from tests.worktree.saving import Directory, File, Link, Things, read_back, save, with_parents
from tests.worktree.test_checkout import out
from tests.worktree.trees import status_of

MANY: Things = {
    **{b"d%d/%d" % (number % 7, number): b"%d" % number * (number % 50) for number in range(300)},
    b"again/twice": b"7" * 7,
    b"d3/large": noise(2 * FRAME_SIZE + 3, 1),
    b"empty/below": Directory(),
    b"link": Link(b"d5/5"),
    b"run": File(b"#!/bin/sh\n", 0o755),
}


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout_team, "RUN_FILES", 7)


@pytest.mark.parametrize(
    "holds",
    [
        test_checkout.test_everything_is_there_again,
        test_checkout.test_paths_longer_than_the_system_allows_are_written,
        test_checkout.test_new_files_get_the_permissions_of_the_umask,
        test_checkout.test_a_directory_follows_from_version_to_version_and_back,
        test_checkout.test_a_link_in_the_way_is_not_followed,
        test_checkout.test_holes_are_made_again,
        test_checkout.test_what_is_damaged_is_named_and_the_rest_is_written_if_the_user_says_so,
    ],
)
def test_what_holds_for_one_process_holds_for_two(
    container: Container,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_runs: None,
    holds: Callable[[Container, Path], None],
) -> None:
    monkeypatch.setattr(test_checkout, "JOBS", 2)
    holds(container, tmp_path)


def test_the_directory_and_the_report_are_the_same(container: Container, tmp_path: Path, small_runs: None) -> None:
    things = {
        path: thing if isinstance(thing, Link) else thing._replace(mtime=10**18 + at, mode=0o700 | at % 8)
        for at, (path, thing) in enumerate(with_parents(MANY).items())
    }
    save(container, "flowers", things, Attributes.TIMES | Attributes.MODES)
    one, two = (out(container, tmp_path / f"by{jobs}", jobs=jobs) for jobs in (1, 2))
    assert replace(two, seconds=one.seconds, directory=one.directory) == one
    assert two.written == 304
    assert read_back(tmp_path / "by2") == read_back(tmp_path / "by1")
    for path, thing in things.items():
        status = (tmp_path / "by2" / os.fsdecode(path)).lstat()
        assert status.st_mtime_ns == thing.mtime
        assert isinstance(thing, Link) or status.st_mode & 0o7777 == thing.mode
    assert status_of(container, tmp_path / "by2") == {}
    again = out(container, tmp_path / "by2", jobs=2)
    assert (again.written, again.kept, again.adopted) == (0, 304, 0), "and the rows are those of the files"


def test_the_next_version_replaces_and_removes(container: Container, tmp_path: Path, small_runs: None) -> None:
    save(container, "flowers", MANY)
    other = {path: thing for path, thing in MANY.items() if not path.startswith(b"d1/")}
    other |= {b"d2/2": b"other", b"d1": b"a file now", b"empty": Link(b"d1"), b"run": b"no more"}
    del other[b"empty/below"]
    save(container, "flowers", other)
    out(container, tmp_path / "new", "flowers@1", jobs=2)
    report = out(container, tmp_path / "new", jobs=2)
    assert read_back(tmp_path / "new") == with_parents(other)
    assert report.written == 4 and not report.conflicts


def test_a_checkout_waits_for_no_worker_of_another_one(container: Container, tmp_path: Path) -> None:
    """A worker shares the lock with the process that it works for, and may outlive it."""
    save(container, "flowers", {b"a": b"1"})
    (tmp_path / "new").mkdir()
    fd = os.open(tmp_path / "new", os.O_RDONLY)
    try:
        assert locks.try_lock_shared(fd)
        with pytest.raises(Busy):
            out(container, tmp_path / "new", jobs=2)
    finally:
        os.close(fd)
    out(container, tmp_path / "new", jobs=2)


def test_many_files_get_workers_without_being_asked_for(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(container, "flowers", MANY)
    started: list[int] = []
    real = checkout_team.WritingTeam.__init__

    def note(self: checkout_team.WritingTeam, *arguments: object) -> None:
        started.append(1)
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checkout_team.WritingTeam, "__init__", note)
    monkeypatch.setattr(checkout_module, "default_jobs", lambda: 2)
    out(container, tmp_path / "few", jobs=None)
    assert not started
    monkeypatch.setattr(checkout_module, "WORKERS_FROM", 300)
    out(container, tmp_path / "many", jobs=None)
    out(container, tmp_path / "many", jobs=None)
    assert len(started) == 1, "and none if everything is there"
    assert read_back(tmp_path / "many") == with_parents(MANY)


class Bytes(Silence):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def advance(self, amount: int) -> None:
        self.told.append(amount)


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_is_told_of_all_bytes_and_of_parts_of_large_files(
    container: Container, tmp_path: Path, jobs: int
) -> None:
    save(container, "flowers", MANY)
    progress = Bytes()
    report = checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new"), jobs=jobs), progress)
    assert sum(progress.told) == report.bytes
    if jobs == 1:
        assert max(progress.told) <= FRAME_SIZE


CHILD = """
import multiprocessing, os, signal, sys
from rsdos import Container
context = multiprocessing.get_context("fork")
multiprocessing.get_context = lambda method: context
make_pipe, mine = context.Pipe, []
def pipe():
    mine.append(make_pipe())
    return mine[-1]
context.Pipe = pipe
# Spawned workers have none of these; `WorkerProcesses` closes them in forked ones only if it means to fork.
os.register_at_fork(after_in_child=lambda: [ends[0].close() for ends in mine])
from rsdos.storage import locks
from rsdos.worktree import checkout, checkout_files, checkout_team, reports
checkout_team.RUN_FILES, reports._TOLD = 7, 0
main, top = os.getpid(), sys.argv[2]
fill, done = checkout_files.FileWriter._fill, []
def filled(how, *, name=b""):
    # Do something once in one worker, when it has written some files, or is about to write that one.
    def fill_and(writer, fd, file, data):
        assert os.getpid() != main
        done.append(file)
        if (file.name == name if name else len(done) == 20) and not os.path.exists(top + "-done"):
            try:
                os.mkdir(top + "-done")
            except FileExistsError:
                pass
            else:
                how()
        fill(writer, fd, file, data)
    checkout_files.FileWriter._fill = fill_and
def kill_main():
    os.kill(main, signal.SIGKILL)
    while os.getppid() == main:
        pass
    fd = os.open(top, os.O_RDONLY)
    print("locked", locks.try_lock(fd), flush=True)
    os.close(fd)
def go(**options):
    container = Container(sys.argv[1])
    return checkout.checkout(container.engine, checkout.CheckoutOptions("flowers", top, jobs=2, **options))
"""
"""Of a process that forks its workers, whatever it has imported: they have what is changed here."""


def run(code: str, container: Container, top: Path, exit_code: int = 0) -> list[str]:
    """Run it in a session of its own, until all processes of it have ended: each has the pipe of the output."""
    call = [sys.executable, "-c", CHILD + code, str(container.path), str(top)]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, start_new_session=True, check=False)
    assert done.returncode == exit_code
    return done.stdout.splitlines()


def whole(container: Container, top: Path) -> int:
    """Check that files are whole. Return how many there are; a further checkout then writes the others."""
    wanted, found = with_parents(MANY), read_back(top)
    files = [path for path, thing in found.items() if isinstance(thing, File)]
    for path in files:
        assert found[path] == wanted[path]
    out(container, top, jobs=2)
    assert read_back(top) == wanted
    return len(files)


def test_a_worker_that_is_killed_is_an_error_and_the_same_call_continues(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", MANY)
    code = """
from rsdos.errors import WorkerDied
filled(lambda: os.kill(os.getpid(), signal.SIGKILL))
try:
    go()
except WorkerDied as error:
    print(error)
"""
    assert run(code, container, tmp_path / "new") == ["a worker has died (Killed): fewer jobs take less memory"]
    (half,) = (tmp_path / "new").rglob(".rsdos-tmp-*")
    half.unlink()
    assert 19 <= whole(container, tmp_path / "new") < 303


SPAWNED = """
import multiprocessing, os, signal, sys, threading
from rsdos import Container, WorkerDied
from rsdos.worktree import checkout_files, checkout_team

checkout_team.RUN_FILES = 7
fill, done, mark = checkout_files.FileWriter._fill, [], sys.argv[2] + "-done"
def fill_or_die(writer, fd, file, data):
    done.append(file)
    if len(done) == 20 and not os.path.exists(mark):
        try:
            os.mkdir(mark)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    fill(writer, fd, file, data)
if __name__ == "__mp_main__":  # Only in a spawned process.
    checkout_files.FileWriter._fill = fill_or_die
if __name__ == "__main__":
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # Now a fork is not safe.
    for _ in range(3):
        try:
            report = Container(sys.argv[1]).snapshots.checkout("flowers", sys.argv[2], jobs=2)
            print(report.written, report.kept + report.adopted)
        except WorkerDied as error:
            print(error, multiprocessing.active_children())
"""
"""A program of two threads. One of its workers is killed when it has written 19 files."""


def test_a_spawned_worker_that_is_killed_is_an_error_and_the_same_call_continues(
    container: Container, tmp_path: Path
) -> None:
    save(container, "flowers", MANY)
    (tmp_path / "program.py").write_text(SPAWNED)
    call = [sys.executable, str(tmp_path / "program.py"), str(container.path), str(tmp_path / "new")]
    done = subprocess.run(call, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, third = done.stdout.splitlines()
    assert first == "a worker has died (Killed): fewer jobs take less memory []"
    written, there = map(int, second.split())
    assert written + there == 304 and there >= 19
    assert third == "0 304"
    assert read_back(tmp_path / "new") == with_parents(MANY), "and no temporary name is left"


def test_workers_end_with_the_process_that_they_work_for(container: Container, tmp_path: Path) -> None:
    """Until then they keep the next checkout out; and they leave nothing."""
    save(container, "flowers", MANY)
    lines = run("filled(kill_main); go()", container, tmp_path / "new", -9)
    assert set(lines) == {"locked False"}
    assert 19 <= whole(container, tmp_path / "new") < 303


def test_a_worker_ends_in_the_middle_of_a_large_file(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", MANY)
    run('filled(kill_main, name=b"large"); go()', container, tmp_path / "new", -9)
    assert not (tmp_path / "new/d3/large").exists()
    assert whole(container, tmp_path / "new") < 303


def test_an_interrupt_ends_all_and_leaves_whole_files_alone(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", MANY)
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell that starts tests behind `&` has it ignored.
filled(lambda: os.killpg(0, signal.SIGINT))
try:
    go()
except KeyboardInterrupt:
    print("interrupted", multiprocessing.active_children())
"""
    assert run(code, container, tmp_path / "new") == ["interrupted []"]
    assert 19 <= whole(container, tmp_path / "new") <= 303


def test_the_error_of_a_worker_is_raised_or_named(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", MANY)
    code = """
from rsdos.errors import DamagedObject
from rsdos.worktree.checkout_files import OnDamage
def fail(writer, fd, file, data):
    if file.name in (b"5", b"100"):
        raise DamagedObject(file.key.hex(), "so the test says")
    fill(writer, fd, file, data)
checkout_files.FileWriter._fill = fail
try:
    go()
except DamagedObject as error:
    print(error.reason)
print([(path, why[-16:]) for path, why in go(on_damage=OnDamage.CONTINUE).failed])
"""
    why = "so the test says"
    assert run(code, container, tmp_path / "new") == [why, f"[(b'd2/100', '{why}'), (b'd5/5', '{why}')]"]
    assert whole(container, tmp_path / "new") == 301


def test_workers_write_nothing_into_a_directory_that_took_the_place_of_the_first(
    container: Container, tmp_path: Path
) -> None:
    save(container, "flowers", MANY)
    code = """
share_lock = checkout_team.share_lock
def exchange(*arguments):
    if os.getpid() == main:
        os.rename(top, top + "-before")
        os.mkdir(top)
    share_lock(*arguments)
checkout_team.share_lock = exchange
try:
    go()
except OSError as error:
    print(error.strerror)
"""
    assert run(code, container, tmp_path / "new") == ["another directory has its name now"]
    assert read_back(tmp_path / "new") == {}

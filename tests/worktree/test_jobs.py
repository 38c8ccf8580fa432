"""Saves in several processes: the same snapshot as in one, the same errors, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container
from rsdos.engine.publish import read_refs
from rsdos.model import FRAME_SIZE
from rsdos.worktree import filler, run_queue, team
from rsdos.worktree.options import Rehash
from tests.data import noise
from tests.helpers import run_python
from tests.worktree.trees import content_of, content_on_disk, saved, settle, status_of, write


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "many"
    files = {f"d{number % 7}/{number}": b"%d" % number * (number % 50) for number in range(700)}
    write(made, files | {"d3/large": noise(2 * FRAME_SIZE + 3, 1), "e/f/g/": b"", "z": b"z"})
    (made / "d5/link").symlink_to("../z")
    return made


@pytest.mark.parametrize("waiting", [1 << 18, 100])
def test_the_snapshot_is_the_same(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """Also if workers have to wait for one another."""
    monkeypatch.setattr(run_queue, "_MOST_WAITING", waiting)
    report = saved(container, top, jobs=3)
    assert content_of(container, "flowers") == content_on_disk(top)
    alone = saved(container, top, "alone", rehash=Rehash.ALL)
    assert (report.tree, report.files, report.size) == (alone.tree, alone.files, alone.size)
    assert alone.stored.objects == 0 and report.stored.objects >= 650
    assert status_of(container, top) == {}
    assert saved(container, top, jobs=3).unchanged


def test_only_what_changed_is_given_to_workers(container: Container, top: Path) -> None:
    saved(container, top)
    write(top, {"d1/1": b"other", "d6/new": b"new"})
    (top / "d2/2").unlink()
    report = saved(container, top, jobs=2)
    assert content_of(container, "flowers") == content_on_disk(top)
    assert report.stored.objects == 2


def test_many_files_get_workers_without_being_asked_for(
    container: Container, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    real = team.StoringTeam.__init__

    def note(self: team.StoringTeam, *arguments: object) -> None:
        started.append(1)
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(team.StoringTeam, "__init__", note)
    monkeypatch.setattr(filler, "default_jobs", lambda: 2)
    saved(container, top, jobs=None)
    assert not started
    settle(container, top)
    write(top, {"new": b"new"})
    monkeypatch.setattr(filler, "WORKERS_FROM", 500)
    saved(container, top, jobs=None)
    assert not started
    saved(container, top, "anew", rehash=Rehash.ALL, jobs=None)
    assert started and content_of(container, "anew") == content_on_disk(top)


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
from rsdos.worktree import file_batch, file_store, options, save
container = Container(sys.argv[1])
def saved(**scan):
    given = options.SaveOptions(
        options.Description("flowers"), sys.argv[2], scan=options.ScanOptions(**scan), jobs=2
    )
    report = save.save(container.engine, given)
    return report
"""
"""Of a process that forks its workers, whatever it has imported: they have what is changed here."""


def run(code: str, container: Container, top: Path) -> list[str]:
    return run_python(CHILD + code, container.path, top).splitlines()


def test_batches_may_end_in_the_middle_of_what_a_worker_got(container: Container, top: Path) -> None:
    run("file_batch._BATCH, file_batch._TOLD_FILES = 10, 1; saved()", container, top)
    assert content_of(container, "flowers") == content_on_disk(top)


def test_what_a_worker_cannot_read_is_an_error_or_left_out(container: Container, tmp_path: Path) -> None:
    """The reading itself fails here: root reads everything, and another user may not import what workers need."""
    top = tmp_path / "top"
    write(top, {f"d{number}/{name}": b"%d" % number for number in range(50) for name in "abc"})
    code = """
from rsdos.errors import UnreadableSource
quick, slow = file_batch.read_as_it_was, file_store.read_content
def read(opener, name, path):
    if path().endswith(("d7/b", "d40/a")):
        raise UnreadableSource(path(), 5)
    return slow(opener, name, path)
file_batch.read_as_it_was, file_store.read_content = lambda *arguments: None, read
try:
    saved()
except UnreadableSource as error:
    print(error.errno, error.reason)
print([(left.path, left.reason) for left in saved(unreadable=options.Unreadable.LEAVE_OUT).unreadable])
"""
    reason = "Input/output error"
    assert run(code, container, top) == [f"5 {reason}", f"[(b'd40/a', '{reason}'), (b'd7/b', '{reason}')]"]
    assert len(content_of(container, "flowers")) == 198


def test_the_error_of_a_worker_is_raised_and_nothing_is_published(container: Container, top: Path) -> None:
    code = """
from rsdos.errors import SourceChanged
def change(*arguments):
    raise SourceChanged("d1/1")
file_batch.read_as_it_was, file_store.read_content = lambda *arguments: None, change
try:
    saved()
except SourceChanged as error:
    print(error)
"""
    assert run(code, container, top) == ["d1/1: changed while it was read"]
    assert read_refs(container.engine)[0].names() == []


def test_a_worker_that_dies_is_an_error(container: Container, top: Path) -> None:
    code = """
from rsdos.errors import WorkerDied
file_batch.read_as_it_was = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
try:
    saved()
except WorkerDied as error:
    print(error)
"""
    assert run(code, container, top) == ["a worker has died (Killed): fewer jobs take less memory"]
    saved(container, top)
    assert content_of(container, "flowers") == content_on_disk(top)

"""The files of a checkout, written by several processes: each writes runs of files as one process alone does.

The process that checks out makes and removes directories, writes links, sets the times and modes of directories, and
keeps the rows and the outcome. It gives out only files whose directories exist.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rsdos.engine.workers import WorkerProcesses, wait_for
from rsdos.trees.entry import tree_order
from rsdos.worktree.checkout_files import FileWriter, Outcome, PendingFile, TakesRows, WritesFiles, Writing
from rsdos.worktree.checkout_lock import share_lock
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import PathReason
from rsdos.worktree.reports import Reports, ToldFiles

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rsdos.engine.engine import Engine

RUN_FILES = 1024
"""Files that a worker gets at a time: it writes them in 50 ms or more, and waits for 0.1 ms."""

RUN_BYTES = 8 << 20
"""Raw bytes of those files, or one file that is larger."""


@contextmanager
def file_writer(
    engine: Engine,
    directories: OpenDirectories,
    writing: Writing,
    jobs: int,
    outcome: Outcome,
    rows: TakesRows,
    tell: Callable[[int, int], None],
) -> Iterator[WritesFiles]:
    """Yield a writer of files: this process, or several others, which end with the block.

    This process writes if only one is wanted, if the system allows no other, or if another one would not find the
    directory by its path. The caller has locked the directory. Raise `Busy`.
    """
    alone = FileWriter(engine, directories, writing, outcome, rows, tell)
    identity = _identity(directories.top)
    if jobs == 1 or identity != _identity(directories.path):
        yield alone
        return
    share_lock(directories.top, directories.path)
    work = partial(write_runs, top=directories.path, identity=identity, writing=writing)
    with WorkerProcesses(engine, jobs, work) as workers:
        yield WritingTeam(workers, outcome, rows, tell) if workers.pipes else alone


def _identity(directory: int | str) -> tuple[int, int] | None:
    """Return the device and inode number of a directory; None if it does not exist."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class WrittenRun:
    """What a worker has done with its files so far."""

    numbers: array[int]
    """The numbers of the written files."""
    rows: bytes
    """Their rows."""
    size: int
    """Their bytes."""
    conflicts: tuple[PathReason, ...]
    failed: tuple[PathReason, ...]


class WritingTeam:
    """Gives files to workers, and gets their rows. One thread.

    Each worker has one run at a time, and gets the next one when it has sent the outcome of the last. So the two ends
    of a pipe never wait for each other, and memory holds a run for each worker and one more.
    """

    def __init__(
        self, workers: WorkerProcesses, outcome: Outcome, rows: TakesRows, tell: Callable[[int, int], None]
    ) -> None:
        self._workers = workers
        self._outcome = outcome
        self._rows = rows
        self._tell = tell
        self._run: list[PendingFile] = []
        self._size = 0
        self._idle: list[Connection] = []
        self._conflicts: list[PathReason] = []
        self._failed: list[PathReason] = []

    def add(self, file: PendingFile) -> None:
        """Let a worker write a file soon: with the next `flush` at the latest. Raise what `flush` raises."""
        self._run.append(file)
        self._size += file.size
        if len(self._run) >= RUN_FILES or self._size >= RUN_BYTES:
            self._give()

    def flush(self) -> None:
        """Wait until all files are written. Raise the error of a worker, and `WorkerDied`."""
        if self._run:
            self._give()
        while len(self._idle) < len(self._workers.pipes):
            self._receive()
        self._outcome.conflicts += sorted(self._conflicts, key=_order)
        self._outcome.failed += sorted(self._failed, key=_order)
        self._conflicts, self._failed = [], []

    def _give(self) -> None:
        """Give the files to the first worker that has none."""
        while not self._idle:
            self._receive()
        self._workers.send(self._idle.pop(0), self._run)
        self._run, self._size = [], 0

    def _receive(self) -> None:
        """Wait for messages of the workers that have files."""
        for pipe in wait_for([pipe for pipe in self._workers.pipes if pipe not in self._idle]):
            message = self._workers.receive(pipe)
            if isinstance(message, ToldFiles):
                self._tell(*message)
            else:
                self._take(message)
                self._idle.append(pipe)

    def _take(self, run: WrittenRun) -> None:
        self._rows.put_all(run.numbers, run.rows)
        self._outcome.written += len(run.numbers)
        self._outcome.size += run.size
        self._conflicts += run.conflicts
        self._failed += run.failed


def _order(entry: PathReason) -> bytes:
    return tree_order(entry.path)


def write_runs(engine: Engine, pipe: Connection, top: str, identity: tuple[int, int] | None, writing: Writing) -> None:
    """Work: write the files of each run, and report their rows, until the pipe is closed.

    The pipe is closed in the middle of a run if the other process has failed, or was interrupted or killed. Then the
    next report of progress fails, the work ends at the present file, and its temporary name is removed.
    """
    with engine.protect_packs(), OpenDirectories(top) as directories:
        if _identity(directories.top) != identity:
            raise OSError(errno.ESTALE, "another directory has its name now", top)
        share_lock(directories.top, top)
        reports = Reports(pipe)
        pipe.send(WrittenRun(array("q"), b"", 0, (), ()))
        while True:
            pipe.send(_write(engine, directories, writing, pipe.recv(), reports))


def _write(
    engine: Engine, directories: OpenDirectories, writing: Writing, files: Sequence[PendingFile], reports: Reports
) -> WrittenRun:
    outcome, rows = Outcome(), _Rows()
    writer = FileWriter(engine, directories, writing, outcome, rows, reports.add)
    for file in files:
        writer.add(file)
    writer.flush()
    reports.send()
    return WrittenRun(rows.numbers, bytes(rows.rows), outcome.size, tuple(outcome.conflicts), tuple(outcome.failed))


class _Rows:
    """The rows of one run."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.rows = bytearray()

    def put_all(self, numbers: Sequence[int], rows: bytes) -> None:
        self.numbers.extend(numbers)
        self.rows += rows

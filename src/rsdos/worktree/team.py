"""Several processes that read and store files of one working directory, each in a pack of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.workers import WorkerProcesses, wait_for
from rsdos.errors import UnreadableSource
from rsdos.ingest.workers import Portion
from rsdos.model import DIGEST_BYTES
from rsdos.worktree.file_batch import FileBatch
from rsdos.worktree.file_store import FileStore
from rsdos.worktree.filled import FilledRun
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import PathReason, Unreadable
from rsdos.worktree.reports import Reports, ToldFiles
from rsdos.worktree.run_files import RunFiles
from rsdos.worktree.run_queue import RunQueue

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rsdos.engine.engine import Engine


class _Ask(NamedTuple):
    """The message of a worker: send the next files."""


class _Files(NamedTuple):
    """Files for a worker, as columns. Without any file, the worker stores what it has and may ask again."""

    number: int
    directory: bytes
    names: Sequence[bytes] = ()
    sizes: Sequence[int] = ()
    mtimes: Sequence[int] = ()
    ctimes: Sequence[int] = ()


class _Over(NamedTuple):
    """The message to a worker: there are no more files."""


class _Stored(NamedTuple):
    """What a worker has stored."""

    files: Sequence[tuple[int, bytes, Sequence[int], Sequence[int]]]
    """The number of each `_Files`, the joined digests, the sizes, and the positions of files that were left out."""
    objects: int
    size: int
    unreadable: Sequence[PathReason]


class StoringTeam:
    """Gives the files of runs to workers, and gets their keys."""

    def __init__(
        self,
        workers: WorkerProcesses,
        next_run: Callable[[], FilledRun | None],
        queue: RunQueue,
        tell: Callable[[int, int], None],
    ) -> None:
        self.objects = 0
        self.size = 0
        self.unreadable: list[PathReason] = []
        self._workers = workers
        self._next_run = next_run
        self._queue = queue
        self._tell = tell
        self._run: FilledRun | None = None
        """The run whose files are handed out, from ``_start`` on."""
        self._start = 0
        self._given: dict[int, tuple[FilledRun, Sequence[int]]] = {}
        """The run and the positions of each `_Files` that was given to a worker."""
        self._held: dict[Connection, int] = {}
        """The number of files that each worker has and has not stored yet."""
        self._number = 0

    def fill(self) -> Iterator[Iterator[FilledRun]]:
        """Hand out all files, and yield iterators of the runs that are complete, in order.

        Raise the error of a worker, and `WorkerDied`.
        """
        workers = self._workers
        portions = {pipe: Portion() for pipe in workers.pipes}
        idle: list[Connection] = []
        while workers.pipes:
            busy = [pipe for pipe in workers.pipes if pipe not in idle]
            # If all workers wait, they wait for runs that this loop takes.
            for pipe in wait_for(busy) if busy else ():
                message = workers.receive(pipe)
                if isinstance(message, _Stored):
                    self._take(pipe, message)
                elif isinstance(message, ToldFiles):
                    self._tell(*message)
                elif message is not None:
                    idle.append(pipe)
            yield self._queue.complete()
            for pipe in tuple(idle):
                if self._answer(pipe, portions[pipe]):
                    idle.remove(pipe)
                yield self._queue.complete()
        yield self._queue.complete()

    def _answer(self, pipe: Connection, portion: Portion) -> bool:
        """Answer a worker that has asked. Return False if it must wait for files that other workers have."""
        if self._run is None:
            self._run, self._start = self._next_run(), 0
        run = self._run
        if run is None:
            if self._held.get(pipe):
                self._workers.send(pipe, _Files(0, b""))
                return True
            if self._queue.is_over:
                self._workers.send(pipe, _Over())
                return True
            # There are complete runs to take first, or too many runs wait for files that other workers have.
            return False
        positions = run.missing[self._start : self._start + portion.size()]
        self._start += len(positions)
        if self._start >= len(run.missing):
            self._run = None
        self._number += 1
        self._given[self._number] = run, positions
        self._held[pipe] = self._held.get(pipe, 0) + len(positions)
        columns = ([column[at] for at in positions] for column in (run.names, run.sizes, run.mtimes, run.ctimes))
        files = _Files(self._number, run.directory, *columns)  # type: ignore[arg-type]  # a column has one type
        self._workers.send(pipe, files)
        return True

    def _take(self, pipe: Connection, stored: _Stored) -> None:
        self.objects += stored.objects
        self.size += stored.size
        self.unreadable += stored.unreadable
        for number, digests, sizes, dropped in stored.files:
            run, positions = self._given.pop(number)
            self._held[pipe] -= len(positions)
            gone = set(dropped)
            for index, at in enumerate(positions):
                if index in gone:
                    run.leave_out(at)
                else:
                    run.keys[at] = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
                    run.sizes[at] = sizes[index]
                    run.left -= 1


def serve(engine: Engine, pipe: Connection, top: str, unreadable: Unreadable) -> None:
    """Work: ask for files, store them and report their keys, until there are no more files or the pipe is closed."""
    left_out: list[PathReason] = []

    def refuse(path: bytes, error: OSError) -> None:
        number = error.errno or errno.EIO
        if unreadable is Unreadable.STOP:
            raise UnreadableSource(directories.path_of(path), number)
        left_out.append(PathReason(path, os.strerror(number)))

    with OpenDirectories(top) as directories:
        reports = Reports(pipe)
        store = FileStore(engine, directories, refuse, reports.add)
        asked = _Asked(pipe)
        while not asked.is_over:
            before = store.objects, store.size
            run = asked.next_run()
            start = 0
            while run is not None:
                files = FileBatch(store, run, start, asked.next_run)
                store.insert(files)
                run, start = files.rest or (None, 0)
                objects, size = store.objects - before[0], store.size - before[1]
                pipe.send(_Stored(asked.take(), objects, size, left_out))
                before = store.objects, store.size
                left_out.clear()


class _Asked:
    """The files that a worker has asked for."""

    def __init__(self, pipe: Connection) -> None:
        self.is_over = False
        self._pipe = pipe
        self._runs: dict[int, RunFiles] = {}

    def next_run(self) -> RunFiles | None:
        """Ask for files. Return None if the files at hand must be stored first, or if there are no more."""
        # One message at a time, so that the two ends never wait for each other.
        self._pipe.send(_Ask())
        answer = self._pipe.recv()
        if isinstance(answer, _Over):
            self.is_over = True
            return None
        if not answer.names:
            return None
        run = RunFiles(answer.directory, answer.names, list(answer.sizes), answer.mtimes, answer.ctimes)
        run.need(range(len(answer.names)))
        self._runs[answer.number] = run
        return run

    def take(self) -> list[tuple[int, bytes, Sequence[int], Sequence[int]]]:
        """Return the outcome of each `_Files` whose files are all stored, once."""
        done = [(number, run) for number, run in self._runs.items() if not run.left]
        for number, _ in done:
            del self._runs[number]
        empty = bytes(DIGEST_BYTES)
        return [
            (number, b"".join([key or empty for key in run.keys]), run.sizes, list(run.dropped)) for number, run in done
        ]

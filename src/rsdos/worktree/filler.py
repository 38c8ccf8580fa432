"""Fills the runs of a scan with keys: unknown files are read and stored, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from rsdos.engine.workers import WorkerProcesses, default_jobs
from rsdos.trees.entry import tree_order
from rsdos.worktree.file_batch import FileBatch
from rsdos.worktree.file_store import FileStore
from rsdos.worktree.filled import FilledRun
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import Unreadable
from rsdos.worktree.run_queue import RunQueue
from rsdos.worktree.scan import DirectoryScan
from rsdos.worktree.team import StoringTeam, serve

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

WORKERS_FROM = 16384
"""Without a choice, so many files or more get workers: one process takes 0.3 s for them, which two can halve."""


class Filler:
    """Runs of a scan with all keys, in order. Iterate it once; one thread."""

    def __init__(
        self,
        engine: Engine,
        scan: DirectoryScan,
        top: OpenDirectories,
        queue: RunQueue,
        unreadable: Unreadable,
        jobs: int | None,
        tell: Callable[[int, int], None],
    ) -> None:
        """``tell`` receives files and raw bytes that were read. ``jobs``: see `rsdos.worktree.options.SaveOptions`."""
        self.objects = 0
        """Objects that were stored: the container did not have them."""
        self.size = 0
        """Their raw bytes."""
        self.shortage = ""
        """The reason if fewer workers were started than asked for; otherwise ""."""
        self._engine = engine
        self._scan = scan
        self._top = top
        self._queue = queue
        self._unreadable = unreadable
        self._jobs = jobs
        self._tell = tell
        self._head: list[FilledRun] = []
        """Runs with files to be read that no reader has begun."""

    def __iter__(self) -> Iterator[FilledRun]:
        jobs = self._jobs
        if self._engine.directory is None:
            jobs = 1
        if jobs is None:
            yield from self._look_ahead()
            jobs = default_jobs() if self._head and sum(run.left for run in self._head) >= WORKERS_FROM else 1
        yield from self._alone() if jobs == 1 else self._together(jobs)

    def _look_ahead(self) -> Iterator[FilledRun]:
        """Take runs until they have enough files to be read for several processes, or until the scan ends."""
        files = 0
        while files < WORKERS_FROM and not self._queue.is_over and not self._queue.is_full:
            run = self._queue.next_run()
            if run is not None:
                self._head.append(run)
                files += run.left
            yield from self._queue.complete()

    def _next_run(self) -> FilledRun | None:
        return self._head.pop(0) if self._head else self._queue.next_run()

    def _alone(self) -> Iterator[FilledRun]:
        store = FileStore(self._engine, self._top, self._scan.refuse, self._tell)
        while self._head or not self._queue.is_over:
            run, start = self._next_run(), 0
            while run is not None:
                files = FileBatch(store, run, start, self._next_run)
                store.insert(files)
                yield from self._queue.complete()
                run, start = files.rest or (None, 0)  # type: ignore[assignment]  # what `_next_run` has returned
            yield from self._queue.complete()
            self.objects, self.size = store.objects, store.size

    def _together(self, jobs: int) -> Iterator[FilledRun]:
        """Fill the runs in several processes. Start none if there is no file to be read."""
        first = None
        while first is None and (self._head or not self._queue.is_over):
            first = self._next_run()
            yield from self._queue.complete()
        if first is None:
            return
        self._head.insert(0, first)
        work = partial(serve, top=self._top.path, unreadable=self._unreadable)
        with WorkerProcesses(self._engine, jobs, work) as workers:
            self.shortage = workers.shortage
            if not workers.pipes:
                yield from self._alone()
                return
            team = StoringTeam(workers, self._next_run, self._queue, self._tell)
            yield from chain.from_iterable(team.fill())
            self.objects, self.size = team.objects, team.size
            self._scan.unreadable += team.unreadable
            self._scan.unreadable.sort(key=lambda left: tree_order(left.path))

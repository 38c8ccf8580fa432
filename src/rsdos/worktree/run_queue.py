"""The runs of a scan in order: those whose keys are known, and those that wait for files to be read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rsdos.model import PackKind
from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.compare import ComparedRun
from rsdos.worktree.filled import FilledRun
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.scan import DirectoryScan

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

_MOST_WAITING = 1 << 18
"""About how many entries may wait for a file before them to be stored: 30 MB."""

_LINK = int(EntryKind.LINK)


class RunQueue:
    """Takes runs from a scan, and returns them in order, each once all of its keys are known. One thread."""

    def __init__(
        self,
        engine: Engine,
        scan: DirectoryScan,
        top: OpenDirectories,
        runs: Iterator[ComparedRun],
        are_kept: bool,
    ) -> None:
        """``are_kept``: gc keeps the objects of the tree that is compared with. Otherwise each is looked up."""
        self.is_over = False
        """Whether the scan has no more runs."""
        self._engine = engine
        self._scan = scan
        self._top = top
        self._runs = runs
        self._are_kept = are_kept
        self._queue: deque[FilledRun] = deque()
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether too many entries wait."""
        return self._waiting >= _MOST_WAITING

    def next_run(self) -> FilledRun | None:
        """Return the next run that has files to be read.

        Return None if there are complete runs to take, if too many entries wait, or if the scan has ended.
        """
        while not self.is_full:
            compared = next(self._runs, None)
            if compared is None:
                self.is_over = True
                return None
            run = self._begin(compared)
            self._queue.append(run)
            self._waiting += len(compared.found.names)
            if run.left:
                return run
            if not self._queue[0].left:
                return None
        return None

    def complete(self) -> Iterator[FilledRun]:
        """Yield the runs before the first one that is not complete."""
        queue = self._queue
        while queue and not queue[0].left:
            run = queue.popleft()
            self._waiting -= len(run.compared.found.names)
            run.drop()
            yield run

    def _begin(self, compared: ComparedRun) -> FilledRun:
        """Fill a run with the known keys, and with the targets of its links."""
        is_same = compared.is_same
        if is_same and self._are_kept:
            return FilledRun(compared, is_same=True)
        run = FilledRun(compared, is_same=False)
        kinds = compared.found.kinds
        rest: Iterable[int] = range(len(kinds))
        if compared.old.names:
            trusted = compared.trusted(run.positions)
            rest = run.fill(trusted if self._are_kept else self._present(compared.old, trusted))
        if _LINK in kinds:
            self._read_links(run, [at for at in rest if kinds[at] == _LINK])
        run.need([at for at in rest if kinds[at] < _LINK])
        return run

    def _read_links(self, run: FilledRun, positions: Iterable[int]) -> None:
        fd = self._top.open(run.directory)
        for at in positions:
            try:
                run.targets[at] = os.readlink(run.names[at], dir_fd=fd)
            except FileNotFoundError:
                run.dropped.add(at)
            except OSError as error:
                self._scan.refuse(run.path(at), error)
                run.dropped.add(at)

    def _present(self, old: Listing, trusted: list[int]) -> list[int]:
        """Return the positions without those of files whose objects are gone."""
        files = [at for at, then in enumerate(trusted) if then >= 0 and old.keys[then]]
        keys = [old.keys[trusted[at]] for at in files]
        present = self._engine.packed.contains_many(keys, PackKind.HELD) if files else []
        for at, is_there in zip(files, present, strict=True):
            if not is_there:
                trusted[at] = -1
        return trusted

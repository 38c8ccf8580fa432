"""The state after a scan: the old one if the rows are equal, otherwise a new file."""

from __future__ import annotations

import os
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rsdos.worktree.rows import ROW_BYTES
from rsdos.worktree.state import State, StateHead, StateWriter

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

_TOGETHER = 1 << 15
"""Rows that are copied together: 1.3 MB."""


class NewState:
    """The rows of a new state, in order. A context manager; one thread.

    As long as all rows are equal to the old state's, nothing is written: a million entries would be 40 MB each time.
    """

    def __init__(
        self, engine: Engine, directory: str | os.PathLike[str], old: State | None, state_directory: str | None
    ) -> None:
        self._make = partial(StateWriter, engine, directory, state_directory)
        self._old = old
        self._same = 0
        """The number of rows at the beginning that are equal to the old state's."""
        self._writer: StateWriter | None = None

    def keep(self, rows: bytes) -> None:
        """Append rows of the old state. If all rows before them were kept too, they have the same place there."""
        if self._writer is None and self._old is not None:
            self._same += len(rows) // ROW_BYTES
        else:
            self.add(rows)

    def add(self, rows: bytes) -> None:
        """Append new rows; b"" if entries of the old state are gone here."""
        self._begin().add(rows)

    def finish(self, head: StateHead) -> None:
        """Complete the state, unless it is equal to the old one."""
        old = self._old
        if self._writer is None and old is not None and old.head == head and old.count == self._same:
            return
        self._begin().finish(head)

    def _begin(self) -> StateWriter:
        writer = self._writer
        if writer is None:
            writer = self._writer = self._make()
            writer.__enter__()
            for start in range(0, self._same, _TOGETHER):
                assert self._old is not None, "rows are kept of an old state only"
                writer.add(self._old.rows(start, min(start + _TOGETHER, self._same)))
        return writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

"""Messages of a worker about its progress, to the process that it works for."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_TOLD = 0.1
"""Seconds between two reports of a worker on what it has read."""


class ToldFiles(NamedTuple):
    """The message of a worker: so many files and bytes were read or written."""

    files: int
    size: int


class Reports:
    """Reports how many files and bytes were read or written, ten times a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._files = self._size = 0
        self._said = monotonic()

    def add(self, files: int, size: int) -> None:
        self._files += files
        self._size += size
        if monotonic() - self._said > _TOLD:
            self.send()

    def send(self) -> None:
        """Report the files and bytes that were not reported yet."""
        self._pipe.send(ToldFiles(self._files, self._size))
        self._files, self._size, self._said = 0, 0, monotonic()

"""Lists of keys in files, one a line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from typing import IO

_MOST_LINE = 1 << 10
"""Characters of a line that are read: the longest key has 64."""


class KeyFile:
    """The keys of a file, or of standard input ("-"); may be gone through again. Empty lines are no keys."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._spool: IO[bytes] | None = None

    def __iter__(self) -> Iterator[str]:
        if self._path != "-":
            with open(self._path, "rb") as file:
                yield from _keys(file)
            return
        if self._spool is None:
            self._spool = tempfile.TemporaryFile()
            while part := sys.stdin.buffer.read(1 << 20):
                self._spool.write(part)
        self._spool.seek(0)
        yield from _keys(self._spool)


def _keys(file: IO[bytes]) -> Iterator[str]:
    # A line that is too long is cut, and then no key.
    while line := file.readline(_MOST_LINE):
        key = line.strip()
        if key:
            yield key.decode("ascii", "replace")

"""Lists of keys in files, one key a line."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import IO

from rsdos.standard import standard_input

_MOST_LINE = 1 << 10
"""Characters of a line that are read. The longest key has 64."""


class KeyFile:
    """The keys of a file, or of standard input ("-"). Can be iterated again. Empty lines are skipped.

    The first iteration copies a pipe, which can be read only once, to a temporary file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._spool: IO[bytes] | None = None

    def __iter__(self) -> Iterator[str]:
        if self._spool is None and self._path == "-":
            self._spool = _spooled(standard_input())
        elif self._spool is None:
            with open(self._path, "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    yield from _keys(file)
                    return
                self._spool = _spooled(file)
        self._spool.seek(0)
        yield from _keys(self._spool)


def _spooled(file: IO[bytes]) -> IO[bytes]:
    spool = tempfile.TemporaryFile()
    shutil.copyfileobj(file, spool)
    return spool


def _keys(file: IO[bytes]) -> Iterator[str]:
    # A line that is too long is cut, and is then no key.
    while line := file.readline(_MOST_LINE):
        key = line.strip()
        if key:
            yield key.decode("ascii", "replace")

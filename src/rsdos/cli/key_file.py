"""Lists of keys in files, one key a line."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rsdos.standard import standard_input

_MOST_LINE = 1 << 10
"""Characters of a line that are read. The longest key has 64."""

_TEXT = 1 << 20
"""Bytes that are read together."""


class KeyFile:
    """The keys of a file, or of standard input ("-"). Can be iterated again. Empty lines are skipped.

    The first iteration copies a pipe, which can be read only once, to a temporary file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._spool: IO[bytes] | None = None

    def __iter__(self) -> Iterator[str]:
        with self._opened() as file:
            yield from _keys(file)

    def texts(self) -> Iterator[str]:
        """See `rsdos.maintenance.retain.KeyText`."""
        with self._opened() as file:
            before = b""
            while data := file.read(_TEXT):
                text, end, rest = data.rpartition(b"\n")
                if end:
                    yield _decoded(before + text)
                    before = rest
                else:
                    before += rest
                if len(before) > _MOST_LINE:
                    yield _decoded(before[:_MOST_LINE])
            yield _decoded(before)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self._spool is None and self._path == "-":
            self._spool = _spooled(standard_input())
        elif self._spool is None:
            with open(self._path, "rb") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    yield file
                    return
                self._spool = _spooled(file)
        self._spool.seek(0)
        yield self._spool


def _spooled(file: IO[bytes]) -> IO[bytes]:
    spool = tempfile.TemporaryFile()
    shutil.copyfileobj(file, spool)
    return spool


def _keys(file: IO[bytes]) -> Iterator[str]:
    # A line that is too long is cut, and is then no key.
    while line := file.readline(_MOST_LINE):
        key = line.strip()
        if key:
            yield _decoded(key)


def _decoded(text: bytes) -> str:
    return text.decode("ascii", "replace")

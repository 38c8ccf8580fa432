"""The standard streams of a process, for command lines: what is written is written whole, or it is an error.

A pipe or a terminal that any program has made non-blocking takes a part of what is written, or nothing, and says so;
the interpreter's own streams lose the rest then, and take an empty pipe for its end. Here both are waited for.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import IO

from rsdos.errors import InvalidOption

BLOCK = 4096
"""Bytes that are written together where nobody looks on, in whole lines: as many as a pipe takes whole or, when the
user interrupts, not at all. A flush for each line was a third of a long `rsdos list`."""


class OutputClosed(BrokenPipeError):
    """Nobody reads standard output any more."""


class OutputFailed(OSError):
    """Standard output takes no more: its disk is full, say."""


class StatusLine:
    """The last line of a terminal, drawn anew again and again. Whatever else is printed there takes its place."""

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str) -> None:
        """Draw it, instead of what was there. One write; where the terminal takes none, it is left out."""
        try:
            text = text[: os.get_terminal_size(2).columns - 1]
            os.write(2, f"\r{text.ljust(self._length)}".encode())
        except OSError:
            return
        self._length = len(text)

    def hide(self) -> None:
        """Leave an empty line."""
        if self._length:
            self.show("")
            self.show("")


STATUS_LINE = StatusLine()


class _Output(io.BufferedIOBase):
    """A descriptor to write to; holds nothing back. What failed once fails for ever, so that no failure is missed."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._is_terminal = os.isatty(fd)
        self._failure: OSError | None = None
        self._is_dropped = False

    def write(self, data: object, /) -> int:
        """Write all of it. Raises `OutputClosed`, `OutputFailed`."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # what a buffer is, 3.11 has no type for
        length = len(view)
        if not self._is_dropped:
            self.flush()
            if self._is_terminal:
                STATUS_LINE.hide()
            try:
                while view:
                    view = view[_patiently(self._fd, "write", partial(os.write, self._fd, view)) :]
            except OSError as error:
                self._failure = self._named(error)
                raise self._failure from None
        return length

    def _named(self, error: OSError) -> OSError:
        kind = OutputClosed if isinstance(error, BrokenPipeError) else OutputFailed
        return kind(error.errno, error.strerror, self.name)

    def flush(self) -> None:
        if self._failure is not None and not self._is_dropped:
            raise self._failure

    def drop(self) -> None:
        """From now on, take everything and write nothing: it was said that this failed."""
        self._is_dropped = True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._is_terminal


class _ErrorOutput(_Output):
    """Standard error: what cannot be said is no reason to leave the work undone, but one to fail in the end."""

    is_lost = False

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.drop()
        except OSError:
            self.is_lost = True
            self.drop()
        return len(memoryview(data).cast("B"))  # type: ignore[arg-type]  # as above


class _Input(io.RawIOBase):
    """Standard input."""

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # as above
        return _patiently(0, "read", partial(os.readv, 0, [view]))

    def readable(self) -> bool:
        return True


def _patiently(fd: int, direction: str, call: Callable[[], int]) -> int:
    """What a call returns that reads or writes, once it can."""
    while True:  # Ends as a blocking call would: each time round something has become possible.
        try:
            return call()
        except BlockingIOError:
            from select import select  # Nearly nobody needs it. These descriptors are below its limit of 1024.

            wanted = [fd]
            select(wanted if direction == "read" else (), wanted if direction == "write" else (), ())


def make_whole() -> None:
    """Put streams of ours in the place of the interpreter's standard output and error.

    A caller that has put others there has decided.
    """
    stdout, stderr = sys.__stdout__, sys.__stderr__
    if stdout is not None and stdout is sys.stdout:
        sys.stdout = _text(_Output(stdout.fileno(), "standard output"), stdout.encoding, "surrogateescape")
    if stderr is not None and stderr is sys.stderr:
        sys.stderr = _text(_ErrorOutput(stderr.fileno(), "standard error"), stderr.encoding, "backslashreplace")


def _text(output: _Output, encoding: str, errors: str) -> io.TextIOWrapper:
    if codecs.lookup(encoding).name == "ascii":
        encoding = "utf-8"  # In ASCII not every name can be written.
    is_seen = output.isatty() or isinstance(output, _ErrorOutput)
    text = io.TextIOWrapper(output, encoding=encoding, errors=errors, line_buffering=is_seen)
    text._CHUNK_SIZE = BLOCK  # type: ignore[attr-defined]  # What is written in one call stays in one block.
    return text


def drop() -> None:
    """Forget what standard output does not take: it was said, and is not to raise again at exit."""
    buffer = getattr(sys.stdout, "buffer", None)
    if isinstance(buffer, _Output):
        buffer.drop()


def errors_are_lost() -> bool:
    """Whether something that was said on standard error could not be written."""
    buffer = getattr(sys.stderr, "buffer", None)
    return isinstance(buffer, _ErrorOutput) and buffer.is_lost


def standard_input() -> IO[bytes]:
    """What comes in. Raises `InvalidOption` where nothing can."""
    if sys.stdin is None:
        raise InvalidOption("standard input is closed")
    if sys.stdin is not sys.__stdin__:
        return sys.stdin.buffer
    return io.BufferedReader(_Input(), 1 << 16)

"""The standard streams of a process, for command lines: all output is written, or an error is raised.

Any program may have made a pipe or a terminal non-blocking. A write may then take only a part of the bytes, and the
interpreter's own streams lose the rest; a read from an empty pipe looks like its end. The streams of this module wait
in both cases.
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
"""Bytes in one write to a pipe or file, in whole lines. A pipe takes so many whole or not at all, also when the user
interrupts. Flushing each line took a third of the time of a long `rsdos list`."""


class OutputClosed(BrokenPipeError):
    """The reader of standard output has closed it."""


class OutputFailed(OSError):
    """Standard output cannot be written, for example because its disk is full."""


class StatusLine:
    """The last line of a terminal, which is redrawn. Any other output replaces it."""

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str) -> None:
        """Replace the line, by one write. If the terminal cannot be written, do nothing."""
        try:
            text = text[: os.get_terminal_size(2).columns - 1]
            os.write(2, f"\r{text.ljust(self._length)}".encode())
        except OSError:
            return
        self._length = len(text)

    def hide(self) -> None:
        """Clear the line."""
        if self._length:
            self.show("")
            self.show("")


STATUS_LINE = StatusLine()


class _Output(io.BufferedIOBase):
    """A descriptor to write to, without a buffer. After one failure every call fails, so that no failure is missed."""

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self._fd = fd
        self._is_terminal = os.isatty(fd)
        self._failure: OSError | None = None
        self._is_dropped = False

    def write(self, data: object, /) -> int:
        """Write all of the data. Raise `OutputClosed` or `OutputFailed`."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # 3.11 has no type for a buffer
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
        """Ignore all writes from now on: the failure was reported."""
        self._is_dropped = True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._is_terminal


class _ErrorOutput(_Output):
    """Standard error. A failed write does not stop the work, but the exit code tells of it."""

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
    """Return the result of a read or write call, after waiting until the descriptor is ready."""
    while True:  # Ends as a blocking call would: in each turn the descriptor has become ready.
        try:
            return call()
        except BlockingIOError:
            from select import select  # Rarely needed. These descriptors are below its limit of 1024.

            wanted = [fd]
            select(wanted if direction == "read" else (), wanted if direction == "write" else (), ())


def make_whole() -> None:
    """Replace the interpreter's standard output and error by streams of this module.

    Streams that the caller has replaced are left alone.
    """
    stdout, stderr = sys.__stdout__, sys.__stderr__
    if stdout is not None and stdout is sys.stdout:
        sys.stdout = _text(_Output(stdout.fileno(), "standard output"), stdout.encoding, "surrogateescape")
    if stderr is not None and stderr is sys.stderr:
        sys.stderr = _text(_ErrorOutput(stderr.fileno(), "standard error"), stderr.encoding, "backslashreplace")


def _text(output: _Output, encoding: str, errors: str) -> io.TextIOWrapper:
    if codecs.lookup(encoding).name == "ascii":
        encoding = "utf-8"  # ASCII cannot write every name.
    is_seen = output.isatty() or isinstance(output, _ErrorOutput)
    text = io.TextIOWrapper(output, encoding=encoding, errors=errors, line_buffering=is_seen)
    text._CHUNK_SIZE = BLOCK  # type: ignore[attr-defined]  # The bytes of one write stay in one block.
    return text


def drop() -> None:
    """Discard output that standard output does not take: the failure was reported, and must not raise again at exit."""
    buffer = getattr(sys.stdout, "buffer", None)
    if isinstance(buffer, _Output):
        buffer.drop()


def errors_are_lost() -> bool:
    """Return whether any output to standard error was lost."""
    buffer = getattr(sys.stderr, "buffer", None)
    return isinstance(buffer, _ErrorOutput) and buffer.is_lost


def standard_input() -> IO[bytes]:
    """Return standard input as a binary stream. Raise `InvalidOption` when it is closed."""
    if sys.stdin is None:
        raise InvalidOption("standard input is closed")
    if sys.stdin is not sys.__stdin__:
        return sys.stdin.buffer
    return io.BufferedReader(_Input(), 1 << 16)

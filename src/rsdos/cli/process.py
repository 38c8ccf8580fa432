"""The process around a command: its streams, and what becomes of its errors. Without click."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import IO

from rsdos.cli.render import echo_error, one_line
from rsdos.errors import AmbiguousKey, InvalidKey, InvalidOption, RsdosError

FAILED = 1
USAGE = 2
INTERRUPTED = 130


def prepare_streams() -> bool:
    """Make the standard streams fit to be written to; False, with a word about it, when there is no standard output."""
    _occupy_standard_descriptors()
    if sys.stdout is None:
        say("standard output is closed; to see nothing, send it to /dev/null")
        return False
    # `reconfigure` is what the interpreter's own streams have; a caller that put others there has decided.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=_encoding(sys.stdout), errors="surrogateescape", line_buffering=True)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding=_encoding(sys.stderr), errors="backslashreplace")
    return True


def _encoding(stream: io.TextIOWrapper) -> str:
    """A stream's own, but for ASCII, in which not every name can be written."""
    return "utf-8" if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding


def guarded(
    work: Callable[[], int | None], *, debug: bool = False, explain: Callable[[BaseException], int | None] | None = None
) -> int:
    """Do it, and say on stderr in one line what went wrong, if anything did; returns the exit code.

    ``explain`` is asked first: it returns a code when it has said what there is to say.
    """
    try:
        code = work()
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  each ends in one line
        if debug:
            import traceback

            traceback.print_exc()
        told = explain(error) if explain else None
        return _failure(error) if told is None else told
    return code or 0


def _failure(error: BaseException) -> int:
    """Say what went wrong; returns the exit code."""
    match error:
        case BrokenPipeError():
            drop_stdout()
            return 0
        case KeyboardInterrupt():
            say("interrupted")
            return INTERRUPTED
        case InvalidOption() | InvalidKey() | AmbiguousKey():
            say(str(error))
            return USAGE
        case RsdosError():
            say(str(error))
        case OSError():
            say(reason_of(error))
        case _:
            say(f"{type(error).__name__}: {error} (a bug in rsdos; --debug shows where)")
    drop_stdout()
    return FAILED


def reason_of(error: OSError) -> str:
    """What the system says, and of which file, in one line."""
    reason = error.strerror or str(error)
    if not error.filename:
        return reason
    # Whoever reads this fears for what is in the container.
    rest = " (nothing that was stored is lost)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{error.filename}: {reason}{rest}"


def standard_input() -> IO[bytes]:
    """What comes in. Raises `InvalidOption` where nothing can."""
    if sys.stdin is None:
        raise InvalidOption("standard input is closed")
    return sys.stdin.buffer


def say(message: str) -> None:
    """One line on stderr, if there is one."""
    echo_error(f"rsdos: error: {one_line(message)}")


def _occupy_standard_descriptors() -> None:
    """Without this a file of the container would get the number of a closed stream, and what is written to it."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def drop_stdout() -> None:
    """What is still buffered for a stdout that takes nothing must not raise again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

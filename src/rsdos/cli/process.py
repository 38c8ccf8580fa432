"""The process around a command: its streams, its errors and its exit code. Without click."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rsdos import standard
from rsdos.cli.exit_codes import DONE, FAILED, INTERRUPTED, USAGE
from rsdos.cli.render import echo_error, one_line
from rsdos.errors import AmbiguousKey, InvalidKey, InvalidName, InvalidOption, RsdosError, means_full


def prepare_streams() -> bool:
    """Prepare the standard streams. Return False, and print an error, if standard output is closed."""
    _occupy_standard_descriptors()
    if sys.stdout is None:
        say("standard output is closed; to discard the output, send it to /dev/null")
        return False
    standard.make_whole()
    return True


def guarded(
    work: Callable[[], int | None], *, debug: bool = False, explain: Callable[[BaseException], int | None] | None = None
) -> int:
    """Do some work, and print an error as one line to stderr. Return the exit code.

    ``explain`` may print the error itself, and then returns a code.
    """
    try:
        code = work() or DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  each ends in one line
        if debug:
            import traceback

            traceback.print_exc()
        told = explain(error) if explain else None
        code = _failure(error) if told is None else told
    return _finish(code)


def _finish(code: int) -> int:
    """Write the buffered output. Return the exit code."""
    try:
        sys.stdout.flush()
    except standard.OutputClosed:
        standard.drop()
    except OSError as error:
        standard.drop()
        if code != FAILED:
            say(reason_of(error))
        code = FAILED
    return FAILED if code == DONE and standard.errors_are_lost() else code


def _failure(error: BaseException) -> int:
    """Print an error. Return the exit code."""
    match error:
        case standard.OutputClosed():
            return DONE
        case KeyboardInterrupt():
            say("interrupted")
            return INTERRUPTED
        case InvalidOption() | InvalidKey() | InvalidName() | AmbiguousKey():
            say(str(error))
            return USAGE
        case RsdosError():
            say(str(error))
        case OSError():
            say(reason_of(error))
        case MemoryError():
            say(str(error) or "no memory left")
        case _:
            say(f"{type(error).__name__}: {error} (a bug in rsdos; --debug shows where)")
    return FAILED


def reason_of(error: OSError) -> str:
    """Return the system's error message with the file's name, in one line."""
    reason = error.strerror or str(error)
    if not error.filename:
        return reason
    # After "no space left" a user worries about the objects that are stored already.
    is_full = means_full(error) and not isinstance(error, standard.OutputFailed)
    # A note of several lines is a worker's traceback.
    notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
    rest = f" ({'; '.join(['nothing that was stored is lost', *notes])})" if is_full else ""
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{name}: {reason}{rest}"


def say(message: str) -> None:
    """Print an error as one line to stderr, if it is open."""
    echo_error(f"rsdos: error: {one_line(message)}")


def _occupy_standard_descriptors() -> None:
    """Open /dev/null in place of closed streams. Otherwise output would be written to a file of the container."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)

"""What a save or a status of a directory has left out, on standard error."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rsdos.cli.render import echo_error, one_line
from rsdos.figures import count, figure


def tell_unreadable(directory: str, unreadable: Sequence[tuple[bytes, str]]) -> None:
    """Name what could not be read, and why."""
    for path, reason in unreadable:
        echo_error(f"rsdos: error: {_shown(directory, path)}: {one_line(reason)}")


def tell_special(directory: str, number: int, first: Sequence[bytes]) -> None:
    """Name the first of the special files that were passed over, and say how many there are."""
    if not number:
        return
    echo_error(f"rsdos: note: {count(number, 'special file')} passed over: FIFOs, sockets, devices")
    for path in first:
        echo_error(f"rsdos: note:   {_shown(directory, path)}")
    if number > len(first):
        echo_error(f"rsdos: note:   and {figure(number - len(first))} more")


def _shown(directory: str, path: bytes) -> str:
    return one_line(os.path.join(directory, os.fsdecode(path)))

"""The clocks of file systems: how recent a change is, by the times that a file system itself gives.

An entry is trusted only if its last change was some time before the scan (`rows.SETTLING`): two changes within one tick
of a clock leave the same times. An entry with a time in the future is never settled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from rsdos.storage.descriptors import Descriptor, opening
from rsdos.storage.directory import remove_own
from rsdos.storage.mounts import is_local
from rsdos.worktree.temporary import temporary_name

MARGIN = 60 * 10**9
"""Nanoseconds that are subtracted from this machine's clock if a server's clock cannot be read."""

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class Clocks:
    """The clocks of the file systems of some directories. A file system is asked once."""

    def __init__(self, is_local: Callable[[int, str], bool] = is_local) -> None:
        """``is_local`` returns whether a device (of ``os.stat``), with a path on it, is certainly on this machine."""
        self._is_local = is_local
        self._known: dict[int, Callable[[], int]] = {}

    def now(self, directory: int, device: int, path: str) -> int:
        """Return the time of the file system of an open directory, in ns: rather too early than too late.

        On a file system of this machine it is this machine's clock. Elsewhere the time of a new file in the directory
        shows it, once; the file has a temporary name and is removed at once. If no file can be made, it is this
        machine's clock less `MARGIN`.
        """
        clock = self._known.get(device)
        if clock is None:
            clock = self._known[device] = self._clock(directory, device, path)
        return clock()

    def _clock(self, directory: int, device: int, path: str) -> Callable[[], int]:
        if self._is_local(device, os.path.join(os.path.realpath(path), "-")):
            return time.time_ns
        told = time.time_ns() - MARGIN
        with suppress(OSError):
            told = _probe(directory)
        return lambda: told


def _probe(directory: int) -> int:
    """Return the mtime of a new file in an open directory."""
    name = temporary_name()
    try:
        with Descriptor(opening(name, _CREATE, 0o600, directory)) as fd:
            os.write(fd, b"\n")
            return os.fstat(fd).st_mtime_ns
    finally:
        remove_own(name, directory)

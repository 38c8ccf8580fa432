"""The times of modification of files: how precisely a file system stores them."""

from __future__ import annotations

import os

from rsdos.maintenance.copies import REFUSED
from rsdos.storage import posix
from rsdos.storage.directory import Directory

_PROBE = 1_000_000_001_123_456_789
"""A time with an odd number of seconds and of every smaller unit."""

_STEPS = (1, 100, 1000, 10**6, 10**9, 2 * 10**9)
"""Precisions in nanoseconds. NTFS has 100, ext3 and HFS+ a second, FAT two seconds."""

_FINE = 1000
"""A precision in nanoseconds at which two writes never get the same time: a write takes longer."""


class Times:
    """The precision of times in a directory: ``step`` nanoseconds, 0 if times are not stored."""

    def __init__(self, place: Directory, name: str) -> None:
        """Find the precision out. ``name`` is a file of ours in the directory, whose time is changed for that."""
        self.step = 0
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd)
        try:
            os.utime(fd, ns=(_PROBE, _PROBE))
            kept = os.fstat(fd).st_mtime_ns
            self.step = next((step for step in _STEPS if kept == _PROBE - _PROBE % step), 0)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
        finally:
            os.close(fd)

    @property
    def tell(self) -> bool:
        """Whether files of the same length and time are certainly the same. If not, their bytes must be compared."""
        return 0 < self.step <= _FINE

    def agree(self, kept: int, given: int) -> bool:
        """Return whether a stored time can be the one that was set."""
        return not self.step or kept // self.step == given // self.step


def same_bytes(one: int, other: int, length: int) -> bool:
    """Return whether two open files begin with the same ``length`` bytes. Raise OSError."""
    return all(
        posix.read_at(one, at, min(_BLOCK, length - at)) == posix.read_at(other, at, min(_BLOCK, length - at))
        for at in range(0, length, _BLOCK)
    )


_BLOCK = 4 << 20

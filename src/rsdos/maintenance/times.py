"""Times of modification: how exactly a file system keeps those that it is given."""

from __future__ import annotations

import os

from rsdos.maintenance.copies import REFUSED
from rsdos.storage import posix
from rsdos.storage.directory import Directory

_PROBE = 1_000_000_001_123_456_789
"""An odd second, and in it an odd number of all smaller units."""

_STEPS = (1, 100, 1000, 10**6, 10**9, 2 * 10**9)
"""Nanoseconds. NTFS has 100, ext3 and HFS+ a second, FAT two."""

_FINE = 1000
"""Two writes never have the same time where it is this exact, or better: more than one takes longer."""


class Times:
    """How exactly times are kept in a directory: ``step`` nanoseconds, 0 where they are not kept at all."""

    def __init__(self, place: Directory, name: str) -> None:
        """``name`` is a file in it, of ours; its time is changed."""
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
        """Whether a file of the same length and time is the same; otherwise its bytes have to be looked at."""
        return 0 < self.step <= _FINE

    def agree(self, kept: int, given: int) -> bool:
        """Whether a time that was kept may be the one that was given."""
        return not self.step or kept // self.step == given // self.step


def same_bytes(one: int, other: int, length: int) -> bool:
    """Whether two open files begin with the same ``length`` bytes. Raises OSError."""
    return all(
        posix.read_at(one, at, min(_BLOCK, length - at)) == posix.read_at(other, at, min(_BLOCK, length - at))
        for at in range(0, length, _BLOCK)
    )


_BLOCK = 4 << 20

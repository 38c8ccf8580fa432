"""The present entries of one directory: their names, and the result of ``lstat`` for each."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor, opening
from rsdos.worktree.rows import ROW_BYTES, pack_rows

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Present(NamedTuple):
    """The entries of a directory on the disk, sorted by name, as columns."""

    names: list[bytes]
    modes: list[int]
    """The mode of each, with the kind of the file."""
    rows: bytes
    """The row of each, with the flag of a settled one, even if it is not settled."""

    def row(self, at: int) -> bytes:
        """Return one row."""
        return self.rows[at * ROW_BYTES : (at + 1) * ROW_BYTES]

    def is_directory(self, at: int) -> bool:
        """Return whether one of them is a directory."""
        return stat.S_ISDIR(self.modes[at])


NOTHING = Present([], [], b"")
"""An empty directory, or none."""


def read_present(directory: int) -> Present:
    """Return all entries of an open directory. Raise OSError."""
    statuses: dict[bytes, os.stat_result] = {}
    # Through a descriptor of its own, because a listing moves the position of its descriptor.
    with Descriptor(opening(".", _DIRECTORY, dir_fd=directory)) as fd, os.scandir(fd) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # Removed after the listing.
                statuses[os.fsencode(entry.name)] = entry.stat(follow_symlinks=False)
    names = sorted(statuses)
    ordered = [statuses[name] for name in names]
    return Present(names, [status.st_mode for status in ordered], pack_rows(ordered))


def read_named(directory: int, name: bytes, most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file in an open directory; b"" if there is none."""
    for fd in opening(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory):
        try:
            return posix.read_at(fd, 0, most) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    raise AssertionError("not reached")

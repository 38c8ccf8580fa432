"""Two files that maintenance makes in advance: the readers' lock, and the reserve.

The reserve is removed when the disk is full, so that there is room for the tombstones of a delete.
"""

from __future__ import annotations

import os
from contextlib import suppress

from rsdos.layout import Layout
from rsdos.storage import locks, posix

SIZE = 1 << 20
"""Enough for a batch of 4,096 tombstones (270 KB) and a manifest of three thousand packs."""


def prepare(layout: Layout) -> None:
    """Make both files, if they are missing."""
    if not os.path.exists(layout.readers_lock):
        locks.acquire(layout.readers_lock).release()
    _fill(layout.reserve)


def _fill(path: str) -> None:
    """Make the reserve, if it is missing and there is room. Random bytes, so that no file system compresses them."""
    with suppress(OSError):
        if os.path.exists(path):
            return
        with posix.NewFile(path) as fd:
            posix.write_at(fd, 0, os.urandom(SIZE))


def give_up(path: str) -> bool:
    """Remove the reserve. Return whether there was one."""
    return posix.remove(path)

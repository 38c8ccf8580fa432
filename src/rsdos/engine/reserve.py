"""What maintenance needs to be there beforehand: the lock file of long readers, and the reserve.

The reserve is a file that is given up when the disk is full, so that a delete can be written down.
"""

from __future__ import annotations

import os
from contextlib import suppress

from rsdos.layout import Layout
from rsdos.storage import locks, posix

SIZE = 1 << 20
"""Enough for a batch of 4,096 tombstones (270 KB) and a manifest of three thousand packs."""


def prepare(layout: Layout) -> None:
    """Make both, if they are not there."""
    if not os.path.exists(layout.readers_lock):
        locks.acquire(layout.readers_lock).release()
    _fill(layout.reserve)


def _fill(path: str) -> None:
    """Make the reserve if it is not there and there is room. Its bytes are random, so that they are not made less."""
    with suppress(OSError):
        if os.path.exists(path):
            return
        with posix.NewFile(path) as fd:
            posix.write_at(fd, 0, os.urandom(SIZE))


def give_up(path: str) -> bool:
    """Free the reserve; whether there was one."""
    return posix.remove(path)

"""The reserve: a file that is given up when the disk is full, so that a delete can be written down."""

from __future__ import annotations

import os
from contextlib import suppress

from rsdos import fsio

SIZE = 1 << 20
"""Enough for a batch of 4,096 tombstones (270 KB) and a manifest of three thousand packs."""


def fill(path: str) -> None:
    """Make the reserve if it is not there and there is room. Its bytes are random, so that they are not made less."""
    with suppress(OSError):
        if os.path.exists(path):
            return
        fd = fsio.create(path)
        try:
            fsio.write_at(fd, 0, os.urandom(SIZE))
        except OSError:
            fsio.remove(path)
        finally:
            os.close(fd)


def give_up(path: str) -> bool:
    """Free the reserve; whether there was one."""
    return fsio.remove(path)

"""Where a tree is cut into pages: names alone decide, so that the same entries always give the same pages."""

from __future__ import annotations

from zlib import crc32

LEAF_CUT = 1 << 25
"""A leaf ends behind an entry whose hash is below this: one in 128."""

INNER_CHILDREN = 256
"""An inner page has at most so many children."""

LEVELS = 12
"""A tree has at most so many levels of pages, leaves included."""


def directory_seed(directory: bytes) -> int:
    """Return the CRC-32 of a directory. That of a name in it continues from there: ``crc32(name, seed)``."""
    return crc32(directory.replace(b"/", b"\0") + b"\0")


def cut_below(level: int) -> int:
    """Return the hash below which the last entry of a child ends the page of this level: one in 32 of the level below.

    Above level 5 no hash does.
    """
    return LEAF_CUT >> 5 * level

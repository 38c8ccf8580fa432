"""What file system a file is on: ``statvfs`` does not say, and Linux's table of mounts does."""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache

_TABLE = "/proc/self/mountinfo"

_LOCAL = frozenset(("btrfs", "bcachefs", "zfs", "overlay", "tmpfs", "ramfs"))
"""Those that have no block device of their own and are of this machine nevertheless."""


def is_local(device: int, path: str) -> bool:
    """Whether a file, of which ``os.stat`` tells the ``device``, is surely on a file system of this machine.

    Costs nothing where that has a block device; else the table is read, once for each device and directory. Elsewhere
    than on Linux it is taken for granted.
    """
    if sys.platform != "linux" or os.major(device) != 0:
        return True
    return _type_of(device, os.path.dirname(path)) in _LOCAL


@lru_cache(64)
def _type_of(device: int, directory: str) -> str:
    """The type of a file system, and "" where that cannot be told."""
    number = f"{os.major(device)}:{os.minor(device)}"
    below = os.path.join(os.path.realpath(directory), "")
    longest, found = "", ""
    escaped = re.compile(r"\\([0-7]{3})").sub
    try:
        with open(_TABLE, errors="surrogateescape") as table:
            for line in table:
                mount, _, rest = line.partition(" - ")
                _, _, own, _, point, *_ = mount.split(" ")
                kind = rest.partition(" ")[0]
                if own == number:
                    return kind
                # A subvolume of btrfs has a number that no mount has: then it is the mount that it is below.
                point = os.path.join(escaped(lambda code: chr(int(code[1], 8)), point), "")
                if len(point) >= len(longest) and below.startswith(point):
                    longest, found = point, kind
    except (OSError, ValueError):
        return ""
    return found

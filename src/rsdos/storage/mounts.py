"""The file system that a file is on. Linux's table of mounts has it; ``statvfs`` does not."""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache

_TABLE = "/proc/self/mountinfo"

_LOCAL = frozenset(("btrfs", "bcachefs", "zfs", "overlay", "tmpfs", "ramfs"))
"""Types of file systems that have no block device and are on this machine nevertheless."""

_SHARED = frozenset(("beegfs", "ceph", "gfs2", "gpfs", "lustre", "ocfs2"))
"""Types of several machines, which know at once about one another's names."""


def is_local(device: int, path: str) -> bool:
    """Return whether a file, whose ``device`` is that of ``os.stat``, is certainly on a file system of this machine.

    For a block device the answer costs nothing. Otherwise the table of mounts is read, once for each device and
    directory. On systems other than Linux the answer is always True.
    """
    if sys.platform != "linux" or os.major(device) != 0:
        return True
    return _type_of(device, os.path.dirname(path)) in _LOCAL


def is_prompt(device: int, path: str) -> bool:
    """Return whether a name that another machine has made is certainly seen at once where this file or directory is.

    Not on NFS and SMB, whose clients answer from memory. FUSE asks its program each time; a program that answers from
    memory does so for everything that it is asked. On systems other than Linux the answer is always True.
    """
    if sys.platform != "linux" or os.major(device) != 0:
        return True
    kind = _type_of(device, os.path.dirname(path))
    return kind in _LOCAL or kind in _SHARED or kind.partition(".")[0] == "fuse"


def file_system_of(path: str) -> str:
    """Return the type of the file system that a directory is on, such as ``ext4``; "" if it is not known."""
    return _type_of(os.stat(path).st_dev, path) if sys.platform == "linux" else ""


@lru_cache(64)
def _type_of(device: int, directory: str) -> str:
    """Return the type of a file system; "" if it is not known."""
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
                # The device number of a btrfs subvolume is not in the table: then use the mount that it is below.
                point = os.path.join(escaped(lambda code: chr(int(code[1], 8)), point), "")
                if len(point) >= len(longest) and below.startswith(point):
                    longest, found = point, kind
    except (OSError, ValueError):
        return ""
    return found

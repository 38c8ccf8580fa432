"""Who may read and write new files and directories: those of the umask, or also the group.

A directory with the setgid bit that its group may write is a shared one (`rsdos init --shared` makes such, and so can
``chmod g+ws``): what is made in it belongs to its group, which the kernel sees to, and can be written by it, whatever
the umask of who made it, which is seen to here. It costs a ``stat`` for each new file.
"""

from __future__ import annotations

import os
import stat

_SHARED = stat.S_ISGID | stat.S_IWGRP


def share_directory(path: str) -> None:
    """Make a directory a shared one."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_ISGID | stat.S_IRWXG)


def inherit(path: str, fd: int | None = None) -> None:
    """Give a new file, which may be open as ``fd``, or a new directory the rights that a shared directory asks for."""
    if os.stat(os.path.dirname(path) or ".").st_mode & _SHARED == _SHARED:
        target = path if fd is None else fd
        mode = stat.S_IMODE(os.stat(target).st_mode)
        # What the owner may, the group may.
        os.chmod(target, mode | (mode & stat.S_IRWXU) >> 3)


def make_directory(path: str) -> None:
    """Make one directory. Raises FileExistsError."""
    os.mkdir(path)
    inherit(path)


def make_directories(path: str) -> None:
    """Make a directory, and those above it that are not there."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        make_directories(os.path.dirname(path))
        make_directories(path)
    else:
        inherit(path)

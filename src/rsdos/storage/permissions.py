"""The permissions of new files and directories: those of the umask, or also those of the group.

A directory with the setgid bit that its group may write is a shared one (`rsdos init --shared` makes it, and so does
``chmod g+ws``). The kernel gives new files in it to its group. This module lets the group write them, whatever the
umask of the process. It costs a ``stat`` for each new file, except in the sandbox: for a writer's own directory there
it is known.
"""

from __future__ import annotations

import os
import stat

from rsdos.storage.directory import set_mode

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SHARED = stat.S_ISGID | stat.S_IWGRP


def share_directory(path: str) -> None:
    """Make a directory a shared one."""
    fd = os.open(path, _DIRECTORY)
    try:
        set_mode(fd, stat.S_IMODE(os.fstat(fd).st_mode) | stat.S_ISGID | stat.S_IRWXG)
    finally:
        os.close(fd)


def is_shared(directory: str) -> bool:
    """Return whether a directory is a shared one."""
    return os.stat(directory).st_mode & _SHARED == _SHARED


def share(target: str | int) -> None:
    """Give the group the permissions that the owner of a new file (a descriptor) or directory (a path) has."""
    fd = target if isinstance(target, int) else os.open(target, _DIRECTORY | os.O_NOFOLLOW)
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        set_mode(fd, mode | (mode & stat.S_IRWXU) >> 3)
    finally:
        if fd != target:
            os.close(fd)


def inherit(path: str, fd: int | None = None) -> None:
    """Give a new file, which may be open as ``fd``, or a new directory the permissions of its shared directory."""
    if is_shared(os.path.dirname(path) or "."):
        share(path if fd is None else fd)


def make_directory(path: str) -> None:
    """Make one directory. Raise FileExistsError."""
    os.mkdir(path)
    inherit(path)


def make_directories(path: str) -> None:
    """Make a directory, and the missing ones above it."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        above = os.path.dirname(path)
        if not above or os.path.isdir(above):
            raise  # For example in /proc, or if the current directory is gone.
        make_directories(above)
        make_directories(path)
    else:
        inherit(path)

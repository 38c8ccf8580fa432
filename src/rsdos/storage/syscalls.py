"""System calls that Python's ``os`` does not have."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

from rsdos.storage.directory import remove_own

_LIBRARY = ctypes.CDLL(None, use_errno=True)

_NO_SUCH_CALL = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that cannot rename without replacing: NFS, many of FUSE."""

_NO_LINKS = (errno.EPERM, *_NO_SUCH_CALL)
"""Errors of file systems without hard links: FAT, many of FUSE."""

_QUOTACTL_FD = 443
"""The number of Linux's ``quotactl_fd``: the same on all processors that Python has wheels for."""

_GET_QUOTA = 0x800007
"""``Q_GETQUOTA`` of ``linux/quota.h``."""

_Rename = Callable[[int, bytes, int, bytes, int], int]

_rename: _Rename | None
if sys.platform == "darwin":  # pragma: no cover
    _rename, _EXCLUSIVE = getattr(_LIBRARY, "renameatx_np", None), 4
    _sync_file_system = None
else:
    _rename, _EXCLUSIVE = getattr(_LIBRARY, "renameat2", None), 1  # RENAME_NOREPLACE
    _sync_file_system = getattr(_LIBRARY, "syncfs", None)
if _rename is not None:
    _rename.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def rename_new(name: bytes, new: bytes, directory: int) -> None:
    """Rename a file within an open directory, and replace nothing. Raise FileExistsError if the new name is taken.

    It is also taken if the file system takes another name for the same, because it folds case or Unicode forms. A file
    system that cannot do it in one step gets a second link, and the first one is removed; one without links is asked
    whether the name is taken, which leaves a moment for others.
    """
    if _rename is not None:
        if _rename(directory, name, directory, new, _EXCLUSIVE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_SUCH_CALL:
            raise OSError(number, os.strerror(number), os.fsdecode(new))
    rename_by_link(name, new, directory)


def rename_by_link(name: bytes, new: bytes, directory: int) -> None:
    """Do `rename_new` in two steps; where there are no hard links, by `rename_by_question`."""
    try:
        os.link(name, new, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_by_question(name, new, directory)
    else:
        remove_own(name, directory)


def rename_by_question(name: bytes, new: bytes, directory: int) -> None:
    """Do `rename_new` where nothing better exists: ask whether the name is taken, and rename."""
    try:
        os.stat(new, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(new))


def sync_file_system(fd: int) -> None:
    """Put all that was written to the file system of an open file on stable storage. Raise OSError."""
    if _sync_file_system is None:  # pragma: no cover
        os.sync()
    elif _sync_file_system(fd) != 0:
        number = ctypes.get_errno()
        if number not in _NO_SUCH_CALL:
            raise OSError(number, os.strerror(number))
        os.sync()


def ask_quota(fd: int, kind: int, owner: int, length: int) -> bytes:
    """Return the kernel's answer about the quota of a user (kind 0) or a group (1) on the file system of a descriptor.

    Raise OSError: ESRCH where no quotas are kept, ENOSYS where the call is missing (it came with Linux 5.14).
    """
    answer = ctypes.create_string_buffer(length)
    numbers = map(ctypes.c_long, (_QUOTACTL_FD, fd, _GET_QUOTA << 8 | kind, owner))
    if _LIBRARY.syscall(*numbers, answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer.raw

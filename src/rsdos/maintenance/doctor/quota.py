"""The quota of a user and of a group, as the kernel of Linux knows it: ``quotactl_fd``, since Linux 5.14.

Project quotas of a directory need no question: ``statvfs`` answers with their limits.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from rsdos.figures import count, human
from rsdos.maintenance.doctor.diagnosis import FEW_INODES, LEAST_FREE, PACKING, Answer, Verdict
from rsdos.storage.syscalls import ask_quota

_FORMAT = struct.Struct("=8QI4x")
"""``struct if_dqblk`` of ``linux/quota.h``: limits of blocks (hard, soft), bytes in use, limits of inodes (hard, soft),
inodes in use, two times of grace, and which fields are valid."""

_BLOCK = 1024
"""Bytes of a block of a limit (``QIF_DQBLKSIZE``)."""

_NONE_HERE = (errno.ESRCH, errno.ENOENT, errno.EPERM)
"""Errors of a file system that keeps no quotas, or none for this user; and for a group that the user is not in."""


class Quota(NamedTuple):
    """The limits of a user or a group on one file system (0 for none), and its use. In bytes, and in files."""

    of: str
    hard: int
    soft: int
    used: int
    files_hard: int
    files_soft: int
    files_used: int

    @property
    def left(self) -> int | None:
        """The bytes that may still be stored; None: any number."""
        return max(self.hard - self.used, 0) if self.hard else None

    @property
    def files_left(self) -> int | None:
        """The files that may still be made; None: any number."""
        return max(self.files_hard - self.files_used, 0) if self.files_hard else None

    @property
    def is_over_soft(self) -> bool:
        """Whether more is in use than may stay after the days of grace."""
        return 0 < self.soft < self.used or 0 < self.files_soft < self.files_used

    def __str__(self) -> str:
        parts = [] if self.left is None else [human(self.left)]
        parts += [] if self.files_left is None else [count(self.files_left, "file")]
        return f"{' and '.join(parts) or 'any number of bytes and files'} left of the quota of your {self.of}"


def judge_quota(quota: Quota) -> Answer | None:
    """Return the answer about a quota that is used up, or nearly; None for another one."""
    is_full = quota.left is not None and quota.left < LEAST_FREE
    has_few_files = quota.files_left is not None and quota.files_left < FEW_INODES
    if is_full or has_few_files:
        advice = f"remove files; {PACKING}" if has_few_files else "free some, or ask for more"
        return Answer("quota", Verdict.FAULT, f"{quota}: nothing can be stored", advice)
    if quota.is_over_soft:
        message = f"{quota}, and more in use than may stay for long"
        return Answer("quota", Verdict.WARNING, message, "free some before the days of grace end")
    return None


def read_quota(of: str, data: bytes) -> Quota:
    """Return the quota that the kernel's answer has."""
    hard, soft, used, files_hard, files_soft, files_used, *_ = _FORMAT.unpack(data)
    return Quota(of, hard * _BLOCK, soft * _BLOCK, used, files_hard, files_soft, files_used)


def quotas(path: str) -> tuple[Quota, ...] | None:
    """Return the quotas that limit what this process writes in a directory; None if the kernel does not say."""
    if sys.platform != "linux":
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return tuple(_limits(fd))
    except OSError:
        return None
    finally:
        os.close(fd)


def _limits(fd: int) -> Iterator[Quota]:
    # New files have the group of a directory with the setgid bit, and else that of the process.
    status = os.fstat(fd)
    group = status.st_gid if status.st_mode & 0o2000 else os.getegid()
    for number, (of, owner) in enumerate((("user", os.geteuid()), ("group", group))):
        try:
            quota = read_quota(of, ask_quota(fd, number, owner, _FORMAT.size))
        except OSError as error:
            if error.errno not in _NONE_HERE:
                raise
            continue
        if quota.hard or quota.soft or quota.files_hard or quota.files_soft:
            yield quota

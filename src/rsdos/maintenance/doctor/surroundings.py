"""Questions about the file system around a container. Nothing is written."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

from rsdos.figures import count, figure, human
from rsdos.maintenance.doctor.diagnosis import FEW_INODES, LEAST_FREE, PACKING, Answer, Verdict
from rsdos.maintenance.doctor.quota import judge_quota, quotas
from rsdos.storage.locks import UNSUPPORTED
from rsdos.storage.mounts import file_system_of

_LITTLE_FREE = 1 << 30
"""Free bytes below which a repack, which writes a pack anew before it removes the old one, may fail."""

_LITTLE_SHARE = 0.02
"""A share of all inodes that is little."""

_NETWORK = ("nfs", "cifs", "smb", "9p", "afs")

_AHEAD = 5.0
"""Seconds by which the time of a file may be ahead of the clock: file systems round, servers differ a little."""

_PATIENCE = 10.0
"""Seconds that the program ``quota`` may take: it asks every file server."""


def examine_surroundings(path: str) -> Iterator[Answer]:
    """Yield the answers about the file system of the directory ``path``, which must exist."""
    kind = file_system_of(path)
    yield _file_system(kind)
    yield _locks(path)
    yield _space(path)
    yield _inodes(path)
    yield _quota(path, kind)
    yield _permissions(path)


def _file_system(kind: str) -> Answer:
    figures = {"type": kind or None}
    if not kind:
        return Answer("file system", Verdict.NOTE, "its type is not known here", "", figures)
    if kind.startswith(_NETWORK):
        message = f"{kind}: a network file system; other machines see a new object after up to a minute"
        return Answer("file system", Verdict.NOTE, message, "see docs/concurrency.md", figures)
    return Answer("file system", Verdict.GOOD, kind, "", figures)


def _locks(path: str) -> Answer:
    """Lock a file that no operation locks, shared and for a moment; where there is no container, the directory."""
    try:
        try:
            fd = os.open(os.path.join(path, "config.json"), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError as error:
        return Answer("locks", Verdict.WARNING, f"a lock could not be tried: {error.strerror}")
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED or error.errno == errno.EINVAL:  # so some of FUSE say it
            message = "the file system has no locks (flock)"
            return Answer("locks", Verdict.FAULT, message, "mount it with locks, or move the container")
        if error.errno != errno.EWOULDBLOCK:
            return Answer("locks", Verdict.WARNING, f"a lock could not be tried: {error.strerror}")
    finally:
        os.close(fd)
    return Answer("locks", Verdict.GOOD, "flock works")


def _space(path: str) -> Answer:
    status = os.statvfs(path)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    figures = {"free": free, "total": total}
    message = f"{human(free)} of {human(total)} are free"
    if free < LEAST_FREE:
        return Answer("space", Verdict.FAULT, message, "free some: nothing can be stored", figures)
    if free < _LITTLE_FREE:
        advice = "free some: a repack needs the space of one pack"
        return Answer("space", Verdict.WARNING, message, advice, figures)
    return Answer("space", Verdict.GOOD, message, "", figures)


def _inodes(path: str) -> Answer:
    """Judge the inodes of the file system; or of the directory, if a project quota of ext4, xfs or Lustre limits it."""
    status = os.statvfs(path)
    free, total = status.f_favail, status.f_files
    if not total:
        return Answer("inodes", Verdict.GOOD, "the file system does not count files")
    figures = {"free": free, "total": total}
    message = f"{figure(free)} of {count(total, 'file')} are free"
    if free < FEW_INODES:
        return Answer("inodes", Verdict.FAULT, message, f"remove files; {PACKING}", figures)
    if free < total * _LITTLE_SHARE:
        return Answer("inodes", Verdict.WARNING, message, PACKING, figures)
    return Answer("inodes", Verdict.GOOD, message, "", figures)


def _quota(path: str, kind: str) -> Answer:
    """Ask the kernel. For a network file system ask the program ``quota``, because only the server knows."""
    found = quotas(path)
    if found is None or (not found and kind.startswith(_NETWORK)):
        return _asked_quota()
    if not found:
        return Answer("quota", Verdict.GOOD, "neither you nor your group has one here")
    figures = {quota.of: quota._asdict() for quota in found}
    judged = next(filter(None, map(judge_quota, found)), None)
    good = Answer("quota", Verdict.GOOD, "; ".join(str(quota) for quota in found))
    return replace(judged or good, figures=figures)


def _asked_quota() -> Answer:
    program = shutil.which("quota")
    if program is None:
        return Answer("quota", Verdict.NOTE, "not known: the kernel does not say, and there is no program 'quota' here")
    try:
        done = subprocess.run([program, "-w"], check=False, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return Answer("quota", Verdict.NOTE, "the program 'quota' gave no answer")
    if done.returncode:
        return Answer("quota", Verdict.WARNING, "the program 'quota' says that you are over it", "see: quota -s")
    return Answer("quota", Verdict.GOOD, "the program 'quota' says that you are below it, or have none")


def _permissions(path: str) -> Answer:
    owner, user = os.stat(path).st_uid, os.geteuid()
    figures = {"owner": owner, "user": user}
    if not os.access(path, os.R_OK | os.X_OK):
        message = f"user {user} may not read here; it belongs to user {owner}"
        return Answer(
            "permissions", Verdict.FAULT, message, "ask its owner for access, see docs/concurrency.md", figures
        )
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        message = "the file system is mounted read-only: nothing can be inserted"
        return Answer("permissions", Verdict.NOTE, message, "", figures)
    if not os.access(path, os.W_OK | os.X_OK):
        message = f"user {user} may not write here; it belongs to user {owner}"
        return Answer("permissions", Verdict.NOTE, message, "", figures)
    if owner != user:
        message = f"it belongs to user {owner}, and you are user {user}: reads compare hashes"
        return Answer("permissions", Verdict.NOTE, message, "see docs/security.md", figures)
    return Answer("permissions", Verdict.GOOD, "you own it, and may write", "", figures)


def examine_clock(path: str) -> Answer:
    """Compare the clock with the times of the container's directories, which its writers have changed last."""
    try:
        with os.scandir(path) as entries:
            newest = max((entry.stat(follow_symlinks=False).st_mtime for entry in entries), default=0.0)
    except OSError as error:
        return Answer("clock", Verdict.NOTE, f"not known: {error.strerror}")
    ahead = max(os.stat(path).st_mtime, newest) - time.time()
    if ahead > _AHEAD:
        message = f"a file here is from {ahead:.0f} s in the future"
        return Answer("clock", Verdict.WARNING, message, "set the clock of this machine, or of the file server")
    return Answer("clock", Verdict.GOOD, "no file here is from the future")

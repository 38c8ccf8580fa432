"""Copies of a container, unfinished or whole: what is ours in them and beside them, and whose files they are.

What a backup makes has a file that says so, from its first moment to its last. Nothing is removed from a directory that
says nothing of the kind.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rsdos.errors import NotOurs
from rsdos.layout import CONTAINER
from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor, Working
from rsdos.storage.directory import Directory, Form, set_mode, set_owner
from rsdos.version import __version__

CONFIG = "config.json"
MARKED = CONFIG + ".new"
"""The name of the configuration, while what it belongs to is not whole."""

MARK = ".rsdos-backup"
"""The file that says that a backup has made the directory, and of which container."""

LIVE = "live-backup"
LAST = "last-backup"
NEW_LAST = f".{LAST}.new"
LOCK = ".rsdos-lock"
"""The file that one backup at a time has locked, from whichever machine."""
QUARANTINE = "quarantine"
DYING = ".deleting-"
GENERATION = r"backup_(\d{14})_[0-9A-Za-z]{1,32}"

MOST_CONFIG = 1 << 20

COPY = Form(rf"{CONTAINER.files}|{re.escape(MARK)}", CONTAINER.directories)
"""What is ours in a copy."""

WHOLE = Form(CONTAINER.files, (*CONTAINER.directories, (QUARANTINE, Form())))
"""What is ours in a container, and the place for what is not."""

PLACE = Form(
    rf"{re.escape(LOCK)}(\.own)?|{LAST}|{re.escape(NEW_LAST)}",
    (
        (GENERATION, COPY),
        (LIVE, COPY),
        (re.escape(DYING) + GENERATION, COPY),
        (QUARANTINE, Form()),
    ),
)
"""What is ours in a directory of backups."""

REFUSED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS)
"""What file systems say that have no owners, modes or times, or do not let them be set."""

_SHARED = stat.S_ISGID | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may do what with a copy. Made from the directory that is copied, and never taken from its files.

    Nothing is executable, nor has a set-ID bit. Where a file system has no owners or modes it goes without.
    """

    directory: int
    file: int
    user: int
    group: int

    @classmethod
    def like(cls, root: str, owner: tuple[int, int] | None = None) -> Rights:
        """Those of a container at ``root``; ``owner`` is another user and group."""
        status = os.stat(root)
        is_shared = status.st_mode & _SHARED == _SHARED
        # Nobody beside its owner writes to one that is not shared.
        mode = (stat.S_IMODE(status.st_mode) & (0o775 if is_shared else 0o755)) | stat.S_IRWXU
        user, group = owner or (status.st_uid, status.st_gid)
        return cls(mode | (stat.S_ISGID if is_shared else 0), mode & 0o666, user, group)

    def give(self, fd: int) -> None:
        """Give them to an open file or directory: its owner, if we may."""
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        with _best_effort():
            if os.geteuid() == 0:
                set_owner(fd, self.user, self.group)
            elif self.directory & stat.S_ISGID:
                set_owner(fd, -1, self.group)
        with _best_effort():
            set_mode(fd, self.directory if is_directory else self.file)

    def close(self, fd: int) -> None:
        """Let nobody else into a directory, until it is given its rights: while it is filled nothing in it is moved."""
        with _best_effort():
            if os.geteuid() == 0:
                set_owner(fd, 0, 0)
        with _best_effort():
            set_mode(fd, stat.S_IRWXU)


@contextmanager
def _best_effort() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise


def write_small_file(place: Directory, name: str, data: bytes) -> None:
    """Create a small file and sync it; the directory is not synced."""
    with Working(posix.opening_new(name, 0o600, place.fd)) as fd:
        posix.write_at(fd, 0, data)
        posix.sync_file(fd)


def read_small_file(place: Directory, name: str) -> bytes | None:
    """The bytes of a small regular file; None when there is none."""
    try:
        file = Descriptor(posix.opening_for_reading(name, place.fd))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with file as fd:
        return posix.read_at(fd, 0, MOST_CONFIG) if stat.S_ISREG(os.fstat(fd).st_mode) else None


def mark_backup(place: Directory, container_id: str) -> None:
    """Say that a backup of the container has made this directory. It is empty."""
    write_small_file(place, MARK, backup_mark(container_id))
    place.sync()


def backup_mark(container_id: str) -> bytes:
    """What says that a backup of the container has made a directory."""
    return json.dumps({"made_by": f"rsdos {__version__}", "container_id": container_id}).encode()


def refuse_strangers(path: str, names: Iterable[str], read: Callable[[str], bytes | None], container_id: str) -> None:
    """Raise `NotOurs` unless a backup of the container has made the directory at ``path``, or nothing is in it.

    ``names`` are those in it, of which ``read`` gives the bytes. Of an older release, which made no mark, it is told by
    the configuration, which is still under its other name.
    """
    names = set(names)
    if names <= {MARK, MARKED}:
        return  # Killed before there was more, and perhaps while it wrote this.
    for name in (MARK, MARKED):
        if name in names and not (name == MARKED and CONFIG in names):
            found = id_in(read(name) or b"")
            if found and is_same(found, container_id):
                return
    raise NotOurs(path, "no backup of this container by rsdos has made it: it stays as it is; move it elsewhere")


def id_in(config: bytes) -> str | None:
    """The container's id in a configuration, or in a mark; None when there is none."""
    with suppress(ValueError, TypeError, LookupError):
        found = json.loads(config)["container_id"]
        return found if isinstance(found, str) else None
    return None


def is_own_path(path: str, form: Form, *, is_directory: bool = False) -> bool:
    """Whether a path, relative to a directory of some form, is that of a file or directory of ours."""
    *above, name = path.split("/")
    for step in above:
        below = form.below(step)
        if below is None:
            return False
        form = below
    return form.below(name) is not None if is_directory else form.has_file(name)


def is_same(one: str, other: str) -> bool:
    """Whether two ids are those of one container: a migration takes the dashes out that disk-objectstore puts in."""
    return one.replace("-", "") == other.replace("-", "")


def refuse_wrong_kind(place: Directory, name: str) -> None:
    """Raise `NotOurs` when a link or a file stands where a directory of ours does."""
    with suppress(FileNotFoundError), place.child(name):
        pass


def quarantine_directory(place: Directory) -> Directory:
    """The quarantine in a directory, made if it is not there; for what is not ours and in the way."""
    with suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=place.fd)
        place.sync()
    return place.child(QUARANTINE)

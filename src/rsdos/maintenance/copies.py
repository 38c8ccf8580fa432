"""Copies of a container, finished or not: the names that are ours in and beside them, and the owner of their files.

Every directory that a backup makes has a mark. It is the first file that is written, and the last that is removed when
the directory is deleted. Nothing is removed from a directory without the mark.
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
from rsdos.root import BACKUP_MARK, CONTAINER, UNFINISHED_CONFIG
from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor, Working
from rsdos.storage.directory import Directory, Form, set_mode, set_owner
from rsdos.version import __version__

CONFIG = "config.json"
MARKED = UNFINISHED_CONFIG

MARK = BACKUP_MARK

LIVE = "live-backup"
LAST = "last-backup"
NEW_LAST = f".{LAST}.new"
LOCK = ".rsdos-lock"
"""The lock file of a directory of backups: of all machines, one makes a backup at a time."""
QUARANTINE = "quarantine"
DYING = ".deleting-"
GENERATION = r"backup_(\d{14})_[0-9A-Za-z]{1,32}"

MOST_CONFIG = 1 << 20

COPY = Form(rf"{CONTAINER.files}|{re.escape(MARK)}", CONTAINER.directories)
"""The names that are ours in a copy."""

WHOLE = Form(CONTAINER.files, (*CONTAINER.directories, (QUARANTINE, Form())))
"""The names that are ours in a container, and the quarantine for other files."""

PLACE = Form(
    rf"{re.escape(LOCK)}(\.own)?|{LAST}|{re.escape(NEW_LAST)}",
    (
        (GENERATION, COPY),
        (LIVE, COPY),
        (re.escape(DYING) + GENERATION, COPY),
        (QUARANTINE, Form()),
    ),
)
"""The names that are ours in a directory of backups."""

REFUSED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS)
"""The errors of file systems that have no owners, modes or times, or do not allow setting them."""

_SHARED = stat.S_ISGID | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class Rights:
    """The owner and modes of a copy. They come from the directory that is copied, never from its files.

    No file is executable or has a set-ID bit. On a file system without owners or modes none are set.
    """

    directory: int
    file: int
    user: int
    group: int

    @classmethod
    def like(cls, root: str, owner: tuple[int, int] | None = None) -> Rights:
        """Return the rights of the container at ``root``; ``owner`` sets another user and group."""
        status = os.stat(root)
        is_shared = status.st_mode & _SHARED == _SHARED
        # Only the owner writes to a container that is not shared.
        mode = (stat.S_IMODE(status.st_mode) & (0o775 if is_shared else 0o755)) | stat.S_IRWXU
        user, group = owner or (status.st_uid, status.st_gid)
        return cls(mode | (stat.S_ISGID if is_shared else 0), mode & 0o666, user, group)

    def give(self, fd: int) -> None:
        """Set the mode of an open file or directory and, if the process may, its owner."""
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        with _best_effort():
            if os.geteuid() == 0:
                set_owner(fd, self.user, self.group)
            elif self.directory & stat.S_ISGID:
                set_owner(fd, -1, self.group)
        with _best_effort():
            set_mode(fd, self.directory if is_directory else self.file)

    def close(self, fd: int) -> None:
        """Lock all other users out of a directory until `give`, so that none of them moves files while it is filled."""
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
    """Create a small file and sync it. The directory is not synced."""
    with Working(posix.opening_new(name, 0o600, place.fd)) as fd:
        posix.write_at(fd, 0, data)
        posix.sync_file(fd)


def read_small_file(place: Directory, name: str) -> bytes | None:
    """Return the bytes of a small regular file; None when there is none."""
    try:
        file = Descriptor(posix.opening_for_reading(name, place.fd))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with file as fd:
        return posix.read_at(fd, 0, MOST_CONFIG) if stat.S_ISREG(os.fstat(fd).st_mode) else None


def mark_backup(place: Directory, container_id: str) -> None:
    """Write the mark into an empty directory that a backup of the container has made."""
    write_small_file(place, MARK, backup_mark(container_id))
    place.sync()


def backup_mark(container_id: str) -> bytes:
    """Return the bytes of the mark of a container."""
    return json.dumps({"made_by": f"rsdos {__version__}", "container_id": container_id}).encode()


def refuse_strangers(path: str, names: Iterable[str], read: Callable[[str], bytes | None], container_id: str) -> None:
    """Raise `NotOurs` unless a backup of the container has made the directory at ``path``, or the directory is empty.

    ``names`` are the names in the directory; ``read`` returns the bytes of one. Older releases wrote no mark: their
    unfinished backups are recognised by the configuration under its other name.
    """
    names = set(names)
    if names <= {MARK, MARKED}:
        return  # A backup was killed before it wrote more, perhaps while it wrote one of these.
    for name in (MARK, MARKED):
        if name in names and not (name == MARKED and CONFIG in names):
            found = id_in(read(name) or b"")
            if found and is_same(found, container_id):
                return
    raise NotOurs(path, "it was not made by a backup of this container: it is left alone, move it elsewhere")


def id_in(config: bytes) -> str | None:
    """Return the container's id in a configuration or a mark; None when there is none."""
    with suppress(ValueError, TypeError, LookupError):
        found = json.loads(config)["container_id"]
        return found if isinstance(found, str) else None
    return None


def is_own_path(path: str, form: Form, *, is_directory: bool = False) -> bool:
    """Return whether a path, relative to a directory of the given form, is the name of a file or directory of ours."""
    *above, name = path.split("/")
    for step in above:
        below = form.below(step)
        if below is None:
            return False
        form = below
    return form.below(name) is not None if is_directory else form.has_file(name)


def is_same(one: str, other: str) -> bool:
    """Return whether two ids are of one container: disk-objectstore writes hyphens, and a migration removes them."""
    return one.replace("-", "") == other.replace("-", "")


def refuse_wrong_kind(place: Directory, name: str) -> None:
    """Raise `NotOurs` when a link or a file is in the place of a directory of ours."""
    with suppress(FileNotFoundError), place.child(name):
        pass


def quarantine_directory(place: Directory) -> Directory:
    """Open the quarantine of a directory, for foreign files that are in the way. Make it if it is missing."""
    with suppress(FileExistsError):
        os.mkdir(QUARANTINE, 0o700, dir_fd=place.fd)
        place.sync()
    return place.child(QUARANTINE)

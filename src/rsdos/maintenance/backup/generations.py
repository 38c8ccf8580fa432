"""The directory of backups: one generation for each, named and arranged as by ``dostore backup``.

``backup_<YYYYmmddHHMMSS>_<random>`` are whole containers, ``live-backup`` is the unfinished one, and ``last-backup`` is
a symbolic link to the newest. Files with other names are left alone, and so are links in the place of a generation.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import string
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from rsdos.config import read_config
from rsdos.errors import Busy, ContainerExists, DamagedContainer, NotAContainer, NotOurs, log_warning
from rsdos.maintenance.copies import (
    CONFIG,
    DYING,
    GENERATION,
    LAST,
    LIVE,
    LOCK,
    MARK,
    MARKED,
    NEW_LAST,
    PLACE,
    REFUSED,
    is_same,
    mark_backup,
    quarantine_directory,
    read_small_file,
    refuse_strangers,
    refuse_wrong_kind,
)
from rsdos.model import WhenBusy
from rsdos.storage import locks, posix
from rsdos.storage.directory import Directory

__all__ = ["LOCK", "Generations", "names_among", "next_name", "refuse_another"]

_NAME = re.compile(GENERATION).fullmatch
_STAMP = "%Y%m%d%H%M%S"
_LETTERS = string.ascii_lowercase + string.digits


class Generations:
    """The backups in the directory ``root``. Links on the way to it are followed, links in it are not."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.live = os.path.join(self.root, LIVE)
        """The path of the unfinished backup."""

    @contextmanager
    def locked(self, when_busy: WhenBusy) -> Iterator[None]:
        """Make the directory, and hold the lock against other backups to it. Raise `Busy`."""
        made = not os.path.isdir(self.root)
        os.makedirs(self.root, exist_ok=True)
        if made:
            posix.sync_directory(os.path.dirname(self.root))
        path = os.path.join(self.root, LOCK)
        lock = locks.acquire(path) if when_busy is WhenBusy.WAIT else locks.try_acquire(path)
        if lock is None:
            raise Busy(self.root, locks.holder(path))
        with lock:
            lock.describe(f"a backup, process {os.getpid()} on {os.uname().nodename}")
            yield

    @contextmanager
    def protect_packs(self) -> Iterator[None]:
        """Protect all generations from deletion. In a read-only directory nobody deletes one: no lock is taken."""
        try:
            lock = locks.acquire_shared(os.path.join(self.root, LOCK))
        except OSError:
            yield
            return
        with lock:
            yield

    def open(self) -> Directory:
        """Open the directory. Raise FileNotFoundError."""
        return Directory(self.root, PLACE)

    def names(self) -> list[str]:
        """Return the names of the finished generations, oldest first."""
        try:
            place = self.open()
        except FileNotFoundError:
            return []
        with place:
            return [name for name in names_among(place.names()) if _has_configuration(place, name)]

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    @property
    def last(self) -> str | None:
        """The path of the newest generation; None without one."""
        names = self.names()
        return self.path(names[-1]) if names else None

    def check(self, container_id: str) -> None:
        """Raise `ContainerExists` for backups of another container, `NotOurs` for a foreign ``live-backup``."""
        if self.last:
            with suppress(NotAContainer, DamagedContainer):
                refuse_another(self.root, read_config(f"{self.last}/{CONFIG}").container_id, container_id)
        with suppress(FileNotFoundError), self.open() as place, place.child(LIVE) as live:
            for name in (CONFIG, MARKED):
                # The unfinished backup has no configuration yet, or not all of it.
                with suppress(NotAContainer, DamagedContainer):
                    refuse_another(self.root, read_config(f"{live.path}/{name}").container_id, container_id)
            refuse_strangers(live.path, live.names(), partial(read_small_file, live), container_id)

    @contextmanager
    def begun(self, container_id: str) -> Iterator[Directory]:
        """Open the unfinished backup; make and mark it if it is missing. Call `check` first."""
        with self.open() as place:
            with suppress(FileExistsError):
                os.mkdir(LIVE, 0o700, dir_fd=place.fd)
            with place.child(LIVE) as live:
                if MARK not in live.names():
                    mark_backup(live, container_id)
                yield live

    def open_quarantine(self) -> Directory:
        """Open the quarantine, for foreign files that are in the way. The caller closes it."""
        with self.open() as place:
            return quarantine_directory(place)

    def collect_garbage(self) -> None:
        """Remove the rest of generations whose deletion was interrupted."""
        with self.open() as place:
            for name in place.names():
                if name.startswith(DYING) and _NAME(name.removeprefix(DYING)):
                    refuse_wrong_kind(place, name)
                    self._delete(place, name)
                elif _NAME(name) and _is_half(place, name):
                    self._delete(place, name)

    def finish(self) -> str:
        """Make the unfinished backup the newest generation. Return its path. All of its files are synced already."""
        name = next_name(self.names())
        with self.open() as place:
            os.rename(LIVE, name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
            place.sync()
            self._point_last_to(place, name)
            place.sync()
        return self.path(name)

    def _point_last_to(self, place: Directory, name: str) -> None:
        """Point the link ``last-backup`` to a generation. Leave it out if a file is in its place, or without links."""
        with suppress(FileNotFoundError):
            if not stat.S_ISLNK(place.status(LAST).st_mode):
                log_warning("%s: exists and is not a link: it is left as it is", self.path(LAST))
                return
        place.remove(NEW_LAST)
        try:
            os.symlink(name, NEW_LAST, dir_fd=place.fd)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            log_warning("%s: this file system has no symbolic links (%s)", self.path(LAST), error.strerror)
            return
        os.rename(NEW_LAST, LAST, src_dir_fd=place.fd, dst_dir_fd=place.fd)

    def prune(self, keep: int, made: str, container_id: str) -> tuple[str, ...]:
        """Delete all generations of the container except ``made``, the newest, and ``keep`` others. Return their names.

        Foreign files in them are moved to quarantine.
        """
        with self.open() as place:
            own = [name for name in self.names() if name != made and self._is_of(name, container_id)]
            old = tuple(own[: len(own) - keep] if keep else own)
            dying = []
            for name in old:
                try:
                    os.rename(name, DYING + name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
                    dying.append(DYING + name)
                except OSError as error:
                    # overlayfs cannot rename a directory of a lower layer: delete it in place.
                    if error.errno != errno.EXDEV:
                        raise
                    dying.append(name)
            if old:
                # After a power loss, a half-deleted generation must not have the name of a whole one.
                place.sync()
            for name in dying:
                self._delete(place, name)
        return old

    def _is_of(self, name: str, container_id: str) -> bool:
        try:
            return is_same(read_config(self.path(name, CONFIG)).container_id, container_id)
        except (NotAContainer, DamagedContainer):
            return False

    def _delete(self, place: Directory, name: str) -> None:
        """Delete a generation: first the configuration, which makes it one, and last the mark."""
        with place.child(name) as generation:
            generation.remove(CONFIG)
            generation.sync()
            for below in generation.names():
                if stat.S_ISDIR(generation.status(below).st_mode) and generation.form.below(below):
                    generation.remove_tree(below)
        if place.remove_tree(name):
            with quarantine_directory(place) as quarantine:
                place.move_to_quarantine(name, quarantine)
                quarantine.sync()


def _has_configuration(place: Directory, name: str) -> bool:
    return _has_file(place, name, CONFIG)


def _is_half(place: Directory, name: str) -> bool:
    """Return whether a killed run has begun to delete this generation in place."""
    return _has_file(place, name, MARK) and not _has_file(place, name, CONFIG)


def _has_file(place: Directory, name: str, file: str) -> bool:
    try:
        with place.child(name) as generation:
            return stat.S_ISREG(generation.status(file).st_mode)
    except (FileNotFoundError, NotOurs, PermissionError):
        return False


def refuse_another(place: str, other: str, container_id: str) -> None:
    """Raise `ContainerExists` when the ``other`` id, of a backup in ``place``, is not the container's."""
    if not is_same(other, container_id):
        raise ContainerExists(place, "it has backups of another container")


def names_among(names: Iterable[str]) -> list[str]:
    """Return the names of generations, oldest first. A name with an impossible time is not one."""
    return sorted(name for name in names if _following(name))


def _following(name: str) -> datetime | None:
    """Return the second after that of a name; None for other names, and for the last year of the calendar."""
    match = _NAME(name)
    if match is None:
        return None
    year, month, day, hour, minute, second = int(match[1][:4]), *(int(match[1][at : at + 2]) for at in range(4, 14, 2))
    with suppress(ValueError, OverflowError):
        if year < datetime.max.year:
            return datetime(year, month, day, hour, minute, second) + timedelta(seconds=1)
    return None


def next_name(names: Sequence[str]) -> str:
    """Return the name of a new generation. Names ascend, even when the clock goes back: the last one is the newest."""
    now = datetime.now(UTC).replace(tzinfo=None)
    stamp = max([now, *filter(None, map(_following, names[-1:]))])
    return f"backup_{stamp.strftime(_STAMP)}_{''.join(secrets.choice(_LETTERS) for _ in range(4))}"

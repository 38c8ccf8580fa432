"""The directory that backups are in: one generation each, named and arranged as ``dostore backup`` does.

``backup_<YYYYmmddHHMMSS>_<random>`` are whole containers, ``live-backup`` is one that is not finished, ``last-backup``
is a symbolic link to the newest. What has another name is left alone, and so is a link in the place of one of these.
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
    """The backups in the directory ``root``: the way there may lead over links, nothing in it is a link."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.live = os.path.join(self.root, LIVE)
        """The one that is not finished."""

    @contextmanager
    def locked(self, when_busy: WhenBusy) -> Iterator[None]:
        """Make the directory, and keep other backups out of it. Raises `Busy`."""
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
        """Keep all generations where they are. Where nothing can be written nobody deletes one, and nothing is held."""
        try:
            lock = locks.acquire_shared(os.path.join(self.root, LOCK))
        except OSError:
            yield
            return
        with lock:
            yield

    def open(self) -> Directory:
        """The directory itself. Raises FileNotFoundError."""
        return Directory(self.root, PLACE)

    def names(self) -> list[str]:
        """The finished generations, oldest first."""
        try:
            place = self.open()
        except FileNotFoundError:
            return []
        with place:
            return [name for name in names_among(place.names()) if _is_whole(place, name)]

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    @property
    def last(self) -> str | None:
        """The path of the newest generation."""
        names = self.names()
        return self.path(names[-1]) if names else None

    def check(self, container_id: str) -> None:
        """Raises `ContainerExists` when backups of another container are here, `NotOurs` for a stranger's live one."""
        if self.last:
            with suppress(NotAContainer, DamagedContainer):
                refuse_another(self.root, read_config(f"{self.last}/{CONFIG}").container_id, container_id)
        with suppress(FileNotFoundError), self.open() as place, place.child(LIVE) as live:
            for name in (CONFIG, MARKED):
                # Nothing there yet, or not even the first file of it.
                with suppress(NotAContainer, DamagedContainer):
                    refuse_another(self.root, read_config(f"{live.path}/{name}").container_id, container_id)
            refuse_strangers(live.path, live.names(), partial(read_small_file, live), container_id)

    @contextmanager
    def begun(self, container_id: str) -> Iterator[Directory]:
        """The directory of the live one, open, made and marked if it is not there. `check` comes before."""
        with self.open() as place:
            with suppress(FileExistsError):
                os.mkdir(LIVE, 0o700, dir_fd=place.fd)
            with place.child(LIVE) as live:
                if MARK not in live.names():
                    mark_backup(live, container_id)
                yield live

    def move_to_quarantine(self) -> Directory:
        """The directory for what is not ours, and in the way; the caller closes it."""
        with self.open() as place:
            return quarantine_directory(place)

    def collect_garbage(self) -> None:
        """Remove what is left of generations that were being deleted."""
        with self.open() as place:
            for name in place.names():
                if name.startswith(DYING) and _NAME(name.removeprefix(DYING)):
                    refuse_wrong_kind(place, name)
                    self._delete(place, name)
                elif _NAME(name) and _is_half(place, name):
                    self._delete(place, name)

    def finish(self) -> str:
        """Make the live one a generation, the newest; returns its path. All that is in it is synced already."""
        name = next_name(self.names())
        with self.open() as place:
            os.rename(LIVE, name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
            place.sync()
            self._lead_to(place, name)
            place.sync()
        return self.path(name)

    def _lead_to(self, place: Directory, name: str) -> None:
        """Let the link lead there. Not every file system has links; what is no link stays."""
        with suppress(FileNotFoundError):
            if not stat.S_ISLNK(place.status(LAST).st_mode):
                log_warning("%s: is there, and is no link: it stays as it is", self.path(LAST))
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
        """Delete all generations of the container but ``made``, the newest, and ``keep`` others; returns their names.

        What is in them and not ours goes to quarantine.
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
                    # A directory of a lower layer of overlayfs cannot be renamed: it is deleted where it is.
                    if error.errno != errno.EXDEV:
                        raise
                    dying.append(name)
            if old:
                # Half of a generation must not be taken for one, whichever of its names a power loss leaves.
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
        """Delete a generation: first what makes it one, last what says whose it is."""
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


def _is_whole(place: Directory, name: str) -> bool:
    return _has_file(place, name, CONFIG)


def _is_half(place: Directory, name: str) -> bool:
    """Whether it is a generation of ours that was deleted where it is, by a run that was killed."""
    return _has_file(place, name, MARK) and not _has_file(place, name, CONFIG)


def _has_file(place: Directory, name: str, file: str) -> bool:
    try:
        with place.child(name) as generation:
            return stat.S_ISREG(generation.status(file).st_mode)
    except (FileNotFoundError, NotOurs, PermissionError):
        return False


def refuse_another(place: str, other: str, container_id: str) -> None:
    """Raises `ContainerExists` when the ``other`` id, of a backup in ``place``, is not that of the container."""
    if not is_same(other, container_id):
        raise ContainerExists(place, "it has backups of another container")


def names_among(names: Iterable[str]) -> list[str]:
    """Those that are of generations, oldest first. One that no clock has made is none: no later one could follow it."""
    return sorted(name for name in names if _following(name))


def _following(name: str) -> datetime | None:
    """The second behind that of a name; None when it is none of a generation, or its year is the last that there is."""
    match = _NAME(name)
    if match is None:
        return None
    year, month, day, hour, minute, second = int(match[1][:4]), *(int(match[1][at : at + 2]) for at in range(4, 14, 2))
    with suppress(ValueError, OverflowError):
        if year < datetime.max.year:
            return datetime(year, month, day, hour, minute, second) + timedelta(seconds=1)
    return None


def next_name(names: Sequence[str]) -> str:
    """The name of a new generation. Names go up, whatever the clock does: the newest is the one that was made last."""
    now = datetime.now(UTC).replace(tzinfo=None)
    stamp = max([now, *filter(None, map(_following, names[-1:]))])
    return f"backup_{stamp.strftime(_STAMP)}_{''.join(secrets.choice(_LETTERS) for _ in range(4))}"

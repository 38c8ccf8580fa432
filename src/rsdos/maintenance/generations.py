"""The directory that backups are in: one generation each, named and arranged as ``dostore backup`` does.

``backup_<YYYYmmddHHMMSS>_<random>`` are whole containers, ``live-backup`` is one that is not finished, ``last-backup``
is a symbolic link to the newest.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import string
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from rsdos import fsio, locks
from rsdos.config import read_config
from rsdos.errors import Busy, ContainerExists, DamagedContainer, NotAContainer
from rsdos.maintenance.mirror import config_path
from rsdos.model import WhenBusy

_NAME = re.compile(r"backup_(\d{14})_[0-9A-Za-z]{1,32}").fullmatch
_STAMP = "%Y%m%d%H%M%S"
_LETTERS = string.ascii_lowercase + string.digits
_LAST = "last-backup"
_DYING = ".deleting-"
LOCK = ".rsdos-lock"
"""The file that one backup at a time has locked, from whichever machine."""


class Generations:
    """The backups in the directory ``root``."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.live = os.path.join(self.root, "live-backup")
        """The one that is not finished."""

    @contextmanager
    def locked(self, when_busy: WhenBusy) -> Iterator[None]:
        """Make the directory, and keep other backups out of it. Raises `Busy`."""
        made = not os.path.isdir(self.root)
        os.makedirs(self.root, exist_ok=True)
        if made:
            fsio.sync_directory(os.path.dirname(self.root))
        path = os.path.join(self.root, LOCK)
        lock = locks.acquire(path) if when_busy is WhenBusy.WAIT else locks.try_acquire(path)
        if lock is None:
            raise Busy(self.root, locks.holder(path))
        with lock:
            lock.describe(f"a backup, process {os.getpid()} on {os.uname().nodename}")
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep all generations where they are. Where nothing can be written nobody deletes one, and nothing is held."""
        try:
            lock = locks.share(os.path.join(self.root, LOCK))
        except OSError:
            yield
            return
        with lock:
            yield

    def names(self) -> list[str]:
        """The finished generations, oldest first."""
        try:
            names = names_among(os.listdir(self.root))
        except FileNotFoundError:
            return []
        return [name for name in names if os.path.isfile(self.path(name, "config.json"))]

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    @property
    def last(self) -> str | None:
        """The path of the newest generation."""
        names = self.names()
        return self.path(names[-1]) if names else None

    def check(self, container_id: str) -> None:
        """Raises `ContainerExists` when backups of another container are here."""
        for root in filter(None, (self.last, self.live)):
            path = config_path(root)
            try:
                other = read_config(path).container_id
            except (NotAContainer, DamagedContainer):
                continue  # Nothing there yet, or not even the first file of it.
            refuse_another(self.root, other, container_id)

    def sweep(self) -> None:
        """Remove what is left of generations that were being deleted."""
        for name in os.listdir(self.root):
            if name.startswith(_DYING):
                shutil.rmtree(self.path(name))

    def finish(self) -> str:
        """Make the live one a generation, the newest; returns its path. All that is in it is synced already."""
        name = next_name(self.names())
        os.rename(self.live, self.path(name))
        fsio.sync_directory(self.root)
        link = self.path(f".{_LAST}.new")
        fsio.remove(link)
        os.symlink(name, link)
        os.rename(link, self.path(_LAST))
        fsio.sync_directory(self.root)
        return self.path(name)

    def prune(self, keep: int) -> tuple[str, ...]:
        """Delete all generations but the newest and ``keep`` before it; returns their names."""
        names = self.names()
        old = tuple(names[: -(keep + 1)])
        for name in old:
            os.rename(self.path(name), self.path(_DYING + name))
        if old:
            # Half of a generation must not be taken for one, whichever of its names a power loss leaves.
            fsio.sync_directory(self.root)
        for name in old:
            shutil.rmtree(self.path(_DYING + name))
        return old


def refuse_another(place: str, other: str, container_id: str) -> None:
    """Raises `ContainerExists` when the ``other`` id, of a backup in ``place``, is not that of the container."""
    # A migration takes the dashes out of an id that disk-objectstore gave.
    if other.replace("-", "") != container_id.replace("-", ""):
        raise ContainerExists(place, "it has backups of another container")


def names_among(names: Iterable[str]) -> list[str]:
    """Those that are of generations, oldest first."""
    return sorted(filter(_NAME, names))


def next_name(names: Sequence[str]) -> str:
    """The name of a new generation. Names go up, whatever the clock does: the newest is the one that was made last."""
    stamp = datetime.now(UTC).replace(tzinfo=None)
    for name in names[-1:]:
        match = _NAME(name)
        assert match
        with suppress(ValueError, OverflowError):  # A name that no clock has made.
            stamp = max(stamp, datetime.strptime(match[1], _STAMP) + timedelta(seconds=1))
    return f"backup_{stamp.strftime(_STAMP)}_{''.join(secrets.choice(_LETTERS) for _ in range(4))}"

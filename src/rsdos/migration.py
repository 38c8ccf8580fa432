"""Checks that a container is still the one that was opened; and ``migration.json``, which marks a running migration.

A program that had the container open during the last step of a migration, or while another container was put in its
place, would use an index that no other program reads. So each commit checks ``config.json`` while it holds the lock
under which that file is replaced, and so does each reader that loads the index again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from rsdos.config import Config, read_config_from
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, NotAContainer
from rsdos.layout import Layout
from rsdos.names import CONFIG, MAINTENANCE_LOCK
from rsdos.storage import posix
from rsdos.storage.base import Version

if TYPE_CHECKING:
    from rsdos.storage.opened import HeldLock


def begin_migration(layout: Layout, to: int) -> None:
    """Write ``migration.json``: from now on the files of the version ``to`` are an unfinished migration's."""
    posix.replace_file(layout.migration, json.dumps({"to": to}).encode())
    posix.sync_directory(layout.root)


def unfinished_migration(layout: Layout) -> int | None:
    """Return the version that a migration has begun to, while its files are not cleaned up; None without one."""
    with suppress(FileNotFoundError, ValueError, TypeError, LookupError):
        return int(json.loads(posix.read_file(layout.migration, 1 << 10))["to"])
    return None


class Original:
    """The version and id of a container when it was opened, to find out when it was replaced. Any thread may use it."""

    def __init__(self, layout: Layout, version: int, container_id: str | None = None) -> None:
        """Without a ``container_id`` the first `check` takes it from the file."""
        self._layout = layout
        self._version = version
        self._id = None if container_id is None else _without_hyphens(container_id)
        self._seen: Version | None = None
        """The version of ``config.json`` when it last belonged to the same container."""
        self.maintenance: HeldLock | None = None
        """The maintenance lock, while this container holds it alone."""
        self.is_replaced = False
        """Whether `check` has raised."""

    def opened(self, config: Version) -> None:
        """Remember the file ``config.json`` that was read at open, so that the first `check` need not read it again."""
        self._seen = config

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` when the path does not lead to the same container any more.

        Raise `Busy` if this container runs an operation of maintenance, and another process has begun one since its
        lock file was removed: what a repair would write, a delete may have removed.

        One ``stat`` while the file ``config.json`` is unchanged; otherwise the file is read (6 us). A damaged file
        raises nothing. A writer calls this while it holds the lock under which the file is replaced.
        """
        lock = self.maintenance
        if lock is not None and lock.is_held and not lock.is_in_place():
            self._refuse_another()
        file = self._layout.storage.version(CONFIG)
        if file is None:
            self.is_replaced = True
            raise NotAContainer(self._layout.root, "the container was removed after it was opened")
        if file != self._seen:
            self.is_replaced = True
            with suppress(DamagedContainer):
                self._compare(read_config_from(self._layout.storage)[0])
            self.is_replaced = False
            self._seen = file

    def _refuse_another(self) -> None:
        if self._layout.storage.exists(MAINTENANCE_LOCK):
            holder = self._layout.storage.holder(MAINTENANCE_LOCK)
            raise Busy("the container's maintenance lock, whose file was removed,", holder)

    def _compare(self, now: Config) -> None:
        if self._id is None:
            self._id = _without_hyphens(now.container_id)
        if _without_hyphens(now.container_id) != self._id:
            reason = "it was replaced by another container since it was opened: open it again"
            raise ContainerReplaced(self._layout.root, reason)
        # The migration itself uses the index of the new version while config.json has the old one.
        is_new = self._seen is None and unfinished_migration(self._layout) == self._version
        if now.version != self._version and not is_new:
            reason = f"it was migrated to version {now.version} since it was opened: open it again"
            raise ContainerReplaced(self._layout.root, reason)


def _without_hyphens(container_id: str) -> str:
    """Return an id as a migration writes it: disk-objectstore writes a UUID with hyphens."""
    return container_id.replace("-", "")

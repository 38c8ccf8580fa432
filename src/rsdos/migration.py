"""Whether a container is still the one that was opened, and ``migration.json``, which says that it is being migrated.

A program that had the container open across the last step of a migration, or while another container was put in its
place, would go on with an index that nobody looks at. So each commit looks at ``config.json`` while it holds the lock
under which that is replaced, and so does each reader that loads the index anew.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from rsdos.config import Config, read_config
from rsdos.errors import ContainerReplaced, DamagedContainer, NotAContainer
from rsdos.layout import Layout
from rsdos.storage import posix


def begin_migration(layout: Layout, to: int) -> None:
    """Say that a migration to a version has begun: what belongs to that version is unfinished from now on."""
    posix.replace_file(layout.migration, json.dumps({"to": to}).encode())
    posix.sync_directory(layout.root)


def unfinished_migration(layout: Layout) -> int | None:
    """The version to which a migration has begun that is not tidied up."""
    with suppress(FileNotFoundError, ValueError, TypeError, LookupError):
        return int(json.loads(posix.read_file(layout.migration, 1 << 10))["to"])
    return None


class Original:
    """What a container was when it was opened: its version and id. Tells when it is another by now. Any thread may."""

    def __init__(self, layout: Layout, version: int, container_id: str | None = None) -> None:
        """Without a ``container_id`` it is that of the first look."""
        self._layout = layout
        self._version = version
        self._id = None if container_id is None else _without_hyphens(container_id)
        self._seen: tuple[int, ...] | None = None
        """Which file ``config.json`` was when it was found to be the same container's."""
        self.is_replaced = False
        """Whether that was ever said."""

    def opened(self, config: os.stat_result) -> None:
        """Say which file ``config.json`` was when the container was opened: the first look need not read it again."""
        self._seen = config.st_dev, config.st_ino, config.st_mtime_ns, config.st_size

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` when it is not the same container any more.

        One ``stat`` where its configuration is the file that it was; else that is read: 6 us. Where the file is damaged
        nothing is said. Who is about to commit asks while it holds the lock under which that file is replaced.
        """
        try:
            status = os.stat(self._layout.config)
        except (FileNotFoundError, NotADirectoryError):
            self.is_replaced = True
            raise NotAContainer(self._layout.root, "it was there when it was opened, and is gone") from None
        file = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
        if file != self._seen:
            self.is_replaced = True
            with suppress(DamagedContainer):
                self._compare(read_config(self._layout.config))
            self.is_replaced = False
            self._seen = file

    def _compare(self, now: Config) -> None:
        if self._id is None:
            self._id = _without_hyphens(now.container_id)
        if _without_hyphens(now.container_id) != self._id:
            reason = "another container was put in its place since it was opened: open it anew"
            raise ContainerReplaced(self._layout.root, reason)
        if now.version != self._version and unfinished_migration(self._layout) != self._version:
            reason = f"it was migrated to version {now.version} since it was opened: open it anew"
            raise ContainerReplaced(self._layout.root, reason)


def _without_hyphens(container_id: str) -> str:
    """As a migration leaves it: version 1 may have it with hyphens."""
    return container_id.replace("-", "")

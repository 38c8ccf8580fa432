"""``migration.json``: what says that a migration in place has begun, and who may still write when it is done.

A program that had the container open across the last step would go on with an index that nobody looks at, and that the
next maintenance removes. So each commit looks at ``config.json`` while it holds the lock under which that is renamed.
"""

from __future__ import annotations

import json
from contextlib import suppress

from rsdos import fsio
from rsdos.config import read_config
from rsdos.errors import DamagedContainer, NotAContainer, ReadOnlyContainer
from rsdos.layout import Layout


def mark(layout: Layout, to: int) -> None:
    """Say that a migration to a version has begun: what belongs to that version is unfinished from now on."""
    fsio.replace_file(layout.migration, json.dumps({"to": to}).encode())
    fsio.sync_directory(layout.root)


def marked(layout: Layout) -> int | None:
    """The version to which a migration has begun that is not tidied up."""
    with suppress(FileNotFoundError, ValueError, TypeError, LookupError):
        return int(json.loads(fsio.read_file(layout.migration, 1 << 10))["to"])
    return None


def refuse_migrated(layout: Layout, version: int) -> None:
    """Raise `ReadOnlyContainer` when the container is not of that version any more, nor about to be.

    Whoever is about to commit holds the lock on commits. 6 us: a small file is read. Where it cannot be told, nothing
    is said.
    """
    with suppress(NotAContainer, DamagedContainer):
        now = read_config(layout.config).version
        if now != version and marked(layout) != version:
            raise ReadOnlyContainer(layout.root, f"it was migrated to version {now} since it was opened: open it anew")

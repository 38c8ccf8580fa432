"""The snapshots of a container by the first part of a path, for doors that show them as directories."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from rsdos.errors import InvalidName, RefNotFound
from rsdos.facade.entry import no_such_path

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.facade.snapshot import Snapshot

_KEPT = 64
"""Snapshots that are kept open: of each only the record is in memory, and no page."""


class NewestSnapshots:
    """The snapshots of a container by the names of directories: a slash in a ref is written ``%2F``. Any thread.

    Each call reads the newest refs, which takes 64 us.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self._opened: dict[str, Snapshot] = {}

    def at(self, name: str) -> Snapshot:
        """Return the snapshot that a name leads to now. Raise FileNotFoundError."""
        names, ref = self._container.snapshots, unquote(name)
        try:
            key = names.find(ref)
            snapshot = self._opened.get(key)
            if snapshot is None:
                snapshot = names[ref]
                if len(self._opened) >= _KEPT:
                    self._opened.clear()
                self._opened[snapshot.key] = snapshot
        except (RefNotFound, InvalidName) as error:
            raise no_such_path(name) from error
        return snapshot

    def names(self) -> list[str]:
        """Return the names of all branches and tags."""
        return [quote(ref, safe="") for ref in self._container.snapshots]

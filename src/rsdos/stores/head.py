"""The newest state of a container, as another machine remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.index.manifest import Manifest


class Head(NamedTuple):
    """Identifies the newest state of a container: no other state of it has the same head, nor has one of a copy that
    was changed separately.

    ``commit`` is the name of the commit that made the manifest of this ``number``; "" in version 2, whose commits have
    no names. ``history`` has the numbers and names of earlier commits, as far as the manifest has them.
    """

    container_id: str
    number: int
    commit: str = ""
    history: tuple[tuple[int, str], ...] = ()
    epoch: int = 0
    """Grows with each commit that deletes objects; 0 if deletes are not counted."""
    refs: str = ""
    """The key of the refs document, "" if there is none."""

    @classmethod
    def of(cls, manifest: Manifest) -> Head:
        """Return the head of the state of a manifest."""
        remote = manifest.remote
        if remote is None:
            return cls(manifest.container_id, manifest.number, epoch=manifest.epoch, refs=manifest.refs)
        return cls(manifest.container_id, manifest.number, remote.commit, remote.history, manifest.epoch, manifest.refs)

"""The newest state of a container, as another machine remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.index.manifest import Manifest


class Head(NamedTuple):
    """What tells the newest state of a container from any other: of this container, and of a copy that went its own
    way.

    ``commit`` is the name of the commit that made the manifest of this ``number``, "" in version 2, which has none.
    ``history`` has the numbers and names of the commits before, as far as the manifest has them.
    """

    container_id: str
    number: int
    commit: str = ""
    history: tuple[tuple[int, str], ...] = ()
    epoch: int = 0
    """Grows with each commit that deletes; 0: deletes are not counted."""

    @classmethod
    def of(cls, manifest: Manifest) -> Head:
        """Return that of a manifest."""
        remote = manifest.remote
        if remote is None:
            return cls(manifest.container_id, manifest.number, epoch=manifest.epoch)
        return cls(manifest.container_id, manifest.number, remote.commit, remote.history, manifest.epoch)

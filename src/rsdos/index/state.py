"""What lookups in an index go to, and what tells whether a power loss has taken a part of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentName
from rsdos.index.snapshot import Snapshot
from rsdos.storage.base import RandomAccess, Version

Recover = Callable[[Manifest | None], Snapshot]
"""Makes a snapshot from the segments inside the packs: of the packs of a manifest, or of all when that is damaged."""

CheckPack = Callable[[RandomAccess, int], None]
"""Is given an open file and a pack id; raises `DamagedContainer` when that is not this pack."""


class Losses(NamedTuple):
    """What tells which batches a power loss has taken of those that relaxed writers left unsynced (ADR 11).

    Both give the same manifest back where nothing is lost. ``cut`` asks how long the packs are, ``unwritten`` reads the
    tables of batches, but those of the segments that are named as known to be whole.
    """

    cut: Callable[[Manifest], Manifest]
    unwritten: Callable[[Manifest, Collection[SegmentName]], Manifest]


class IndexState(NamedTuple):
    """What lookups go to: a snapshot, and the number of the newest manifest at the time (0: there was none).

    ``missing`` is that of a newer one, which was committed and is not there (0: there is no such thing). ``file`` tells
    the manifest from another of its number, in a container that was put in the place of this one. ``lost`` says that a
    power loss has taken a part of what the manifest names; the snapshot is without it, and the next writer says so.
    """

    snapshot: Snapshot
    number: int
    is_recovered: bool = False
    missing: int = 0
    file: Version | None = None
    lost: bool = False

    def is_of(self, other: IndexState) -> bool:
        """Whether both are of the same manifest: lookups have the same answers."""
        return (self.number, self.missing, self.file) == (other.number, other.missing, other.file)


def counted(snapshot: Snapshot) -> Snapshot:
    """The same, its packs counted by what is there."""
    with suppress(DamagedContainer):
        return Snapshot(snapshot.manifest._replace(packs=snapshot.with_dead_counted()), snapshot.segments)
    return snapshot

"""Counts of what packs hold: the same record for both versions."""

from __future__ import annotations

from typing import NamedTuple

MIN_DEAD = 0.2
"""At a fifth of dead bytes a repack writes four bytes to win one: about where log-structured stores settle."""


class PackStats(NamedTuple):
    """One pack. ``length`` of its bytes belong to the container, ``stored`` of these to objects, dead ones included.

    ``synced`` bytes are known to be on stable storage. A ``sealed`` pack is never appended to again.
    """

    id: int
    length: int
    synced: int
    sealed: bool = False
    objects: int = 0
    size: int = 0
    stored: int = 0
    dead_objects: int = 0
    dead_size: int = 0
    dead_stored: int = 0

    def is_worth_a_repack(self, min_dead: float = MIN_DEAD) -> bool:
        """Whether enough of it is dead."""
        if self.objects and self.objects == self.dead_objects:
            return True
        return self.dead_stored > 0 and self.dead_stored >= min_dead * self.stored


class PackedStats(NamedTuple):
    """The packed side of a container, each key counted once. ``index_length`` are the bytes of the index's files.

    ``is_recovered`` says that the index was read from the packs, because a part of it is damaged; ``damage`` is what
    was wrong with one of these, if anything was. ``manifest`` is the number of the newest manifest and ``segments`` how
    many are live, 0 where there is no such thing.
    """

    packs: tuple[PackStats, ...]
    index_length: int
    manifest: int = 0
    segments: int = 0
    is_recovered: bool = False
    damage: str = ""

    @property
    def objects(self) -> int:
        return sum(pack.objects - pack.dead_objects for pack in self.packs)

    @property
    def size(self) -> int:
        """Raw bytes of the packed objects."""
        return sum(pack.size - pack.dead_size for pack in self.packs)

    @property
    def stored(self) -> int:
        """Stored bytes of the packed objects."""
        return sum(pack.stored - pack.dead_stored for pack in self.packs)

    @property
    def dead_objects(self) -> int:
        return sum(pack.dead_objects for pack in self.packs)

    @property
    def dead_stored(self) -> int:
        """Stored bytes that no key leads to any more."""
        return sum(pack.dead_stored for pack in self.packs)

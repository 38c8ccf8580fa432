"""Counts of the objects in packs: the same record for both versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.model import LISTED, Counts, PackKind

MIN_DEAD = 0.2
"""The share of dead bytes from which on a repack is worth it. At a fifth a repack writes four bytes to free one, as
log-structured stores commonly do."""


def is_worth_a_repack(pack: PackEntry, min_dead: float = MIN_DEAD) -> bool:
    """Return whether enough of a pack is dead."""
    if pack.objects and pack.objects == pack.dead_objects:
        return True
    return pack.dead_stored > 0 and pack.dead_stored >= min_dead * pack.stored


MIN_OVERHEAD = 0.5
"""`optimize` rewrites a pack if a repack would free at least this share of the pack, of its overhead."""

_LEAST_GAIN = 64 << 10
"""The least bytes of overhead that all such repacks must free together: those of sixteen batches of one object."""

_OF_AN_OBJECT = 40
"""Bytes of overhead that an object has in a large batch: 38 in the table of contents."""


def worth_a_repack(packs: Iterable[PackEntry], min_dead: float, min_overhead: float) -> tuple[int, ...]:
    """Return the ids of the packs to rewrite: those with enough dead bytes, or enough overhead that a repack frees.

    With ``min_overhead`` 1 no pack is rewritten for its overhead.
    """
    packs = list(packs)
    gains = {pack.id: _gain(pack) for pack in packs}
    wasteful = {pack.id for pack in packs if 0 < gains[pack.id] >= min_overhead * pack.length and min_overhead < 1}
    if sum(gains[pack_id] for pack_id in wasteful) < _LEAST_GAIN:
        wasteful = set()
    return tuple(pack.id for pack in packs if pack.id in wasteful or is_worth_a_repack(pack, min_dead))


def _gain(pack: PackEntry) -> int:
    """Return the bytes of overhead of a pack, minus those that its live objects would have in a large batch."""
    return pack.overhead - _OF_AN_OBJECT * (pack.objects - pack.dead_objects)


class PackedStats(NamedTuple):
    """The packed side of a container, each key counted once. ``index_length`` are the bytes of the index's files.

    ``is_recovered`` says that the index was read from the packs, because a part of it is damaged or of a later release;
    ``damage`` says which release, or describes damage in one of these packs; "" for neither. ``manifest`` is the number
    of the newest manifest, ``segments`` the number of live segments; both are 0 in version 1. ``refs`` is the key of
    the newest refs document, "" for none.
    """

    packs: Packs
    index_length: int
    manifest: int = 0
    segments: int = 0
    is_recovered: bool = False
    damage: str = ""
    refs: str = ""

    @property
    def live(self) -> Counts:
        """The packed objects that keys lead to and that are listed."""
        return self.counts(*LISTED)

    def counts(self, *kinds: PackKind) -> Counts:
        """Return the objects in packs of some kinds that keys lead to."""
        sums = self.packs.sums(kinds)
        return sums.total - sums.dead

    @property
    def dead(self) -> Counts:
        """The packed objects that no key leads to any more."""
        return self.packs.sums().dead

    @property
    def overhead(self) -> int:
        """The bytes in packs that belong to no object."""
        return self.packs.sums().overhead

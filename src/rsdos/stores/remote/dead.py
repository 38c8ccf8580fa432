"""Which objects of a container of version 3 are dead, by its manifests and by times of its medium: a pure rule.

An id is given out by a commit, once. It is *reserved* for a writer, then *live* in manifests, then *retired*.
Afterwards, or if its writer never came back, it is *dead*. A dead name never becomes live again: only a reserved id
can, and no commit reserves an id twice. So the object of a dead name may be removed at any moment, by a manifest of any
age, and more than once.

Times decide when reservations and retired rows are dropped, but safety does not depend on them: a writer whose
reservation was dropped gets `Expired` when it commits. All times are those that the medium gave the manifests, so no
clock of a client counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

from rsdos.index.manifest import Manifest
from rsdos.index.remote_state import PACK, SEGMENT, TABLE
from rsdos.index.reservations import state_of, without_reservations, without_retired

NEWEST = 64
"""Manifests that keep their bytes whatever their age: a reader that is a few commits behind needs no listing."""


class SeenManifest(NamedTuple):
    """A manifest in a listing: its number, and its time in seconds of the medium (0.0: not known)."""

    number: int
    time: float


class Bounds(NamedTuple):
    """The newest manifests that are old enough (0: none is).

    A reservation of ``expired`` or before lapses, and a retired row of ``unneeded`` or before. Manifests before
    ``unneeded`` may be emptied.
    """

    expired: int = 0
    unneeded: int = 0


def bounds(seen: Iterable[SeenManifest], now: SeenManifest, grace: float, keep: float) -> Bounds:
    """Return the newest manifests that are ``grace`` and ``keep`` seconds older than ``now``, which was just committed.

    Nothing is old by a time that is not known. An emptied manifest has the time of its emptying, which is later than
    that of its commit: it counts as too young, never as too old.
    """
    expired = unneeded = 0
    if now.time > 0:
        for number, time in seen:
            if number < now.number and time > 0:
                if time <= now.time - grace:
                    expired = max(expired, number)
                if time <= now.time - keep:
                    unneeded = max(unneeded, number)
    return Bounds(expired, unneeded)


def lapsed(newest: Manifest, old: Bounds) -> Manifest:
    """Return the manifest without the reservations and retired rows that are old; itself if it has none of these."""
    return without_retired(without_reservations(newest, old.expired), old.unneeded)


def to_empty(newest: Manifest, old: Bounds) -> range:
    """Return the numbers of the manifests to be emptied."""
    return range(max(state_of(newest).emptied_below, 1), min(old.unneeded, newest.number - NEWEST + 1))


class DeadNames:
    """The dead names of one manifest. Any number of threads."""

    def __init__(self, manifest: Manifest) -> None:
        state = state_of(manifest)
        self._next_id = manifest.next_pack_id
        # No id is reserved twice. Up to 65,536 rows, and each name of a listing is looked up in them.
        self._reserved = sorted((row.first, row.end) for row in state.reserved)
        self._needed = {(PACK, pack.id, pack.suffix) for pack in manifest.packs}
        self._needed |= {(SEGMENT, entry.number, entry.suffix) for entry in manifest.segments if entry.number}
        self._needed |= {(TABLE, entry.number, entry.suffix) for entry in manifest.packs.tables.entries}
        self._needed |= {row[:3] for row in state.retired}

    def has(self, kind: str, number: int, suffix: str) -> bool:
        """Return whether the object of this name is dead: its id was given out, and is not needed under this name."""
        if number >= self._next_id:
            return False
        at = bisect_right(self._reserved, number, key=itemgetter(0))
        if at and number < self._reserved[at - 1][1]:
            return False
        return (kind, number, suffix) not in self._needed

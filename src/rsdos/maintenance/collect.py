"""Collect: delete every object that a list does not name (garbage collection). Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from rsdos.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.index import KeySet
from rsdos.interfaces import Progress
from rsdos.maintenance.delete import CHUNK, delete_packed
from rsdos.progress import SILENCE


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """The keys of the objects to keep; gone through once."""

    keep: Iterable[str]


@dataclass(frozen=True, slots=True)
class CollectPlan:
    """What there is to delete: ``objects`` that were there when the plan was begun, and are none of the ``named``."""

    objects: int
    named: int
    listing: Listing = field(repr=False)


@dataclass(frozen=True, slots=True)
class CollectReport:
    """How many objects were deleted, in ``seconds``."""

    deleted: int = 0
    seconds: float = 0.0


class Listing:
    """What was in the container at one moment, and which of it is not to stay.

    Memory: 8 bytes for each key to keep (twice that while they are read), and 32 for each loose object.
    """

    def __init__(self, engine: Engine, keep: Iterable[str]) -> None:
        # Before the list is read, which may take a while: what is inserted meanwhile is not to be deleted.
        hash_type = engine.config.hash
        self.seen = engine.packed.moment()
        self._engine = engine
        self._size = hash_type.digest_bytes
        self._loose = b"".join(b"".join(hash_type.parse_keys(keys)) for keys in _lists(engine.loose))
        self.keep = KeySet(map(hash_type.parse_keys, _lists(keep)))

    def loose(self) -> Iterator[list[bytes]]:
        """The loose objects to delete, in lists of bounded size."""
        step = CHUNK * self._size
        for start in range(0, len(self._loose), step):
            some = self._loose[start : start + step]
            yield self.keep.without([some[at : at + self._size] for at in range(0, len(some), self._size)])

    def packed(self) -> Iterator[list[bytes]]:
        """The packed objects to delete, in lists of bounded size."""
        some: list[bytes] = []
        for digests in self._engine.packed.listing(self.seen):
            some += self.keep.without(digests)
            while len(some) >= CHUNK:
                yield some[:CHUNK]
                del some[:CHUNK]
        yield some


def plan(engine: Engine, options: CollectOptions) -> CollectPlan:
    """List the container, read the keys to keep, and count what is to be deleted.

    Raises `InvalidKey`, and `InvalidOption` when there is no key to keep: that would delete everything, and is more
    often a list that could not be made.
    """
    listing = Listing(engine, options.keep)
    if not len(listing.keep):
        raise InvalidOption("the list of keys to keep is empty: that would delete every object")
    objects = sum(map(len, listing.packed()))
    objects += sum(engine.packed.contains_many(digests).count(False) for digests in listing.loose())
    return CollectPlan(objects, len(listing.keep), listing)


def execute(engine: Engine, plan: CollectPlan, progress: Progress = SILENCE) -> CollectReport:
    """Delete what the plan has listed; see `rsdos.maintenance.delete`.

    Objects that came after the plan was begun stay, and those that were moved meanwhile, by packing or a repack: the
    next run has them. An insert that found its object there, and did not store it again, does not keep it: its key
    belongs on the list first. Killed at any moment a part is deleted; the next run goes on.
    """
    begun = monotonic()
    deleted = 0
    with engine.maintenance("delete"):
        engine.packed.sweep()
        progress.start("Deleting", plan.objects, "objects")
        try:
            for digests in plan.listing.loose():
                gone = engine.packed.contains_many(engine.loose.delete(digests)).count(False)
                deleted += gone
                progress.advance(gone)
            for digests in plan.listing.packed():
                gone = len(delete_packed(engine, digests, plan.listing.seen)) if digests else 0
                deleted += gone
                progress.advance(gone)
        finally:
            progress.finish()
    return CollectReport(deleted, monotonic() - begun)


def _lists(keys: Iterable[str]) -> Iterator[list[str]]:
    keys = iter(keys)
    while some := list(islice(keys, CHUNK)):
        yield some

"""Collect: delete every object that a list does not name (garbage collection). Options → plan → execute → report."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.index.key_set import KeySet
from rsdos.maintenance.delete import CHUNK, delete_packed
from rsdos.model import Codec
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores.loose.paths import SeenFile
from rsdos.stores.order import FileId


@dataclass(frozen=True, slots=True)
class RetainOptions:
    """The keys of the objects to keep; gone through once."""

    keep: Iterable[str]


@dataclass(frozen=True, slots=True)
class RetainPlan:
    """What there is to delete: ``objects`` that were there when the plan was begun, and are none of the ``named``."""

    objects: int
    named: int
    listing: Listing = field(repr=False)


@dataclass(frozen=True, slots=True)
class RetainReport:
    """How many objects were deleted, in ``seconds``."""

    deleted: int = 0
    seconds: float = 0.0


class Listing:
    """What was in the container at one moment, and which of it is not to stay.

    Memory: 8 bytes for each key to keep (twice that while they are read), 49 for each loose object, and in version 1 as
    many for each packed one.
    """

    def __init__(self, engine: Engine, keep: Iterable[str]) -> None:
        # Before the list is read, which may take a while: what is inserted meanwhile is not to be deleted.
        hash_type = engine.config.hash
        self.seen = engine.packed.snapshot_keys()
        self._engine = engine
        self._record = struct.Struct(f"<{hash_type.digest_bytes}sBQq")
        self._loose = b"".join(b"".join(map(self._packed, files)) for files in engine.loose.names.seen())
        self.keep = KeySet(map(hash_type.parse_keys, _lists(keep)))

    def _packed(self, file: SeenFile) -> bytes:
        return self._record.pack(file.digest, file.codec, *file.id)

    def loose(self) -> Iterator[list[SeenFile]]:
        """The loose files to delete, in lists of bounded size."""
        step = CHUNK * self._record.size
        for start in range(0, len(self._loose), step):
            records = self._record.iter_unpack(self._loose[start : start + step])
            files = [SeenFile(digest, Codec(codec), FileId(*file)) for digest, codec, *file in records]
            goes = set(self.keep.without([file.digest for file in files]))
            yield [file for file in files if file.digest in goes]

    def packed(self) -> Iterator[list[bytes]]:
        """The packed objects to delete, in lists of bounded size."""
        some: list[bytes] = []
        for digests in self._engine.packed.keys_of(self.seen):
            some += self.keep.without(digests)
            while len(some) >= CHUNK:
                yield some[:CHUNK]
                del some[:CHUNK]
        yield some


def plan(engine: Engine, options: RetainOptions) -> RetainPlan:
    """List the container, read the keys to keep, and count what is to be deleted.

    Raises `InvalidKey`, and `InvalidOption` when there is no key to keep: that would delete everything, and is more
    often a list that could not be made.
    """
    listing = Listing(engine, options.keep)
    if not len(listing.keep):
        raise InvalidOption("the list of keys to keep is empty: that would delete every object")
    objects = sum(map(len, listing.packed()))
    for files in listing.loose():
        objects += engine.packed.contains_many(list({file.digest for file in files})).count(False)
    return RetainPlan(objects, len(listing.keep), listing)


def execute(engine: Engine, plan: RetainPlan, progress: Progress = SILENCE) -> RetainReport:
    """Delete what the plan has listed; see `rsdos.maintenance.delete`.

    What was there when the plan was begun goes: the same file, the same place in a pack. What came since stays, also
    where the same object was deleted and inserted anew, and so does what was moved, by packing or a repack: the next
    run has it. An insert that found its object there, or that had begun before the plan, does not keep it: its key
    belongs on the list first. Killed at any moment a part is deleted; the next run goes on.
    """
    begun = monotonic()
    deleted = 0
    with engine.maintenance("delete"):
        engine.packed.collect_garbage()
        progress.start("Deleting", plan.objects, "objects")
        try:
            for files in plan.listing.loose():
                gone = engine.packed.contains_many(engine.loose.delete_seen(files)).count(False)
                deleted += gone
                progress.advance(gone)
            for digests in plan.listing.packed():
                gone = len(delete_packed(engine, digests, plan.listing.seen)) if digests else 0
                deleted += gone
                progress.advance(gone)
        finally:
            progress.finish()
    return RetainReport(deleted, monotonic() - begun)


def _lists(keys: Iterable[str]) -> Iterator[list[str]]:
    keys = iter(keys)
    while some := list(islice(keys, CHUNK)):
        yield some

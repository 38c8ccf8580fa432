"""Retain: delete every object that a list of keys does not name. Options → plan → execute → report."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.index.key_set import KeySet
from rsdos.maintenance.full_disk import CHUNK
from rsdos.maintenance.hold import HoldingDelete
from rsdos.model import Codec, PackKind
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.loose.paths import SeenFile
from rsdos.stores.order import FileId


@dataclass(frozen=True, slots=True)
class RetainOptions:
    """The keys of the objects to keep. They are iterated once."""

    keep: Iterable[str]


@dataclass(frozen=True, slots=True)
class RetainPlan:
    """The number of ``objects`` to delete: those that existed when the plan began, except those of ``named`` keys."""

    objects: int
    named: int
    listing: Contents = field(repr=False)


@dataclass(frozen=True, slots=True)
class RetainReport(ShownAsTable):
    """The number of objects ``deleted``. The run took ``seconds``.

    ``held`` is the number of deleted objects that stay readable, because they are stored for snapshots as well.
    """

    deleted: int = 0
    seconds: float = 0.0
    held: int = 0


class Contents:
    """The content of a container at one moment, and which of its objects are to be deleted.

    Memory: 8 bytes for each key to keep (16 while they are read), 49 bytes for each loose object, and in version 1 as
    many for each packed object.
    """

    def __init__(self, engine: Engine, keep: Iterable[str]) -> None:
        # List the container before the list of keys is read, which may take long: objects inserted during that time are
        # not deleted.
        hash_type = engine.config.hash
        self.seen = engine.packed.maintenance.snapshot_keys()
        self._engine = engine
        self._record = struct.Struct(f"<{hash_type.digest_bytes}sBQq")
        self._loose = b"".join(b"".join(map(self._packed, files)) for files in engine.loose.names.seen())
        self.keep = KeySet(map(hash_type.parse_keys, _lists(keep)))

    def _packed(self, file: SeenFile) -> bytes:
        return self._record.pack(file.digest, file.codec, *file.id)

    def loose(self) -> Iterator[list[SeenFile]]:
        """Yield the loose files to delete, in lists of bounded size."""
        step = CHUNK * self._record.size
        for start in range(0, len(self._loose), step):
            records = self._record.iter_unpack(self._loose[start : start + step])
            files = [SeenFile(digest, Codec(codec), FileId(*file)) for digest, codec, *file in records]
            goes = set(self.keep.without([file.digest for file in files]))
            yield [file for file in files if file.digest in goes]

    def packed(self) -> Iterator[list[bytes]]:
        """Yield the packed objects to delete, in lists of bounded size."""
        some: list[bytes] = []
        for digests in self._engine.packed.maintenance.keys_of(self.seen):
            some += self.keep.without(digests)
            while len(some) >= CHUNK:
                yield some[:CHUNK]
                del some[:CHUNK]
        yield some


def plan(engine: Engine, options: RetainOptions) -> RetainPlan:
    """List the container, read the keys to keep, and count the objects to delete.

    Args:
        engine: the open container.
        options: the keys to keep.

    Returns:
        The number of objects to delete, and the listing that `execute` works on.

    Raises:
        InvalidKey: one of the keys is not a key.
        InvalidOption: the list is empty. It would delete every object, and usually means that making the list failed.
    """
    listing = Contents(engine, options.keep)
    if not len(listing.keep):
        raise InvalidOption("the list of keys to keep is empty: that would delete every object")
    objects = sum(map(len, listing.packed()))
    for files in listing.loose():
        digests = list({file.digest for file in files})
        objects += engine.packed.contains_many(digests, PackKind.PLAIN).count(False)
    return RetainPlan(objects, len(listing.keep), listing)


def execute(engine: Engine, plan: RetainPlan, progress: Progress = SILENCE) -> RetainReport:
    """Delete the listed copies; see `rsdos.maintenance.delete`.

    Only copies that existed when the plan began are deleted: the same file, or the same place in a pack. Copies made
    since then are kept, also those of an object that was deleted and inserted again. Copies that packing or a repack
    has moved are kept too; the next run lists them. An insert that found its object present, or that began before the
    plan, does not protect the object: put its key on the list first. A run that is killed at any moment has deleted a
    part; the next run continues.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of objects.

    Returns:
        The number of deleted objects.

    Raises:
        Busy: another maintenance operation is running.
        DamagedContainer, DamagedTree, DamagedObject: see `rsdos.maintenance.delete`.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    deleted = held = 0
    with engine.maintenance("delete"):
        engine.objects.collect_garbage()
        holding = HoldingDelete(engine)
        with step(progress, "Deleting", plan.objects, "objects"):
            for files in plan.listing.loose():
                holding.hold([file.digest for file in files])
                removed = engine.loose.delete_seen(files)
                is_packed = engine.packed.contains_many(removed, PackKind.PLAIN)
                gone = [digest for digest, packed in zip(removed, is_packed, strict=True) if not packed]
                deleted, held = deleted + len(gone), held + len(holding.held_among(gone))
                progress.advance(len(gone))
            for digests in plan.listing.packed():
                gone = holding.delete(digests, plan.listing.seen) if digests else []
                deleted, held = deleted + len(gone), held + len(holding.held_among(gone))
                progress.advance(len(gone))
    return RetainReport(deleted, watch.seconds, held)


def _lists(keys: Iterable[str]) -> Iterator[list[str]]:
    keys = iter(keys)
    while some := list(islice(keys, CHUNK)):
        yield some

"""Retain: delete every object that a list of keys does not name. Options → plan → execute → report."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, runtime_checkable

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.hashing import HashType
from rsdos.index.key_marks import RecordMarks, sorted_batches
from rsdos.maintenance.full_disk import CHUNK
from rsdos.maintenance.hold import HoldingDelete
from rsdos.model import Codec, PackKind
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.loose.paths import SeenFile
from rsdos.stores.order import FileId
from rsdos.stores.pack_maintenance import SeenPart


@runtime_checkable
class KeyText(Protocol):
    """Keys as a text, one a line. Four times as fast as a string for each key."""

    def texts(self) -> Iterator[str]:
        """Yield the text in pieces of whole lines. Empty lines, and blanks around a key, are left out."""


@dataclass(frozen=True, slots=True)
class RetainOptions:
    """The keys of the objects to keep. They are read once."""

    keep: Iterable[str] | KeyText


@dataclass(frozen=True, slots=True)
class RetainPlan:
    """The number of ``objects`` to delete: those that existed when the plan began, except those of ``named`` keys.

    ``named`` is the length of the list: it counts keys that the container does not have, too.
    """

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

    Memory: one bit for each entry of the index, 40 MB while the list is read, and 57 bytes for each loose object; in
    version 1 as many for each packed object. The length of the list does not matter. An object is kept too if its key
    begins with the same 8 bytes as a key to keep: with n keys to keep, one object in 10^19 / n.
    """

    def __init__(self, engine: Engine, keep: Iterable[str] | KeyText) -> None:
        # List the container before the list of keys is read, which may take long: objects inserted during that time are
        # not deleted.
        hash_type = engine.config.hash
        self._packed = engine.packed.maintenance.present()
        self._record = struct.Struct(f"<{hash_type.digest_bytes}sBQq")
        self._files = b"".join(b"".join(map(self._record_of, files)) for files in engine.loose.names.seen())
        self._loose = RecordMarks(self._files, self._record.size)
        self.named = 0
        for keys in sorted_batches(_parsed(keep, hash_type), hash_type.digest_bytes):
            self.named += len(keys)
            self._packed.mark(keys)
            self._loose.mark(keys)

    def _record_of(self, file: SeenFile) -> bytes:
        return self._record.pack(file.digest, file.codec, *file.id)

    def loose(self) -> Iterator[list[SeenFile]]:
        """Yield the loose files to delete, in lists of bounded size."""
        for numbers in self._loose.unmarked(CHUNK):
            records = (self._record.unpack_from(self._files, number * self._record.size) for number in numbers)
            yield [SeenFile(digest, Codec(codec), FileId(*file)) for digest, codec, *file in records]

    def packed(self) -> Iterator[SeenPart]:
        """Yield the packed objects to delete, in parts of bounded size."""
        return self._packed.unmarked(CHUNK)


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
    if not listing.named:
        raise InvalidOption("the list of keys to keep is empty: that would delete every object")
    objects = sum(len(part.digests) for part in listing.packed())
    for files in listing.loose():
        digests = list({file.digest for file in files})
        objects += engine.packed.contains_many(digests, PackKind.PLAIN).count(False)
    return RetainPlan(objects, listing.named, listing)


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
            for part in plan.listing.packed():
                dead = holding.delete(part.digests, part.copies)
                deleted, held = deleted + len(dead), held + len(holding.held_among(dead))
                progress.advance(len(dead))
    return RetainReport(deleted, watch.seconds, held)


def _parsed(keep: Iterable[str] | KeyText, hash_type: HashType) -> Iterator[Sequence[bytes]]:
    """Yield the digests of the keys, in lists of bounded size."""
    if isinstance(keep, KeyText):
        yield from map(hash_type.parse_lines, keep.texts())
        return
    keys = iter(keep)
    while some := list(islice(keys, CHUNK)):
        yield hash_type.parse_keys(some)

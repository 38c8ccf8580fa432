"""Delete: remove named objects from both stores. Options → plan → execute → report."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.engine.reserve import give_up
from rsdos.errors import InvalidOption
from rsdos.model import Place
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores import order

CHUNK = 1 << 15
"""Objects that are deleted with one commit: 2 MB of tombstones."""

_FEW = 1 << 12
"""The same on a full disk, where the reserve has to do for them."""

FULL = (errno.ENOSPC, errno.EDQUOT)

Tell = Callable[[Sequence[str], Sequence[str]], None]
"""Is told which keys of a chunk were deleted, and which were not there."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The keys to delete. They are gone through twice, by the plan and by the execution, and never kept.

    Raises `InvalidOption` for an iterator: the second time there would be nothing to delete.
    """

    keys: Iterable[str]

    def __post_init__(self) -> None:
        if isinstance(self.keys, Iterator):
            raise InvalidOption("the keys to delete are gone through twice: give a list, or what can be iterated again")


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """What there is to delete: of so many ``keys``, each time it is named, so many are there."""

    options: DeleteOptions
    keys: int
    objects: int


@dataclass(frozen=True, slots=True)
class DeleteReport:
    """How many of the named objects were deleted, and how many were not there; in ``seconds``."""

    deleted: int = 0
    missing: int = 0
    seconds: float = 0.0


def plan(engine: Engine, options: DeleteOptions) -> DeletePlan:
    """Look at all keys, before anything is deleted. Raises `InvalidKey`."""
    keys = objects = 0
    for chunk in _key_chunks(options.keys):
        keys += len(chunk)
        objects += sum(engine.objects.has_many(chunk))
    return DeletePlan(options, keys, objects)


def execute(
    engine: Engine, plan: DeletePlan, progress: Progress = SILENCE, tell: Tell = lambda deleted, missing: None
) -> DeleteReport:
    """Delete, in chunks of 32,768 objects: each is gone for readers, for good, when ``tell`` hears of it.

    Loose files are removed first; then packed copies are killed by tombstones, whose commit is that of the chunk, and
    their space becomes dead bytes until a repack. After the commit no file is touched. An insert of the same object
    whose last look at the store comes after the commit, which is any that begins later, stores it again, and it stays
    (docs/concurrency.md); so does one that stores it while the chunk is under way. Killed at any moment a part of the
    objects is deleted, of one it may be the loose copy alone; the next run goes on.

    What another process read of the container before may say for one second more that an object is there: `has`, `in`,
    `has_many` and `meta` ask for a newer state when their last one is older. Its bytes can be read as long as its pack
    is open.

    Raises `Busy`, `ReadOnlyContainer`, OSError. A full disk does not keep it from working: the reserve is given up.
    """
    begun = monotonic()
    deleted = missing = 0
    with engine.maintenance("delete"):
        # What a repack that was killed has left must not come back in place of what is deleted now.
        engine.packed.collect_garbage()
        progress.start("Deleting", plan.keys, "objects")
        try:
            for keys in _key_chunks(plan.options.keys):
                there = _delete_chunk(engine, engine.config.hash.parse_keys(keys))
                gone = [key for key in keys if bytes.fromhex(key) in there]
                lost = [key for key in keys if bytes.fromhex(key) not in there]
                deleted, missing = deleted + len(gone), missing + len(lost)
                tell(gone, lost)
                progress.advance(len(keys))
        finally:
            progress.finish()
    return DeleteReport(deleted, missing, monotonic() - begun)


def _delete_chunk(engine: Engine, digests: Sequence[bytes]) -> set[bytes]:
    there: set[bytes] = set()
    for place in order.DELETE_ORDER:
        if place is Place.LOOSE:
            # 1. The loose files, and their directories are synced. On a full disk this makes room.
            there.update(engine.loose.delete(digests))
        else:
            # 2. The commit: tombstones for the packed copies.
            there.update(delete_packed(engine, digests))
    return there


def delete_packed(engine: Engine, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
    """`PackedStore.delete`, with the help of the reserve when the disk is full; returns what was deleted."""
    try:
        return engine.packed.delete(digests, seen)
    except OSError as error:
        if error.errno not in FULL or not give_up(engine.layout.reserve):
            raise
    deleted = []
    for at in range(0, len(digests), _FEW):
        deleted += engine.packed.delete(digests[at : at + _FEW], seen)
    return deleted


def _key_chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """Lists of different keys."""
    keys = iter(keys)
    while chunk := list(islice(keys, CHUNK)):
        yield list(dict.fromkeys(chunk))

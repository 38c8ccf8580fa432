"""Delete: remove named objects from both stores. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.maintenance.full_disk import CHUNK
from rsdos.maintenance.hold import HoldingDelete
from rsdos.model import Place
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores import order

Tell = Callable[[Sequence[str], Sequence[str]], None]
"""Receives the deleted keys of a chunk, and its keys that the container did not have."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The keys to delete. They are iterated twice, by the plan and by the execution, and never kept in memory.

    Raises `InvalidOption` for an iterator, which would be empty the second time.
    """

    keys: Iterable[str]

    def __post_init__(self) -> None:
        if isinstance(self.keys, Iterator):
            raise InvalidOption("the keys to delete are iterated twice: give a list, or another iterable, no iterator")


@dataclass(frozen=True, slots=True)
class DeletePlan:
    """The number of ``keys`` given, repeated ones included, and the number of them that name ``objects``."""

    options: DeleteOptions
    keys: int
    objects: int


@dataclass(frozen=True, slots=True)
class DeleteReport(ShownAsTable):
    """The number of objects ``deleted``, and of keys whose object was ``missing``. The run took ``seconds``.

    ``held`` is the number of keys whose object stays readable, because it is stored for snapshots as well. An object
    that was stored for snapshots alone is neither deleted nor missing.
    """

    deleted: int = 0
    missing: int = 0
    seconds: float = 0.0
    held: int = 0


def plan(engine: Engine, options: DeleteOptions) -> DeletePlan:
    """Look up all keys before anything is deleted.

    Args:
        engine: the open container.
        options: the keys.

    Returns:
        The number of keys, and of those that the container has.

    Raises:
        InvalidKey: one of the keys is not a key.
    """
    keys = objects = 0
    for chunk in _key_chunks(options.keys):
        keys += len(chunk)
        objects += sum(engine.objects.has_many(chunk))
    return DeletePlan(options, keys, objects)


def execute(
    engine: Engine, plan: DeletePlan, progress: Progress = SILENCE, tell: Tell = lambda deleted, missing: None
) -> DeleteReport:
    """Delete the objects in chunks of 32,768. A chunk is deleted for good when ``tell`` is called with it.

    An object that a live snapshot reaches stays readable until gc: a copy is written to a pack of held objects first.
    The pages of all live snapshots are read for that, once.

    In each chunk the loose files are removed first. Then one commit writes tombstones for the packed copies, whose
    space is dead bytes until a repack. After the commit no file is touched. An object stays if an insert stores it
    while the chunk is being deleted, or if the last lookup of an insert comes after the commit, which then stores it
    again (docs/concurrency.md). A run that is killed at any moment has deleted a part of the objects, and perhaps only
    the loose copy of one of them. The next run continues.

    Other processes may report a deleted object as present for one more second: `has`, `in`, `has_many` and `meta` use
    a state that is at most one second old. The object's bytes can be read as long as its pack is open.

    On a full disk the reserve is removed to make room for the tombstones.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of keys.
        tell: receives the deleted and the missing keys of each chunk, after its commit.

    Returns:
        The number of deleted objects and of missing keys.

    Raises:
        Busy: another maintenance operation is running.
        DamagedContainer, DamagedTree: rsdos cannot tell which objects snapshots need. Nothing more is deleted.
        DamagedObject: an object that a snapshot needs is damaged. Nothing more is deleted.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    deleted = missing = held = 0
    with engine.maintenance("delete"):
        # First, so that copies left by a killed repack do not come back in place of the deleted ones.
        engine.objects.collect_garbage()
        holding = HoldingDelete(engine)
        with step(progress, "Deleting", plan.keys, "objects"):
            for keys in _key_chunks(plan.options.keys):
                digests = engine.config.hash.parse_keys(keys)
                there = _delete_chunk(engine, holding, digests)
                kept = holding.held_among(digests)
                gone = [key for key, digest in zip(keys, digests, strict=True) if digest in there]
                lost = (
                    []
                    if len(gone) == len(keys)
                    else [
                        key
                        for key, digest in zip(keys, digests, strict=True)
                        if digest not in there and digest not in kept
                    ]
                )
                deleted, missing, held = deleted + len(gone), missing + len(lost), held + len(kept)
                tell(gone, lost)
                progress.advance(len(keys))
    return DeleteReport(deleted, missing, watch.seconds, held)


def _delete_chunk(engine: Engine, holding: HoldingDelete, digests: Sequence[bytes]) -> set[bytes]:
    # 0. Write held copies of what snapshots need.
    holding.hold(digests)
    there: set[bytes] = set()
    for place in order.DELETE_ORDER:
        if place is Place.LOOSE:
            # 1. Remove the loose files, and sync their directories. On a full disk this makes room.
            there.update(engine.loose.delete(digests))
        else:
            # 2. Commit tombstones for the packed copies.
            there.update(holding.delete(digests))
    return there


def _key_chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """Yield the keys in lists, without repeated keys in a list."""
    keys = iter(keys)
    while chunk := list(islice(keys, CHUNK)):
        yield list(dict.fromkeys(chunk))

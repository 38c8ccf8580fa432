"""Clean: remove loose files that are safely packed, and files of dead writers. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.maintenance.repair.quarantine import clean_quarantine
from rsdos.model import Durability, PackKind, Trust
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores import order
from rsdos.stores.batch import BatchWriter

BATCH = 1 << 16
"""Loose objects that are looked up, verified and removed together."""


@dataclass(frozen=True, slots=True)
class CleanPlan:
    """The number of loose ``objects`` that are packed as well, and the ``length`` of their files in bytes."""

    objects: int
    length: int


@dataclass(frozen=True, slots=True)
class CleanReport(ShownAsTable):
    """The result of a clean run.

    ``cleaned`` loose objects were removed, files of ``length`` bytes. ``damaged`` are the keys of loose objects that
    were kept because their packed copy is not good. ``leftovers`` files of dead writers and earlier repacks were
    removed, ``freed`` bytes. The run took ``seconds``.
    """

    cleaned: int = 0
    length: int = 0
    damaged: tuple[str, ...] = ()
    leftovers: int = 0
    freed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The garbage that was removed: the number of files, and the bytes of those in ``packed/``."""

    files: int
    length: int


def collect_garbage(engine: Engine) -> Leftovers:
    """Remove the files of dead writers in the sandbox and among the packs. The caller holds the maintenance lock."""
    has_files = engine.layout.storage.traits.files
    files = engine.loose.sandbox.collect_garbage() + clean_quarantine(engine.layout) if has_files else 0
    swept = engine.objects.collect_garbage()
    return Leftovers(files + swept.files, swept.length)


def remove_safe(engine: Engine, digests: Sequence[bytes]) -> list[bytes]:
    """Remove the loose files of objects whose packed copy is good. Return the digests of the other objects.

    The caller has committed and synced the packed copies. A copy that is held for snapshots does not count: gc deletes
    it when no snapshot needs it.
    """
    # A packed copy is read back, decoded and hashed; only then is the loose file removed.
    whole = engine.packed.verify_many(digests, PackKind.PLAIN)
    engine.loose.names.remove(order.removable(digests, whole))
    return [digest for digest, good in zip(digests, whole, strict=True) if not good]


def plan(engine: Engine) -> CleanPlan:
    """Count the loose objects that are packed.

    Args:
        engine: the open container.

    Returns:
        The number of loose objects to remove, and the bytes of their files.
    """
    objects = length = 0
    for digests in batches(engine):
        packed = engine.packed.contains_many(digests, PackKind.PLAIN)
        both = [digest for digest, hit in zip(digests, packed, strict=True) if hit]
        objects += len(both)
        length += engine.loose.names.length_of(both)
    return CleanPlan(objects, length)


def execute(engine: Engine, plan: CleanPlan, progress: Progress = SILENCE) -> CleanReport:
    """Collect garbage, and remove loose files in batches.

    In each batch the packed copies are put on stable storage and read back; only then are the loose files removed.
    Readers and writers are not blocked, and the files of a live writer are never touched. A run that is killed at any
    moment loses nothing, and the next run continues.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of objects.

    Returns:
        What was removed, and the keys of damaged objects, whose loose files were kept.

    Raises:
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    cleaned = length = 0
    damaged: list[str] = []
    with engine.maintenance("clean"):
        leftovers = collect_garbage(engine)
        # Trust the index here: `remove_safe` reads back and hashes each packed copy once.
        with (
            step(progress, "Cleaning", plan.objects, "objects"),
            engine.packed.writer(durability=Durability.FULL, trust=Trust.INDEX) as writer,
        ):
            for digests in batches(engine):
                packed = _packed(writer, digests)
                before = engine.loose.names.length_of(packed)
                bad = remove_safe(engine, packed)
                cleaned += len(packed) - len(bad)
                length += before - engine.loose.names.length_of(bad)
                damaged += map(bytes.hex, bad)
                progress.advance(len(packed))
        engine.loose.remove_empty_directories()
    return CleanReport(cleaned, length, tuple(damaged), leftovers.files, leftovers.length, watch.seconds)


def _packed(writer: BatchWriter, digests: Sequence[bytes]) -> list[bytes]:
    """Put the packed objects on stable storage, which a relaxed writer may not have done, and return them."""
    fresh = set(writer.unknown(digests))
    writer.commit()
    return [digest for at, digest in enumerate(digests) if at not in fresh]


def batches(engine: Engine) -> Iterator[Sequence[bytes]]:
    """Yield the loose objects in lists of about `BATCH`: whole directories, until the list is long enough."""
    batch: list[bytes] = []
    for digests in engine.loose.names.digest_lists():
        batch += digests
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

"""Clean: remove loose files that are safely packed, and what dead writers left. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.maintenance.repair.quarantine import sweep_quarantine
from rsdos.model import Durability, Trust
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores import order
from rsdos.stores.batch import BatchWriter

BATCH = 1 << 16
"""Loose objects that are looked up, checked and removed together."""


@dataclass(frozen=True, slots=True)
class CleanOptions:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True)
class CleanPlan:
    """The loose ``objects`` that are packed as well, and the ``length`` of their files."""

    options: CleanOptions
    objects: int
    length: int


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What a clean run did.

    ``cleaned`` loose objects were removed, files of ``length`` bytes. ``damaged`` are the keys of those that stay,
    because the packed copy is not good. ``leftovers`` files of dead writers and former repacks are gone, of ``freed``
    bytes.
    """

    cleaned: int = 0
    length: int = 0
    damaged: tuple[str, ...] = ()
    leftovers: int = 0
    freed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a sweep removed: files, and bytes of those in ``packed/``."""

    files: int
    length: int


def collect_garbage(engine: Engine) -> Leftovers:
    """Remove what dead writers left, in the sandbox and among the packs. The caller holds the maintenance lock."""
    files = engine.loose.sandbox.collect_garbage() + sweep_quarantine(engine.layout)
    swept = engine.packed.collect_garbage()
    return Leftovers(files + swept.files, swept.length)


def remove_safe(engine: Engine, digests: Sequence[bytes]) -> list[bytes]:
    """Remove the loose files of objects whose packed copy, committed and synced, is good; returns the other objects."""
    # Read back, decoded and hashed; only then are the loose files removed.
    whole = engine.packed.verify_many(digests)
    engine.loose.names.remove(order.removable(digests, whole))
    return [digest for digest, good in zip(digests, whole, strict=True) if not good]


def plan(engine: Engine, options: CleanOptions) -> CleanPlan:
    """Count the loose objects that are packed."""
    objects = length = 0
    for digests in batches(engine):
        packed = engine.packed.contains_many(digests)
        both = [digest for digest, hit in zip(digests, packed, strict=True) if hit]
        objects += len(both)
        length += engine.loose.names.length_of(both)
    return CleanPlan(options, objects, length)


def execute(engine: Engine, plan: CleanPlan, progress: Progress = SILENCE) -> CleanReport:
    """Sweep, and remove in batches: put the packed copies on stable storage, read them back, remove the loose files.

    Readers and writers go on meanwhile; a live writer's files are never touched. Killed at any moment, the next run
    goes on. Raises `Busy` when another maintenance run is at work, `ReadOnlyContainer`, OSError.
    """
    begun = monotonic()
    cleaned = length = 0
    damaged: list[str] = []
    with engine.maintenance("clean"):
        leftovers = collect_garbage(engine)
        progress.start("Cleaning", plan.objects, "objects")
        try:
            # What is packed by the index is read back and hashed once, by `remove_safe`.
            with engine.packed.appender(durability=Durability.FULL, trust=Trust.INDEX) as appender:
                for digests in batches(engine):
                    packed = _packed(appender, digests)
                    before = engine.loose.names.length_of(packed)
                    bad = remove_safe(engine, packed)
                    cleaned += len(packed) - len(bad)
                    length += before - engine.loose.names.length_of(bad)
                    damaged += map(bytes.hex, bad)
                    progress.advance(len(packed))
        finally:
            progress.finish()
        engine.loose.remove_empty_directories()
    return CleanReport(cleaned, length, tuple(damaged), leftovers.files, leftovers.length, monotonic() - begun)


def _packed(appender: BatchWriter, digests: Sequence[bytes]) -> list[bytes]:
    """Those that are packed, on stable storage: a relaxed writer may not have put them there."""
    fresh = set(appender.unknown(digests))
    appender.commit()
    return [digest for at, digest in enumerate(digests) if at not in fresh]


def batches(engine: Engine) -> Iterator[Sequence[bytes]]:
    """The loose objects, directory by directory, `BATCH` or a directory more of them at a time."""
    batch: list[bytes] = []
    for digests in engine.loose.names.digest_lists():
        batch += digests
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

"""Repair of the index: make it anew where it is damaged, and empty damaged packs. Options → plan → execute → report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.maintenance.repair.quarantine import new_directory, write_report
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.stores.findings import Finding


@dataclass(frozen=True, slots=True)
class RepairIndexOptions:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True)
class RepairIndexPlan:
    """What is to be put right; nothing at all is done where there is nothing."""

    options: RepairIndexOptions
    faults: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairIndexReport:
    """What a repair of the index did, if it had anything to do (``is_changed``).

    ``packs`` damaged packs were emptied into others. ``moved`` says where what was replaced is now, relative to the
    container, and ``described`` where that is told. ``lost`` are the keys of objects of which the bytes are gone, and
    which are damaged now: a repair of the objects may help. ``unknown`` are gone without their keys being known.
    ``left`` is what is damaged still.
    """

    is_changed: bool = False
    packs: int = 0
    moved: tuple[str, ...] = ()
    described: str | None = None
    lost: tuple[str, ...] = ()
    unknown: int = 0
    left: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether all is well now."""
        return not (self.lost or self.unknown or self.left)


def plan(engine: Engine, options: RepairIndexOptions) -> RepairIndexPlan:
    """Look at all footers and tables of contents, and at no object.

    Raises `InvalidOption` while a migration is under way: that is to be finished first.
    """
    if os.path.lexists(engine.layout.migration):
        raise InvalidOption("a migration was broken off: run rsdos migrate again first")
    with engine.telling_of_another():
        return RepairIndexPlan(options, tuple(engine.packed.index_faults()))


def execute(engine: Engine, plan: RepairIndexPlan, progress: Progress = SILENCE) -> RepairIndexReport:
    """Put the index right. See `rsdos.stores.packs.PackStore.rebuild_index`.

    Every whole batch of every pack counts, committed or not; deletes are honoured. What is replaced goes to
    ``quarantine/`` when its successor is in its place, never before. Killed at any moment, it can be run again.
    Raises `Busy` when another maintenance run is at work, `ReadOnlyContainer`, `DamagedContainer` when there is no
    help (of version 1, whose packs do not describe themselves), and OSError.
    """
    begun = monotonic()
    made: list[str] = []

    def quarantine_directory() -> str:
        if not made:
            made.append(new_directory(engine, "index"))
        return made[0]

    with engine.maintenance("repair"):
        progress.start("Repairing the index", None, "objects")
        try:
            rebuilt = engine.packed.rebuild_index(quarantine_directory)
        finally:
            progress.finish()
        left = tuple(engine.packed.index_faults()) if rebuilt.is_changed else ()
        described = None
        if made:
            what = {
                "faults": [f"{fault.path}: {fault.reason}" for fault in plan.faults],
                "moved": list(rebuilt.moved),
                "lost": list(rebuilt.lost),
                "unknown": rebuilt.unknown,
            }
            described = write_report(os.path.join(made[0], "report.json"), what)
            posix.sync_directory(made[0])
    return RepairIndexReport(
        rebuilt.is_changed,
        rebuilt.packs,
        tuple(os.path.relpath(path, engine.layout.root) for path in rebuilt.moved),
        described and os.path.relpath(described, engine.layout.root),
        rebuilt.lost,
        rebuilt.unknown,
        left,
        monotonic() - begun,
    )

"""Merge: bring the index together, so that a lookup searches one table. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.progress import SILENCE
from rsdos.protocols import Progress


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """There is nothing to choose."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """How many tables the index is made of; of one, or none, there is nothing to merge."""

    options: MergeOptions
    segments: int

    @property
    def is_needed(self) -> bool:
        """Whether a merge would change anything."""
        return self.segments > 1


@dataclass(frozen=True, slots=True)
class MergeReport:
    """How many tables there were, and how many there are: more than one where some are of tombstones."""

    before: int = 0
    after: int = 0
    seconds: float = 0.0


def plan(engine: Engine, options: MergeOptions) -> MergePlan:
    """Count the tables of the index."""
    return MergePlan(options, engine.packed.stats().segments)


def execute(engine: Engine, plan: MergePlan, progress: Progress = SILENCE) -> MergeReport:
    """Merge. Other commits wait meanwhile: 3 seconds for ten million objects. Readers go on.

    Raises `Busy` when another maintenance run is at work, `ReadOnlyContainer`, OSError.
    """
    begun = monotonic()
    with engine.maintenance("merge"):
        progress.start("Merging the index", plan.segments, "segments")
        try:
            engine.packed.merge_index()
        finally:
            progress.finish()
    return MergeReport(plan.segments, engine.packed.stats().segments, monotonic() - begun)

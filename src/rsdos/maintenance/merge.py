"""Merge: combine the tables of the index, so that a lookup searches one. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress


@dataclass(frozen=True, slots=True)
class MergePlan:
    """The number of tables (``segments``) of the index. One or none needs no merge."""

    segments: int

    @property
    def is_needed(self) -> bool:
        """Whether a merge would change the index."""
        return self.segments > 1


@dataclass(frozen=True, slots=True)
class MergeReport(ShownAsTable):
    """The number of tables before and after. More than one is left if some have tombstones. It took ``seconds``."""

    before: int = 0
    after: int = 0
    seconds: float = 0.0


def plan(engine: Engine) -> MergePlan:
    """Count the tables of the index."""
    return MergePlan(engine.packed.maintenance.stats().segments)


def execute(engine: Engine, plan: MergePlan, progress: Progress = SILENCE) -> MergeReport:
    """Merge the tables of the index.

    Other processes insert while the table is written (`rsdos.index.merging`). Readers are not blocked. A merge that is
    killed leaves the index as it was.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of tables.

    Returns:
        The number of tables before and after.

    Raises:
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    with engine.maintenance("merge"), step(progress, "Merging the index", plan.segments, "segments"):
        engine.packed.maintenance.merge_index()
    return MergeReport(plan.segments, engine.packed.maintenance.stats().segments, watch.seconds)

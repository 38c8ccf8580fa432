"""Collect: remove what is dead from the medium of a container of version 3. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.remote.collect import DEFAULTS, Collected, CollectOptions


@dataclass(frozen=True, slots=True)
class CollectPlan:
    """What may be collected, now or later: ``reservations`` of writers, and ``retired`` packs and index files.

    The run finds out which of these are old enough, by the medium's clock. It also finds objects that no manifest has
    ever named.
    """

    options: CollectOptions = field(repr=False)
    reservations: int
    retired: int


@dataclass(frozen=True, slots=True)
class CollectReport(ShownAsTable):
    """What was collected, see `Collected`. The run took ``seconds``."""

    collected: Collected
    seconds: float = 0.0


def plan(engine: Engine, options: CollectOptions = DEFAULTS) -> CollectPlan:
    """Count what may be collected.

    Args:
        engine: the open container.
        options: a `CollectOptions`.

    Returns:
        The counts.

    Raises:
        InvalidOption: a time is negative, or the container is not of version 3.
    """
    if min(options.grace, options.keep) < 0:
        raise InvalidOption("grace and keep are seconds, and not below 0")
    reservations, retired = engine.packed.collector(options).pending()
    return CollectPlan(options, reservations, retired)


def execute(engine: Engine, plan: CollectPlan, progress: Progress = SILENCE) -> CollectReport:
    """Collect what is dead.

    Takes no lock: any number of machines may collect at the same time, beside readers, writers and other maintenance.
    A run that is killed at any moment, or sleeps for a week, harms nothing, and the next run continues. A writer whose
    reservation lapsed gets `Expired`, and its operation has to be run again; objects that it had committed stay.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of removed objects.

    Returns:
        What was collected.

    Raises:
        Refused: the credentials may not write, remove or overwrite: the error names the action.
        OSError: a request failed.
    """
    watch = Stopwatch()
    with engine.objects.writing(), step(progress, "Collecting", None, "objects"):
        collected = engine.packed.collector(plan.options).run(progress.advance)
    return CollectReport(collected, watch.seconds)

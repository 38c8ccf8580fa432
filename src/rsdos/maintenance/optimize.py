"""Optimize: clean, pack, repack, merge and collect, as far as each is needed. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from rsdos.engine.engine import Engine
from rsdos.maintenance import clean, merge, pack, repack
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.stores.stats import MIN_OVERHEAD

if TYPE_CHECKING:
    from rsdos.maintenance.collect import CollectReport


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """The options of the packing and the repacking, and a budget of time.

    After ``seconds`` no further step is begun (None: no limit).
    """

    pack: pack.PackOptions = field(default_factory=pack.PackOptions)
    repack: repack.RepackOptions = field(default_factory=lambda: repack.RepackOptions(min_overhead=MIN_OVERHEAD))
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OptimizePlan:
    """The work that a run would do, due or not (see `StatusReport`).

    ``loose_objects`` in files of ``loose_length`` bytes are to be packed. The index has ``segments``, its tables. The
    packs ``pack_ids`` are to be repacked: ``dead`` bytes in them are dead, and ``overhead`` bytes belong to no object.
    """

    options: OptimizeOptions = field(repr=False)
    loose_objects: int
    loose_length: int
    segments: int
    pack_ids: tuple[int, ...]
    dead: int
    overhead: int


@dataclass(frozen=True, slots=True)
class OptimizeReport(ShownAsTable):
    """The report of each step; None for a step that was not begun because the time was up. The run took ``seconds``.

    ``collect`` is None in a container of version 1 or 2: only version 3 has anything to collect.
    """

    clean: clean.CleanReport | None = None
    pack: pack.PackReport | None = None
    repack: repack.RepackReport | None = None
    merge: merge.MergeReport | None = None
    seconds: float = 0.0
    collect: CollectReport | None = None


def plan(engine: Engine, options: OptimizeOptions) -> OptimizePlan:
    """Count the work of each step.

    Raises:
        InvalidOption: the options do not fit the container.
    """
    to_pack = pack.plan(engine, options.pack)
    to_repack = repack.plan(engine, options.repack)
    to_merge = merge.plan(engine)
    return OptimizePlan(
        options,
        to_pack.objects,
        to_pack.length,
        to_merge.segments,
        to_repack.pack_ids,
        to_repack.dead,
        to_repack.overhead,
    )


def execute(engine: Engine, plan: OptimizePlan, progress: Progress = SILENCE) -> OptimizeReport:
    """Clean, pack, repack, merge and collect, in this order.

    Cleaning comes first because it makes room. The merge comes after the repack because the index is smallest then.
    Each step is an operation of its own: other maintenance may run between two steps. The time is checked before each
    step and before each pack to repack, so a run takes longer than ``seconds`` by at most one of these.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the progress of each step.

    Returns:
        The report of each step.

    Raises:
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    until = None if plan.options.seconds is None else monotonic() + plan.options.seconds
    cleaned = packed = repacked = merged = collected = None
    if not _is_past(until):
        cleaned = clean.execute(engine, clean.plan(engine), progress)
    if not _is_past(until):
        packed = pack.execute(engine, pack.plan(engine, plan.options.pack), progress)
    if not _is_past(until):
        # Plan again: cleaning and packing have changed the packs.
        repacked = repack.execute(engine, repack.plan(engine, plan.options.repack), progress, until)
    if not _is_past(until):
        to_merge = merge.plan(engine)
        merged = merge.execute(engine, to_merge, progress) if to_merge.is_needed else merge.MergeReport()
    if not (engine.packed.packs_grow or _is_past(until)):
        from rsdos.maintenance import collect

        collected = collect.execute(engine, collect.plan(engine), progress)
    return OptimizeReport(cleaned, packed, repacked, merged, watch.seconds, collected)


def _is_past(until: float | None) -> bool:
    return until is not None and monotonic() > until

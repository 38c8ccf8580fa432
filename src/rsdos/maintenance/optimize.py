"""Optimize: do all that there is to do of pack, clean, merge and repack. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.maintenance import clean, merge, pack, repack
from rsdos.progress import SILENCE
from rsdos.protocols import Progress


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """How to pack, what is worth a repack, and in how many ``seconds`` no further step is begun (None: no limit)."""

    pack: pack.PackOptions = field(default_factory=pack.PackOptions)
    repack: repack.RepackOptions = field(default_factory=repack.RepackOptions)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OptimizePlan:
    """What there is to do, due or not (see `StatusReport`): loose objects to pack and the ``loose_length`` of their
    files, tables to merge, packs to repack."""

    options: OptimizeOptions
    loose_objects: int
    loose_length: int
    segments: int
    pack_ids: tuple[int, ...]
    dead: int


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """What each step did; None stands for one that was not begun, because the time was up."""

    clean: clean.CleanReport | None = None
    pack: pack.PackReport | None = None
    repack: repack.RepackReport | None = None
    merge: merge.MergeReport | None = None
    seconds: float = 0.0


def plan(engine: Engine, options: OptimizeOptions) -> OptimizePlan:
    """Look what there is to do."""
    to_pack = pack.plan(engine, options.pack)
    to_repack = repack.plan(engine, options.repack)
    to_merge = merge.plan(engine, merge.MergeOptions())
    return OptimizePlan(options, to_pack.objects, to_pack.length, to_merge.segments, to_repack.pack_ids, to_repack.dead)


def execute(engine: Engine, plan: OptimizePlan, progress: Progress = SILENCE) -> OptimizeReport:
    """Clean, which makes room; pack; repack; and merge the index, which is shortest then.

    Each step is a maintenance run of its own, and raises what that raises. A budget of time is looked at before each
    step and before each pack that is repacked, so it is passed by one of these at most.
    """
    begun = monotonic()
    until = None if plan.options.seconds is None else begun + plan.options.seconds
    cleaned = packed = repacked = merged = None
    if not _is_past(until):
        cleaned = clean.execute(engine, clean.plan(engine, clean.CleanOptions()), progress)
    if not _is_past(until):
        packed = pack.execute(engine, pack.plan(engine, plan.options.pack), progress)
    if not _is_past(until):
        # Planned anew: what was swept or packed has changed the packs.
        repacked = repack.execute(engine, repack.plan(engine, plan.options.repack), progress, until)
    if not _is_past(until):
        to_merge = merge.plan(engine, merge.MergeOptions())
        merged = merge.execute(engine, to_merge, progress) if to_merge.is_needed else merge.MergeReport()
    return OptimizeReport(cleaned, packed, repacked, merged, monotonic() - begun)


def _is_past(until: float | None) -> bool:
    return until is not None and monotonic() > until

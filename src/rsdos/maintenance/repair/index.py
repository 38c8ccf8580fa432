"""Repair of the index: rebuild it, and rewrite damaged packs. Options → plan → execute → report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.maintenance.repair.refs import LostNames, RefsFinder, lost_refs
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.findings import Finding
from rsdos.stores.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class RepairIndexOptions:
    """The options of a repair of the index."""

    lost_names: LostNames = LostNames.KEEP


@dataclass(frozen=True, slots=True)
class RepairIndexPlan:
    """The ``faults`` to repair. Without faults `execute` does nothing.

    ``lost_names`` is the key of the newest refs document if its bytes are lost; "" otherwise.
    """

    options: RepairIndexOptions = field(default=RepairIndexOptions(), repr=False)
    faults: tuple[Finding, ...] = ()
    lost_names: str = ""


@dataclass(frozen=True, slots=True)
class RepairIndexReport(ShownAsTable):
    """The result of a repair of the index, which took ``seconds``. ``is_changed`` is False if there was nothing to do.

    ``packs`` damaged packs were rewritten. ``moved`` are the paths of replaced files in quarantine, and ``described``
    the path of their report, all relative to the container. ``lost`` are the keys of objects whose bytes are gone:
    they are damaged objects now, which a repair of objects may restore. ``unknown`` counts objects that are gone and
    whose keys are not known. ``left`` are the faults that remain; on object storage also packs of unknown content
    that cannot be read.
    ``lost_names`` is the key of the refs document, with all branches and tags, if its bytes are lost; a repair of
    objects may restore it. ``doubtful`` are versions and tags that are not whole, and were perhaps never published.
    """

    is_changed: bool = False
    packs: int = 0
    moved: tuple[str, ...] = ()
    described: str | None = None
    lost: tuple[str, ...] = ()
    unknown: int = 0
    left: tuple[Finding, ...] = ()
    seconds: float = 0.0
    lost_names: str = ""
    doubtful: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether no fault is left, and no object and no name is lost."""
        return not (self.lost or self.unknown or self.left or self.lost_names or self.doubtful)


def plan(engine: Engine, options: RepairIndexOptions = RepairIndexOptions()) -> RepairIndexPlan:
    """Check all footers and tables of contents, and no object but the newest refs document.

    Args:
        engine: the open container.
        options: what to do if the newest refs document is lost.

    Returns:
        The faults.

    Raises:
        InvalidOption: a migration was interrupted. Finish it first.
        Busy: on object storage, other machines replaced and collected packs each time that the packs were read.
    """
    if engine.packed.packs_grow:
        engine.need_files("repair index")
    if engine.directory and os.path.lexists(engine.layout.migration):
        raise InvalidOption("a migration was interrupted: run rsdos migrate again first")
    with engine.telling_of_another():
        finder = RefsFinder(engine, options.lost_names)
        faults = tuple(engine.packed.maintenance.index_faults(finder))
        return RepairIndexPlan(options, faults, lost_refs(engine))


def execute(engine: Engine, plan: RepairIndexPlan, progress: Progress = SILENCE) -> RepairIndexReport:
    """Rebuild the index. See `rsdos.stores.pack_maintenance.PackMaintenance.rebuild_index`.

    Every complete batch of every pack counts, committed or not, and so do deletes. If the newest manifest is whole,
    batches that a delete has left at the end of a pack before its commit do not count. A replaced file is moved
    to ``quarantine/`` only after its successor is in place. A run that is killed at any moment can be run again.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: shows that the repair is running.

    Returns:
        The rewritten packs, the moved files, and the lost objects.

    Raises:
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        DamagedContainer: the index cannot be rebuilt (only in version 1, whose packs do not describe themselves).
        OSError: a system call failed.
    """
    watch = Stopwatch()
    quarantine = Quarantine(engine.layout, "index")
    with engine.maintenance("repair"):
        with step(progress, "Repairing the index", None, "objects"):
            finder = RefsFinder(engine, plan.options.lost_names)
            rebuilt = engine.packed.maintenance.rebuild_index(quarantine, finder)
            # Each time: a repair that was killed before it got here is over by now, as far as the index goes.
            doubtful = finder.settle()
        still = engine.packed.maintenance.index_faults(finder) if rebuilt.is_changed else ()
        described = None
        if quarantine.is_used:
            what = {
                "faults": [f"{fault.path}: {fault.reason}" for fault in plan.faults],
                "moved": list(rebuilt.moved),
                "lost": list(rebuilt.lost),
                "unknown": rebuilt.unknown,
            }
            described = quarantine.report("report.json", what)
    return RepairIndexReport(
        rebuilt.is_changed,
        rebuilt.packs,
        tuple(engine.layout.relative(path) for path in rebuilt.moved),
        described and engine.layout.relative(described),
        rebuilt.lost,
        rebuilt.unknown,
        (*rebuilt.left, *still),
        watch.seconds,
        lost_refs(engine),
        tuple(map(str, doubtful)),
    )

"""Gc: delete the held objects that no live snapshot reaches. Options → plan → execute → report.

1. read the manifest, and then the refs; 2. mark what the live snapshots reach; 3. candidates are the copies of that
manifest in packs of held objects and of trees that no running save may have stored, that are not marked, and that are
not among the newest refs documents; 4. delete them by tombstones, in chunks, each under the lock on commits and only
while the refs are those that were marked: otherwise mark what they add, and try the chunk again.

A mark is a bit for an entry of the index of that manifest. A copy that was stored since then has none, and is no
candidate either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs
from rsdos.engine.save_lock import RunningSave, running_saves
from rsdos.errors import DamagedTree
from rsdos.index.entries import Entries
from rsdos.maintenance.full_disk import CHUNK, with_reserve
from rsdos.maintenance.marks import Marks
from rsdos.model import Counts, PackKind
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.lifetime import COLLECTED_KINDS
from rsdos.stores.publisher import Outdated, SeenHeld


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What would be deleted: held ``objects`` of ``size`` raw bytes, and ``pages`` (snapshots and refs documents too).

    ``live`` is the number of objects in packs that the live snapshots reach. ``running`` are the saves that are at
    work: objects that they have stored are kept.
    """

    objects: int
    size: int
    pages: int
    live: int
    running: tuple[RunningSave, ...]
    seen: SeenHeld = field(repr=False)
    marks: Marks = field(repr=False)


@dataclass(frozen=True, slots=True)
class GcReport(ShownAsTable):
    """What was deleted, in the members of `GcPlan`. The run took ``seconds``."""

    objects: int = 0
    size: int = 0
    pages: int = 0
    live: int = 0
    running: tuple[RunningSave, ...] = ()
    seconds: float = 0.0


def plan(engine: Engine) -> GcPlan:
    """Mark what the live snapshots reach, and count what else is held. Delete nothing, and take no lock.

    Args:
        engine: the open container.

    Returns:
        The counts, and the marks, which `execute` continues with.

    Raises:
        DamagedTree: a live snapshot or the newest refs document is damaged, so rsdos cannot tell what it reaches.
        DamagedContainer: the newest manifest is damaged.
        ReadOnlyContainer: the container cannot be written.
    """
    with engine.protect_packs():
        # 1 and 2.
        seen = engine.packed.publisher.present()
        marks = Marks(engine, seen.mark)
        _mark(engine, marks)
        # 3. The locks are read after the view was loaded, so the lock of every running save that stored into the view
        # is seen.
        running = running_saves(engine)
        counted = _Counted()
        for kind, copies in _candidates(engine, seen, running):
            counted.add(kind, copies)
    return GcPlan(counted.objects, counted.size, counted.pages, seen.count, tuple(running), seen, marks)


def execute(engine: Engine, plan: GcPlan, progress: Progress = SILENCE) -> GcReport:
    """Delete the held objects that no live snapshot reaches. An object that was inserted by key is never touched.

    Saves, inserts and readers are not blocked. Objects that a running save has stored are kept. If an object is deleted
    that a running save has found, the save stores it again. Only copies that existed when the plan began are deleted. A
    run that is killed at any moment has deleted a part; the next run continues. The space is dead bytes of packs until
    a repack.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of deleted objects.

    Returns:
        The counts.

    Raises:
        Busy: another maintenance operation is running.
        DamagedTree: a live snapshot or the newest refs document is damaged: nothing more is deleted.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    seen, marks = plan.seen, plan.marks
    deleted = _Counted()
    with engine.maintenance("gc"):
        engine.objects.collect_garbage()
        # 1 and 2. Most is marked by the plan already.
        _mark(engine, marks)
        # 3.
        running = running_saves(engine)
        with step(progress, "Collecting", plan.objects + plan.pages, "objects"):
            for kind, copies in _candidates(engine, seen, running):
                gone = _delete(engine, seen, marks, copies)
                deleted.add(kind, gone)
                progress.advance(len(gone))
    return GcReport(deleted.objects, deleted.size, deleted.pages, seen.count, tuple(running), watch.seconds)


def _mark(engine: Engine, marks: Marks) -> None:
    """Mark the objects that the newest refs lead to, and the newest refs documents."""
    newest = newest_refs(engine)
    while True:
        try:
            marks.add(newest)
        except DamagedTree:
            # The plan has no maintenance lock: another gc may have deleted objects of versions forgotten since.
            before, newest = newest, newest_refs(engine)
            if newest.live.refs == before.live.refs:
                raise
        else:
            break
    marks.add_documents(newest)


def _candidates(engine: Engine, seen: SeenHeld, running: list[RunningSave]) -> Iterator[tuple[PackKind, Entries]]:
    """Yield the copies to delete, by the kind of their packs, in chunks."""
    return engine.packed.publisher.collectable(seen, [save.lengths for save in running], CHUNK)


def _delete(engine: Engine, seen: SeenHeld, marks: Marks, copies: Entries) -> Entries:
    """Do step 4 for a chunk. Return the copies that were deleted."""
    while True:
        # The chunk may be older than marks that an earlier chunk has brought.
        copies = copies.take(~seen.among(copies.prefixes))
        try:
            return _collect(engine, copies, marks.refs) if len(copies) else copies
        except Outdated:
            _mark(engine, marks)


def _collect(engine: Engine, copies: Entries, refs: str) -> Entries:
    collect = engine.packed.publisher.collect
    return Entries.joined(with_reserve(engine, len(copies), lambda some: collect(copies.take(some), refs)))


class _Counted:
    """Counts of copies, by the kind of their packs."""

    def __init__(self) -> None:
        self._counts = {kind: Counts() for kind in COLLECTED_KINDS}

    def add(self, kind: PackKind, copies: Entries) -> None:
        self._counts[kind] += copies.total

    @property
    def objects(self) -> int:
        return self._counts[PackKind.HELD].objects

    @property
    def pages(self) -> int:
        return self._counts[PackKind.TREES].objects

    @property
    def size(self) -> int:
        return sum(counts.size for counts in self._counts.values())

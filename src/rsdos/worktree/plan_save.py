"""The plan of `rsdos.worktree.save`, for a dry run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import StoredPages
from rsdos.progress import SILENCE, Stopwatch
from rsdos.trees.diff import Change
from rsdos.trees.entry import EntryKind
from rsdos.trees.names import check_ref_name
from rsdos.trees.tree import Tree
from rsdos.worktree.base import open_top, scan_of
from rsdos.worktree.compare import compare
from rsdos.worktree.options import PathReason, SaveOptions, StatusOptions
from rsdos.worktree.pages import PageWriter
from rsdos.worktree.parent import SavePlan, plan_of
from rsdos.worktree.rows import sizes_of
from rsdos.worktree.save import LeftOut, SavedChanges, SavedObjects, SaveReport
from rsdos.worktree.state import read_state
from rsdos.worktree.status import Status

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress


def plan_save(engine: Engine, options: SaveOptions, progress: Progress = SILENCE) -> SaveReport:
    """Return what `rsdos.worktree.save.save` would report. Write nothing but the state, as a status does.

    ``snapshot`` and ``tree`` are "" if there is something to save, and ``stored`` is zero: only reading the files shows
    which objects are new. Raise what `save` raises before it stores anything, and `RefMoved` if the branch has moved.
    """
    check_ref_name(options.description.name)
    watch = Stopwatch()
    with ExitStack() as stack:
        stack.enter_context(open_top(engine, options.directory))
        state = read_state(engine, options.directory, options.state_directory)
        if state is not None:
            stack.enter_context(state)
        refs, _ = read_refs(engine)
        plan = plan_of(engine, options, refs, state, PageWriter(engine))
    tally = _Tally()
    tree = Tree(bytes.fromhex(plan.record.tree), StoredPages(engine)) if plan.record is not None else None
    parts = plan.at.split(b"/") if plan.at else []
    above = [b"/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    tally.added = missing = sum(tree is None or not tree.is_directory(directory) for directory in above)
    parent = next(iter(plan.parents.keys), None)
    against = plan.newest or parent
    if against is None or tree is None or missing:
        special, first, unreadable = _alone(engine, options, tally)
    else:
        beside = StatusOptions(
            options.directory,
            against,
            os.fsdecode(plan.at),
            options.scan,
            options.rehash,
            options.state_directory,
        )
        with Status(engine, beside, progress) as status:
            for change in status:
                if plan.makes(change):
                    tally.add(change)
            special, first, unreadable = status.special, status.first_special, status.unreadable
    before = plan.record
    is_unchanged = _is_newest(plan, tally)
    if plan.is_older and not is_unchanged:
        raise plan.has_moved(options.directory)
    report = SaveReport(
        snapshot="",
        tree="",
        name=plan.name,
        version=plan.version + 1,
        parent=parent,
        changed=SavedChanges(tally.added, tally.removed, tally.modified),
        files=tally.files + (before.files if before is not None else 0),
        size=tally.size + (before.size if before is not None else 0),
        stored=SavedObjects(),
        skipped=LeftOut(special, len(unreadable)),
        is_part=plan.base.selection is not None,
        dropped=plan.dropped,
        unchanged=is_unchanged,
        unreadable=unreadable,
        special=first,
        seconds=watch.seconds,
    )
    return report.of_newest(plan) if is_unchanged else report


def _is_newest(plan: SavePlan, tally: _Tally) -> bool:
    """Return whether the new tree would be that of the branch's newest version: the same entries and attributes."""
    if plan.newest is None or plan.record is None or plan.attributes != plan.record.attributes:
        return False
    return not (tally.added or tally.removed or tally.modified)


class _Tally:
    """Counts changes, and the files and bytes by which they make a tree grow."""

    def __init__(self) -> None:
        self.added = self.removed = self.modified = 0
        self.files = self.size = 0

    def add(self, change: Change) -> None:
        self.added += change.old is None
        self.removed += change.new is None
        self.modified += change.old is not None and change.new is not None
        for entry, sign in ((change.old, -1), (change.new, 1)):
            if entry is not None and entry.kind.is_file:
                self.files += sign
                self.size += sign * entry.size


def _alone(
    engine: Engine, options: SaveOptions, tally: _Tally
) -> tuple[int, tuple[bytes, ...], tuple[PathReason, ...]]:
    """Count all entries of a directory. Return how many are special, the first of them, and the unreadable paths."""
    with open_top(engine, options.directory) as top:
        scan = scan_of(engine, top, options.scan)
        for run in compare(scan, (), None):
            found = run.found
            tally.added += len(found.names)
            for kind, size in zip(found.kinds, sizes_of(found.rows), strict=True):
                if kind < EntryKind.LINK:
                    tally.files += 1
                    tally.size += size
        return scan.special.number, scan.special.first, tuple(scan.unreadable)

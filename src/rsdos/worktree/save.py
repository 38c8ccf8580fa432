"""Save: makes a working directory the next version of a branch. Options → execute → report.

1. Take a save lock; remember the epoch. 2. Read the refs; choose the parent. 3. Scan the directory; take the keys of
unchanged files from the tree of its state. 4. Store the other files. 5. Write the new pages, the snapshot and the
refs document. 6. Publish them, if no process has deleted or published since. 7. Only now write the state, and return
the key.
The steps are those of docs/concurrency.md; 5 and 6 are in `rsdos.engine.publish`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rsdos.engine.publish import read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.errors import Busy, DamagedTree, ObjectNotFound, RefMoved, RemoteUnavailable
from rsdos.model import DIGEST_BYTES, PackKind
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, by_files, step
from rsdos.trees.build import TreeRoot, build_tree
from rsdos.trees.diff import diff_trees
from rsdos.trees.edit import edit_tree
from rsdos.trees.entry import Attributes, EntryKind, Listing, TreeEntry
from rsdos.trees.names import check_ref_name
from rsdos.trees.reach import keys_by_kind
from rsdos.trees.record import SnapshotRecord
from rsdos.trees.tree import Tree
from rsdos.worktree.base import open_top, scan_of
from rsdos.worktree.compare import compare
from rsdos.worktree.differences import changed_entries
from rsdos.worktree.filled import FilledRun
from rsdos.worktree.filler import Filler
from rsdos.worktree.new_state import NewState
from rsdos.worktree.options import PathReason, Rehash, SaveOptions
from rsdos.worktree.pages import PageWriter
from rsdos.worktree.parent import SavePlan, plan_of
from rsdos.worktree.publish_tree import publish_tree
from rsdos.worktree.run_queue import RunQueue
from rsdos.worktree.state import State, StateHead, read_state

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress

_MOST_TRIES = 10
"""How often a save begins anew because gc has deleted objects that the save had found. Each time needs another gc."""

_LOOKED_UP = 1 << 17
"""Keys that are looked up together: 30 MB."""

_MOST_NAMED = 1000
"""The most unreadable paths that the metadata of a snapshot names."""


@dataclass(frozen=True, slots=True)
class SavedChanges:
    """The numbers of entries that differ from the parent's. Without a parent, all are added."""

    added: int = 0
    removed: int = 0
    modified: int = 0


@dataclass(frozen=True, slots=True)
class SavedObjects:
    """What was stored: new objects of ``size`` raw bytes, and pages."""

    objects: int = 0
    size: int = 0
    pages: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The entries of the directory that are not in the snapshot."""

    special: int = 0
    """FIFOs, sockets and devices."""
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class SaveReport(ShownAsTable):
    """What a save has done."""

    snapshot: str
    """The key of the snapshot, of the newest version if `unchanged`; "" for a `plan_save` of a change."""
    tree: str
    name: str
    version: int
    parent: str | None
    changed: SavedChanges
    files: int
    """Files of the tree."""
    size: int
    """Their bytes."""
    stored: SavedObjects
    skipped: LeftOut
    is_part: bool
    """Whether the directory is a checkout of a part. The new version has the rest of the tree unchanged."""
    dropped: Attributes
    """The attributes (times, modes) that the parent's tree keeps and the new version does not."""
    unchanged: bool
    """Whether the tree is that of the branch's newest version: no new version was made."""
    unreadable: tuple[PathReason, ...]
    special: tuple[bytes, ...]
    """The paths of the first special files that were passed over; see `special.MOST_NAMED`."""
    seconds: float

    def of_newest(self, plan: SavePlan) -> SaveReport:
        """Return the report of a save that made no version: it names the newest one, with the tree and the parent."""
        record = plan.record
        assert plan.newest is not None and record is not None, "the new tree is equal to that of a version"
        return replace(
            self,
            snapshot=plan.newest,
            tree=record.tree,
            version=plan.version,
            parent=next(iter(record.parents), None),
            # The pages of an equal tree are in the container already: none was stored.
            stored=replace(self.stored, pages=0),
        )


def save(engine: Engine, options: SaveOptions, progress: Progress = SILENCE) -> SaveReport:
    """Make a directory the next version of a branch. Always durable. Any number of saves may run at the same time.

    A save that is killed at any moment has made the version or not; the files that it has stored are not written again
    by the next one. Changes made in the directory during a save may be in the snapshot or not, but each file is as it
    was at one moment.

    Raise `RefMoved` if the branch has got another newest version (``snapshot`` is stored nevertheless), or has a newer
    one than the directory was checked out from; `SourceChanged` for a file that changes each time it is read;
    `UnreadableSource`; `InvalidName`; `InvalidOption` for a directory in the container, a container of version 1, and
    metadata that are no JSON; `RefExists`, `ReadOnlyContainer`, `DamagedTree`, `Busy`, `WorkerDied`, OSError.
    """
    check_ref_name(options.description.name)
    watch = Stopwatch()
    for _ in range(_MOST_TRIES):
        try:
            return _save(engine, options, progress, watch)
        except _TreeGone:
            # The state cannot be trusted any more. Without it all pages are made and looked up.
            options = replace(options, rehash=Rehash.ALL)
        except _ObjectsGone:
            continue
    raise Busy("data of the snapshot", "gc, which deleted some of it during each attempt")


class _ObjectsGone(Exception):
    """Objects of the tree were collected after this save had found them."""


class _TreeGone(Exception):
    """The tree that the directory is compared with cannot be read."""


def _save(engine: Engine, options: SaveOptions, progress: Progress, watch: Stopwatch) -> SaveReport:
    with ExitStack() as stack:
        top = stack.enter_context(open_top(engine, options.directory))
        stack.enter_context(step(progress, "Saving", None, "bytes"))
        # 1. From now on nothing that this save stores is collected.
        lock = stack.enter_context(hold_save_lock(engine))
        state = read_state(engine, options.directory, options.state_directory)
        if state is not None:
            stack.enter_context(state)
        # 2. The present refs, and the parent that they lead to.
        engine.packed.refresh()
        pages = PageWriter(engine)
        plan = plan_of(engine, options, read_refs(engine)[0], state, pages)
        new_state = stack.enter_context(NewState(engine, options.directory, plan.base.state, options.state_directory))
        # 3 and 4.
        scan = scan_of(engine, top, options.scan)
        runs = compare(scan, plan.base.listings(), plan.base.state)
        queue = RunQueue(engine, scan, top, runs, plan.are_kept)
        filler = Filler(engine, scan, top, queue, options.scan.unreadable, options.jobs, by_files(progress))
        try:
            root = _tree(plan, filler, new_state, pages)
        except DamagedTree as error:
            if options.rehash is Rehash.ALL:
                raise
            raise _TreeGone from error
        report = SaveReport(
            snapshot="",
            tree=root.key.hex(),
            name=plan.name,
            version=plan.version,
            parent=next(iter(plan.parents.keys), None),
            changed=changes_since(plan.record, root, pages),
            files=root.files,
            size=root.size,
            stored=SavedObjects(filler.objects, filler.size, pages.pages),
            skipped=LeftOut(scan.special.number, len(scan.unreadable)),
            is_part=plan.base.selection is not None,
            dropped=plan.dropped,
            unchanged=plan.newest is not None and plan.record is not None and plan.record.tree == root.key.hex(),
            unreadable=tuple(scan.unreadable),
            special=scan.special.first,
            seconds=watch.seconds,
        )
        if report.unchanged:
            report = report.of_newest(plan)
        else:
            # 5 and 6.
            report = _publish(engine, options, plan, root, pages, lock.epoch, report)
        # 7.
        new_state.finish(_head(engine, plan, report))
        return replace(report, seconds=watch.seconds)


def _publish(
    engine: Engine,
    options: SaveOptions,
    plan: SavePlan,
    root: TreeRoot,
    pages: PageWriter,
    epoch: int,
    report: SaveReport,
) -> SaveReport:
    """Publish the tree as the next version. Return the report with it. Raise `RefMoved`."""
    try:
        published = publish_tree(
            engine,
            epoch,
            pages,
            root,
            plan.attributes,
            replace(options.description, metadata=_metadata(options, report.unreadable)),
            plan.parents,
            partial(_recheck, engine, root, pages),
            {"special": report.skipped.special, "unreadable": report.skipped.unreadable},
        )
    except RefMoved as error:
        if not plan.is_older:
            raise
        raise plan.has_moved(options.directory, error.snapshot) from None
    return replace(report, snapshot=published.snapshot, version=published.version)


def _tree(plan: SavePlan, filler: Filler, new_state: NewState, pages: PageWriter) -> TreeRoot:
    """Return the new tree: the old one with the changes, or a new one if there is none to change."""
    if plan.target is None:
        return build_tree(_listings(plan, filler, new_state), plan.attributes, pages.put)
    return edit_tree(plan.target, _edits(plan, plan.target, filler, new_state), pages.put, plan.target_files)


def _listings(plan: SavePlan, runs: Iterable[FilledRun], new_state: NewState) -> Iterator[Listing]:
    """Yield all entries, and give their rows to the new state."""
    for run in runs:
        if run.is_same:
            new_state.keep(run.rows)
        else:
            new_state.add(run.rows)
        yield run.listing(plan.attributes)


def _edits(
    plan: SavePlan, target: Tree, runs: Iterable[FilledRun], new_state: NewState
) -> Iterator[tuple[bytes, TreeEntry | None]]:
    """Yield the changes of the tree, with paths in it. Give the rows of the covered entries to the new state."""
    at, selection = plan.at, plan.base.selection
    if not target.is_directory(at):
        mode = 0o755 if plan.attributes & Attributes.MODES else None
        mtime = 0 if plan.attributes & Attributes.TIMES else None
        yield at, TreeEntry(at, EntryKind.DIRECTORY, 0, mtime=mtime, mode=mode)
    prefix = at + b"/" if at else b""
    for run in runs:
        if run.is_same:
            new_state.keep(run.rows)
            continue
        kept = []
        for change in changed_entries(run, plan.attributes, plan.base.beside):
            if plan.makes(change):
                yield prefix + change.path, change.new
            else:
                kept.append(change.path)
        new_state.add(run.rows if selection is None else run.rows_of(selection, kept))


def changes_since(parent: SnapshotRecord | None, root: TreeRoot, pages: PageWriter) -> SavedChanges:
    """Return the numbers of entries of a new tree that differ from the parent's."""
    if parent is None:
        return SavedChanges(added=root.entries)
    counts = {"added": 0, "removed": 0, "modified": 0, "kind": 0}
    try:
        for change in diff_trees(Tree(bytes.fromhex(parent.tree), pages.read), Tree(root.key, pages.read)):
            counts[change.kind] += 1
    except (DamagedTree, RemoteUnavailable):
        # The parent is damaged, or a lazy clone cannot reach it. The new version is good.
        return SavedChanges(added=root.entries)
    return SavedChanges(counts["added"], counts["removed"], counts["modified"] + counts["kind"])


def _recheck(engine: Engine, root: TreeRoot, pages: PageWriter) -> None:
    """Look up all objects of a tree again. Raise `_ObjectsGone` if one is gone: the save then begins anew."""
    engine.packed.refresh()
    digests: list[bytes] = []
    try:
        for reached in keys_by_kind([root.key], pages.read):
            _need(engine, [page for page in _each(reached.pages) if not pages.is_waiting(page)], PackKind.TREES)
            digests += _each(reached.files)
            if len(digests) >= _LOOKED_UP:
                _need(engine, digests, PackKind.HELD)
                digests = []
        _need(engine, digests, PackKind.HELD)
    except (ObjectNotFound, DamagedTree) as error:
        raise _ObjectsGone from error


def _each(joined: bytes) -> list[bytes]:
    return [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]


def _need(engine: Engine, digests: list[bytes], kind: PackKind) -> None:
    if digests and not all(engine.packed.contains_many(digests, kind)):
        raise _ObjectsGone


def _metadata(options: SaveOptions, unreadable: Sequence[PathReason]) -> Mapping[str, Any]:
    """Return the user's metadata, with the paths that were left out because they could not be read."""
    metadata = dict(options.description.metadata)
    if unreadable:
        named = [left.path.decode(errors="backslashreplace") for left in unreadable[:_MOST_NAMED]]
        metadata["unreadable"] = named
    return metadata


def _head(engine: Engine, plan: SavePlan, report: SaveReport) -> StateHead:
    """Return what the new state describes."""
    old: State | None = plan.state
    return StateHead(
        container_id=engine.config.container_id,
        reference=f"{report.name}@{report.version}",
        snapshot=report.snapshot,
        tree=report.tree,
        under=plan.at,
        attributes=plan.attributes,
        include=old.head.include if old is not None and plan.base.selection else (),
        exclude=old.head.exclude if old is not None and plan.base.selection else (),
    )

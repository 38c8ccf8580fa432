"""What a save is made from: the parent of the new version, and the tree that is changed. Step 2 of a save."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsdos.engine.snapshots import missing_of, read_record
from rsdos.errors import DamagedTree, InvalidName, InvalidOption, ObjectNotFound, RefExists, RefMoved
from rsdos.trees.build import build_tree
from rsdos.trees.diff import Change, diff_trees
from rsdos.trees.entry import Attributes, EntryKind, join
from rsdos.trees.limits import check_path
from rsdos.trees.names import parse_ref
from rsdos.trees.record import SnapshotRecord
from rsdos.trees.refs import Branch, Refs
from rsdos.trees.tree import Tree
from rsdos.worktree.base import Base, selection_of, tree_of_state
from rsdos.worktree.compare import below
from rsdos.worktree.ignore import Selection
from rsdos.worktree.options import Rehash, SaveOptions, WhenMoved
from rsdos.worktree.pages import PageWriter
from rsdos.worktree.publish_tree import MadeFrom
from rsdos.worktree.state import State, StateHead

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

TOP = "."
"""The whole tree, as the directory to be replaced."""


@dataclass(frozen=True, slots=True)
class SavePlan:
    """What a save is made from."""

    name: str
    """The branch."""
    newest: str | None
    """The snapshot of the branch's newest version."""
    version: int
    """The number of the newest version; 0 if there is none."""
    parents: MadeFrom
    is_older: bool
    """Whether the directory was made from an older version than the newest. Then a save is refused, unless the trees
    are equal."""
    record: SnapshotRecord | None
    """The record of the parent."""
    attributes: Attributes
    base: Base
    """What the directory is compared with."""
    are_kept: bool
    """Whether gc keeps the objects of the base's tree."""
    target: Tree | None
    """The tree that is changed; None: a new one is built."""
    target_files: int
    """The number of its files."""
    at: bytes
    """The directory of the tree that is replaced; b"": all of it."""
    state: State | None

    @property
    def dropped(self) -> Attributes:
        """The attributes that the parent's tree keeps and the new one does not."""
        return self.record.attributes & ~self.attributes if self.record is not None else Attributes.NONE

    def has_moved(self, directory: str | os.PathLike[str], snapshot: str = "") -> RefMoved:
        """Return the error for a directory that was made from an older version. ``snapshot`` is the stored snapshot."""
        made_from = f"what {os.fspath(directory)} was made from"
        return RefMoved(
            self.name, f"{self.name}@{self.version} is newer than {made_from}: compare them first", snapshot
        )

    def makes(self, change: Change) -> bool:
        """Return whether a change of the working directory goes into the new version.

        A directory that is gone stays in the tree if the checkout of a part has left out entries of it. Raise
        `InvalidOption` if something else is in its place.
        """
        old, new = change.old, change.new
        if old is None or old.kind is not EntryKind.DIRECTORY or not self._has_more(change.path):
            return True
        if new is not None and new.kind is not EntryKind.DIRECTORY:
            path = os.fsdecode(change.path)
            raise InvalidOption(
                f"{path}: is a directory in {self.name}, with entries that the checkout left out: rename it"
            )
        return new is not None

    def _has_more(self, path: bytes) -> bool:
        """Return whether a directory of the tree has entries that the checkout of a part does not cover."""
        selection = self.base.selection
        path = join(self.at, path)
        if selection is None or self.target is None or not self.target.is_directory(path):
            return False
        inside = below(self.target.walk(path), self.at)
        return any(len(selection.listing(listing).names) < len(listing.names) for listing in inside)


def plan_of(engine: Engine, options: SaveOptions, refs: Refs, state: State | None, pages: PageWriter) -> SavePlan:
    """Return what a save is made from.

    The parent is the branch's newest version, or for a new branch the snapshot that the directory was checked out from.
    The save replaces the whole tree, or the part of it that was checked out.

    If the branch has newer versions than the one that the directory was made from, and the options do not allow that,
    the new version is made from the older one. Publishing it raises `RefMoved`, unless the newest version has the same
    tree. So a save that was killed before it wrote the state can be repeated.

    Raise `RefExists`, `InvalidOption`, `InvalidName`, `DamagedTree`.
    """
    name = options.description.name
    if name in refs.tags:
        raise RefExists(name, "a tag has this name")
    branch = refs.branches.get(name)
    newest = branch.newest if branch is not None else None
    known = tree_of_state(engine, state)
    head = state.head if state is not None and known is not None else None
    parent = newest.snapshot if newest is not None else head.snapshot if head is not None else None
    record = _record(engine, parent, is_needed=newest is not None)
    are_kept = head is not None and head.snapshot in refs.snapshots()
    under = head.under if head is not None else b""
    at = under if not options.at else b"" if options.at == TOP else os.fsencode(options.at).strip(b"/")
    selection = selection_of(state) if known is not None else None
    rows = state if options.rehash is Rehash.CHANGED and known is not None else None
    attributes = options.attributes
    tree = Tree(bytes.fromhex(record.tree), pages.read) if record is not None else None
    is_newest = (
        known is not None
        and tree is not None
        and under == at
        and _is_equal(known, tree, at, selection, os.fsencode(options.directory))
    )
    is_due = under == at and not is_newest and options.when_moved is WhenMoved.REFUSE
    older = _older(name, branch, head) if branch is not None and head is not None and is_due else None
    if not at and selection is None:
        # Without rows the old tree is not used, so that it may be damaged.
        base = Base() if known is None or rows is None else Base(known, under, rows)
        # A tree that may lack pages is made anew. Pages that the container has are not stored twice.
        is_changed = are_kept and not under and rows is not None and known is not None
        target = known if is_changed and known is not None and known.attributes == attributes else None
        files = read_record(engine, head.snapshot).files if target is not None and head is not None else 0
    else:
        if newest is None and tree is not None and not are_kept:
            _need_all(engine, tree)
        # gc keeps the objects of the newest version, and so those that the state knows of it.
        base, are_kept = Base(known if is_newest else tree, at, rows if is_newest else None, selection), True
        files = record.files if record is not None else 0
        target = tree or Tree(build_tree((), attributes, pages.put).key, pages.read)
        if attributes & ~target.attributes:
            raise InvalidOption("the tree of the parent has no such times or modes: save the whole directory with them")
        attributes = target.attributes
        _check_place(target, at)
    return SavePlan(
        name=name,
        newest=newest.snapshot if newest is not None else None,
        version=newest.number if newest is not None else 0,
        # Publishing it on top of an older version is refused: the branch has moved.
        parents=MadeFrom(older, (older,))
        if older is not None
        else MadeFrom(newest.snapshot if newest is not None else None, (parent,) if record and parent else ()),
        is_older=older is not None,
        record=record,
        attributes=attributes,
        base=base,
        are_kept=are_kept,
        target=target,
        target_files=files,
        at=at,
        state=state,
    )


def _older(name: str, branch: Branch, head: StateHead) -> str | None:
    """Return the snapshot that a directory was made from, if that is an older version of a branch than its newest."""
    newest = branch.newest
    if newest is None:
        return None
    try:
        reference = parse_ref(head.reference)
        is_older = reference.name == name and reference.number is not None and reference.number < newest.number
    except InvalidName:
        is_older = False
    is_older = is_older or any(version.snapshot == head.snapshot for version in branch.versions)
    return head.snapshot if is_older and head.snapshot != newest.snapshot else None


def _check_place(tree: Tree, at: bytes) -> None:
    """Raise `InvalidName` if a tree cannot have a directory at a path."""
    if not at:
        return
    check_path(at)
    parts = at.split(b"/")
    above = [b"/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for path, entry in zip(above, tree.find(above), strict=True):
        if entry is not None and entry.kind is not EntryKind.DIRECTORY:
            raise InvalidName(
                path, "it is not a directory in the tree, and a save does not replace it by one: remove it first"
            )


def _is_equal(known: Tree, tree: Tree, under: bytes, selection: Selection | None, directory: bytes) -> bool:
    """Return whether two trees are equal in the covered entries, and in the other entries of a working directory."""
    if known.root == tree.root:
        return True
    if known.attributes != tree.attributes:
        return False
    cut = len(under) + 1 if under else 0
    try:
        for change in diff_trees(known, tree, under):
            entry = change.new or change.old
            assert entry is not None, "a change has a side"
            path = entry.path[cut:]
            if selection is None or selection.entry(path, entry.kind):
                return False
            # An earlier checkout may have written this entry: saving it would undo the newer version's change.
            if entry.kind is not EntryKind.DIRECTORY and os.path.lexists(os.path.join(directory, path)):
                return False
    except DamagedTree:
        return False
    return True


def _record(engine: Engine, snapshot: str | None, *, is_needed: bool) -> SnapshotRecord | None:
    """Return a snapshot; None without one, or if it is gone and not needed."""
    if snapshot is None:
        return None
    try:
        return read_record(engine, snapshot)
    except ObjectNotFound as error:
        if is_needed:
            raise DamagedTree(snapshot, "the snapshot is missing") from error
        return None


def _need_all(engine: Engine, tree: Tree) -> None:
    """Raise `DamagedTree` if an object of a tree is gone. No ref keeps the tree."""
    if next(missing_of(engine, [tree.root]), None) is not None:
        raise DamagedTree(tree.root.hex(), "objects of what was checked out were collected: save the whole directory")

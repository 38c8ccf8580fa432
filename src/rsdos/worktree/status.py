"""Status: compares a working directory with its snapshot, or with any other. Reads only files that may have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.errors import InvalidOption, ObjectNotFound, RefNotFound
from rsdos.progress import SILENCE, step
from rsdos.trees.diff import Change, diff_entries, diff_trees
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, tree_order
from rsdos.trees.tree import Tree
from rsdos.worktree.base import Base, open_top, scan_of, selection_of, tree_of_state
from rsdos.worktree.compare import below, compare
from rsdos.worktree.differences import Differences
from rsdos.worktree.new_state import NewState
from rsdos.worktree.options import PathReason, Rehash, StatusOptions
from rsdos.worktree.state import State, read_state

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress


@dataclass(frozen=True, slots=True)
class StatusSummary:
    """How many entries differ, and in which way."""

    added: int = 0
    removed: int = 0
    modified: int = 0
    kind: int = 0
    unchanged: int = 0
    """Files and links that are the same. A directory is not counted."""
    read: int = 0
    """Files that were read for the comparison."""


class Status:
    """The differences between a snapshot (old) and a working directory (new), in tree order.

    A context manager; iterate it once. One thread. At the end the state of the directory is refreshed, so that the next
    status need not read the same files.
    """

    def __init__(self, engine: Engine, options: StatusOptions, progress: Progress) -> None:
        self.reference = ""
        """The ref, or the key of the snapshot, that the directory is compared with."""
        self.snapshot = ""
        """The key of that snapshot."""
        self.summary = StatusSummary()
        """The numbers of the differences yielded so far."""
        self._engine = engine
        self._options = options
        self._progress = progress
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        engine, options = self._engine, self._options
        try:
            self._top = self._stack.enter_context(open_top(engine, options.directory))
            state = read_state(engine, options.directory, options.state_directory)
            if state is not None:
                self._stack.enter_context(state)
            self._choose(state)
            self._scan = scan_of(engine, self._top, options.scan)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _choose(self, state: State | None) -> None:
        """Choose the tree that the directory is compared with, and the tree and rows that are known of its entries."""
        engine, options = self._engine, self._options
        known = tree_of_state(engine, state)
        if options.reference:
            self.reference = options.reference
            self.snapshot = read_refs(engine)[0].find(options.reference)
            try:
                tree = read_record(engine, self.snapshot).tree
            except ObjectNotFound:
                raise RefNotFound(options.reference) from None
            self._under = options.under.encode(errors="surrogateescape").strip(b"/")
        elif state is None or known is None:
            raise InvalidOption(
                f"{self._top.path}: no snapshot of it is known here: name the one to compare it with, or save it first"
            )
        else:
            self.reference, self.snapshot, tree = state.head.reference, state.head.snapshot, state.head.tree
            self._under = state.head.under
        self._tree = Tree(bytes.fromhex(tree), StoredPages(engine))
        if self._under and not self._tree.is_directory(self._under):
            raise InvalidOption(f"{options.under}: is not a directory of {self.reference}")
        selection = selection_of(state)
        if state is None or known is None or (selection is not None and not self._is_of(state, known)):
            self._base = Base(self._tree, self._under, None, selection)
        else:
            is_trusted = options.rehash is Rehash.CHANGED
            self._base = Base(known, state.head.under, state if is_trusted else None, selection)
        self._state = state if self._base.tree is known and known is not None else None

    def _is_of(self, state: State, known: Tree) -> bool:
        """Return whether a state is of the same directory of the same tree."""
        return known.root == self._tree.root and state.head.under == self._under

    @property
    def special(self) -> int:
        """FIFOs, sockets and devices that were passed over so far."""
        return self._scan.special.number

    @property
    def first_special(self) -> tuple[bytes, ...]:
        """The paths of the first of them; see `special.MOST_NAMED`."""
        return self._scan.special.first

    @property
    def unreadable(self) -> tuple[PathReason, ...]:
        """The entries that were left out so far because they could not be read."""
        return tuple(self._scan.unreadable)

    def __iter__(self) -> Iterator[Change]:
        counts = dict.fromkeys(("added", "removed", "modified", "kind"), 0)
        base, state = self._base, self._state
        tree = base.tree
        assert tree is not None, "there is a tree to compare with"
        with ExitStack() as stack:
            stack.enter_context(step(self._progress, "Comparing", None, "bytes"))
            new_state = None
            if state is not None:
                new_state = NewState(self._engine, self._options.directory, base.state, self._options.state_directory)
                stack.enter_context(new_state)
            runs = compare(self._scan, base.listings(), base.state)
            attributes = tree.attributes
            found = Differences(self._scan, self._top, runs, base.beside, attributes, new_state, self._progress.advance)
            changes = iter(found)
            if tree.root != self._tree.root or base.under != self._under:
                changes = _against(self._between(tree), changes, found, self._tree.attributes & attributes)
            not_same = 0
            for change in changes:
                counts[change.kind] += 1
                not_same += change.new is not None and change.new.kind is not EntryKind.DIRECTORY
                yield change
            if new_state is not None and state is not None:
                new_state.finish(state.head)
        self.summary = StatusSummary(**counts, unchanged=found.files - not_same, read=found.read)

    def _between(self, known: Tree) -> Iterator[Change]:
        """Yield the differences between the snapshot and the known tree, with paths below the compared directories."""
        under, old_under = self._base.under, self._under
        if under == old_under:
            cut = len(under) + 1 if under else 0
            return (
                Change(change.path[cut:], _moved(change.old, cut), _moved(change.new, cut))
                for change in diff_trees(self._tree, known, under)
            )
        shared = self._tree.attributes & known.attributes
        return diff_entries(_entries(self._tree, old_under), _entries(known, under), shared)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def read_status(engine: Engine, options: StatusOptions, progress: Progress = SILENCE) -> Status:
    """Return the differences between a snapshot and a working directory, to be entered and iterated.

    Raise `InvalidOption` when no snapshot is named and none is known, or for a directory in the container;
    `RefNotFound` and `DamagedTree`; while iterating also `UnreadableSource` and `SourceChanged`.
    """
    return Status(engine, options, progress)


def _entries(tree: Tree, under: bytes) -> Iterator[TreeEntry]:
    for listing in below(tree.walk(under), under):
        yield from listing.entries()


def _moved(entry: TreeEntry | None, cut: int) -> TreeEntry | None:
    return entry._replace(path=entry.path[cut:]) if entry is not None and cut else entry


def _against(
    between: Iterator[Change], changes: Iterator[Change], found: Differences, shared: Attributes
) -> Iterator[Change]:
    """Yield the differences from a first to a third state, given those from the first to a second and on to the third.

    Both are in tree order. ``shared`` is what all three have.
    """
    first, second = next(between, None), next(changes, None)
    while first is not None or second is not None:
        if second is None or (first is not None and tree_order(first.path) < tree_order(second.path)):
            assert first is not None, "one of them is there"
            yield first
            first = next(between, None)
        elif first is None or tree_order(second.path) < tree_order(first.path):
            yield second
            second = next(changes, None)
        else:
            change = Change(first.path, first.old, _hashed(first.old, second.new, found))
            if not _are_equal(change.old, change.new, shared):
                yield change
            first, second = next(between, None), next(changes, None)


def _hashed(old: TreeEntry | None, new: TreeEntry | None, found: Differences) -> TreeEntry | None:
    """Return the new entry, with its key if it may be equal to the old one."""
    if old is None or new is None or new.key or not (old.kind.is_file and new.kind.is_file and old.size == new.size):
        return new
    return new._replace(key=found.key_of(new.path))


def _are_equal(old: TreeEntry | None, new: TreeEntry | None, shared: Attributes) -> bool:
    if old is None or new is None:
        return old is new
    if shared & Attributes.MODES and old.mode != new.mode:
        return False
    if shared & Attributes.TIMES and old.mtime != new.mtime:
        return False
    return (old.kind, old.key, old.target) == (new.kind, new.key, new.target)

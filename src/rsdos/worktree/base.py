"""The base of a comparison with a working directory: a tree, and the state that has recorded its entries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsdos.engine.snapshots import StoredPages
from rsdos.errors import DamagedTree, InvalidOption
from rsdos.root import is_inside
from rsdos.trees.entry import EntryKind, Listing, TreeEntry
from rsdos.trees.tree import Tree
from rsdos.worktree.compare import below
from rsdos.worktree.ignore import Selection
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import ScanOptions
from rsdos.worktree.scan import DirectoryScan
from rsdos.worktree.state import State

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Base:
    """A tree, or a directory of it, to compare a working directory with."""

    tree: Tree | None = None
    """None: an empty one."""
    under: bytes = b""
    """The directory of the tree."""
    state: State | None = None
    """The rows of its entries, if they are known."""
    selection: Selection | None = None
    """The part of the tree that the working directory should have; None: all of it."""

    def listings(self) -> Iterator[Listing]:
        """Yield the entries of the tree that are compared, with paths below ``under``."""
        if self.tree is None:
            return iter(())
        listings = below(self.tree.walk(self.under), self.under)
        if self.selection is None:
            return listings
        return filter(_has_entries, map(self.selection.listing, listings))

    def beside(self, paths: Sequence[bytes]) -> dict[bytes, TreeEntry]:
        """Return the tree's entries at some paths below ``under`` that `listings` did not yield.

        A working directory may have more than a checkout of a part has written, and that is compared too. Directories
        get no times and no mode here: a checkout may have made them only for entries below.
        """
        if self.tree is None or self.selection is None or not paths:
            return {}
        prefix = self.under + b"/" if self.under else b""
        found = self.tree.find([prefix + path for path in paths])
        return {path: _beside(entry, path) for path, entry in zip(paths, found, strict=True) if entry is not None}


def _beside(entry: TreeEntry, path: bytes) -> TreeEntry:
    if entry.kind is EntryKind.DIRECTORY:
        return TreeEntry(path, EntryKind.DIRECTORY, 0)
    return entry._replace(path=path)


def _has_entries(listing: Listing) -> bool:
    return bool(listing.names)


def tree_of_state(engine: Engine, state: State | None) -> Tree | None:
    """Return the tree of a state, or None without a state or if the root cannot be read any more."""
    if state is None:
        return None
    tree = Tree(bytes.fromhex(state.head.tree), StoredPages(engine))
    try:
        tree.entries  # noqa: B018  reads the root
    except DamagedTree:
        return None
    return tree


def selection_of(state: State | None) -> Selection | None:
    """Return the entries that a checkout of a part covers; None if the state is that of a whole tree."""
    if state is None:
        return None
    return Selection(state.head.include, state.head.exclude) or None


def open_top(engine: Engine, directory: str | os.PathLike[str]) -> OpenDirectories:
    """Open a working directory. Raise OSError, and `InvalidOption` for a directory in the container itself."""
    top = OpenDirectories(directory)
    if engine.directory is not None and is_inside(top.path, engine.directory):
        top.close()
        raise InvalidOption(f"{top.path}: is inside the container itself")
    return top


def scan_of(engine: Engine, top: OpenDirectories, options: ScanOptions) -> DirectoryScan:
    """Return a scan of a working directory. The scan passes over the container."""
    own: tuple[int, int] | None = None
    if engine.directory is not None:
        status = os.stat(engine.directory)
        own = status.st_dev, status.st_ino
    return DirectoryScan(top, own, options)

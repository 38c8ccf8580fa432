"""Reads a tree: all of it in its order, the listing of a directory, single entries."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rsdos.errors import DamagedTree
from rsdos.trees.entry import KINDS, Attributes, EntryKind, Listing, PathSpan, TreeEntry, size_of_files, tree_order
from rsdos.trees.page import Child, Leaf, Page
from rsdos.trees.parents import Parents
from rsdos.trees.reader import TOGETHER, Damaged, Keep, PageReader, ReadPages, children_of, raise_damage


class Totals(NamedTuple):
    """What is below a directory, on all levels."""

    entries: int
    size: int
    """Bytes of files."""


class Tree:
    """One tree, read by pages as they are needed. Immutable; any thread.

    Every method raises `DamagedTree` where a page is damaged, missing, or not one that belongs there. All that it
    returns is as docs/format.md says: names without slashes, in order, each directory with its entry.
    """

    def __init__(self, root: bytes, read_pages: ReadPages) -> None:
        """Of the digest of its root page. Nothing is read yet."""
        self.pages = PageReader(root, read_pages)

    @property
    def root(self) -> bytes:
        return self.pages.root

    @property
    def attributes(self) -> Attributes:
        return self.pages.root_page().attributes

    @property
    def entries(self) -> int:
        """The number of entries, as the root page says."""
        return self.pages.root_page().entries

    @property
    def size(self) -> int:
        """The bytes of all files, as the root page says."""
        return self.pages.root_page().size

    def walk(self, under: bytes = b"", damaged: Damaged = raise_damage) -> Iterator[Listing]:
        """Yield all that is below a directory, in tree order; nothing if there is no such directory.

        Holds a few pages at a time. ``damaged`` is told of each range of paths that is lost; if it returns, the walk
        continues behind the range.
        """
        if not self._is_there(under, damaged):
            return
        parents = Parents(under)
        lost: list[DamagedTree] = []

        def note(error: DamagedTree) -> None:
            damaged(error)
            lost.append(error)

        for leaf in self._leaves(PathSpan.below(under), note):
            for run in leaf.runs:
                if _is_within(run.directory, under):
                    fault = parents.fault(run)
                    if fault and not lost:  # the entry may be in what was lost
                        raise DamagedTree(self.root.hex(), fault, (run.directory, run.directory))
                    yield run

    def _is_there(self, directory: bytes, damaged: Damaged) -> bool:
        """Return whether a directory is there; where its entry is lost its listing may be there."""
        try:
            return self.is_directory(directory)
        except DamagedTree as error:
            damaged(error)
            return True

    def listing(self, directory: bytes, damaged: Damaged = raise_damage) -> Iterator[Listing]:
        """Yield what is in a directory itself, in one or more runs; nothing if there is no such directory."""
        if self._is_there(directory, damaged):
            for leaf in self._leaves(PathSpan.inside(directory), damaged):
                yield from (run for run in leaf.runs if run.directory == directory)

    def _leaves(self, span: PathSpan, damaged: Damaged) -> Iterator[Leaf]:
        """Yield the leaves that may have entries of a range."""
        return self._leaves_below(self.pages.root_page(), b"", span, damaged)

    def _leaves_below(self, page: Page, after: bytes, span: PathSpan, damaged: Damaged) -> Iterator[Leaf]:
        if isinstance(page, Leaf):
            yield page
            return
        children = [child for child in children_of(page, after) if span.meets(child.after, child.last)]
        for start in range(0, len(children), TOGETHER):
            some = children[start : start + TOGETHER]
            for child, below in zip(some, self.pages.pages(some, damaged, Keep.INNER), strict=True):
                if below is not None:
                    yield from self._leaves_below(below, child.after, span, damaged)

    def entry(self, path: bytes) -> TreeEntry | None:
        """Return the entry of a path, or None. The root has none."""
        return self.find([path])[0]

    def is_directory(self, path: bytes) -> bool:
        """Return whether a path is a directory; the root is one."""
        found = self.entry(path) if path else None
        return not path or (found is not None and found.kind is EntryKind.DIRECTORY)

    def find(self, paths: Sequence[bytes]) -> list[TreeEntry | None]:
        """Return the entry of each path, or None. Each page is read once, those of one page above it together."""
        found: list[TreeEntry | None] = [None] * len(paths)
        wanted = sorted([(tree_order(path), at) for at, path in enumerate(paths) if path and path[0] != _SLASH])
        self._find(self.pages.root_page(), b"", wanted, paths, found)
        return found

    def _find(
        self,
        page: Page,
        after: bytes,
        wanted: Sequence[tuple[bytes, int]],
        paths: Sequence[bytes],
        found: list[TreeEntry | None],
    ) -> None:
        if isinstance(page, Leaf):
            for _, at in wanted:
                found[at] = _entry_of(page, paths[at])
            return
        groups: list[tuple[Child, list[tuple[bytes, int]]]] = []
        children = children_of(page, after)
        for child_at, group in groupby(wanted, lambda one: bisect_left(page.lasts, one[0])):
            if child_at < len(children):
                groups.append((children[child_at], list(group)))
        for start in range(0, len(groups), TOGETHER):
            some = groups[start : start + TOGETHER]
            below = self.pages.pages([child for child, _ in some])
            for (child, part), inner in zip(some, below, strict=True):
                if inner is not None:
                    self._find(inner, child.after, part, paths, found)

    def totals(self, under: bytes = b"") -> Totals:
        """Return the sums of all that is below a directory. Reads only the pages at the ends of the range."""
        if not self.is_directory(under):
            return Totals(0, 0)
        return self._totals(self.pages.root_page(), b"", PathSpan.below(under), under)

    def _totals(self, page: Page, after: bytes, span: PathSpan, under: bytes) -> Totals:
        entries = size = 0
        if isinstance(page, Leaf):
            for run in page.runs:
                if _is_within(run.directory, under):
                    entries += len(run.names)
                    size += size_of_files(run)
            return Totals(entries, size)
        cut = []
        for child in children_of(page, after):
            if span.has(child.after, child.last):
                entries += child.entries
                size += child.size
            elif span.meets(child.after, child.last):
                cut.append(child)
        for child, below in zip(cut, self.pages.pages(cut), strict=True):
            if below is not None:
                inner = self._totals(below, child.after, span, under)
                entries += inner.entries
                size += inner.size
        return Totals(entries, size)


_SLASH = ord("/")


def _is_within(directory: bytes, under: bytes) -> bool:
    return not under or directory == under or directory.startswith(under + b"/")


def _entry_of(leaf: Leaf, path: bytes) -> TreeEntry | None:
    directory, _, name = path.rpartition(b"/")
    for run in leaf.runs:
        if run.directory == directory:
            at = bisect_left(run.names, name)
            if at < len(run.names) and run.names[at] == name:
                return TreeEntry(
                    path,
                    KINDS[run.kinds[at]],
                    run.sizes[at],
                    run.keys[at],
                    run.targets[at],
                    None if run.mtimes is None else run.mtimes[at],
                    None if run.modes is None else run.modes[at],
                )
    return None

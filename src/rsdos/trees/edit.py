"""Changes of a tree: the pages that they touch are written anew, and all others are reused.

The result is that of building the changed entries: pages end where names say, so that the old ones fit again as soon as
an old page begins where a new one does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import itemgetter

from rsdos.errors import InvalidName
from rsdos.trees.build import PageBuilder, Put, TreeRoot, checked_listing
from rsdos.trees.entry import EntryKind, PathSpan, TreeEntry, listings_of, order_key, tree_order
from rsdos.trees.limits import check_path
from rsdos.trees.page import Inner, Leaf, Page
from rsdos.trees.reader import children_of
from rsdos.trees.tree import Tree

PathChange = tuple[bytes, TreeEntry | None]
"""A path and its new entry; None: it goes, a directory with all that is below."""

_MADE_MODE = 0o755


def edit_tree(tree: Tree, changes: Iterable[PathChange], put: Put, files: int) -> TreeRoot:
    """Return the tree with some entries changed, added or gone; ``put`` gets the pages that ``tree`` has not.

    Reads and writes the pages of the changed entries and those above them. ``files`` is the number of files in the tree
    before, which its pages do not have.

    The changes may be in any order. Those that take away come first: a path that is taken away and given again has
    nothing below but what these changes put there. A directory given where there is one keeps what is below it; where
    anything else replaces a directory, that goes. A path that is not there may be taken away. Directories that paths
    need are made, with the mtime of the entry that needs them first.

    Raises:
        InvalidName: A path that no tree may have, or one below something that is no directory.
        InvalidOption: An entry whose columns do not fit.
        DamagedTree: A page that is needed is damaged.
    """
    wanted, gone = _complete(tree, changes)
    edit = _Edit(tree, wanted, gone, put)
    return edit.run(files)


def _complete(tree: Tree, changes: Iterable[PathChange]) -> tuple[dict[bytes, TreeEntry | None], list[PathSpan]]:
    """Return the changes with the directories that they need, and the ranges of all that goes with a directory."""
    wanted: dict[bytes, TreeEntry | None] = {}
    removed = set()
    checked: set[bytes] = set()
    for path, entry in changes:
        directory, slash, _ = path.rpartition(b"/")
        # One path of each directory: the names of entries are checked where pages are made of them, for less.
        if entry is None or directory not in checked or (slash and not directory):
            check_path(path)
            checked.add(directory)
        if entry is None:
            removed.add(path)
            wanted.setdefault(path, None)
        else:
            wanted[path] = entry._replace(path=path)
    needed_by = _directories_above(wanted)
    leaving = removed | {path for path, entry in wanted.items() if entry and entry.kind is not EntryKind.DIRECTORY}
    asked = list(leaving | needed_by.keys())
    old = dict(zip(asked, tree.find(asked), strict=True))
    spans = [PathSpan.below(path) for path in leaving if _is_directory(old[path])]
    for path, entry in needed_by.items():
        present = wanted.get(path) or (None if _is_below(path, removed) else old[path])
        if present is None:
            wanted[path] = TreeEntry(path, EntryKind.DIRECTORY, 0, mtime=entry.mtime, mode=_MADE_MODE)
        elif not _is_directory(present):
            raise InvalidName(path, "it is no directory, and cannot have entries below it")
    return wanted, spans


def _directories_above(wanted: Mapping[bytes, TreeEntry | None]) -> dict[bytes, TreeEntry]:
    """Return the directories that entries are in, and those that these are in, each with the first entry below it."""
    found: dict[bytes, TreeEntry] = {}
    for path in sorted([path for path, entry in wanted.items() if entry is not None], key=tree_order):
        entry = wanted[path]
        above = path.rpartition(b"/")[0]
        while above and above not in found and entry is not None:
            found[above] = entry
            above = above.rpartition(b"/")[0]
    return found


def _is_directory(entry: TreeEntry | None) -> bool:
    return entry is not None and entry.kind is EntryKind.DIRECTORY


def _is_below(path: bytes, removed: Collection[bytes]) -> bool:
    """Return whether a path, or a directory that it is in, is among some paths."""
    while path and path not in removed:
        path = path.rpartition(b"/")[0]
    return bool(path)


class _Edit:
    """One pass over the pages of a tree, in its order."""

    def __init__(self, tree: Tree, wanted: Mapping[bytes, TreeEntry | None], spans: list[PathSpan], put: Put) -> None:
        keyed = sorted([(tree_order(path), entry) for path, entry in wanted.items()], key=itemgetter(0))
        self._keys = [key for key, _ in keyed]
        self._new = [entry for _, entry in keyed]
        self._next = 0
        """The first change that is still to be made."""
        # Those of directories in others are left out: the ranges do not overlap, their ends are in order.
        ends = accumulate((span.upper or b"" for span in sorted(spans)), max)
        apart = [span for span, end in zip(sorted(spans), ends, strict=True) if span.upper == end]
        self._lowers = [span.lower for span in apart]
        self._uppers = [span.upper or b"" for span in apart]
        self._tree = tree
        self._put = put
        self._read: set[bytes] = set()
        self._builder = PageBuilder(tree.attributes, self._put_new)
        self._made: set[bytes] = set()
        self._files = 0
        """How many files more there are."""

    def run(self, files: int) -> TreeRoot:
        """Make the changes, and return the root of what comes out."""
        page = self._tree.pages.root_page()
        if not self._keys:
            return TreeRoot(self._tree.root, page.entries, files, page.size, 0)
        self._read.add(self._tree.root)
        self._page(page, b"", None)
        root = self._builder.finish()
        while root.level and root.key not in self._made:  # an old page may be the only one on its level now
            inner = self._tree.pages.page(root)
            if not isinstance(inner, Inner) or len(inner.children) > 1:
                break
            root = inner.children[0]
        return TreeRoot(root.key, root.entries, files + self._files, root.size, len(self._made))

    def _put_new(self, key: bytes, page: bytes) -> None:
        if key not in self._read and key not in self._made:
            self._made.add(key)
            self._put(key, page)

    def _page(self, page: Page, after: bytes, limit: bytes | None) -> None:
        """Take over a page that is behind ``after``; changes up to ``limit`` are in it, without a limit all others."""
        if isinstance(page, Leaf):
            self._leaf(page, after, limit)
            return
        children = children_of(page, after)
        limits: list[bytes | None] = [*page.lasts[:-1], limit]
        touched = [child for child, end in zip(children, limits, strict=True) if self._is_touched(child.after, end)]
        self._tree.pages.read_ahead(touched)
        for child, end in zip(children, limits, strict=True):
            if not self._is_touched(child.after, end) and self._builder.is_between_pages(child.level):
                self._builder.add_page(child)
            else:
                self._read.add(child.key)
                self._page(self._tree.pages.page(child), child.after, end)

    def _is_touched(self, after: bytes, limit: bytes | None) -> bool:
        """Return whether there are changes for the entries behind ``after``, up to the limit."""
        at = bisect_right(self._keys, after, self._next)
        if at < len(self._keys) and (limit is None or self._keys[at] <= limit):
            return True
        span = bisect_right(self._uppers, after)
        return span < len(self._lowers) and (limit is None or self._lowers[span] <= limit)

    def _leaf(self, page: Leaf, after: bytes, limit: bytes | None) -> None:
        if not self._is_touched(after, limit):
            for run in page.runs:
                self._builder.add(run)
            return
        for listing in listings_of(self._merged(page, limit), page.attributes):
            self._builder.add(checked_listing(listing, page.attributes))

    def _merged(self, page: Leaf, limit: bytes | None) -> Iterator[TreeEntry]:
        """Yield the entries of a leaf, changed."""
        stop = len(self._keys) if limit is None else bisect_right(self._keys, limit)
        for run in page.runs:
            for name, entry in zip(run.names, run.entries(), strict=True):
                key = order_key(run.directory, name)
                yield from self._changes(bisect_left(self._keys, key, self._next, stop))
                is_changed = self._next < stop and self._keys[self._next] == key
                if is_changed or self._is_gone(key):
                    self._files -= entry.kind.is_file
                else:
                    yield entry
        yield from self._changes(stop)

    def _changes(self, stop: int) -> Iterator[TreeEntry]:
        """Yield what the changes up to this one put into the tree."""
        while self._next < stop:
            entry = self._new[self._next]
            self._next += 1
            if entry is not None:
                self._files += entry.kind.is_file
                yield entry

    def _is_gone(self, key: bytes) -> bool:
        at = bisect_right(self._lowers, key)
        return at > 0 and key < self._uppers[at - 1]

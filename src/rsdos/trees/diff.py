"""The differences between two trees, or between two streams of entries. Equal pages are not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from rsdos.trees.entry import Attributes, PathSpan, TreeEntry, order_key, tree_order
from rsdos.trees.page import Child, Leaf
from rsdos.trees.reader import children_of
from rsdos.trees.tree import Tree

Rows = list[tuple[bytes, TreeEntry]]
"""Entries with their `order_key`, in order."""


class Change(NamedTuple):
    """A path whose entry is another in the new tree; None: there is none."""

    path: bytes
    old: TreeEntry | None
    new: TreeEntry | None

    @property
    def kind(self) -> str:
        """``added``, ``removed``, ``modified``, or ``kind`` if a file became a link or a directory, for example.

        A file that became executable, or is none any more, is ``modified``.
        """
        if self.old is None:
            return "added"
        if self.new is None:
            return "removed"
        if self.old.kind != self.new.kind and not (self.old.kind.is_file and self.new.kind.is_file):
            return "kind"
        return "modified"


def diff_trees(old: Tree, new: Tree, under: bytes = b"") -> Iterator[Change]:
    """Yield what differs below a directory, in tree order.

    Reads the pages that differ, and those above them: about sixty for ten changes among a million entries. Where one of
    the trees has no times or no modes, none are compared. Raise `DamagedTree`.
    """
    if old.root == new.root:
        return
    shared = None if old.attributes == new.attributes else old.attributes & new.attributes
    span = PathSpan.below(under)
    left, right = _Cursor(old, span), _Cursor(new, span)
    while left.known is not None or right.known is not None:
        if not left.rows and not right.rows:
            if _step(left, right):
                continue
            left.open_leaf()
        left.fill(right.known)
        right.fill(left.known)
        limit = min(known for known in (left.known, right.known) if known is not None)
        for change in _changes(left.take(limit), right.take(limit), shared):
            if not under or change.path.startswith(under + b"/"):
                yield change


def _step(left: _Cursor, right: _Cursor) -> bool:
    """Pass over equal pages, or go down a level on the higher side, or on both. Return whether anything was done."""
    one, other = left.top, right.top
    if one is not None and other is not None and one.key == other.key:
        left.drop()
        right.drop()
        return True
    level = max(page.level for page in (one, other) if page is not None)
    if level == 0:
        return False
    both = [cursor for cursor in (left, right) if cursor.top is not None and cursor.top.level == level]
    below = [cursor.open_top() for cursor in both]
    keys = [{child.key for child in children} for children in below]
    for at, cursor in enumerate(both):
        others = keys[1 - at] if len(keys) == 2 else set()
        cursor.read_ahead([child for child in below[at] if child.key not in others])
    return True


class _Cursor:
    """A place in a tree: the pages that are still to come, and the entries of the leaf that was read last."""

    def __init__(self, tree: Tree, span: PathSpan) -> None:
        self.rows: Rows = []
        self._pages = tree.pages
        self._span = span
        self._end = b""
        root = tree.pages.root_page()
        self._waiting: list[Child] = []
        if root.entries:
            whole = Child(root.level, b"", b"", root.last, b"", root.entries, root.size, tree.root)
            self._waiting = [whole]

    @property
    def top(self) -> Child | None:
        """The next page, or None."""
        return self._waiting[-1] if self._waiting else None

    @property
    def known(self) -> bytes | None:
        """The key up to which all entries that are left are in ``rows``; None at the end of the tree."""
        if self.rows:
            return self._end
        return self._waiting[-1].after if self._waiting else None

    def drop(self) -> None:
        """Pass over the next page."""
        self._waiting.pop()

    def open_top(self) -> list[Child]:
        """Replace the next page by its children, which are returned, or by its entries."""
        child = self._waiting.pop()
        page = self._pages.page(child)
        if isinstance(page, Leaf):
            self._end = page.last
            self.rows = [
                (beginning + name, entry)
                for run in page.runs
                for beginning in (order_key(run.directory, b""),)  # Once for a run, not for each name.
                for name, entry in zip(run.names, run.entries(), strict=True)
            ]
            return []
        children = [below for below in children_of(page, child.after) if self._span.meets(below.after, below.last)]
        self._waiting += reversed(children)
        return children

    def open_leaf(self) -> None:
        """Read the next leaf, if there is one."""
        while not self.rows and self._waiting:
            self.open_top()

    def fill(self, known: bytes | None) -> None:
        """Read the next leaf if it may have entries up to this key (None: any), which is known of the other side."""
        while not self.rows and self._waiting and (known is None or self._waiting[-1].after < known):
            self.open_top()

    def read_ahead(self, children: list[Child]) -> None:
        """Read pages together that will be asked for."""
        self._pages.read_ahead(children)

    def take(self, limit: bytes) -> Rows:
        """Return the entries that were read, up to a key, and take them off."""
        if not self.rows or self._end <= limit:
            taken, self.rows = self.rows, []
            return taken
        count = sum(key <= limit for key, _ in self.rows)
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken


def diff_entries(old: Iterable[TreeEntry], new: Iterable[TreeEntry], shared: Attributes) -> Iterator[Change]:
    """Yield what differs between two streams of entries in tree order; ``shared`` are the attributes to compare."""
    for _, same in groupby(merge(_keyed(old, 0), _keyed(new, 1)), itemgetter(0)):
        sides: list[TreeEntry | None] = [None, None]
        for _, at, entry in same:
            sides[at] = entry
        yield from _change(sides[0], sides[1], shared)


def _keyed(entries: Iterable[TreeEntry], side: int) -> Iterator[tuple[bytes, int, TreeEntry]]:
    return ((tree_order(entry.path), side, entry) for entry in entries)


def _change(old: TreeEntry | None, new: TreeEntry | None, shared: Attributes) -> Iterator[Change]:
    entry = new or old
    if entry and (old is None or new is None or _compared(old, shared) != _compared(new, shared)):
        yield Change(entry.path, old, new)


def _changes(old: Rows, new: Rows, shared: Attributes | None) -> Iterator[Change]:
    """Yield what differs between entries of two trees; ``shared`` is None where both have the same attributes."""
    before, after = dict(old), dict(new)
    for key in sorted({key for key, _ in before.items() ^ after.items()}):
        one, other = before.get(key), after.get(key)
        if shared is not None:
            yield from _change(one, other, shared)
        elif entry := other or one:
            yield Change(entry.path, one, other)


def _compared(entry: TreeEntry, shared: Attributes) -> TreeEntry:
    """Return the entry as it is compared: with the attributes that both sides have."""
    return entry._replace(
        mtime=entry.mtime if shared & Attributes.TIMES else None,
        mode=entry.mode if shared & Attributes.MODES else None,
    )

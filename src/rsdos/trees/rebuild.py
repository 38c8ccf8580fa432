"""Rebuilds a lost inner page from the pages below it. Its hash shows that it is the same page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from rsdos.hashing import SHA256
from rsdos.trees.cut import INNER_CHILDREN
from rsdos.trees.entry import Attributes
from rsdos.trees.page import Child, Leaf, Page, encode_inner

_MOST_SUMS = 1 << 12
"""Different sums of rows that end with one page: those of twelve pages that two versions have each. What more versions
with more changes have is not all looked at, so that time and memory are bounded."""

_MOST_ROWS = 1 << 12
"""Rows whose hash is compared."""


class LostPage(NamedTuple):
    """What is known of a page that cannot be read: by the page above it, or of a root by its snapshot."""

    key: bytes
    attributes: Attributes
    entries: int
    size: int
    level: int | None = None
    """None: that of a root is not known."""
    after: bytes = b""
    """The `order_key` of the last entry of the page before."""
    last: bytes | None = None
    """The `order_key` of the last entry below; None if that is not known."""


class FoundPage(NamedTuple):
    """A page that can be read, of any version of any tree."""

    child: Child
    """As the page above it says it."""
    first: bytes
    """The `order_key` of an entry that is not behind the end of its first page below, or the first of a leaf."""
    attributes: Attributes


def found_page(key: bytes, page: Page) -> FoundPage | None:
    """Return what a page above this one would say; None for the page of an empty tree, which has none above it."""
    if not page.entries:
        return None
    if isinstance(page, Leaf):
        run = page.runs[-1]
        child = Child(0, run.directory, run.names[-1], page.last, b"", page.entries, page.size, key)
        return FoundPage(child, page.first, page.attributes)
    last = page.children[-1]
    child = Child(page.level, last.directory, last.name, page.last, b"", page.entries, page.size, key)
    return FoundPage(child, page.lasts[0], page.attributes)


def rebuilt_page(lost: LostPage, found: Iterable[FoundPage], led_to: Container[bytes] = ()) -> bytes | None:
    """Return the bytes of a lost page.

    ``led_to`` has the keys that other pages lead to: a page that none leads to is most likely one of the lost page.
    None where a page below it is lost too, and where so many versions have pages there that the search is given up.
    """
    fitting = [one for one in found if one.attributes == lost.attributes and _is_within(one, lost)]
    levels = {one.child.level for one in fitting} if lost.level is None else {lost.level - 1}
    for level in sorted(levels, reverse=True):
        below = sorted((one for one in fitting if one.child.level == level), key=lambda one: one.child.last)
        own = [one for one in below if one.child.key not in led_to]
        beside = [one for one in below if one.child.key in led_to and not any(_overlap(one, other) for other in own)]
        for some in (sorted(own + beside, key=lambda one: one.child.last), below):
            for row in islice(_Search(some, lost).rows(), _MOST_ROWS):
                page = encode_inner(level + 1, row, lost.attributes)
                if SHA256.digest_of(page) == lost.key:
                    return page
    return None


def _is_within(one: FoundPage, lost: LostPage) -> bool:
    return lost.after < one.first and (lost.last is None or one.child.last <= lost.last)


def _overlap(one: FoundPage, other: FoundPage) -> bool:
    return one.first <= other.child.last and other.first <= one.child.last


class _Search:
    """The search for rows of pages, each behind the one before, that have the entries and bytes of a lost page."""

    def __init__(self, below: Sequence[FoundPage], lost: LostPage) -> None:
        """``below`` is ordered by the last entry."""
        self._below = below
        self._wanted = lost.entries, lost.size
        self._last = lost.last
        self._lasts = [one.child.last for one in below]
        self._sums: list[dict[_Sum, list[int]]] = []
        """For each page the sums of rows that end with it, and the pages before it in these; -1 for none."""

    def rows(self) -> Iterator[list[Child]]:
        """Yield the rows."""
        self._add_up()
        for at, sums in enumerate(self._sums):
            if self._wanted in sums and self._last in (None, self._lasts[at]):
                yield from self._rows_to(at, self._wanted, [])

    def _rows_to(self, at: int, wanted: _Sum, behind: list[Child]) -> Iterator[list[Child]]:
        row = [self._below[at].child, *behind]
        left = wanted[0] - row[0].entries, wanted[1] - row[0].size
        for before in self._sums[at][wanted] if len(row) <= INNER_CHILDREN else ():
            if before < 0:
                yield row
            else:
                yield from self._rows_to(before, left, row)

    def _add_up(self) -> None:
        """Find the sums. Those that leave out so much that the rest cannot make up for it are dropped."""
        entries_wanted, size_wanted = self._wanted
        behind = _most_entries_behind(self._below)
        for one, most_behind in zip(self._below, behind, strict=True):
            child = one.child
            least = entries_wanted - most_behind
            here: dict[_Sum, list[int]] = {}
            for before in range(-1, bisect_left(self._lasts, one.first)):
                for entries, size in [(0, 0)] if before < 0 else self._sums[before]:
                    total = entries + child.entries, size + child.size
                    is_possible = least <= total[0] <= entries_wanted and total[1] <= size_wanted
                    if is_possible and (len(here) < _MOST_SUMS or total in here):
                        here.setdefault(total, []).append(before)
            self._sums.append(here)


_Sum: TypeAlias = tuple[int, int]
"""Entries, and bytes of files."""


def _most_entries_behind(pages: Sequence[FoundPage]) -> list[int]:
    """Return for each page how many entries a row of pages behind it has at most."""
    order = sorted(pages, key=lambda one: one.first)
    firsts = [one.first for one in order]
    most = [0] * (len(order) + 1)
    for at in range(len(order) - 1, -1, -1):
        child = order[at].child
        most[at] = max(most[at + 1], child.entries + most[bisect_right(firsts, child.last)])
    return [most[bisect_right(firsts, one.child.last)] for one in pages]

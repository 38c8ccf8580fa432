"""Goes through a checkout directory by directory in tree order, through the tree and the recorded entries together.

Memory: the entries of one directory, and the names of the directories that are still to be visited.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, Protocol

from rsdos.errors import DamagedObject, DamagedTree, ObjectNotFound
from rsdos.trees.entry import EntryKind, Listing
from rsdos.trees.tree import Tree
from rsdos.worktree.checkout_rules import Fate
from rsdos.worktree.ignore import Selection, chosen
from rsdos.worktree.lost_directories import walk_with_lost_directories
from rsdos.worktree.options import PathReason
from rsdos.worktree.rows import ROW_BYTES
from rsdos.worktree.state import State


class Wanted(NamedTuple):
    """The entries of a tree in one directory."""

    listing: Listing
    """The entries that the checkout covers, without those that it refuses."""
    through: tuple[bytes, ...]
    """Names of directories that are not covered, but may hold covered entries."""
    start: int
    """The number of covered entries of the tree that come before these."""
    covered: int
    """Covered entries, refused ones included."""
    places: Sequence[int]
    """The number of each entry of the listing among the covered ones of the whole tree."""
    is_whole: bool
    """Whether no page was lost so far. After a lost page, entries of the tree may be missing here."""


class Recorded(NamedTuple):
    """The recorded entries of one directory."""

    listing: Listing
    rows: bytes


Refuse = Callable[[Listing], Sequence[str]]
"""Returns for each entry why it is not written, or "". An empty sequence refuses none."""


class WantedEntries:
    """The entries of the tree that is checked out, for a caller that asks for directories in tree order."""

    def __init__(
        self,
        tree: Tree,
        under: bytes,
        selection: Selection,
        refuse: Refuse,
        lose: Callable[[PathReason, DamagedTree], None],
    ) -> None:
        """``lose`` gets each part that is lost because the tree is damaged; it may raise the error."""
        self._selection = selection
        self._refuse = refuse
        self._lose = lose
        self._number = 0
        self.is_whole = True
        self._heads = _Directories(walk_with_lost_directories(tree, under, self._note), under)
        self.refused: list[PathReason] = []

    def _note(self, error: DamagedTree) -> None:
        after, through = error.range or (b"", b"")
        self._lose(PathReason(after, f"the entries after it, up to {os.fsdecode(through)!r}, are lost: {error}"), error)
        self.is_whole = False

    def take(self, directory: bytes) -> Wanted:
        """Return the entries of the tree in a directory. Raise `DamagedTree`."""
        whole = listing = self._heads.take(directory, self._passed_over)
        through: tuple[bytes, ...] = ()
        if self._selection and whole.names:
            listing = self._selection.listing(whole)
            through = tuple(self._through(whole))
        start, count = self._number, len(listing.names)
        self._number += count
        places: Sequence[int] = range(start, start + count)
        reasons = self._refuse(listing)
        if reasons:
            prefix = directory + b"/" if directory else b""
            self.refused += [
                PathReason(prefix + name, reason) for name, reason in zip(listing.names, reasons, strict=True) if reason
            ]
            keep = [not reason for reason in reasons]
            places = [at for at, kept in zip(places, keep, strict=True) if kept]
            listing = chosen(listing, keep)
        return Wanted(listing, through, start, count, places, self.is_whole)

    def finish(self) -> None:
        """Report covered entries that were not asked for to ``lose``. Raise `DamagedTree`."""
        self._heads.finish(self._passed_over)

    def _through(self, listing: Listing) -> Iterator[bytes]:
        prefix = listing.directory + b"/" if listing.directory else b""
        for name, kind in zip(listing.names, listing.kinds, strict=True):
            if kind == EntryKind.DIRECTORY:
                path = prefix + name
                if not self._selection.directory(path) and not self._selection.excludes(path):
                    yield name

    def _passed_over(self, directory: bytes) -> None:
        if not self._selection.excludes(directory):
            reason = "the tree has entries below it, but none for the directory itself"
            self._lose(PathReason(directory, reason), DamagedTree("", f"{directory!r}: {reason}"))


class RecordedEntries:
    """The entries that were recorded, with their rows, for a caller that asks for directories in tree order.

    If the recorded tree cannot be read, nothing is known from there on: everything is compared by its content.
    """

    def __init__(self, state: State | None, listings: Iterator[Listing], selection: Selection) -> None:
        """``selection`` is that of the checkout. Entries that it does not cover are left alone, and not known here."""
        self._state = state
        self._heads = _Directories(_until_damaged(listings), state.head.under if state else b"")
        self._own = Selection(state.head.include, state.head.exclude) if state else Selection()
        self._selection = selection
        self._number = 0

    def take(self, directory: bytes) -> Recorded:
        """Return the recorded entries of a directory."""
        if self._state is None:
            return Recorded(_empty(directory), b"")
        listing = self._covered(self._heads.take(directory, lambda passed: None, self._skip))
        start = self._number
        self._number += len(listing.names)
        if self._number > self._state.count:
            return Recorded(_empty(directory), b"")
        rows = bytes(self._state.rows(start, self._number))
        if self._selection and listing.names:
            prefix = directory + b"/" if directory else b""
            covered = [
                self._selection.entry(prefix + name, EntryKind(kind))
                for name, kind in zip(listing.names, listing.kinds, strict=True)
            ]
            rows = b"".join(
                rows[at * ROW_BYTES : (at + 1) * ROW_BYTES] for at, is_covered in enumerate(covered) if is_covered
            )
            listing = chosen(listing, covered)
        return Recorded(listing, rows)

    def _covered(self, listing: Listing) -> Listing:
        return self._own.listing(listing) if self._own and listing.names else listing

    def _skip(self, listing: Listing) -> None:
        self._number += len(self._covered(listing).names)


class Visitor(Protocol):
    """Works on each directory of a checkout."""

    def visit(self, visit: Visit) -> Iterable[tuple[bytes, Fate, bool]]:
        """Work on a directory. Return the directories in it to visit: name, fate, and whether it is on the disk."""

    def leave(self, directory: bytes, fate: Fate) -> None:
        """Work on a directory whose fate is to go or to vanish, after everything below it."""


class Visit(NamedTuple):
    """One directory of a checkout."""

    directory: bytes
    fate: Fate
    exists: bool
    """Whether it is on the disk."""
    wanted: Wanted
    recorded: Recorded


def visit_all(wanted: WantedEntries, recorded: RecordedEntries, exists: bool, visitor: Visitor) -> None:
    """Visit all directories in tree order. ``exists``: whether the topmost is on the disk. Raise `DamagedTree`."""
    stack: list[tuple[bytes, Fate, bool, bool]] = [(b"", Fate.STAYS, exists, False)]
    while stack:
        directory, fate, is_there, is_done = stack.pop()
        if is_done:
            visitor.leave(directory, fate)
            continue
        visit = Visit(directory, fate, is_there, wanted.take(directory), recorded.take(directory))
        children = sorted(visitor.visit(visit), key=itemgetter(0), reverse=True)
        if fate in (Fate.GOES, Fate.VANISHES):
            stack.append((directory, fate, is_there, True))
        prefix = directory + b"/" if directory else b""
        stack += [(prefix + name, child, there, False) for name, child, there in children]
    wanted.finish()


class _Directories:
    """The listings of a tree, joined by directory."""

    def __init__(self, listings: Iterator[Listing], under: bytes) -> None:
        self._listings = listings
        self._cut = len(under) + 1 if under else 0
        self._head = self._next()

    def _next(self) -> Listing | None:
        for listing in self._listings:
            return listing._replace(directory=listing.directory[self._cut :]) if self._cut else listing
        return None

    def take(
        self,
        directory: bytes,
        passed_over: Callable[[bytes], None],
        skip: Callable[[Listing], None] = lambda listing: None,
    ) -> Listing:
        """Return all entries of a directory. Listings that come before are passed over."""
        runs: list[Listing] = []
        order = None
        while (head := self._head) is not None:
            if head.directory == directory:
                runs.append(head)
            elif runs:
                break
            else:
                order = order or _parts(directory)
                if _parts(head.directory) > order:
                    break
                passed_over(head.directory)
                skip(head)
            self._head = self._next()
        return _joined(runs) if runs else _empty(directory)

    def finish(self, passed_over: Callable[[bytes], None]) -> None:
        while self._head is not None:
            passed_over(self._head.directory)
            self._head = self._next()


def _parts(directory: bytes) -> list[bytes]:
    return directory.split(b"/") if directory else []


def _until_damaged(listings: Iterator[Listing]) -> Iterator[Listing]:
    try:
        yield from listings
    except (DamagedTree, DamagedObject, ObjectNotFound):
        return


def _empty(directory: bytes) -> Listing:
    return Listing(directory, [], b"", [], [], [])


def _joined(runs: Sequence[Listing]) -> Listing:
    if len(runs) == 1:
        return runs[0]
    first = runs[0]
    return Listing(
        first.directory,
        list(chain.from_iterable(run.names for run in runs)),
        b"".join(run.kinds for run in runs),
        list(chain.from_iterable(run.sizes for run in runs)),
        list(chain.from_iterable(run.keys for run in runs)),
        list(chain.from_iterable(run.targets for run in runs)),
        None if first.mtimes is None else list(chain.from_iterable(run.mtimes or () for run in runs)),
        None if first.modes is None else list(chain.from_iterable(run.modes or () for run in runs)),
    )

"""Compare a directory with a tree, a run of entries at a time.

If a run has the names of the tree and the rows of the state, it is equal to the tree, and no Python object is made for
any entry of it. Only the entries of a run that differs are compared one by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.rows import NO_ROW, ROW_BYTES
from rsdos.worktree.scan import RUN, DirectoryScan, ScannedDirectory, ScannedRun
from rsdos.worktree.state import State

_EMPTY_RUN = ScannedRun([], b"", b"", 0)
_FILES = (EntryKind.FILE, EntryKind.EXECUTABLE)


class ComparedRun(NamedTuple):
    """The entries of a directory in a range of names: those on the disk, and those of the tree."""

    directory: bytes
    found: ScannedRun
    """The entries on the disk; none if the directory is gone."""
    old: Listing
    """The entries of the tree."""
    old_rows: bytes
    """The rows of the state for the entries of the tree."""

    @property
    def is_same(self) -> bool:
        """Whether all entries are those of the tree, by the rows of the state."""
        return self.found.rows == self.old_rows and self.found.names == self.old.names

    @property
    def prefix(self) -> bytes:
        """The path of the directory with a slash."""
        return self.directory + b"/" if self.directory else b""

    def positions(self) -> list[int]:
        """Return for each entry on the disk the position of its name in the tree's entries, or -1."""
        where = {name: at for at, name in enumerate(self.old.names)}
        return [where.get(name, -1) for name in self.found.names]

    def trusted(self, positions: Sequence[int]) -> list[int]:
        """Return ``positions`` with -1 also for the entries whose rows are not those of the state."""
        rows, old = self.found.rows, self.old_rows
        return [
            then if then >= 0 and rows[now : now + ROW_BYTES] == old[then * ROW_BYTES : (then + 1) * ROW_BYTES] else -1
            for now, then in zip(range(0, len(rows), ROW_BYTES), positions, strict=True)
        ]


def compare(scan: DirectoryScan, listings: Iterable[Listing], state: State | None) -> Iterator[ComparedRun]:
    """Compare a scan with a tree. Yield all entries of both in tree order, in runs of about 1,024.

    ``listings`` are the tree's, with paths below the directory that is scanned. ``state`` has a row for each of their
    entries; without a state no entry is trusted. Finish with a run before you take the next one: entries of a run are
    reached by the descriptor of its directory.
    """
    base = _Base(listings, state)
    for directory in scan:
        order = _order(directory.path)
        while (head := base.head) is not None and _order(head.directory) < order:
            yield base.gone()
        while (head := base.head) is not None and head.directory == directory.path:
            yield from _both(directory, base)
        while not directory.is_over:
            found = directory.take(directory.at + RUN)
            yield ComparedRun(directory.path, found, _empty(directory.path), b"")
    while base.head is not None:
        yield base.gone()


def _both(directory: ScannedDirectory, base: _Base) -> Iterator[ComparedRun]:
    """Compare the names up to the last one of a listing; all of them, if it is the directory's last listing."""
    listing, rows, is_last = base.take()
    names = directory.names
    stop = len(names) if is_last else bisect_right(names, listing.names[-1], directory.at)
    start = 0
    while True:
        end = min(stop, directory.at + 2 * RUN)
        cut = len(listing.names) if end == stop else bisect_right(listing.names, names[end - 1], start)
        found = directory.take(end)
        part = listing if cut - start == len(listing.names) else listing.cut(start, cut)
        yield ComparedRun(directory.path, found, part, rows[start * ROW_BYTES : cut * ROW_BYTES])
        start = cut
        if end == stop:
            return


class _Base:
    """The listings of a tree, one by one, with the rows that the state has of them."""

    def __init__(self, listings: Iterable[Listing], state: State | None) -> None:
        self._rest = iter(listings)
        self._state = state
        self._at = 0
        self.head = next(self._rest, None)
        """The next listing."""

    def take(self) -> tuple[Listing, bytes, bool]:
        """Return the next listing, its rows, and whether it is the last one of its directory."""
        listing = self.head
        assert listing is not None, "the caller has looked"
        count = len(listing.names)
        rows = self._state.rows(self._at, self._at + count) if self._state else NO_ROW * count
        self._at += count
        self.head = next(self._rest, None)
        return listing, rows, self.head is None or self.head.directory != listing.directory

    def gone(self) -> ComparedRun:
        """Return the next listing as a run whose directory is gone."""
        listing, rows, _ = self.take()
        return ComparedRun(listing.directory, _EMPTY_RUN, listing, rows)


def below(listings: Iterable[Listing], under: bytes) -> Iterator[Listing]:
    """Return the listings of the tree at and below a directory, with paths below it."""
    if not under:
        return iter(listings)
    cut = len(under) + 1
    return (listing._replace(directory=listing.directory[cut:]) for listing in listings)


def _order(directory: bytes) -> bytes:
    """Return the sort key of a directory: its parts."""
    return directory.replace(b"/", b"\0")


def _empty(directory: bytes) -> Listing:
    return Listing(directory, [], b"", [], [], [])


def is_file(kind: int) -> bool:
    """Return whether entries of this kind have content."""
    return kind in _FILES

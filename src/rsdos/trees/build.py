"""Builds the pages of a tree from its entries, in tree order, one page at a time on each level."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import ge
from typing import NamedTuple
from zlib import crc32

from rsdos.errors import InvalidName, InvalidOption
from rsdos.hashing import SHA256
from rsdos.model import DIGEST_BYTES
from rsdos.trees.cut import INNER_CHILDREN, LEAF_CUT, cut_below, directory_seed
from rsdos.trees.entry import LEAF_ENTRIES, Attributes, EntryKind, Listing, join, order_key, size_of_files
from rsdos.trees.limits import LONGEST_NAME, names_fault, path_fault, targets_fault
from rsdos.trees.page import Child, encode_inner, encode_leaf
from rsdos.trees.parents import Parents

Put = Callable[[bytes, bytes], None]
"""Stores a page under its digest."""

_KEY_LENGTHS = bytes([DIGEST_BYTES, DIGEST_BYTES, 0, 0]) + b"\xff" * 252
"""Of each kind, the bytes of its key: a table for ``bytes.translate``. There are no other kinds."""

_TIMES, _MODES = int(Attributes.TIMES), int(Attributes.MODES)


class TreeRoot(NamedTuple):
    """A tree that was built: its root page, and what is in it."""

    key: bytes
    entries: int
    files: int
    size: int
    """Bytes of all files."""
    pages: int
    """Pages that were put."""


def build_tree(listings: Iterable[Listing], attributes: Attributes, put: Put) -> TreeRoot:
    """Build a tree and return its root; ``put`` gets each page once, children before parents.

    The listings are in tree order, each directory's before those below it; one directory may come in several runs.
    Takes the memory of the pages under work, one for each level, and of the largest directory's names of directories.

    Raises:
        InvalidName: A name, path, target or their order is none that a tree may have, or a directory has no entry in
            its parent.
        InvalidOption: The columns of a listing do not fit each other or the attributes.
    """
    builder = TreeBuilder(attributes, put)
    for listing in listings:
        builder.add(listing)
    return builder.finish()


class TreeBuilder:
    """`build_tree`, step by step. For one thread."""

    def __init__(self, attributes: Attributes, put: Put) -> None:
        self._pages = PageBuilder(attributes, put)
        self._attributes = attributes
        self._parents = Parents()
        self._last = b""
        self._entries = self._files = self._size = 0

    def add(self, listing: Listing) -> None:
        """Add the next entries. Raises as `build_tree` does; nothing of the listing is taken then."""
        if not listing.names:
            return
        checked = checked_listing(listing, self._attributes)
        if order_key(checked.directory, checked.names[0]) <= self._last:
            raise InvalidName(join(checked.directory, checked.names[0]), "it is not behind the entry before it")
        fault = self._parents.fault(checked)
        if fault:
            raise InvalidName(checked.directory, fault)
        self._last = order_key(checked.directory, checked.names[-1])
        kinds = checked.kinds
        files = kinds.count(0) + kinds.count(1)
        self._entries += len(kinds)
        self._files += files
        self._size += sum(checked.sizes) if files == len(kinds) else size_of_files(checked)
        self._pages.add(checked)

    def finish(self) -> TreeRoot:
        """Put the pages that are left, and return the root. The builder is of no use afterwards."""
        root = self._pages.finish()
        return TreeRoot(root.key, self._entries, self._files, self._size, self._pages.pages)


def checked_listing(listing: Listing, attributes: Attributes) -> Listing:
    """Return a listing as a page has it, with numbers in arrays. Raise `InvalidName` or `InvalidOption`.

    Whether it follows what came before, and has its directory, is not checked.
    """
    directory, names, kinds = listing.directory, listing.names, listing.kinds
    try:
        lengths = bytes(map(len, names))
    except ValueError:
        longest = max(names, key=len)
        raise InvalidName(join(directory, longest), f"a name of more than {LONGEST_NAME} bytes") from None
    fault = names_fault(names, lengths, b"".join(names)) or path_fault(directory, max(lengths))
    if not fault and any(map(ge, names, names[1:])):
        fault = "its names are out of order"
    if fault:
        raise InvalidName(directory, fault)
    sizes, keys, targets = listing.sizes, listing.keys, listing.targets
    if bytes(map(len, keys)) != kinds.translate(_KEY_LENGTHS) or len(kinds) != len(names):
        raise InvalidOption(f"{directory!r}: each file has a key of {DIGEST_BYTES} bytes, and nothing else has one")
    if len(targets) != len(names) or len(sizes) != len(names):
        raise InvalidOption(f"{directory!r}: the columns of a listing are not of one length")
    if max(kinds) > EntryKind.EXECUTABLE or any(targets):
        sizes = _sizes(listing)
    try:
        flags = int(attributes)  # the operators of an IntFlag take 1.2 us each
        mtimes = array("q", _attribute(listing.mtimes, len(names))) if flags & _TIMES else None
        modes = array("H", _attribute(listing.modes, len(names))) if flags & _MODES else None
        checked = Listing(directory, names, kinds, array("Q", sizes), keys, targets, mtimes, modes)
    except (OverflowError, TypeError) as error:
        raise InvalidOption(f"{directory!r}: a size, mtime or mode of an entry: {error}") from None
    if modes and max(modes) > 0o777:
        raise InvalidOption(f"{directory!r}: a mode of more than 9 bits")
    return checked


def _sizes(listing: Listing) -> Sequence[int]:
    """Return the sizes of entries, those of directories and links as a tree has them. Raise `InvalidName`.

    A file system has sizes of its own for directories.
    """
    kinds, targets = listing.kinds, listing.targets
    links = [target for target, kind in zip(targets, kinds, strict=True) if kind == EntryKind.LINK]
    fault = targets_fault(links)
    if not fault and any(target for target, kind in zip(targets, kinds, strict=True) if kind != EntryKind.LINK):
        fault = "an entry that is no link has a target"
    if fault:
        raise InvalidName(listing.directory, fault)
    rows = zip(listing.sizes, kinds, targets, strict=True)
    return [size if kind < EntryKind.LINK else len(target) for size, kind, target in rows]


def _attribute(values: Sequence[int] | None, count: int) -> Sequence[int]:
    if values is None or len(values) != count:
        raise TypeError("the tree has such a column, and the listing has none of this length")
    return values


class _Level:
    """The children of the page under work on a level."""

    __slots__ = ("children", "is_closed")

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.is_closed = False
        """Whether the page ends here. It is put when the next child comes: without one it may not be of the tree."""


class PageBuilder:
    """Cuts entries that were checked into pages. It also takes whole pages of another tree, for `edit`."""

    def __init__(self, attributes: Attributes, put: Put) -> None:
        self.pages = 0
        self._attributes = attributes
        self._put = put
        self._segments: list[Listing] = []
        self._pending = 0
        self._levels: list[_Level] = []

    def add(self, listing: Listing) -> None:
        """Add the next entries."""
        names = listing.names
        seed = directory_seed(listing.directory)
        start = 0
        for end in [at for at, name in enumerate(names, 1) if crc32(name, seed) < LEAF_CUT]:
            start = self._extend(listing, start, end)
            if self._pending:
                self._close_leaf()
        self._extend(listing, start, len(names))

    def _extend(self, listing: Listing, start: int, stop: int) -> int:
        """Take the entries from ``start`` to ``stop``, and end leaves that are full. Return ``stop``."""
        while self._pending + stop - start >= LEAF_ENTRIES:
            middle = start + LEAF_ENTRIES - self._pending
            self._segments.append(listing.cut(start, middle))
            self._close_leaf()
            start = middle
        if start < stop:
            self._segments.append(listing.cut(start, stop))
            self._pending += stop - start
        return stop

    def _close_leaf(self) -> None:
        segments = self._segments
        page = encode_leaf(segments, self._attributes)
        last = segments[-1]
        entries = sum([len(segment.names) for segment in segments])
        size = sum([size_of_files(segment) if max(segment.kinds) > 1 else sum(segment.sizes) for segment in segments])
        self._segments = []
        self._pending = 0
        self._put_page(page, 0, last.directory, last.names[-1], entries, size)

    def _put_page(self, page: bytes, level: int, directory: bytes, name: bytes, entries: int, size: int) -> None:
        key = SHA256.digest_of(page)
        self._put(key, page)
        self.pages += 1
        self._push(Child(level, directory, name, order_key(directory, name), b"", entries, size, key))

    def _push(self, child: Child) -> None:
        """Add a page to the page above it."""
        level = child.level + 1
        if level > len(self._levels):
            self._levels.append(_Level())
        above = self._levels[level - 1]
        if above.is_closed:
            self._close_inner(level)
        above.children.append(child)
        hashed = crc32(child.name, directory_seed(child.directory))
        above.is_closed = hashed < cut_below(level) or len(above.children) == INNER_CHILDREN

    def _close_inner(self, level: int) -> None:
        at = self._levels[level - 1]
        children, at.children, at.is_closed = at.children, [], False
        page = encode_inner(level, children, self._attributes)
        last = children[-1]
        entries = sum([child.entries for child in children])
        size = sum([child.size for child in children])
        self._put_page(page, level, last.directory, last.name, entries, size)

    def is_between_pages(self, level: int) -> bool:
        """Return whether the next entry begins a page on each level up to this one.

        More entries or pages must follow: pages that end here are put.
        """
        if self._pending:
            return False
        for below in range(1, level + 1):
            if below > len(self._levels):  # asked anew each time: closing a page may have begun a level
                break
            if self._levels[below - 1].is_closed:
                self._close_inner(below)
            if self._levels[below - 1].children:
                return False
        return True

    def add_page(self, child: Child) -> None:
        """Add a page of another tree as it is, where `is_between_pages` of its level."""
        while len(self._levels) < child.level:
            self._levels.append(_Level())
        self._push(child)

    def finish(self) -> Child:
        """Put the pages that are left, and return the lowest page that is alone on its level."""
        if self._pending:
            self._close_leaf()
        if not any(at.children for at in self._levels):
            page = encode_leaf([], self._attributes)
            key = SHA256.digest_of(page)
            self._put(key, page)
            self.pages += 1
            return Child(0, b"", b"", b"", b"", 0, 0, key)
        level = 1
        while True:
            children = self._levels[level - 1].children
            if len(children) == 1 and not any(at.children for at in self._levels[level:]):
                return children[0]
            if children:
                self._close_inner(level)
            level += 1

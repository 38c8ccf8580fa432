"""The entries of a tree: one by one, and as columns of one directory.

Paths and names are bytes as the file system has them, without a slash at either end; the root is ``b""``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from typing import NamedTuple

LEAF_ENTRIES = 1024
"""A leaf has at most so many entries."""


class EntryKind(IntEnum):
    """What a name of a tree is. The numbers are on disk."""

    FILE = 0
    EXECUTABLE = 1
    LINK = 2
    DIRECTORY = 3

    @property
    def is_file(self) -> bool:
        return self < EntryKind.LINK


class Attributes(IntFlag):
    """The columns that a tree has beside the usual ones. The numbers are on disk."""

    NONE = 0
    TIMES = 1
    MODES = 2


KINDS = (EntryKind.FILE, EntryKind.EXECUTABLE, EntryKind.LINK, EntryKind.DIRECTORY)
"""The members by their numbers: a tuple is ten times faster than the call of an enumeration."""


class TreeEntry(NamedTuple):
    """One entry of a tree.

    ``size`` is that of the file, of a link's target, and 0 for a directory; ``key`` is the digest of a file's object;
    ``mtime`` is in nanoseconds, ``mode`` has 9 bits. Both are None in a tree without them.
    """

    path: bytes
    kind: EntryKind
    size: int
    key: bytes = b""
    target: bytes = b""
    mtime: int | None = None
    mode: int | None = None

    @property
    def directory(self) -> bytes:
        return self.path.rpartition(b"/")[0]

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]


class Listing(NamedTuple):
    """Entries of one directory, or a sorted run of them, as columns: the unit of bulk work."""

    directory: bytes
    names: Sequence[bytes]
    """Strictly increasing."""
    kinds: bytes
    """An `EntryKind` each."""
    sizes: Sequence[int]
    keys: Sequence[bytes]
    """Digests; ``b""`` where the entry is no file."""
    targets: Sequence[bytes]
    """``b""`` where the entry is no link."""
    mtimes: Sequence[int] | None = None
    modes: Sequence[int] | None = None

    def entries(self) -> Iterator[TreeEntry]:
        """Yield the entries one by one."""
        nothing = [None] * len(self.names)
        before = self.directory + b"/" if self.directory else b""
        return map(
            TreeEntry,
            [before + name for name in self.names],
            [KINDS[kind] for kind in self.kinds],
            self.sizes,
            self.keys,
            self.targets,
            nothing if self.mtimes is None else self.mtimes,
            nothing if self.modes is None else self.modes,
        )

    def cut(self, start: int, stop: int) -> Listing:
        """Return the entries from ``start`` to ``stop``."""
        if start == 0 and stop == len(self.names):
            return self
        return Listing(
            self.directory,
            self.names[start:stop],
            self.kinds[start:stop],
            self.sizes[start:stop],
            self.keys[start:stop],
            self.targets[start:stop],
            None if self.mtimes is None else self.mtimes[start:stop],
            None if self.modes is None else self.modes[start:stop],
        )


def size_of_files(listing: Listing) -> int:
    """Return the bytes of the files among some entries."""
    return sum([size for size, kind in zip(listing.sizes, listing.kinds, strict=True) if kind < EntryKind.LINK])


def order_key(directory: bytes, name: bytes) -> bytes:
    """Return bytes that compare as the entry does in its tree: by the parts of the directory, then by name.

    Names have no NUL, so that a NUL between parts sorts a directory before all that its name is a beginning of.
    """
    return directory.replace(b"/", b"\0") + b"\0\0" + name


def tree_order(path: bytes) -> bytes:
    """Return the sort key of a path: sorted by it, paths are in tree order."""
    directory, _, name = path.rpartition(b"/")
    return order_key(directory, name)


def path_of(key: bytes) -> bytes:
    """Return the path that `order_key` was made from; ``b""`` for ``b""``."""
    directory, _, name = key.partition(b"\0\0")
    return join(directory.replace(b"\0", b"/"), name)


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory."""
    return directory + b"/" + name if directory else name


class PathSpan(NamedTuple):
    """A range of order keys: from ``lower`` on, below ``upper`` (None: to the end)."""

    lower: bytes
    upper: bytes | None

    @classmethod
    def below(cls, directory: bytes) -> PathSpan:
        """Return the range of all that is below a directory, and nothing else."""
        inner = directory.replace(b"/", b"\0")
        return cls(inner + b"\0", inner + b"\1") if directory else cls(b"", None)

    @classmethod
    def inside(cls, directory: bytes) -> PathSpan:
        """Return the range of the directory's own listing."""
        inner = directory.replace(b"/", b"\0")
        return cls(inner + b"\0\0", inner + b"\0\1")

    def meets(self, after: bytes, last: bytes) -> bool:
        """Return whether entries behind ``after``, up to ``last``, may be in the range."""
        return last >= self.lower and (self.upper is None or after < self.upper)

    def has(self, after: bytes, last: bytes) -> bool:
        """Return whether all entries behind ``after``, up to ``last``, are in the range."""
        return after >= self.lower and (self.upper is None or last < self.upper)


def listings_of(entries: Iterable[TreeEntry], attributes: Attributes) -> Iterator[Listing]:
    """Yield entries, which are in tree order, as runs of one directory each.

    A missing mtime or mode becomes 0 in a tree that has such a column.
    """
    run: list[TreeEntry] = []
    directory = b""
    for entry in entries:
        if run and (len(run) == LEAF_ENTRIES or entry.directory != directory):
            yield _listing(directory, run, attributes)
            run = []
        directory = entry.directory
        run.append(entry)
    if run:
        yield _listing(directory, run, attributes)


def _listing(directory: bytes, run: Sequence[TreeEntry], attributes: Attributes) -> Listing:
    return Listing(
        directory,
        [entry.name for entry in run],
        bytes(entry.kind for entry in run),
        [entry.size for entry in run],
        [entry.key for entry in run],
        [entry.target for entry in run],
        [entry.mtime or 0 for entry in run] if attributes & Attributes.TIMES else None,
        [entry.mode or 0 for entry in run] if attributes & Attributes.MODES else None,
    )

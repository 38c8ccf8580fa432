"""The entries of a snapshot as users see them: paths and keys are text."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rsdos.trees.entry import KINDS, EntryKind

if TYPE_CHECKING:
    from rsdos.trees.entry import Listing, TreeEntry

_MODES = {
    EntryKind.FILE: stat.S_IFREG | 0o644,
    EntryKind.EXECUTABLE: stat.S_IFREG | 0o755,
    EntryKind.LINK: stat.S_IFLNK | 0o777,
    EntryKind.DIRECTORY: stat.S_IFDIR | 0o755,
}


class SnapshotEntry(NamedTuple):
    """One name of a snapshot: a file, an executable file, a symbolic link or a directory."""

    path: str
    """The path below the root. Bytes that are no UTF-8 are surrogates; `os.fsencode` gives them back."""
    kind: EntryKind
    size: int
    """Raw bytes of a file, bytes of a link's target, 0 for a directory."""
    key: str = ""
    """The key of a file's object; "" for anything else."""
    target: str = ""
    """The target of a link."""
    mtime: int | None = None
    """Nanoseconds since 1970, if the tree has times."""
    mode: int | None = None
    """The nine permission bits, if the tree has modes."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """Whether it is a file, executable or not."""
        return self.kind <= EntryKind.EXECUTABLE

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.kind == EntryKind.DIRECTORY

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.kind == EntryKind.LINK


ROOT = SnapshotEntry("", EntryKind.DIRECTORY, 0)
"""The root of every snapshot, which no tree has an entry for."""


def snapshot_entry(entry: TreeEntry) -> SnapshotEntry:
    """Return an entry of a tree with text in place of bytes."""
    path, kind, size, key, target, mtime, mode = entry
    return SnapshotEntry(os.fsdecode(path), kind, size, key.hex(), os.fsdecode(target), mtime, mode)


def snapshot_entries(listing: Listing) -> Iterator[SnapshotEntry]:
    """Yield the entries of a listing."""
    before = os.fsdecode(listing.directory) + "/" if listing.directory else ""
    nothing = (None,) * len(listing.names)
    columns = zip(
        listing.names,
        listing.kinds,
        listing.sizes,
        listing.keys,
        listing.targets,
        nothing if listing.mtimes is None else listing.mtimes,
        nothing if listing.modes is None else listing.modes,
        strict=True,
    )
    for name, kind, size, key, target, mtime, mode in columns:
        yield SnapshotEntry(before + os.fsdecode(name), KINDS[kind], size, key.hex(), os.fsdecode(target), mtime, mode)


def inner_path(path: str) -> str:
    """Return a path without slashes around it, and without empty parts and dots."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def mode_of(entry: SnapshotEntry) -> int:
    """Return kind and permissions as the ``st_mode`` that a checkout gives the entry."""
    mode = _MODES[entry.kind]
    return mode if entry.mode is None else stat.S_IFMT(mode) | entry.mode


def no_such_path(path: str) -> FileNotFoundError:
    """Return the error of a path that leads to nothing."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def not_a_directory(path: str) -> NotADirectoryError:
    """Return the error of a path where a directory was wanted."""
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def is_a_directory(path: str) -> IsADirectoryError:
    """Return the error of a path where a file was wanted."""
    return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

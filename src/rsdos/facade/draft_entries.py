"""The entries of a draft: a tree, and what was put and removed on top of it. Paths are bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos.facade.entry import not_a_directory
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, join
from rsdos.trees.limits import check_path
from rsdos.trees.tree import Tree

_PERMISSIONS = {EntryKind.FILE: 0o644, EntryKind.EXECUTABLE: 0o755, EntryKind.LINK: 0o777, EntryKind.DIRECTORY: 0o755}


@dataclass(eq=False, slots=True)
class DraftEntry:
    """What is at a path of a draft. Its key is filled in when its object is stored."""

    kind: EntryKind
    size: int = 0
    key: bytes = b""
    target: bytes = b""
    mtime: int | None = None
    mode: int | None = None

    def at(self, path: bytes) -> TreeEntry:
        """Return the entry with its path."""
        return TreeEntry(path, self.kind, self.size, self.key, self.target, self.mtime, self.mode)


_DIRECTORY = DraftEntry(EntryKind.DIRECTORY)


class DraftEntries:
    """The entries of a tree with changes on top. One thread at a time.

    Memory and time are those of the changes, of what is copied, and of directories that are removed and made again.
    """

    def __init__(self, tree: Tree | None) -> None:
        self._tree = tree
        self._put: dict[bytes, dict[bytes, DraftEntry]] = {}
        """What was put, by directory and name."""
        self._removed: set[bytes] = set()
        """Paths of the tree that are hidden with all below them."""
        self._directories: set[bytes] = {b""}
        """Directories that are known to be there: asking the tree for each file of one would be a lookup each."""

    # --- what is there ----------------------------------------------------------------------------------------------

    def get(self, path: bytes) -> DraftEntry | None:
        """Return what is at a path; None for nothing."""
        if not path:
            return _DIRECTORY
        directory, _, name = path.rpartition(b"/")
        found = self._put.get(directory, {}).get(name)
        return found or self._below(path)

    def _below(self, path: bytes) -> DraftEntry | None:
        """Return what the tree has at a path, unless it is hidden."""
        if self._tree is None or self._is_removed(path):
            return None
        entry = self._tree.entry(path)
        return None if entry is None else DraftEntry(*entry[1:])

    def _is_removed(self, path: bytes) -> bool:
        if not self._removed:
            return False
        parts = path.split(b"/")
        return any(b"/".join(parts[:end]) in self._removed for end in range(1, len(parts) + 1))

    def listing(self, directory: bytes) -> list[tuple[bytes, DraftEntry]]:
        """Return the names and entries of one directory, sorted."""
        found: dict[bytes, DraftEntry] = {}
        if self._tree is not None and not (directory and self._is_removed(directory)):
            for listing in self._tree.listing(directory):
                for entry in listing.entries():
                    if entry.path not in self._removed:
                        found[entry.name] = DraftEntry(*entry[1:])
        found |= self._put.get(directory, {})
        return sorted(found.items())

    def walk(self, under: bytes = b"") -> Iterator[tuple[bytes, DraftEntry]]:
        """Yield the paths and entries of all below a directory, in tree order."""
        waiting = [under]
        while waiting:
            directory = waiting.pop()
            entries = self.listing(directory)
            yield from ((join(directory, name), entry) for name, entry in entries)
            below = [name for name, entry in entries if entry.kind is EntryKind.DIRECTORY]
            waiting += [join(directory, name) for name in reversed(below)]

    # --- changes ----------------------------------------------------------------------------------------------------

    def put(self, path: bytes, entry: DraftEntry) -> None:
        """Put an entry at a path, in place of one of the same kind or of a file or link. Make directories above it.

        Raise `InvalidName`; NotADirectoryError below a file; IsADirectoryError and FileExistsError for a directory in
        place of a file, or the other way round.
        """
        check_path(path)
        directory, _, name = path.rpartition(b"/")
        self._make(directory)
        old = self.get(path)
        if old is not None and EntryKind.DIRECTORY in (old.kind, entry.kind):
            if old.kind is entry.kind:
                return
            number = errno.EISDIR if old.kind is EntryKind.DIRECTORY else errno.EEXIST
            raise OSError(number, os.strerror(number), os.fsdecode(path))
        self._put.setdefault(directory, {})[name] = entry
        if entry.kind is EntryKind.DIRECTORY:
            self._directories.add(path)

    def _make(self, directory: bytes) -> None:
        """Make a directory and those above it, as far as they are not there."""
        if directory in self._directories:
            return
        above, _, name = directory.rpartition(b"/")
        self._make(above)
        old = self.get(directory)
        if old is None:
            self._put.setdefault(above, {})[name] = DraftEntry(EntryKind.DIRECTORY)
        elif old.kind is not EntryKind.DIRECTORY:
            raise not_a_directory(os.fsdecode(directory))
        self._directories.add(directory)

    def remove(self, path: bytes) -> bool:
        """Remove a path, and all below it. Return whether there was anything. The root is emptied."""
        old = self.get(path)
        if old is None:
            return False
        if not path:
            for name, _ in self.listing(b""):
                self.remove(name)
            return True
        directory, _, name = path.rpartition(b"/")
        self._put.get(directory, {}).pop(name, None)
        if old.kind is EntryKind.DIRECTORY:
            below = path + b"/"
            for other in [one for one in self._put if one == path or one.startswith(below)]:
                del self._put[other]
            self._directories = {one for one in self._directories if one != path and not one.startswith(below)}
        if self._below(path) is not None:
            self._removed.add(path)
        return True

    def changes(self, attributes: Attributes, now: int) -> Iterator[tuple[bytes, TreeEntry | None]]:
        """Yield the changes to the tree, for `edit_tree`. Entries get the attributes that the tree has."""
        yield from ((path, None) for path in self._removed)
        for directory, names in self._put.items():
            for name, entry in names.items():
                path = join(directory, name)
                mtime = (now if entry.mtime is None else entry.mtime) if attributes & Attributes.TIMES else None
                mode = _PERMISSIONS[entry.kind] if entry.mode is None else entry.mode
                yield path, entry.at(path)._replace(mtime=mtime, mode=mode if attributes & Attributes.MODES else None)

"""The tree of a snapshot: its entries, and the contents of its files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from rsdos.engine.snapshots import StoredPages
from rsdos.facade.entry import (
    ROOT,
    SnapshotEntry,
    inner_path,
    is_a_directory,
    no_such_path,
    not_a_directory,
    snapshot_entries,
    snapshot_entry,
)
from rsdos.trees.entry import EntryKind, size_of_files
from rsdos.trees.tree import Tree

if TYPE_CHECKING:
    from rsdos.facade.part import FacadePart
    from rsdos.trees.entry import Listing
    from rsdos.trees.record import SnapshotRecord

MOST_LINKS = 40
"""Links that a path may lead through, as in Linux."""

_CHUNK = 1 << 14
"""Paths that `SnapshotTree.extract_many` looks up and reads together."""


class SnapshotTree:
    """What a `rsdos.Snapshot` has of its tree."""

    def __init__(self, container: FacadePart, key: str, record: SnapshotRecord, label: str = "") -> None:
        self.container = container
        self.key = key
        self.record = record
        """All members of the snapshot's document."""
        self.label = label or key[:8]
        """The name by which it was asked for, for messages."""
        self.reader = Tree(bytes.fromhex(record.tree), StoredPages(container.engine))
        """The tree itself, with paths and keys as bytes, for bulk work."""

    @property
    def time(self) -> datetime:
        """When it was saved, in UTC, to the second."""
        return datetime.fromisoformat(self.record.time)

    # --- its tree ---------------------------------------------------------------------------------------------------

    def entry(self, path: str) -> SnapshotEntry | None:
        """Return what is at a path, a link as itself; None for nothing."""
        path = inner_path(path)
        if not path:
            return ROOT
        found = self.reader.entry(os.fsencode(path))
        return None if found is None else snapshot_entry(found)

    def __contains__(self, path: str) -> bool:
        return self.entry(path) is not None

    def resolve(self, path: str) -> SnapshotEntry | None:
        """Return what a path leads to, through at most 40 links inside of the snapshot.

        None for what is not there, for a link that leads out of the snapshot, and for a circle of links.
        """
        found = self.entry(path) if ".." not in path else None
        if found is not None and not found.is_link:
            return found  # What is above an entry is a directory. A lookup for each part takes three times as long.
        rest = [part for part in path.split("/") if part not in ("", ".")][::-1]
        at = ROOT
        links = 0
        while rest:
            if not at.is_dir:
                return None
            part = rest.pop()
            if part == "..":
                if not at.path:
                    return None
                above = self.entry(at.path.rpartition("/")[0])
            else:
                above = self.entry(f"{at.path}/{part}")
            if above is None:
                return None
            if not above.is_link:
                at = above
                continue
            links += 1
            if links > MOST_LINKS or above.target.startswith("/"):
                return None
            rest += [step for step in above.target.split("/") if step not in ("", ".")][::-1]
        return at

    def listing(self, directory: str = "") -> Iterator[SnapshotEntry]:
        """Yield the entries of one directory, sorted by the bytes of their names. No link is followed.

        Raise FileNotFoundError, NotADirectoryError.
        """
        for listing in self.reader.listing(self._directory(directory)):
            yield from snapshot_entries(listing)

    def walk(self, under: str = "") -> Iterator[SnapshotEntry]:
        """Yield all entries below a directory in the order of the tree: directory by directory, names sorted by bytes.

        The directory itself is not one of them. Memory is that of a page.
        """
        for listing in self.columns(under):
            yield from snapshot_entries(listing)

    def directory_totals(self, under: str = "") -> Iterator[tuple[str, int, int]]:
        """Yield the path of a directory and of each one below it, with the entries and the raw bytes below it.

        The order is that of the tree. Memory is 300 bytes a directory.
        """
        top = self._directory(under)
        counts: dict[bytes, list[int]] = {top: [0, 0]}
        for listing in self.reader.walk(top):
            before = listing.directory + b"/" if listing.directory else b""
            own = counts[listing.directory]
            own[0] += len(listing.names)
            own[1] += size_of_files(listing)
            for name, kind in zip(listing.names, listing.kinds, strict=True):
                if kind == EntryKind.DIRECTORY:
                    counts[before + name] = [0, 0]
        for path in reversed(counts):
            if path != top:
                above = counts[path.rpartition(b"/")[0]]
                above[0] += counts[path][0]
                above[1] += counts[path][1]
        yield from ((os.fsdecode(path), entries, size) for path, (entries, size) in counts.items())

    def columns(self, under: str = "") -> Iterator[Listing]:
        """Yield the same as listings of columns, with paths and keys as bytes: for a million entries."""
        return self.reader.walk(self._directory(under))

    def _directory(self, path: str) -> bytes:
        entry = self.entry(path)
        if entry is None:
            raise no_such_path(f"{self.label}:{path}")
        if not entry.is_dir:
            raise not_a_directory(f"{self.label}:{path}")
        return os.fsencode(entry.path)

    # --- contents ---------------------------------------------------------------------------------------------------

    def file(self, path: str) -> SnapshotEntry:
        """Return the file that a path leads to. Raise FileNotFoundError, IsADirectoryError."""
        entry = self.resolve(path)
        if entry is None:
            raise no_such_path(f"{self.label}:{path}")
        if not entry.is_file:
            raise is_a_directory(f"{self.label}:{path}")
        return entry

    def open(self, path: str) -> io.BufferedReader:
        """Return a seekable binary stream of a file. Raise FileNotFoundError, IsADirectoryError."""
        return self.container.engine.objects.open(self.file(path).key)

    def extract_many(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (path, bytes) of many files, in storage order, each path once; paths of one object are read together.

        Paths are looked up and read 16,384 at a time. Raise FileNotFoundError and IsADirectoryError before the first
        of such a group is read. No pack is removed during the iteration.
        """
        rest = iter(dict.fromkeys(paths))
        while chunk := list(islice(rest, _CHUNK)):
            wanted: dict[str, list[str]] = {}
            for path in chunk:
                wanted.setdefault(self.file(path).key, []).append(path)
            engine = self.container.engine
            for key, data in engine.protect_packs_during(engine.objects.extract_many(wanted)):
                for path in wanted[key]:
                    yield path, data

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, SnapshotTree) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

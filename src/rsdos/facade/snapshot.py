"""A snapshot: what a directory held when it was saved."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

from rsdos.engine.snapshots import StoredPages
from rsdos.facade.snapshot_path import SnapshotPath
from rsdos.facade.snapshot_tree import SnapshotTree
from rsdos.model import DIGEST_BYTES
from rsdos.trees.entry import Attributes
from rsdos.trees.reach import keys_by_kind


class StoredTree(NamedTuple):
    """What a snapshot is stored as: ``objects`` of files and ``pages`` of its tree, each counted once."""

    objects: int
    pages: int


class Snapshot(SnapshotTree):
    """A snapshot of a container. It never changes; equal and hashed by its key. Any thread, and it can be pickled.

    Its record is read when it is made, its tree page by page when it is asked for. Reads are verified, and may raise
    `DamagedObject`, `DamagedTree` and, after a forget and a gc by another process, `ObjectNotFound`.

    Examples:
        >>> snapshot = container.snapshots["flowers"]
        >>> snapshot.files, snapshot.size, snapshot.metadata
        >>> (snapshot / "labels.csv").read_bytes()
    """

    # --- its document -----------------------------------------------------------------------------------------------

    @property
    def tree(self) -> str:
        """The key of the tree. Snapshots with the same entries have the same tree, on every machine."""
        return self.record.tree

    @property
    def author(self) -> str:
        """Who saved it."""
        return self.record.author

    @property
    def message(self) -> str:
        """What was said about it."""
        return self.record.message

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of the snapshots that it was made from. They may be gone: history keeps nothing alive."""
        return tuple(self.record.parents)

    @property
    def derived_from(self) -> tuple[str, ...]:
        """The keys of snapshots, here or in other containers, that its content was computed from."""
        return tuple(self.record.derived_from)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the user said about it, as a fresh copy."""
        return deepcopy(dict(self.record.metadata))

    @property
    def entries(self) -> int:
        """How many names it has: files, links and directories."""
        return self.record.entries

    @property
    def files(self) -> int:
        """How many files it has."""
        return self.record.files

    @property
    def size(self) -> int:
        """Raw bytes of all files."""
        return self.record.size

    @property
    def attributes(self) -> frozenset[str]:
        """What the tree has besides names and contents: "times", "modes"."""
        return frozenset(flag.name.lower() for flag in Attributes if flag & self.record.attributes and flag.name)

    # --- its tree ---------------------------------------------------------------------------------------------------

    @property
    def root(self) -> SnapshotPath:
        """The path of the root."""
        return SnapshotPath(self)

    def path(self, *parts: str) -> SnapshotPath:
        """Return a path inside of the snapshot, whether it is there or not."""
        return SnapshotPath(self, *parts)

    __truediv__ = path

    def stored(self) -> StoredTree:
        """Return how many objects and pages the snapshot has, each counted once. All pages are read."""
        pages = 0
        files: set[bytes] = set()
        for reached in keys_by_kind([self.reader.root], StoredPages(self.container.engine)):
            pages += len(reached.pages) // DIGEST_BYTES
            files.update(reached.files[at : at + DIGEST_BYTES] for at in range(0, len(reached.files), DIGEST_BYTES))
        return StoredTree(len(files), pages)

    # --- as a value -------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Snapshot {self.label}: {self.key[:8]}, {self.files} files, {self.size} bytes>"

    def _repr_html_(self) -> str:
        """Return the snapshot as a notebook shows it. It raises nothing for damage."""
        from rsdos.facade.snapshot_html import html_of_snapshot

        return html_of_snapshot(self)

    def __reduce__(self) -> tuple[object, ...]:
        return Snapshot, (self.container, self.key, self.record, self.label)

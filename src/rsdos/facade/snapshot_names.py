"""Snapshots by their names: lookups, history, differences, tags and branches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rsdos.errors import InvalidName, ObjectNotFound, RefNotFound

if TYPE_CHECKING:
    from rsdos.facade.differences import Difference
    from rsdos.facade.history import LoggedOperation, LoggedVersion
    from rsdos.facade.part import FacadePart
    from rsdos.facade.snapshot import Snapshot
    from rsdos.facade.snapshot_path import SnapshotPath
    from rsdos.trees.refs import Refs

_BEGINNING = re.compile("[0-9a-f]{6,63}")


class SnapshotNames:
    """The names of snapshots, and what is read by them."""

    def __init__(self, container: FacadePart) -> None:
        self._container = container

    def __getitem__(self, ref: str) -> Snapshot:
        """Return the snapshot of a ref. Raise `RefNotFound`, a KeyError."""
        from rsdos.facade.history import read_snapshot

        refs = self._refs()
        found = refs.resolve(self._whole(ref, refs))
        label = found.name if found.version is None else f"{found.name}@{found.version.number}"
        try:
            return read_snapshot(self._container, found.snapshot, label)
        except ObjectNotFound:
            raise RefNotFound(ref) from None

    def get(self, ref: str) -> Snapshot | None:
        """Return the snapshot of a ref, or None."""
        try:
            return self[ref]
        except (RefNotFound, InvalidName):
            return None

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, str) and self.get(ref) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all branches and tags, sorted."""
        return iter(self._refs().names())

    def __len__(self) -> int:
        return len(self._refs().names())

    def __bool__(self) -> bool:
        """True, also without any name."""
        return True

    def path(self, name: str) -> SnapshotPath:
        """Return the path that ``REF:PATH`` names, or the root for ``REF``. The path need not be there."""
        ref, path = self.split(name)
        return self[ref].path(path or "")

    def branches(self) -> dict[str, list[int]]:
        """Return the numbers of the versions of each branch, the newest last."""
        branches = self._refs().branches.items()
        return {name: [version.number for version in branch.versions] for name, branch in branches if branch.versions}

    def tags(self) -> dict[str, str]:
        """Return the key of each tag's snapshot."""
        return dict(self._refs().tags)

    def find(self, ref: str) -> str:
        """Return the key of a ref's snapshot, without reading it. Raise `RefNotFound`."""
        refs = self._refs()
        return refs.find(self._whole(ref, refs))

    def is_name(self, text: str) -> bool:
        """Return whether a branch or a tag has exactly this name. Such a name counts before the beginning of a key."""
        return self._refs().has(text)

    def names_of(self, snapshot: Snapshot) -> list[tuple[str, int | None]]:
        """Return the names that a snapshot has: (branch, number of the version), and (tag, None)."""
        split = (name.partition("@") for name in self._refs().names_of(snapshot.key))
        return [(name, int(number) if number else None) for name, _, number in split]

    def log(self, name: str | None = None, *, limit: int | None = None) -> Iterator[LoggedVersion]:
        """Yield the versions of a branch, the newest first; or the newest version of each branch, then the tags.

        Args:
            name: a branch, a version of one to begin with, or a tag; None: all branches and tags.
            limit: yield so many at most.
        """
        from rsdos.facade.history import logged

        return islice(logged(self._container, self._refs(), name), limit)

    def operations(self, *, limit: int | None = None) -> Iterator[LoggedOperation]:
        """Yield what was done to the refs, the newest first: the last 100 operations, and older ones until a gc.

        Args:
            limit: yield so many at most.
        """
        from rsdos.facade.history import operations

        return islice(operations(self._container), limit)

    def diff(self, old: Snapshot | SnapshotPath | str, new: Snapshot | SnapshotPath | str) -> Iterator[Difference]:
        """Yield what differs between two trees, in tree order. Equal pages are not read.

        Args:
            old: a snapshot, a directory or file in one, or ``REF[:PATH]``.
            new: the other one.

        Raises:
            FileNotFoundError: there is no such path.
        """
        from rsdos.facade.differences import differences

        return differences(self._path_of(old), self._path_of(new))

    def _path_of(self, what: Snapshot | SnapshotPath | str) -> SnapshotPath:
        from rsdos.facade.snapshot import Snapshot

        if isinstance(what, str):
            return self.path(what)
        return what.root if isinstance(what, Snapshot) else what

    def tag(self, name: str, ref: Snapshot | str, *, move: bool = False) -> Snapshot:
        """Give a snapshot a name that does not move, and return the snapshot.

        Args:
            name: the tag.
            ref: the snapshot.
            move: replace a tag of this name.

        Raises:
            RefExists: there is a branch of this name, or a tag, and ``move`` is False.
        """
        from rsdos.maintenance import tag

        existing = tag.Existing.MOVE if move else tag.Existing.REFUSE
        tag.tag(self._container.engine, name, self._text(ref), existing)
        return self[name]

    def branch(self, name: str, ref: Snapshot | str) -> Snapshot:
        """Begin a branch with a snapshot as its first version, and return the snapshot.

        Args:
            name: the branch.
            ref: the snapshot.

        Raises:
            RefExists: there is a branch or a tag of this name.
        """
        from rsdos.maintenance import tag

        tag.branch(self._container.engine, name, self._text(ref))
        return self[name]

    def _text(self, ref: Snapshot | str) -> str:
        """Return the ref of a snapshot that is given as itself or as a ref, with the whole key for its beginning."""
        return self._whole(ref) if isinstance(ref, str) else ref.key

    def split(self, what: Snapshot | str) -> tuple[str, str | None]:
        """Return the ref and the path of ``REF[:PATH]``."""
        from rsdos.trees.names import split_ref

        ref, path = split_ref(what) if isinstance(what, str) else (what.key, None)
        return self._whole(ref), path

    def _whole(self, ref: str, refs: Refs | None = None) -> str:
        """Return a ref with the whole key in place of its first 6 characters or more, unless that is also a name."""
        if not _BEGINNING.fullmatch(ref) or (refs or self._refs()).has(ref):
            return ref
        try:
            return self._container.find(ref)
        except ObjectNotFound:
            raise RefNotFound(ref) from None

    def _refs(self) -> Refs:
        from rsdos.engine.publish import read_refs

        return read_refs(self._container.engine)[0]

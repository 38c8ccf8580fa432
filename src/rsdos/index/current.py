"""The index of a container: the newest manifest and its segments, for lookups and commits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from rsdos import fsio
from rsdos.errors import DamagedContainer
from rsdos.index.history import History
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.merge import due_for_merge, write_merged
from rsdos.index.segment import Segment
from rsdos.index.snapshot import Found, Snapshot
from rsdos.layout import Layout
from rsdos.model import Durability, Record

Recover = Callable[[Manifest | None], Snapshot]
"""Makes a snapshot from the segments inside the packs: of the packs of a manifest, or of all when that is damaged."""


class Index:
    """Looks up and commits. Any number of threads; a snapshot that was handed out stays as it is.

    A manifest or a segment file that is damaged or missing is replaced, in memory, by what ``recover`` finds inside
    the packs. Nothing is written but by `commit`, which refuses when the newest manifest is damaged.
    """

    def __init__(self, layout: Layout, container_id: str, recover: Recover) -> None:
        self.history = History(layout, container_id)
        self._layout = layout
        self._recover = recover
        self._snapshot: Snapshot | None = None
        self._number = 0
        self._recovered = False

    @property
    def snapshot(self) -> Snapshot:
        """The newest state that was looked at, loaded at the first use."""
        return self._snapshot or self.refresh()

    @property
    def is_recovered(self) -> bool:
        """Whether the present snapshot was made from the packs, because a manifest or a segment is damaged."""
        return self._recovered

    def is_current(self) -> bool:
        """Whether nobody has committed since `snapshot` was loaded."""
        if self._snapshot is None:
            return False
        return self.history.is_newest(self._number) if self._number else not self._layout.manifest_numbers()

    def refresh(self) -> Snapshot:
        """Load the newest state."""
        while True:
            numbers = self._layout.manifest_numbers()
            number = numbers[-1] if numbers else 0
            try:
                snapshot, recovered = self.open(self.history.read(number)), False
            except FileNotFoundError:
                if number and not self.history.is_newest(number):
                    continue  # Commits went by since the listing, and took away what it showed.
                snapshot, recovered = self._recover(self._readable(number)), True
            except DamagedContainer:
                snapshot, recovered = self._recover(self._readable(number)), True
            self._snapshot, self._number, self._recovered = snapshot, number, recovered
            return snapshot

    def _readable(self, number: int) -> Manifest | None:
        with suppress(FileNotFoundError, DamagedContainer):
            return self.history.read(number)
        return None

    def open(self, manifest: Manifest) -> Snapshot:
        """A snapshot of this manifest; segments that are open already are shared. Raises FileNotFoundError."""
        return Snapshot(manifest, [self._segment(entry) for entry in manifest.segments])

    def _segment(self, entry: SegmentEntry) -> Segment:
        if self._snapshot and (segment := self._snapshot.segment(entry)):
            return segment
        path = self._layout.segment(entry.number) if entry.number else self._layout.pack(entry.pack_id)
        fd = fsio.open_for_reading(path)
        try:
            segment = Segment(fd, path, entry.offset, entry.length or None)
        finally:
            os.close(fd)
        if (segment.count, segment.tombstones) != (entry.count, entry.tombstones):
            raise DamagedContainer(path, "a segment has other entries than the manifest says", entry.offset)
        return segment

    def find(self, digest: bytes) -> Record | None:
        """The entry of a key in `snapshot`, or None."""
        try:
            return self.snapshot.find(digest)
        except DamagedContainer:
            return self._recovery().find(digest)

    def find_all(self, digest: bytes) -> list[Record]:
        """The entries of all copies of a key."""
        try:
            return self.snapshot.find_all(digest)
        except DamagedContainer:
            return self._recovery().find_all(digest)

    def find_many(self, digests: Sequence[bytes]) -> Found:
        """The entries of many keys."""
        try:
            return self.snapshot.find_many(digests)
        except DamagedContainer:
            return self._recovery().find_many(digests)

    def key_lists(self, prefix: str = "") -> Iterator[list[str]]:
        """Every key of the newest state that begins with ``prefix``, once, sorted, in lists of bounded size.

        Raises `DamagedContainer` at the first, when some cannot be told.
        """
        keys = self.refresh().keys(prefix)
        try:
            first = next(keys, [])
        except DamagedContainer:
            keys = self._recovery().keys(prefix)
            first = next(keys, [])
        yield first
        yield from keys

    def _recovery(self) -> Snapshot:
        """The snapshot of the same manifest, made from the packs."""
        if not self._recovered:
            self._snapshot, self._recovered = self._recover(self.snapshot.manifest), True
        return self.snapshot

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Manifest:
        """Make the next manifest from the newest by ``change``; see `History.commit`.

        A commit that would leave too many segments merges the smallest of them.
        """

        def change_and_merge(newest: Manifest) -> Manifest:
            manifest = self._merge(change(newest), durability)
            return self._settle(manifest) if durability is Durability.FULL else manifest

        manifest = self.history.commit(change_and_merge, durability)
        try:
            self._snapshot, self._number, self._recovered = self.open(manifest), manifest.number, False
        except (FileNotFoundError, DamagedContainer):
            self._snapshot = None
        return manifest

    def _merge(self, manifest: Manifest, durability: Durability) -> Manifest:
        due = due_for_merge(manifest.segments)
        if not due:
            return manifest
        path = self._layout.segment(manifest.next_segment)
        fsio.remove(path)  # A dead writer's: no manifest names a number from next_segment on.
        try:
            count, tombstones = write_merged(path, [self._segment(entry) for entry in due])
        except DamagedContainer:
            return manifest  # Lookups go on in the others; repair merges again.
        fresh = SegmentEntry(count, tombstones, number=manifest.next_segment, synced=False)
        return manifest.with_segments(due, fresh)

    def _settle(self, manifest: Manifest) -> Manifest:
        """Sync the segment files that a relaxed commit, or this one, left unsynced."""
        for segment in manifest.segments:
            if not segment.synced:
                fsio.sync_path(self._layout.segment(segment.number))
        return replace(manifest, segments=tuple(replace(segment, synced=True) for segment in manifest.segments))

    def close(self) -> None:
        """Let go of the mappings; the next lookup loads them again."""
        self._snapshot = None

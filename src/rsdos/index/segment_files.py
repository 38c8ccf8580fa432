"""Writing segment files in a commit: for merged segments, and for the entries of large batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index import merge
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.merge import Table, due_for_merge, write_merged, write_segment
from rsdos.index.merge_lock import segments_in_merge
from rsdos.index.settling import with_synced
from rsdos.layout import Layout
from rsdos.names import LAST_NUMBER

if TYPE_CHECKING:
    from rsdos.index.entries import Entries


MOST_MERGED = 1 << 17
"""The most entries that a commit merges, 50 ms. More are merged beside other commits (`rsdos.index.merging`)."""

_SMALL = 1 << 16
"""The most entries of a segment that is read to find out whether any of them is alive: 4 MB."""


def without_dead(manifest: Manifest, open_segment: Callable[[SegmentEntry], Table]) -> Manifest:
    """Return the manifest without small merged segments whose entries are all in packs that are gone.

    A merge drops such entries too. After a repack of a container with one pack, nothing is left to merge.
    """
    dead = []
    for entry in manifest.segments:
        if entry.number and not entry.pack_id and entry.count <= _SMALL:
            with suppress(FileNotFoundError, DamagedContainer):
                if not open_segment(entry).entries().of_packs(manifest.pack_ids).any():
                    dead.append(entry)
    return manifest.with_segments(dead) if dead else manifest


def free_number(layout: Layout, manifest: Manifest) -> int:
    """Return the next number for a segment file of a commit. The number after it is free as well.

    A file may have a number that no manifest has given out. It belongs to a dead writer, and is removed later; or to a
    writer that runs at the same time because its lock file was removed. Such a file is not touched.
    """
    taken = set(layout.segment_numbers())
    return next(n for n in count(manifest.next_segment) if n not in taken and n + 1 not in taken)


class SegmentFiles:
    """The segment files of one commit, which holds the lock on commits. Nothing is synced."""

    def __init__(
        self,
        layout: Layout,
        open_segment: Callable[[SegmentEntry], Table],
        fresh: Mapping[SegmentName, Entries | None],
    ) -> None:
        """``fresh`` are compact tables without a segment file, each with its entries if they are in memory."""
        self._layout = layout
        self._storage = layout.storage
        self._open_segment = open_segment
        self._fresh = fresh
        self._written: list[int] = []

    def merged(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the smallest segments merged into a file, if there are too many segments.

        Return the same manifest if these have too many entries, or cannot be merged: a later commit tries again.
        """
        due = self._due(manifest.segments)
        if not due:
            return manifest
        try:
            # A table in a pack shows whether a power loss has taken its batch: sync the pack before the table goes.
            named = {entry.pack_id for entry in due}
            behind = [pack for pack in manifest.packs.behind if pack.id in named]
            manifest = with_synced(self._storage, manifest, behind)
            number = free_number(self._layout, manifest)
            if number >= LAST_NUMBER:
                return manifest
            tables = [self._table(entry) for entry in due]
            written = write_merged(self._storage, number, tables, manifest.pack_ids)
        except OSError:
            return manifest  # Damaged, missing, or no room.
        self._written += [segment.number for segment in written]
        return manifest.with_segments(due, *written)

    def _due(self, segments: Sequence[SegmentEntry]) -> Sequence[SegmentEntry]:
        """Return the segments that this commit merges."""
        if len(segments) <= merge.MOST_SEGMENTS:
            return ()
        apart = segments_in_merge(self._storage)
        left = [entry for entry in segments if segment_name(entry) not in apart] if apart else segments
        due = due_for_merge(left, merge.MOST_SEGMENTS)
        return due if sum(entry.count for entry in due) <= MOST_MERGED else ()

    def filed(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the entries of fresh tables in a file each.

        A table that cannot have one stays: it is decoded when it is opened, and a later commit tries again.
        """
        for entry in manifest.segments:
            if segment_name(entry) in self._fresh:
                number = free_number(self._layout, manifest)
                if number > LAST_NUMBER:
                    return manifest
                try:
                    written = write_segment(self._storage, number, self._table(entry).entries())
                except OSError:
                    return manifest
                self._written.append(number)
                # Never synced: that would take 13 to 40 ms of a commit of 2,000 to 10,000 objects. The table in the
                # pack is synced.
                written = written.of_batch(entry)
                manifest = manifest.with_segments([entry], written)
        return manifest

    def _table(self, entry: SegmentEntry) -> Table:
        return self._fresh.get(segment_name(entry)) or self._open_segment(entry)

    def undo(self) -> None:
        """Remove the files that were written. Raise no OSError."""
        for number in self._written:
            with suppress(OSError):
                self._storage.remove(names.segment(number))

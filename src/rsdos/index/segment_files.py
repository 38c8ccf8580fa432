"""Writing segment files in a commit: of segments that are merged, and of the entries of large batches."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.merge import Table, due_for_merge, write_merged, write_segment
from rsdos.index.settling import with_synced
from rsdos.layout import Layout
from rsdos.names import LAST_NUMBER

if TYPE_CHECKING:
    from rsdos.index.entries import Entries


_SMALL = 1 << 16
"""Entries of a segment that is read to see whether any of them lives: 4 MB."""


def without_dead(manifest: Manifest, open_segment: Callable[[SegmentEntry], Table]) -> Manifest:
    """Return the manifest without small merged segments of which all entries are in packs that are gone.

    A merge drops such entries too. Of a container that was one pack, and was rewritten, nothing is left to merge.
    """
    dead = []
    for entry in manifest.segments:
        if entry.number and not entry.pack_id and entry.count <= _SMALL:
            with suppress(FileNotFoundError, DamagedContainer):
                if not open_segment(entry).entries().of_packs(manifest.pack_ids).any():
                    dead.append(entry)
    return manifest.with_segments(dead) if dead else manifest


class SegmentFiles:
    """The segment files of one commit, which holds the lock on commits. Nothing is synced."""

    def __init__(
        self,
        layout: Layout,
        open_segment: Callable[[SegmentEntry], Table],
        fresh: Mapping[SegmentName, Entries | None],
    ) -> None:
        """``fresh`` are compact tables that have no segment file, and their entries if they are in memory."""
        self._layout = layout
        self._storage = layout.storage
        self._open_segment = open_segment
        self._fresh = fresh
        self._written: list[int] = []

    def merged(self, manifest: Manifest, due: Sequence[SegmentEntry] | None = None) -> Manifest:
        """Return the manifest with those segments merged into a file; by default the smallest, if there are too many.

        The same where that cannot be done: a later commit tries again. Raise OSError where a merge was asked for and
        there is no room for it.
        """
        is_asked_for = due is not None
        if due is None:
            due = due_for_merge(manifest.segments)
        if not due:
            return manifest
        try:
            # A table that is in a pack says where its batch ends, if a power loss takes that.
            manifest = with_synced(self._storage, manifest, {entry.pack_id for entry in due if entry.pack_id})
            number = self._free_number(manifest)
            if number >= LAST_NUMBER:
                return manifest
            tables = [self._table(entry) for entry in due]
            written = write_merged(self._storage, number, tables, manifest.pack_ids)
        except OSError as error:
            if is_asked_for and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return manifest  # Damaged, missing, or no room.
        self._written += [segment.number for segment in written]
        return manifest.with_segments(due, *written)

    def filed(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the entries of fresh tables in a file each.

        A table that cannot have one stays: it is decoded when it is opened, and a later commit tries again.
        """
        for entry in manifest.segments:
            if segment_name(entry) in self._fresh:
                number = self._free_number(manifest)
                if number > LAST_NUMBER:
                    return manifest
                try:
                    written = write_segment(self._storage, number, self._table(entry).entries())
                except OSError:
                    return manifest
                self._written.append(number)
                # Not synced, ever: 13 to 40 ms of a commit of 2,000 to 10,000 objects. The table in the pack is.
                place = {"pack_id": entry.pack_id, "offset": entry.offset, "length": entry.length}
                written = written._replace(**place, synced=True)
                manifest = manifest.with_segments([entry], written)
        return manifest

    def _table(self, entry: SegmentEntry) -> Table:
        return self._fresh.get(segment_name(entry)) or self._open_segment(entry)

    def _free_number(self, manifest: Manifest) -> int:
        """Return the next number for a file.

        What has a number that no manifest has given out is a dead writer's, and goes by and by; or that of one who is
        at work beside this one, its lock file having been removed. It is not touched, nor are files made again.
        """
        taken = set(self._layout.segment_numbers())
        return next(n for n in count(manifest.next_segment) if n not in taken and n + 1 not in taken)

    def undo(self) -> None:
        """Remove what was written. Raises no OSError."""
        for number in self._written:
            with suppress(OSError):
                self._storage.remove(names.segment(number))

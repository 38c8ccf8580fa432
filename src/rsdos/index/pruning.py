"""What a commit removes: manifests and index files that nobody needs any more, and what a failed commit has made."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, NamedFiles, files_in, files_of
from rsdos.layout import Layout
from rsdos.model import Durability

KEPT = 16
"""Manifests that are kept. A reader that has listed ``index/`` can open what it saw until this many commits later."""

MOST_BYTES = 1 << 24
"""The most bytes of a manifest: of 60,000 packs, 240 TB at the usual target. Reading it takes up to twenty times as
much memory."""


class IndexListing(NamedTuple):
    """What `CommitLog.latest` returns, and the listing of ``index/`` that it is from."""

    number: int
    missing: int
    names: list[str]
    numbers: list[int]
    """Of the manifests, ascending."""


class Pruning:
    """Removes files of one index. The caller holds the lock on commits."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._storage = layout.storage

    def undo(self, newest: Manifest, manifest: Manifest) -> None:
        """Remove the segment files and pack tables that a manifest names and the newest does not. Raise no OSError."""
        with suppress(OSError):
            made, there = files_of(manifest), files_of(newest)
            for number in {*made.segments} - {*there.segments}:
                self._storage.remove(names.segment(number))
            for number in {*made.tables} - {*there.tables}:
                self._storage.remove(names.pack_table(number))

    def drop_replaced(self, before: Manifest, newest: Manifest, durability: Durability) -> None:
        """Remove segment files that a merge or a repack has replaced.

        The files of batches are removed at once, since the tables in the packs have the same entries: for a million
        objects they take 66 MB. Merged files are removed by the next such commit that survives a power loss. Without
        this, an insert and a merge each night would keep sixteen indices. A reader that misses such a file loads the
        newest manifest.
        """
        needed = {segment.number for segment in newest.segments}
        replaced = {segment.number: segment for segment in before.segments if segment.number not in needed}
        for number, segment in replaced.items():
            if segment.is_of_batch:
                self._storage.remove(names.segment(number))
        if any(number for number in replaced) and durability is Durability.FULL:
            self._drop_segments({*needed, *replaced}, newest)

    def _drop_segments(self, needed: Collection[int], newest: Manifest) -> None:
        """Remove the segment files that are not needed. The files of running writers have higher numbers, and stay."""
        for number in self._layout.segment_numbers():
            if number not in needed and number < newest.next_segment:
                self._storage.remove(names.segment(number))

    def prune(self, newest: Manifest, listed: IndexListing) -> None:
        """Drop the manifests beyond the last `KEPT`, oldest first, and index files that none of the kept ones needs.

        Also drop the unfinished manifests of dead writers. ``listed`` is what was there when the commit began: under
        its lock nobody else makes any of these files.
        """
        for name in listed.names:
            if name.endswith(names.NEW) and names.is_unfinished(name):
                self._storage.remove(f"{names.INDEX}/{name}")
        numbers = [*listed.numbers, newest.number]
        for number in numbers[:-KEPT]:
            self._storage.remove(names.manifest(number))
        if newest.number % KEPT == 0:
            older = (number for number in numbers[-KEPT:] if number != newest.number)
            kept = [files_of(newest), *map(self._files_of, older)]
            self._drop_segments(set().union(*(files.segments for files in kept)), newest)
            tables = names.numbers_among(listed.names, names.PACK_TABLES)
            for number in set(tables).difference(*(one.tables for one in kept)):
                if number < newest.next_segment:
                    self._storage.remove(names.pack_table(number))

    def _files_of(self, number: int) -> NamedFiles:
        """Return the files that a manifest names. Decoding sixteen whole manifests would add 60 ms to some commits."""
        try:
            return files_in(self._storage.read(names.manifest(number), MOST_BYTES))
        except ValueError as error:
            raise DamagedContainer(self._layout.manifest(number), str(error)) from None

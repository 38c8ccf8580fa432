"""Checking the tables of contents of packs of version 2 against themselves and against the index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rsdos.errors import DamagedContainer
from rsdos.index.compact import CompactTable, open_table
from rsdos.index.entries import Entries
from rsdos.index.view import IndexView
from rsdos.pack.format import Batch
from rsdos.pack.reader import PackFile, read_best
from rsdos.storage.base import Storage
from rsdos.stores.findings import Finding
from rsdos.stores.packed.check_objects import ObjectCheck


class TableCheck:
    """Reads the tables of batches, and compares them with one state of the index. One thread."""

    def __init__(self, storage: Storage, view: IndexView, objects: ObjectCheck) -> None:
        self._storage = storage
        self._view = view
        self._at = objects.finding
        self._damage = objects.damage

    def read(self, file: PackFile, batch: Batch) -> tuple[list[Finding], Entries | None]:
        """Return what is wrong with the table of a batch, and its entries of objects if it can be read at all.

        The entries are in storage order: objects are read in it, and sorting them is a fifth of a quick validation.
        """
        return read_best(self._storage, partial(self._read, file, batch), lambda read: len(read[0]))

    def _read(self, file: PackFile, batch: Batch) -> tuple[list[Finding], Entries | None]:
        try:
            table = open_table(file.file, batch.segment_offset, batch.segment_length)
            entries = table.verify_as_stored() if isinstance(table, CompactTable) else table.verify()
        except DamagedContainer as error:
            return [self._damage(error)], None
        own = entries.take(~entries.is_tombstone()).in_storage_order()
        findings = []
        if len(entries) != batch.entries:
            findings.append(self._at(file.pack_id, "a footer counts other entries than there are", batch.footer_offset))
        inside = own.in_extent(file.pack_id, batch.start, batch.segment_offset + 1) & own.ends_before(
            batch.segment_offset
        )
        for record in own.take(~inside):
            reason = "a table names bytes that are not of its own batch"
            findings.append(self._at(file.pack_id, reason, record.offset, record.key))
        good = own.take(inside)
        for record in good.take(good.overlapping()):
            findings.append(self._at(file.pack_id, "it overlaps another object", record.offset, record.key))
        return findings, good

    def living(self, own: Entries) -> Entries:
        """Return what the index says of those entries that live, sorted by key: readers go by the index."""
        own = own.sort()
        try:
            copies = self._view.copies_like(own)
        except DamagedContainer:
            return own
        return copies.take(copies.of_extents(own))

    def unlike(self, pack_id: int, own: Entries, live: Entries) -> Iterator[Finding]:
        """Yield findings where index and table differ about an object: a rebuild would use the table."""
        mine = (own if len(own) == len(live) else own.take(own.of_extents(live))).sort()
        if len(mine) == len(live):  # Else an extent is named twice, which is told as an overlap.
            for record in live.take(live.differing(mine)):
                reason = "the index says something else of it than the table of its batch"
                yield self._at(pack_id, reason, record.offset, record.key)

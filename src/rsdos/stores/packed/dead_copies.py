"""Copies that packs of version 2 still have, and that tombstones have killed: for a repair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from rsdos.errors import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.model import BytesLike, Record, RecordFlag
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.recovery import scan_packs
from rsdos.streams.plain import hashed


class DeadCopies:
    """All copies that the tables in the packs name, dead or alive. One thread, with the maintenance lock."""

    def __init__(self, context: PackedContext) -> None:
        self._context = context
        layout = context.layout
        found = scan_packs(layout, context.config.container_id, context.index, layout.pack_ids())
        self._tables = [table for pack in found.packs.values() for table in pack.tables]

    def find(self, digests: Sequence[bytes]) -> Iterator[Record]:
        """Yield the entries of all copies of some objects. Reads every table once."""
        columns = dict.fromkeys(("pack_id", "offset", "length", "size", "crc", "codec", "flags"), 0)
        wanted = Entries.of(digests, **columns).sort()
        for table in self._tables:
            with suppress(DamagedContainer):
                entries = table.entries()
                for record in entries.take(entries.of_keys(wanted)):
                    if not record.flags & RecordFlag.TOMBSTONE:
                        yield record

    def parts(self, record: Record) -> Iterator[BytesLike]:
        """Yield the bytes of a copy in parts. Raise `DecodeError`, at the end at the latest, and OSError."""
        records = self._context.records
        parts = records.frames(record) if record.flags else iter((records.read_object(record),))
        return hashed(parts, record.digest, self._context.config.hash)

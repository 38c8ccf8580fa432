"""Emptying a damaged pack: whatever the index knows of it goes to another pack, and the file into quarantine.

The steps of a repack (`rsdos.stores.packed.repack`), but nothing in the old pack is believed, and it is not unlinked
before it has another name. Bytes that are damaged go on as they are; an object of which the bytes are gone gets an
entry that says so: it stays damaged, and never becomes one that was never there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence

from rsdos.config import Config
from rsdos.errors import Busy
from rsdos.index.entries import Entries
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.merge import Table
from rsdos.index.snapshot import ReadRange, coalesce
from rsdos.layout import Layout
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Durability, Record, RecordFlag
from rsdos.pack.reader import BarePack
from rsdos.storage import locks, posix
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.delete import tombstone_of_pack
from rsdos.stores.packed.recovery import tombstones_of
from rsdos.stores.packs import GAP, WINDOW

_NO_CRC = 0xFFFFFFFF
"""The CRC-32 of an object without bytes is 0: with this one an entry of no bytes is always damaged."""


class DamagedPackRewrite:
    """One pack's way to another. The caller holds the maintenance lock."""

    def __init__(self, layout: Layout, config: Config, index: Index, unlink: Callable[[int], bool]) -> None:
        self._layout = layout
        self._config = config
        self._index = index
        self._unlink = unlink
        self._tables: list[Entries] = []
        self._count = 0
        self._counts = (0, 0, 0)
        self._segments: list[SegmentEntry] = []
        self.lost: list[str] = []
        """The keys of objects of which the bytes are gone."""

    def run(
        self, pack_id: int, tables: Sequence[Table], damaged: Collection[int], aside: Callable[[], str]
    ) -> list[str]:
        """Empty a pack, of whose own tables some are readable; returns where the file of it is now, if there was one.

        ``damaged`` packs are not written to; ``aside`` makes, and names, the directory that the file goes to.
        """
        lock = locks.try_acquire(self._layout.pack_lock(pack_id))
        if lock is None:
            raise Busy(self._layout.pack(pack_id))
        with lock:
            pack = self._index.refresh().manifest.pack(pack_id)
            if pack is None:
                return []
            claim = ActivePack(self._layout, self._config, self._index, refused=damaged)
            try:
                self._copy(pack_id, claim)
                self._carry_tombstones(pack_id, tables, claim)
                target = self._link(pack_id, aside)
                self._commit(pack_id, claim)
            except BaseException:
                claim.abandon()
                raise
            claim.release()
            if self._unlink(pack_id):
                posix.sync_directory(self._layout.packed)
        return target

    def _copy(self, pack_id: int, claim: ActivePack) -> None:
        snapshot = self._index.refresh()
        pack = snapshot.manifest.pack(pack_id)
        assert pack is not None
        file = self._open(pack_id)
        for entries in snapshot.copies_in(pack):
            for run in coalesce(entries, GAP, WINDOW):
                if self._count and (
                    self._count + len(run.offset) > MOST_ENTRIES
                    or claim.position - claim.writer.batch_start >= MOST_BATCH
                ):
                    self._finish_batch(claim)
                self._copy_run(entries, run, file, claim)

    def _open(self, pack_id: int) -> BarePack | None:
        try:
            return BarePack(self._layout.pack(pack_id))
        except OSError:
            return None

    def _copy_run(self, entries: Entries, run: ReadRange, file: BarePack | None, claim: ActivePack) -> None:
        start = run.offset[0]
        ends = [offset + length for offset, length in zip(run.offset, run.length, strict=True)]
        if file is None or run.flags or max(ends) > file.size():
            for at in run.positions:
                self._copy_one(entries, at, file, claim)
            return
        try:
            data = memoryview(file.read(start, max(ends) - start))
        except OSError:
            for at in run.positions:
                self._copy_one(entries, at, file, claim)
            return
        stored: list[BytesLike] = [data[at - start : end - start] for at, end in zip(run.offset, ends, strict=True)]
        offset = claim.writer.write(stored)
        self._note(
            entries.moved(run.positions, claim.pack.id, offset),
        )

    def _copy_one(self, entries: Entries, at: int, file: BarePack | None, claim: ActivePack) -> None:
        record = next(iter(entries.take([at])))
        writer = claim.writer
        start = writer.position
        for part in self._parts(record, file):
            if part is None:
                writer.rewind(start)
                self._note_lost(record, claim)
                return
            writer.write([part])
        self._note(entries.moved([at], claim.pack.id, start))

    def _parts(self, record: Record, file: BarePack | None) -> Iterator[bytes | None]:
        """The stored bytes; None where they cannot be had."""
        if file is None or record.offset + record.length > file.size():
            yield None
            return
        for done in range(0, record.length, FRAME_SIZE):
            try:
                part = file.read(record.offset + done, min(FRAME_SIZE, record.length - done))
            except OSError:
                yield None
                return
            yield part

    def _note_lost(self, record: Record, claim: ActivePack) -> None:
        self.lost.append(record.key)
        table = Entries.of(
            [record.digest],
            pack_id=claim.pack.id,
            offset=claim.writer.position,
            length=0,
            size=record.size,
            crc=_NO_CRC,
            codec=Codec.RAW,
            flags=RecordFlag.NONE,
        )
        self._note(table.keyed())

    def _note(self, table: Entries) -> None:
        self._tables.append(table)
        self._count += len(table)
        objects, size, stored = self._counts
        self._counts = objects + len(table), size + table.total_size, stored + table.total_length

    def _finish_batch(self, claim: ActivePack) -> None:
        if self._count:
            self._segments.append(claim.finish_batch(Entries.joined(self._tables).sort()))
        self._tables.clear()
        self._count = 0

    def _carry_tombstones(self, pack_id: int, tables: Sequence[Table], claim: ActivePack) -> None:
        """Those in the pack, and those that only the index knows: a rebuild must not miss them."""
        self._finish_batch(claim)
        present = [other for other in self._layout.pack_ids() if other != pack_id]
        dead = tombstones_of([*tables, *(s for s in self._index.snapshot.segments if s.tombstones)])
        dead = dead.take(dead.of_packs(present))
        for at in range(0, len(dead), MOST_ENTRIES):
            self._segments.append(claim.finish_batch(dead.take(slice(at, at + MOST_ENTRIES)).sort()))

    def _link(self, pack_id: int, aside: Callable[[], str]) -> list[str]:
        """Give the file another name, in quarantine: from the commit on its own may be swept."""
        path = self._layout.pack(pack_id)
        if not os.path.lexists(path):
            return []
        directory = aside()
        target = os.path.join(directory, os.path.basename(path))
        number = 0
        while os.path.lexists(target):
            if os.path.samestat(os.lstat(target), os.lstat(path)):
                return [target]
            number += 1
            target = os.path.join(directory, f"{os.path.basename(path)}.{number}")
        os.link(path, target, follow_symlinks=False)
        posix.sync_directory(directory)
        return [target]

    def _commit(self, pack_id: int, claim: ActivePack) -> None:
        if self._segments:
            claim.sync(Durability.FULL)
            # Not listed in the manifest, which tells the same by itself.
            claim.finish_batch(tombstone_of_pack(pack_id))
        synced = claim.sync(Durability.FULL) if self._segments else 0

        def change(newest: Manifest) -> Manifest:
            manifest = newest.without_pack(pack_id).with_segments((), *self._segments)
            if synced:
                pack = claim.entry_after(newest, synced)
                objects, size, stored = self._counts
                manifest = manifest.with_pack(
                    pack._replace(objects=pack.objects + objects, size=pack.size + size, stored=pack.stored + stored)
                )
            return manifest._replace(packs=self._index.open(manifest).with_dead_counted())

        manifest = self._index.commit(change, Durability.FULL)
        if synced:
            claim.committed(manifest)

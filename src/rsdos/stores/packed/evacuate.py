"""Emptying a damaged pack: its objects that the index knows go to another pack, and the file goes to quarantine.

The steps are those of `rsdos.stores.packed.rewrite`, but nothing in the old pack is trusted, and it is not unlinked
before it has another name. Damaged bytes are copied unchanged. An object whose bytes are gone gets an entry that says
so: it stays damaged, and never looks like an object that was never there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from rsdos import names
from rsdos.codecs.checksum import crc32
from rsdos.errors import DecodeError
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest
from rsdos.index.merge import Table
from rsdos.index.runs import ReadRange, coalesce
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Record, RecordFlag
from rsdos.pack.reader import read_best
from rsdos.pack.writer import PackWriter
from rsdos.storage.base import may_be_whole
from rsdos.storage.opened import RandomAccess
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.checked_run import unlike_crcs
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.reader import key_word
from rsdos.stores.packed.recovery import tombstones_of
from rsdos.stores.packed.rewrite import PackRewrite, crowded, lock_pack, unlink_rewritten
from rsdos.stores.packs import GAP, WINDOW
from rsdos.stores.quarantine import Quarantine

_NO_CRC = 0xFFFFFFFF
"""The CRC-32 of an object without bytes is 0: with this one an entry of no bytes is always damaged."""


class DamagedPackRewrite:
    """The rescue of one pack. The caller holds the maintenance lock."""

    def __init__(self, context: PackedContext, quarantine: Quarantine) -> None:
        self._context = context
        self._index = context.index
        self._quarantine = quarantine
        self._file: RandomAccess | None = None
        self._storage = context.layout.storage
        self.lost: list[str] = []
        """The keys of objects of which the bytes are gone."""

    def run(self, pack_id: int, tables: Sequence[Table], damaged: Collection[int]) -> None:
        """Empty a pack, of whose own tables some are readable; its file, if there is one, goes into quarantine.

        ``damaged`` packs are not written to.
        """
        # 1. From here on nobody appends to it.
        with lock_pack(self._context, pack_id):
            pack = self._index.refresh().manifest.packs.find(pack_id)
            if pack is None:
                return
            refused = {*damaged, *crowded(self._index.view.manifest.packs, pack)}
            with ActivePack(self._context, refused=refused, kind=pack.kind) as target:
                rewrite = PackRewrite(self._context, (pack_id,), target)
                # 3. Copy.
                self._copy(pack_id, rewrite)
                self._copy_tombstones(pack_id, tables, rewrite)
                # A second name for the file: a collection of garbage may unlink it from the commit on.
                self._quarantine.link(self._context.layout.pack(pack_id))
                # 4 to 6.
                rewrite.commit(self._with_dead_counted)
            # 7. Only now, and only if nobody reads it for long.
            unlink_rewritten(self._context, pack_id)

    def _with_dead_counted(self, _: Manifest, manifest: Manifest) -> Manifest:
        return manifest.with_packs(self._index.open(manifest).with_dead_counted())

    def _copy(self, pack_id: int, rewrite: PackRewrite) -> None:
        view = self._index.view
        pack = view.manifest.packs.find(pack_id)
        assert pack is not None
        try:
            self._file = self._context.layout.storage.open(names.pack(pack_id))
        except OSError as error:
            if may_be_whole(error):
                raise
            self._file = None
        for entries in view.copies_in(pack):
            for run in coalesce(entries, GAP, WINDOW):
                rewrite.make_room(len(run.offset))
                self._copy_run(entries, run, rewrite)

    def _copy_run(self, entries: Entries, run: ReadRange, rewrite: PackRewrite) -> None:
        stored = self._stored(run)
        codecs = None
        with suppress(DecodeError):
            codecs = rewrite.carry(run.codec)
        if stored is None or codecs is None:
            for at in run.positions:
                self._copy_one(entries, at, rewrite)
        else:
            rewrite.add_moved(entries, run.positions, rewrite.writer.write(stored), codecs)

    def _stored(self, run: ReadRange) -> list[BytesLike] | None:
        """Return the stored bytes of neighbours; None where they cannot be read together."""

        def doubt(stored: list[BytesLike] | None) -> int:
            return 0 if stored is None else len(unlike_crcs(stored, run))

        return read_best(self._storage, lambda: self._read_together(run), doubt)

    def _read_together(self, run: ReadRange) -> list[BytesLike] | None:
        start = run.offset[0]
        ends = [offset + length for offset, length in zip(run.offset, run.length, strict=True)]
        if self._file is None or run.flags or max(ends) > self._file.size():
            return None
        read = self._read(self._file, start, max(ends) - start)
        if read is None:
            return None
        data = memoryview(read)
        return [data[at - start : end - start] for at, end in zip(run.offset, ends, strict=True)]

    def _copy_one(self, entries: Entries, at: int, rewrite: PackRewrite) -> None:
        record = next(iter(entries.take([at])))
        writer = rewrite.writer
        try:
            codecs = rewrite.carry((record.codec,))
        except DecodeError:
            self._add_lost(record, rewrite)
            return
        start = writer.position
        crc = self._copy_parts(record, writer)
        if crc is not None and self._storage.traits.is_remote and crc ^ key_word(record.digest) != record.crc:
            writer.rewind(start)
            crc = self._copy_parts(record, writer)
        if crc is None:
            writer.rewind(start)
            self._add_lost(record, rewrite)
        else:
            rewrite.add_moved(entries, [at], start, codecs)

    def _copy_parts(self, record: Record, writer: PackWriter) -> int | None:
        """Write the stored bytes of an object, and return their CRC-32; None where they cannot be had."""
        crc = 0
        for part in self._parts(record):
            if part is None:
                return None
            crc = crc32(part, crc)
            writer.write([part])
        return crc

    def _parts(self, record: Record) -> Iterator[bytes | None]:
        """Yield the stored bytes of an object; None where they cannot be had."""
        if self._file is None or record.offset + record.length > self._file.size():
            yield None
            return
        for done in range(0, record.length, FRAME_SIZE):
            part = self._read(self._file, record.offset + done, min(FRAME_SIZE, record.length - done))
            yield part
            if part is None:
                return

    def _read(self, file: RandomAccess, offset: int, length: int) -> bytes | None:
        """Return bytes of the pack; None where they cannot be had. Raise what says nothing of the pack."""
        try:
            return file.read(offset, length)
        except OSError as error:
            if may_be_whole(error):
                raise
            return None

    def _add_lost(self, record: Record, rewrite: PackRewrite) -> None:
        self.lost.append(record.key)
        table = Entries.of(
            [record.digest],
            pack_id=rewrite.target_id,
            offset=rewrite.writer.position,
            length=0,
            size=record.size,
            crc=_NO_CRC,
            codec=Codec.RAW,
            flags=RecordFlag.NONE,
        )
        rewrite.add(table.keyed())

    def _copy_tombstones(self, pack_id: int, tables: Sequence[Table], rewrite: PackRewrite) -> None:
        """Copy those in the pack, and those that only the index knows: a rebuild must not miss them."""
        present = [other for other in self._context.layout.pack_ids() if other != pack_id]
        dead = tombstones_of([*tables, *(s for s in self._index.view.segments if s.tombstones)])
        rewrite.add_tombstones(dead.take(dead.of_packs(present)))

"""Appending objects to packs: the commit protocol of an insert (docs/design.md, section 4), its steps numbered here.

Step 3 is in `rsdos.stores.batch`, step 5 and 6 are in `rsdos.index.commits`. The caller of `BatchWriter.commit` does
step 7: only then are keys returned.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import add
from types import TracebackType
from typing import Self

from rsdos import names
from rsdos.codecs.checksum import crc32
from rsdos.codecs.dictionary import Dictionary, DictionaryChooser
from rsdos.errors import DamagedContainer, WriterPoisoned
from rsdos.hashing import spell_digests
from rsdos.index.entries import Entries
from rsdos.index.liveness import with_dead_counts
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.view import IndexView
from rsdos.model import BytesLike, Codec, Durability, PackKind, RecordFlag, Stored
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES, Absent, Duplicates, Large, end_large
from rsdos.stores.encoding import Encoding, Forms
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.dictionary_writer import DictionaryWriter
from rsdos.stores.packs import GAP, WINDOW


class PackedBatch:
    """The batch of a writer of container version 2; see `rsdos.stores.batch.OpenBatch`."""

    def __init__(self, context: PackedContext, durability: Durability, kind: PackKind = PackKind.PLAIN) -> None:
        self.keys: set[str] = set()
        self.damaged: set[bytes] = set()
        self.pack_ids: list[int] = []
        self._context = context
        self._index = context.index
        self._target = context.config.pack_size_target
        self._durability = durability
        self._kind = kind
        self._stand_ins = kind.stand_ins
        self._pack: ActivePack | None = None
        self._dictionaries: DictionaryWriter | None = None
        """Of the pack, once any is asked for."""
        self._chooser: DictionaryChooser | None = None
        """Made by the first group that could be compressed with a dictionary."""
        self._failed = False
        self._tables: list[Entries] = []
        self._looked_at = 0
        """The number of the manifest, at the oldest, in which the objects of the batch were looked for."""

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = self._failed or kind is not None
        self._leave(kind, error, trace)

    def _leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Give the pack back, if there is one."""
        pack, self._pack, self._dictionaries = self._pack, None, None
        if pack:
            pack.__exit__(kind, error, trace)

    def _open(self) -> ActivePack:
        if self._failed:
            raise WriterPoisoned("this writer has failed before")
        if self._pack is None:
            self._pack = self._new_pack()
        return self._pack

    def _new_pack(self) -> ActivePack:
        # 1 and 2.
        return ActivePack(self._context, kind=self._kind)

    @property
    def room(self) -> int:
        pack = self._pack
        if pack is None:
            return self._target
        return max(self._target - (pack.opened.position if pack.opened else pack.pack.length), 1)

    @property
    def is_full(self) -> bool:
        room = self.room
        length = self._target - room - self._open().pack.length
        return room == 1 or len(self.keys) >= MOST_ENTRIES or length >= MOST_BATCH

    def open(self) -> int:
        self._open()
        return self.room

    def begin(self) -> None:
        # 1 and 2 come before 3 also where the pack before this one was full.
        pack = self._open()
        if not self.keys:
            self._looked_at = pack.base.number

    # 4. Writing.

    def dictionary_for(self, payloads: Sequence[bytes], encoding: Encoding) -> Dictionary | None:
        known = self._with_dictionaries()
        if self._chooser is None:
            self._chooser = self._context.new_chooser()
        return self._chooser.choose(payloads, encoding.compression.level, known)

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        return self._with_dictionaries().takes(dictionary, saved)

    def _with_dictionaries(self) -> DictionaryWriter:
        if self._dictionaries is None:
            self._dictionaries = DictionaryWriter(self._open(), self._context.records.dictionaries)
        return self._dictionaries

    def put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        pack = self._open()
        stored, codecs, dictionaries = forms
        if dictionaries:
            stored, codecs = self._with_dictionaries().placed(forms, sizes)
        is_raw = codecs.count(Codec.RAW) == len(codecs)
        lengths = sizes if is_raw else array("Q", map(len, stored))
        start, crcs = (pack.opened or pack.writer).write_objects(stored, lengths)
        table = Entries.appended(
            digests,
            pack_id=pack.pack.id,
            start=start,
            lengths=lengths,
            sizes=sizes,
            crcs=crcs,
            codecs=Codec.RAW if is_raw else codecs,
            flags=RecordFlag.NONE,
        )
        self._tables.append(table)
        self.keys.update(spell_digests(digests))

    def put_large(self, large: Large) -> None:
        stored = large.stored
        table = Entries.appended(
            [large.digest],
            pack_id=self._open().pack.id,
            start=large.start,
            lengths=[stored.length],
            sizes=[stored.size],
            crcs=[large.crc],
            codecs=stored.codec,
            flags=stored.flags,
        )
        self._tables.append(table)
        self.keys.add(large.digest.hex())

    def write_large(self, source: Iterator[BytesLike], encoding: Encoding) -> Large:
        writer = self._open().writer
        start = writer.position
        try:
            written = encoding.write_frames(source, writer, self._context.config.hash)
        except BaseException:
            writer.rewind(start)
            raise
        return Large(written.digest, start, written.stored, written.crc)

    def write_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> Large:
        writer = self._open().writer
        start = writer.position
        crc = 0
        try:
            for part in parts:
                crc = crc32(part, crc)
                writer.write([part])
        except BaseException:
            writer.rewind(start)
            raise
        return Large(digest, start, stored, crc)

    def rewind(self, offset: int) -> None:
        self._open().writer.rewind(offset)

    # The last look at duplicates.

    def absent(self, digests: Sequence[bytes]) -> Absent:
        try:
            return Absent(_missing_in(self._index.refresh().for_kind(self._kind), digests))
        except DamagedContainer:
            return Absent(digests)  # Nobody knows: they are looked for elsewhere, and recorded after all.

    def settle(self, digests: Sequence[bytes]) -> Absent:
        behind = self._sync_behind() if self._durability is Durability.FULL else {}
        if behind:
            # Nothing is new, but what the duplicates lean on was acknowledged by a relaxed writer.
            self._index.commit(lambda newest: _mark_synced(newest, behind), self._durability)
        elif self._durability is Durability.FULL:
            # The manifest's writer may have died, or still be, between publishing it and syncing its name.
            self._index.make_durable()
        return self._absent_from(self._index.refresh().manifest, digests, behind) if digests else Absent(())

    def _absent_from(self, newest: Manifest, digests: Sequence[bytes], behind: Mapping[int, int]) -> Absent:
        """Return the objects of which the newest manifest has no copy, and those of which it has only an unsafe copy.

        A copy is unsafe if a relaxed writer has committed it since this commit's syncs, which went up to ``behind``.
        """
        try:
            found = self._index.open(newest).for_kind(self._kind).find_many(digests)
        except (DamagedContainer, FileNotFoundError):
            return Absent(digests)  # Nobody knows: they are looked for elsewhere, and recorded after all.
        unsafe: set[bytes] = set()
        if self._durability is Durability.FULL:
            synced_of = newest.packs.synced_of
            for run in found.runs(GAP, WINDOW):
                safe = max(synced_of(run.pack_id), behind.get(run.pack_id, 0))
                ends = map(add, run.offset, run.length)
                columns = zip(run.positions, ends, strict=True)
                unsafe.update(digests[at] for at, end in columns if end > safe)
        return Absent([digests[at] for at in found.missing.tolist()], unsafe)

    def _sync_behind(self) -> dict[int, int]:
        """Sync the packs that relaxed writers left behind; return the length of each that is stable now.

        These are the packs of the manifest that lookups go to: it has all that a duplicate of this batch was found in.
        """
        manifest = self._index.view.manifest
        behind = {pack.id: pack.length for pack in manifest.packs.behind}
        for pack_id in behind:
            with suppress(FileNotFoundError):  # It was repacked, and its objects have been synced.
                self._context.layout.storage.sync(names.pack(pack_id))
        if behind:
            self._context.layout.storage.sync_names(names.PACKED)
        return behind

    # 5 and 6. The commit.

    def commit(self, duplicates: Duplicates) -> None:
        if duplicates.large and not self._index.appends:
            # The pack is uploaded whole, before the commit.
            end_large(self, duplicates, self.absent([duplicates.large.digest]).digests)
        behind = self._sync_behind() if self._durability is Durability.FULL else {}
        pack = self._open()
        segments: list[SegmentEntry] = []
        written: list[Entries] = []
        synced = pack.pack.synced
        gone: set[bytes] = set()

        def finish() -> None:
            nonlocal synced
            written.append(Entries.joined(self._tables))
            self._tables.clear()
            places = self._dictionaries.end_batch() if self._dictionaries else ()
            segments.append(pack.finish_batch(written[-1], places))
            synced = pack.sync(self._durability)

        def change(newest: Manifest) -> Manifest:
            nonlocal gone
            if duplicates:
                # 5. What was deleted since step 3 is recorded after all. Where another commit is faster, all are looked
                # up again.
                absent = self._absent_from(newest, duplicates.digests(), behind)
                gone = {*absent.digests, *absent.unsafe}
                end_large(self, duplicates, gone)
            if self._tables:
                finish()
            entries = written[0] if len(written) == 1 else Entries.joined(written)
            entry = pack.entry_after(newest, synced).with_appended(entries.total)
            manifest = newest.with_segments((), *segments).with_pack(entry)
            if behind:
                manifest = _mark_synced(manifest, behind)
            return self.next_after(newest, self._count_dead(manifest, newest, entries))

        if duplicates.large is None:
            finish()
        elif self._durability is Durability.FULL:
            # Only under the lock is it known whether the large one belongs to the batch: little is left to sync then.
            pack.writer.sync()
        manifest = self._index.commit(change, self._durability, pack.fresh, pack.tables)
        pack.committed(manifest)
        if duplicates.small:
            duplicates.keep_some(gone)
        if pack.pack.id not in self.pack_ids:
            self.pack_ids.append(pack.pack.id)
        self.keys.clear()
        self.damaged.clear()
        if pack.pack.sealed:
            self._leave()

    def next_after(self, newest: Manifest, manifest: Manifest) -> Manifest:
        """Return the manifest to commit after the newest one, given the one with this batch. Under the lock on commits.

        A batch that publishes anything overrides this. It may raise: nothing is committed then, and the batch fails.
        """
        return manifest

    def _count_dead(self, manifest: Manifest, newest: Manifest, entries: Entries) -> Manifest:
        """Count as dead bytes one copy of each key that the index has twice from now on.

        There are two copies if another writer has committed the key since step 3 (for objects that did not fit into the
        pack before, step 3 is older than step 2), if the other copy is damaged, or if it does not stand in for one of
        this kind.
        """
        is_known = newest.number == self._looked_at and not self.damaged
        if is_known and newest.packs.of_kinds(self._stand_ins) is newest.packs:
            return manifest
        try:
            before = self._index.open(newest).copies_like(entries)
        except (DamagedContainer, FileNotFoundError):
            return manifest  # A repair counts anew.
        twice = set(before.digests())
        if not twice:
            return manifest
        mine = entries.take([digest in twice for digest in entries.digests()])
        for pack_id, counts in mine.counts().items():
            pack = manifest.packs.find(pack_id)
            assert pack is not None
            manifest = manifest.with_pack(pack.with_dead(counts))
        return with_dead_counts(newest, manifest, before, Entries.joined((before, mine)).sort())


def _missing_in(view: IndexView, digests: Sequence[bytes]) -> list[bytes]:
    return [digests[at] for at in view.find_many(digests).missing.tolist()]


def _mark_synced(manifest: Manifest, lengths: Mapping[int, int]) -> Manifest:
    """Return the manifest with these lengths of its packs on stable storage."""
    packs = filter(None, map(manifest.packs.find, lengths))
    return manifest.with_packs([pack._replace(synced=max(pack.synced, lengths[pack.id])) for pack in packs])

"""Appending objects to packs: the commit protocol of an insert (design, section 3), its steps numbered here.

Step 5 and 6 are in `rsdos.index.commits`; whoever calls `PackedBatchWriter.commit` does step 7: only then are keys
returned.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import add
from types import TracebackType
from typing import Self

from rsdos.codecs.checksum import crc32
from rsdos.config import Config
from rsdos.errors import DamagedContainer, WriterPoisoned
from rsdos.hashing import spell_digests
from rsdos.index.entries import Entries
from rsdos.index.index import Index
from rsdos.index.liveness import with_dead_counts
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.snapshot import Snapshot
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, Durability, RecordFlag, Stored
from rsdos.storage import posix
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES, BatchWriter, KnownCheck, Large
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packs import GAP, WINDOW


class PackedBatchWriter(BatchWriter):
    """A writer of container version 2."""

    def __init__(self, layout: Layout, config: Config, index: Index, durability: Durability, look: KnownCheck) -> None:
        super().__init__(config.hash, look)
        self._layout = layout
        self._config = config
        self._index = index
        self._durability = durability
        self._claim: ActivePack | None = None
        self._failed = False
        self._tables: list[Entries] = []
        self._objects = 0
        self._looked_at = 0
        """The manifest, at the oldest, that the objects of the batch were looked for in."""

    @property
    def _count(self) -> int:
        return self._objects

    def __enter__(self) -> Self:
        self._begin()
        return self

    def _begin(self) -> ActivePack:
        self._claim = ActivePack(self._layout, self._config, self._index)
        return self._claim

    @property
    def room(self) -> int:
        return self._claim.room if self._claim else self._config.pack_size_target

    def _absent(self, digests: Sequence[bytes]) -> list[bytes]:
        return self._absent_from(self._index.refresh(), digests)

    def _absent_from(self, snapshot: Snapshot, digests: Sequence[bytes]) -> list[bytes]:
        try:
            return [digests[at] for at in snapshot.find_many(digests).missing.tolist()]
        except DamagedContainer:
            return list(digests)  # Nobody knows: they are looked for elsewhere, and recorded after all.

    def _not_in(self, newest: Manifest, behind: Mapping[int, int]) -> tuple[list[bytes], set[bytes]]:
        """The duplicates that the newest manifest has no copy of, and those of which it has one that is not safe.

        That is what a relaxed writer has committed since this commit's syncs; ``behind`` says up to where these went.
        """
        duplicates = self._leant_on()
        try:
            found = self._index.open(newest).find_many(duplicates)
        except (DamagedContainer, FileNotFoundError):
            return duplicates, set()  # Nobody knows: they are looked for elsewhere, and recorded after all.
        unsafe: set[bytes] = set()
        if self._durability is Durability.FULL:
            safe = {pack.id: max(pack.synced, behind.get(pack.id, 0)) for pack in newest.packs}
            for run in found.runs(GAP, WINDOW):
                ends = map(add, run.offset, run.length)
                columns = zip(run.positions, ends, strict=True)
                unsafe.update(duplicates[at] for at, end in columns if end > safe.get(run.pack_id, 0))
        return [duplicates[at] for at in found.missing.tolist()], unsafe

    def unknown(self, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None) -> Sequence[int]:
        claim = self._open()  # 1 and 2 come before 3 also where the pack before this one was full.
        if not self._count:
            self._looked_at = claim.base.number
        return super().unknown(digests, raws)

    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        # 4. Before 3: the digest is known only when all is written.
        self._settle_large()
        writer = self._open().writer
        start = writer.position
        try:
            written = encoding.write_frames(source, writer, self._hash)
        except BaseException:
            writer.rewind(start)
            raise
        large = Large(written.digest, start, written.stored, written.crc)
        if self.unknown([written.digest]):
            self._put_large(large)
            self._commit_if_full()
        else:
            self._remember_large(large)
        return written.digest

    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> None:
        if not self.unknown([digest]):
            return
        self._settle_large()
        writer = self._open().writer
        start = writer.position
        crc = 0
        for part in parts:
            crc = crc32(part, crc)
            writer.write([part])
        self._put_large(Large(digest, start, stored, crc))
        self._commit_if_full()

    def _append(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        # 4. Write payloads; the segment and the footer follow when the batch is full or ends.
        self._settle_large()
        self._put(digests, stored, codecs, sizes)
        self._commit_if_full()

    def _put(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        claim = self._open()
        is_raw = codecs.count(Codec.RAW) == len(codecs)
        lengths = sizes if is_raw else array("Q", map(len, stored))
        start, crcs = claim.writer.write_objects(stored, lengths)
        table = Entries.appended(
            digests,
            pack_id=claim.pack.id,
            start=start,
            lengths=lengths,
            sizes=sizes,
            crcs=crcs,
            codecs=Codec.RAW if is_raw else codecs,
            flags=RecordFlag.NONE,
        )
        self._record(digests, table)

    def _put_large(self, large: Large) -> None:
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
        self._record([large.digest], table)

    def _rewind(self, offset: int) -> None:
        self._open().writer.rewind(offset)

    def _record(self, digests: Sequence[bytes], table: Entries) -> None:
        self._tables.append(table)
        self._batch.update(spell_digests(digests))
        self._objects += len(digests)

    def _commit_if_full(self) -> None:
        claim = self._open()
        full = claim.room == 1 or self._count >= MOST_ENTRIES
        if full or claim.position - claim.pack.length >= MOST_BATCH:
            self.commit()

    def _open(self) -> ActivePack:
        if self._failed:
            raise WriterPoisoned("this appender has failed before")
        return self._claim or self._begin()

    def _commit(self) -> None:
        behind = self._sync_behind() if self._durability is Durability.FULL else {}
        if self._count:
            self._commit_batch(behind)
            return
        if behind:
            # Nothing is new, but what the duplicates lean on was acknowledged by a relaxed writer.
            self._index.commit(lambda newest: _mark_synced(newest, behind), self._durability)
        elif self._durability is Durability.FULL:
            # Or its writer has died, or still is, between the manifest's name and the sync of it.
            self._index.make_durable()
        if self._leant_on():
            absent, unsafe = self._not_in(self._index.refresh().manifest, behind)
            self._settle([*absent, *unsafe], unsafe)

    def _sync_behind(self) -> dict[int, int]:
        """Sync the packs that relaxed writers left behind; returns the length of each that is stable now.

        Of the manifest that lookups go to now: it has all that any duplicate of this batch was found in.
        """
        manifest = self._index.snapshot.manifest
        behind = {pack.id: pack.length for pack in manifest.packs if pack.synced < pack.length}
        for pack_id in behind:
            with suppress(FileNotFoundError):  # Repacked meanwhile: what was in it has been synced.
                posix.sync_path(self._layout.pack(pack_id))
        if behind:
            posix.sync_directory(self._layout.packed)
        return behind

    def _commit_batch(self, behind: dict[int, int]) -> None:
        claim = self._open()
        segments: list[SegmentEntry] = []
        written: list[Entries] = []
        synced = claim.pack.synced

        def finish() -> None:
            nonlocal synced
            written.append(Entries.joined(self._tables).sort())
            self._tables.clear()
            segments.append(claim.finish_batch(written[-1]))
            synced = claim.sync(self._durability)

        def change(newest: Manifest) -> Manifest:
            if self._leant_on():
                # 5. What was deleted since step 3 is recorded after all.
                absent, unsafe = self._not_in(newest, behind)
                self._settle_packed({*absent, *unsafe})
            if self._tables:
                finish()
            entries = Entries.joined(written)
            pack = claim.entry_after(newest, synced)
            pack = pack._replace(
                objects=pack.objects + len(entries),
                size=pack.size + entries.total_size,
                stored=pack.stored + entries.total_length,
            )
            manifest = newest.with_pack(pack).with_segments((), *segments)
            return self._count_dead(_mark_synced(manifest, behind), newest, entries)

        if not self._large:
            finish()
        elif self._durability is Durability.FULL:
            # Whether it belongs to the batch is known only under the lock: what there is to sync by then is little.
            claim.writer.sync()
        # 5 and 6.
        manifest = self._index.commit(change, self._durability)
        claim.committed(manifest)
        if claim.pack.id not in self.pack_ids:
            self.pack_ids.append(claim.pack.id)
        self._batch.clear()
        self._damaged.clear()
        self._objects = 0
        if claim.pack.sealed:
            claim.release()
            self._claim = None

    def _count_dead(self, manifest: Manifest, newest: Manifest, entries: Entries) -> Manifest:
        """Of a key that the index has twice from now on, one copy is dead bytes.

        That is where another writer committed it since step 3, which for what did not fit into the pack before is
        older than step 2, or the copy that was there is damaged.
        """
        assert self._claim
        if newest.number == self._looked_at and not self._damaged:
            return manifest
        try:
            before = self._index.open(newest).copies_like(entries)
        except (DamagedContainer, FileNotFoundError):
            return manifest  # A repair counts anew.
        twice = set(before.digests())
        if not twice:
            return manifest
        mine = entries.take([digest in twice for digest in entries.digests()])
        pack = manifest.pack(self._claim.pack.id)
        assert pack is not None
        pack = pack._replace(
            dead_objects=pack.dead_objects + len(mine),
            dead_size=pack.dead_size + mine.total_size,
            dead_stored=pack.dead_stored + mine.total_length,
        )
        return with_dead_counts(manifest.with_pack(pack), before, Entries.joined((before, mine)).sort())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        claim, self._claim = self._claim, None
        self._failed = self._failed or kind is not None
        if kind is None:
            assert not self._count, "an appender's block ended without a commit"
        if claim and kind is None:
            claim.release()
        elif claim:
            claim.abandon()


def _mark_synced(manifest: Manifest, lengths: dict[int, int]) -> Manifest:
    packs = (pack._replace(synced=max(pack.synced, lengths.get(pack.id, 0))) for pack in manifest.packs)
    return manifest._replace(packs=tuple(packs))

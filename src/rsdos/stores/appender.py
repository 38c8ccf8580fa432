"""Appending objects to packs: the commit protocol of an insert (design, section 3), its steps numbered here.

Step 5 and 6 are in `rsdos.index.history`; whoever calls `Appender.commit` does step 7: only then are keys returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from types import TracebackType
from typing import Self

from rsdos import fsio, locks
from rsdos.codecs import crc32
from rsdos.config import Config
from rsdos.errors import DamagedContainer, WriterPoisoned
from rsdos.index import Entries, Index, Manifest, PackEntry, SegmentEntry, encode_segment
from rsdos.layout import Layout
from rsdos.model import BytesLike, Durability, RecordFlag, Stored
from rsdos.pack import PackFile, PackWriter
from rsdos.stores.appending import MOST_BATCH, MOST_ENTRIES, Look, PackAppender
from rsdos.stores.encoding import Encoding


class Appender(PackAppender):
    """A writer of container version 2."""

    def __init__(self, layout: Layout, config: Config, index: Index, durability: Durability, look: Look) -> None:
        super().__init__(config.hash, look)
        self._layout = layout
        self._config = config
        self._container_id = bytes.fromhex(config.container_id)
        self._index = index
        self._durability = durability
        self._lock: locks.Lock | None = None
        self._writer: PackWriter | None = None
        self._failed = False
        self._tables: list[Entries] = []
        self._count = 0

    def __enter__(self) -> Self:
        self._begin()
        return self

    def _begin(self) -> None:
        """Steps 1 and 2: lock a pack, and only then look at the newest manifest."""
        manifest = self._index.snapshot.manifest
        refused: set[int] = set()
        while True:
            pack_id = _candidate(manifest, refused)
            # 1. Lock a pack that nobody appends to.
            lock = locks.try_acquire(self._layout.pack_lock(pack_id))
            # 2. Only now look whether it is still one to append to.
            manifest = self._index.refresh().manifest
            if not manifest.number:
                raise DamagedContainer(self._layout.index, "the newest manifest; nothing is written before a repair")
            pack = manifest.pack(pack_id) or PackEntry(pack_id, 0, 0)
            fits = not pack.sealed and (self._is_whole(pack) if pack.length else pack_id >= manifest.next_pack_id)
            if lock and fits:
                self._lock, self._pack, self._base = lock, pack, manifest
                return
            refused.add(pack_id)
            if lock:
                lock.release()

    def _is_whole(self, pack: PackEntry) -> bool:
        """Whether a pack can be appended to; one that is missing, cut short or not itself is left for repair."""
        try:
            return PackFile(self._layout.pack(pack.id), pack.id, self._container_id).size() >= pack.length
        except (FileNotFoundError, DamagedContainer):
            return False

    @property
    def room(self) -> int:
        length = self._pack.length if self._lock else 0
        position = self._writer.position if self._writer else length
        return max(self._config.pack_size_target - position, 1)

    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        # 4. Before 3: the digest is known only when all is written.
        writer = self._open()
        start = writer.position
        try:
            written = encoding.write_frames(source, writer, self._hash)
        except BaseException:
            writer.rewind(start)
            raise
        if self.unknown([written.digest]):
            self._record_one(written.digest, start, written.stored, written.crc)
        else:
            writer.rewind(start)
        return written.digest

    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> None:
        if not self.unknown([digest]):
            return
        writer = self._open()
        start = writer.position
        crc = 0
        for part in parts:
            crc = crc32(part, crc)
            writer.write([part])
        self._record_one(digest, start, stored, crc)

    def append(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        # 4. Write payloads; the segment and the footer follow when the batch is full or ends.
        offset = self._open().write(stored)
        lengths = list(map(len, stored))
        offsets = list(accumulate(lengths[:-1], initial=offset))
        self._record(digests, offsets, lengths, sizes, list(map(crc32, stored)), codecs, RecordFlag.NONE)

    def _record_one(self, digest: bytes, offset: int, stored: Stored, crc: int) -> None:
        self._record([digest], [offset], [stored.length], [stored.size], [crc], [stored.codec], stored.flags)

    def _record(
        self,
        digests: Sequence[bytes],
        offsets: Sequence[int],
        lengths: Sequence[int],
        sizes: Sequence[int],
        crcs: Sequence[int],
        codecs: Sequence[int],
        flags: RecordFlag,
    ) -> None:
        table = Entries.of(
            digests,
            pack_id=self._pack.id,
            offset=offsets,
            length=lengths,
            size=sizes,
            crc=crcs,
            codec=codecs,
            flags=flags,
        )
        self._tables.append(table.keyed())
        self._batch.update(digests)
        self._count += len(table)
        writer = self._open()
        full = self.room == 1 or self._count >= MOST_ENTRIES
        if full or writer.position - self._pack.length >= MOST_BATCH:
            self.commit()

    def _open(self) -> PackWriter:
        if self._failed:
            raise WriterPoisoned("this appender has failed before")
        if self._lock is None:
            self._begin()
        if self._writer is None:
            path = self._layout.pack(self._pack.id)
            self._writer = PackWriter(path, self._pack.id, self._container_id, self._pack.length)
        return self._writer

    def commit(self) -> None:
        behind = self._sync_behind() if self._durability is Durability.FULL else {}
        if self._count:
            self._commit_batch(behind)
        elif behind:
            # Nothing is new, but what the duplicates lean on was acknowledged by a relaxed writer.
            self._base = self._index.commit(lambda newest: _mark_synced(newest, behind), self._durability)
        elif self._durability is Durability.FULL:
            # Or its writer has died, or still is, between the manifest's name and the sync of it.
            self._index.make_durable()

    def _sync_behind(self) -> dict[int, int]:
        """Sync the packs that relaxed writers left behind; returns the length of each that is stable now.

        Of the manifest that lookups go to now: it has all that any duplicate of this batch was found in.
        """
        manifest = self._index.snapshot.manifest
        behind = {pack.id: pack.length for pack in manifest.packs if pack.synced < pack.length}
        for pack_id in behind:
            fsio.sync_path(self._layout.pack(pack_id))
        if behind:
            fsio.sync_directory(self._layout.packed)
        return behind

    def _commit_batch(self, behind: dict[int, int]) -> None:
        writer = self._open()
        entries = Entries.joined(self._tables).sort()
        batch = writer.finish_batch(encode_segment(entries), len(entries))
        if self._durability is Durability.FULL:
            writer.sync()
            if self._pack.length == 0:
                fsio.sync_directory(self._layout.packed)
            behind = behind | {self._pack.id: batch.end}
        segment = SegmentEntry(
            len(entries), 0, pack_id=self._pack.id, offset=batch.segment_offset, length=batch.segment_length
        )

        def change(newest: Manifest) -> Manifest:
            pack = newest.pack(self._pack.id) or PackEntry(self._pack.id, 0, 0)
            if pack.length != self._pack.length:
                raise DamagedContainer(writer.path, "somebody else committed to this pack while it was locked")
            pack = self._count_dead(pack, newest, entries)
            pack = replace(
                pack,
                length=batch.end,
                sealed=batch.end >= self._config.pack_size_target,
                objects=pack.objects + len(entries),
                size=pack.size + entries.total_size,
                stored=pack.stored + entries.total_length,
            )
            return _mark_synced(newest.with_pack(pack).with_segments((), segment), behind)

        # 5 and 6.
        self._base = self._index.commit(change, self._durability)
        committed = self._base.pack(self._pack.id)
        assert committed is not None
        if committed.id not in self.pack_ids:
            self.pack_ids.append(committed.id)
        self._pack = committed
        self._tables.clear()
        self._batch.clear()
        self._damaged.clear()
        self._count = 0
        if committed.sealed:
            self._release()

    def _count_dead(self, pack: PackEntry, newest: Manifest, entries: Entries) -> PackEntry:
        """Of a key that the index has twice from now on, one copy is dead bytes.

        That is where another writer committed it since step 2, or the copy that was there is damaged.
        """
        if newest.number == self._base.number and not self._damaged:
            return pack
        try:
            found = self._index.open(newest).find_many(entries.digests())
        except (DamagedContainer, FileNotFoundError):
            return pack  # A repair counts anew.
        twice = entries.take(found.positions)
        return replace(
            pack,
            dead_objects=pack.dead_objects + len(twice),
            dead_size=pack.dead_size + twice.total_size,
            dead_stored=pack.dead_stored + twice.total_length,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            assert not self._count, "an appender's block ended without a commit"
            self._cut(self._pack.length)
        else:
            self._failed = True
            # The commit may stand though it failed in its last sync: what the newest manifest covers is not cut.
            # When that cannot be read, the next writer of this pack cuts its tail.
            with suppress(OSError):
                pack = self._index.history.newest().pack(self._pack.id)
                self._cut(pack.length if pack else 0)
        self._release()

    def _cut(self, committed: int) -> None:
        """Give back the space of what was written and not committed."""
        if self._writer and committed:
            self._writer.cut(committed)
        elif self._writer:
            fsio.remove(self._writer.path)

    def _release(self) -> None:
        writer, self._writer = self._writer, None
        lock, self._lock = self._lock, None
        if writer:
            writer.close()
        if lock:
            lock.release()


def _candidate(manifest: Manifest, refused: set[int]) -> int:
    """The first pack that has room, or the first id that was never given out, without those that were refused."""
    for pack in manifest.packs:
        if not pack.sealed and pack.id not in refused:
            return pack.id
    pack_id = manifest.next_pack_id
    while pack_id in refused:
        pack_id += 1
    return pack_id


def _mark_synced(manifest: Manifest, lengths: dict[int, int]) -> Manifest:
    packs = (replace(pack, synced=max(pack.synced, lengths.get(pack.id, 0))) for pack in manifest.packs)
    return replace(manifest, packs=tuple(packs))

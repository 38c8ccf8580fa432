"""Writing a pack of version 2 anew: what lives in it goes to another, and it is unlinked. The steps are numbered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

from rsdos.codecs.checksum import crc32, crc32_of_each
from rsdos.config import Config
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DecodeError
from rsdos.index.entries import Entries
from rsdos.index.index import Index
from rsdos.index.liveness import with_dead_counts
from rsdos.index.manifest import Manifest, PackEntry, SegmentEntry
from rsdos.index.segment import Segment
from rsdos.index.snapshot import ReadRange, coalesce
from rsdos.layout import Layout
from rsdos.model import FRAME_SIZE, Durability, RecordFlag
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.storage import locks, posix
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Rewritten
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.delete import tombstone_of_pack
from rsdos.stores.packed.reader import RecordReader, decoded, read_run
from rsdos.stores.packs import GAP, WINDOW

_GROUP = MOST_ENTRIES // 2
"""Entries of the old pack that are looked up and copied together, by whole batches: 26 MB at most, a few times."""

_COPIED = 1 << 20
"""Bytes that are read, checked and written at once."""


class Repack:
    """One pack's way to another. The caller holds the maintenance lock: nobody else deletes or repacks meanwhile.

    1. Lock the pack against writers; 2. seal it; 3. copy what lives in it, group by group, to a pack of our own,
    and with it the tombstones that it holds for other packs; 4. sync that; 5. write a tombstone for the whole old
    pack, and sync it: a rebuild from the packs alone then knows which of the two counts; 6. commit a manifest in which
    the new extents are there and the old pack is not; 7. unlink the old pack, if no long reader is at work, and sync
    the directory.
    """

    def __init__(
        self,
        layout: Layout,
        config: Config,
        index: Index,
        reader: RecordReader,
        unlink: Callable[[int], bool],
        encoding: Encoding | None,
        advance: Callable[[int], None],
    ) -> None:
        self._layout = layout
        self._config = config
        self._index = index
        self._reader = reader
        self._unlink = unlink
        self._encoding = encoding
        self._advance = advance
        self._tables: list[Entries] = []
        self._count = 0
        self._segments: list[SegmentEntry] = []
        self._counts = (0, 0, 0)
        self._tombstones: list[Entries] = []
        self._shared: list[bytes] = []
        """Objects that have live copies elsewhere as well: which of these counts is told at the commit."""
        self._damaged: list[str] = []
        self._living_count = 0

    def run(self, pack_id: int) -> Rewritten:
        """Rewrite one pack; see `PackStore.rewrite`."""
        # 1. From here on nobody appends to it.
        lock = locks.try_acquire(self._layout.pack_lock(pack_id))
        if lock is None:
            raise Busy(self._layout.pack(pack_id))
        with lock:
            pack = self._seal(pack_id)
            claim = ActivePack(self._layout, self._config, self._index, refused=(pack_id,))
            before = claim.pack.length
            try:
                self._copy(pack, claim)
                self._commit(pack, claim)
            except BaseException:
                claim.abandon()
                raise
            grown = claim.pack.length - before
            claim.release()
            # 7. Only now, and only if nobody reads it for long.
            is_gone = self._unlink(pack_id)
            if is_gone:
                posix.sync_directory(self._layout.packed)
        objects, size, _ = self._counts
        return Rewritten(objects, size, pack.length - grown, is_gone, tuple(self._damaged))

    def _seal(self, pack_id: int) -> PackEntry:
        def change(newest: Manifest) -> Manifest:
            pack = newest.pack(pack_id)
            if pack is None:
                raise Busy(self._layout.pack(pack_id))  # Somebody else has repacked it.
            return newest.with_pack(pack._replace(sealed=True))

        manifest = self._index.refresh().manifest
        pack = manifest.pack(pack_id)
        if pack is None or not pack.sealed:
            # 2. Seal it.
            pack = self._index.commit(change, Durability.FULL).pack(pack_id)
        assert pack is not None
        return pack

    # 3. Copying.

    def _copy(self, pack: PackEntry, claim: ActivePack) -> None:
        path = self._layout.pack(pack.id)
        self._file = file = PackFile(path, pack.id, bytes.fromhex(self._config.container_id))
        found = scan(file, pack.length)
        if found.uncovered or (found.batches[-1].end if found.batches else 0) != pack.length:
            raise DamagedContainer(path, "its batches cannot all be told apart; nothing is repacked before a repair")
        self._snapshot = self._index.refresh()
        # A tombstone is forgotten when the file that it points into is gone for good: a rebuild cannot meet it then.
        present = [pack_id for pack_id in self._layout.pack_ids() if pack_id != pack.id]
        posix.sync_directory(self._layout.packed)
        group: list[Entries] = []
        for batch in found.batches:
            entries = Segment(file.fd, path, batch.segment_offset, batch.segment_length).entries()
            tombstone = entries.is_tombstone()
            dead = entries.take(tombstone)
            self._tombstones.append(dead.take(dead.of_packs(present)))
            mine = entries.take(~tombstone)
            if not mine.in_extent(pack.id, batch.start, batch.segment_offset + 1).all():
                raise DamagedContainer(path, "a batch names bytes that are not its own", batch.start)
            group.append(mine)
            if sum(map(len, group)) >= _GROUP:
                self._copy_group(pack, Entries.joined(group), claim)
                group = []
            if sum(map(len, self._tombstones)) >= _GROUP:
                self._finish_tombstones(claim)
        self._copy_group(pack, Entries.joined(group), claim)
        self._finish_batch(claim)
        if self._living_count < pack.objects - pack.dead_objects:
            raise DamagedContainer(path, "the index has fewer objects of it than the manifest counts")

    def _copy_group(self, pack: PackEntry, entries: Entries, claim: ActivePack) -> None:
        for run in coalesce(live := self._living(pack, entries), GAP, min(WINDOW, _COPIED)):
            if self._count and (
                self._count + len(run.offset) > MOST_ENTRIES or claim.position - claim.writer.batch_start >= MOST_BATCH
            ):
                self._finish_batch(claim)
            self._copy_run(live, run, claim)
            self._advance(sum(run.length))

    def _living(self, pack: PackEntry, entries: Entries) -> Entries:
        """Those entries of the pack's own that are to go on."""
        alive = self._snapshot.copies_like(entries)
        mine = alive.of_packs((pack.id,))
        own = alive.take(mine)
        self._living_count += len(own)
        first = own.distinct()
        # Copies in other packs, and further ones in this.
        others = Entries.joined((alive.take(~mine), own.take(~first)))
        return self._without_doubles(own.take(first), others.sort()) if len(others) else own

    def _without_doubles(self, live: Entries, others: Entries) -> Entries:
        """Of objects with other good copies none goes on; where this pack has the only good one, it does."""
        shared = live.of_keys(others)
        kept = [live.take(~shared)]
        for record in live.take(shared):
            copies = self._index.find_all(record.digest)
            elsewhere = [copy for copy in copies if copy.pack_id != record.pack_id]
            here = [copy for copy in copies if copy.pack_id == record.pack_id]
            if any(copy.pack_id != record.pack_id for copy in copies):
                self._shared.append(record.digest)
            if not any(map(self._reader.is_intact, elsewhere)):
                kept.append(Entries.of_records([next(filter(self._reader.is_intact, here), here[0])]))
        return Entries.joined(kept).sort()

    def _copy_run(self, live: Entries, run: ReadRange, claim: ActivePack) -> None:
        if run.flags:
            for at in run.positions:
                self._copy_framed(live, at, run, claim)
            return
        stored, whole = read_run(self._file, run)
        crcs = crc32_of_each(stored)
        if crcs != run.crc:
            self._note_damage(
                live, [at for at, one, two in zip(run.positions, crcs, run.crc, strict=True) if one != two]
            )
        if self._encoding is None:
            # One piece where nothing between them is dead.
            pieces = stored if whole is None else [whole]
            self._append(live, run.positions, claim.writer.write(pieces), claim)
        else:
            self._recode(live, run, stored, crcs, claim)

    def _append(self, live: Entries, at: Sequence[int], offset: int, claim: ActivePack) -> None:
        """Note that the bytes of some entries stand, as they were, from ``offset`` on."""
        self._note(live.moved(at, claim.pack.id, offset))

    def _recode(
        self, live: Entries, run: ReadRange, stored: list[bytes], crcs: Sequence[int], claim: ActivePack
    ) -> None:
        assert self._encoding is not None
        digests = live.take(run.positions).digests()
        good, payloads = [], []
        for at, (raw, crc) in enumerate(zip(decoded(run, stored), crcs, strict=True)):
            if raw is not None and crc == run.crc[at] and self._config.hash.digest_of(raw) == digests[at]:
                good.append(at)
                payloads.append(raw)
            else:
                self._append(live, [run.positions[at]], claim.writer.write([stored[at]]), claim)
                if crc == run.crc[at]:
                    self._damaged.append(digests[at].hex())
        if good:
            forms, codecs = self._encoding.encode_many(payloads)
            lengths = list(map(len, forms))
            table = Entries.of(
                [digests[at] for at in good],
                pack_id=claim.pack.id,
                offset=list(accumulate(lengths[:-1], initial=claim.writer.write(forms))),
                length=lengths,
                size=list(map(len, payloads)),
                crc=crc32_of_each(forms),
                codec=codecs,
                flags=RecordFlag.NONE,
            )
            self._note(table.keyed())

    def _copy_framed(self, live: Entries, at: int, run: ReadRange, claim: ActivePack) -> None:
        record = next(iter(live.take([at])))
        writer = claim.writer
        if self._encoding is not None:
            start = writer.position
            try:
                written = self._encoding.write_frames(self._reader.frames(record), writer, self._config.hash)
                if written.digest != record.digest:
                    raise DecodeError("its bytes are not those of its key")
            except (DecodeError, DamagedObject, DamagedContainer):
                writer.rewind(start)
            else:
                form = written.stored
                table = Entries.of(
                    [record.digest],
                    pack_id=claim.pack.id,
                    offset=start,
                    length=form.length,
                    size=form.size,
                    crc=written.crc,
                    codec=form.codec,
                    flags=form.flags,
                )
                self._note(table.keyed())
                return
        start, crc = writer.position, 0
        for done in range(0, record.length, FRAME_SIZE):
            part = self._file.read(record.offset + done, min(FRAME_SIZE, record.length - done))
            crc = crc32(part, crc)
            writer.write([part])
        if crc != run.crc[0] or self._encoding is not None:
            self._note_damage(live, [at])
        self._append(live, [at], start, claim)

    def _note(self, table: Entries) -> None:
        self._tables.append(table)
        self._count += len(table)
        objects, size, stored = self._counts
        self._counts = objects + len(table), size + table.total_size, stored + table.total_length

    def _note_damage(self, live: Entries, at: Sequence[int]) -> None:
        self._damaged += map(bytes.hex, live.take(at).digests())

    def _finish_batch(self, claim: ActivePack) -> None:
        if self._count:
            self._segments.append(claim.finish_batch(Entries.joined(self._tables).sort()))
        self._tables.clear()
        self._count = 0

    def _finish_tombstones(self, claim: ActivePack) -> None:
        self._finish_batch(claim)
        tombstones = Entries.joined(self._tombstones)
        self._tombstones.clear()
        if len(tombstones):
            self._segments.append(claim.finish_batch(tombstones.sort()))

    # 4 to 6.

    def _commit(self, pack: PackEntry, claim: ActivePack) -> None:
        self._finish_tombstones(claim)
        if self._counts[0]:
            # 4. All of it is on the disk before anything says that the old pack does not count.
            claim.sync(Durability.FULL)
            # 5. Not listed in the manifest, which tells the same by itself.
            claim.finish_batch(tombstone_of_pack(pack.id))
        synced = claim.sync(Durability.FULL) if self._counts[0] or self._segments else 0
        base = self._snapshot

        def change(newest: Manifest) -> Manifest:
            now = newest.pack(pack.id)
            if now is None or now.length != pack.length:
                raise DamagedContainer(self._layout.pack(pack.id), "somebody wrote to it while it was locked")
            fresh = _fresh_segments(base.manifest, newest)
            if any(segment.tombstones for segment in fresh):
                raise Busy("the container, by a delete that took no notice of the maintenance lock,")
            manifest = newest.without_pack(pack.id).with_segments((), *self._segments)
            if synced:
                manifest = manifest.with_pack(self._entry_after(claim, newest, synced))
            return self._recounted(newest, manifest, claim, fresh)

        # 6. Commit.
        manifest = self._index.commit(change, Durability.FULL)
        if synced:
            claim.committed(manifest)

    def _entry_after(self, claim: ActivePack, newest: Manifest, synced: int) -> PackEntry:
        grown = claim.entry_after(newest, synced)
        objects, size, stored = self._counts
        return grown._replace(objects=grown.objects + objects, size=grown.size + size, stored=grown.stored + stored)

    def _recounted(
        self, newest: Manifest, manifest: Manifest, claim: ActivePack, fresh: Sequence[SegmentEntry]
    ) -> Manifest:
        """With the dead bytes of objects that have copies elsewhere, from before or since this was begun."""
        digests = list(self._shared)
        try:
            before, after = self._index.open(newest), self._index.open(manifest)
            for segment in fresh:
                opened = before.segment(segment)
                if opened is not None:
                    digests += opened.entries().digests()
            if not digests:
                return manifest
            old, new = before.live_copies(digests), after.live_copies(digests)
        except (DamagedContainer, FileNotFoundError):
            return manifest  # A repair counts anew.
        # Those that went on were taken for copies that count.
        moved = new.take(new.of_packs((claim.pack.id,)))
        moved = moved.take(~moved.of_extents(old))
        pack = manifest.pack(claim.pack.id)
        if pack is not None:
            pack = pack._replace(
                dead_objects=pack.dead_objects + len(moved),
                dead_size=pack.dead_size + moved.total_size,
                dead_stored=pack.dead_stored + moved.total_length,
            )
            manifest = manifest.with_pack(pack)
        return with_dead_counts(manifest, old, new)


def _fresh_segments(base: Manifest, newest: Manifest) -> list[SegmentEntry]:
    """The batches that were committed since; what a merge has done with some of them is not looked through."""
    names = {segment.name for segment in base.segments}
    return [segment for segment in newest.segments if segment.pack_id and segment.name not in names]

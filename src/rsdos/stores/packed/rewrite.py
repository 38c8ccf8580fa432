"""Writing the objects of a pack of version 2 to another pack, and removing the old one from the index: a transaction.

A repack (`rsdos.stores.packed.repack`) and the rescue of a damaged pack (`rsdos.stores.packed.evacuate`) differ in what
they copy, and go through these steps, each of which has a crash test; where packs cannot grow, several go to a new one:

1. lock the old pack against writers, and the new one; (a repack: 2. seal the old one;) 3. copy, group by group, to the
new pack, and with the objects the tombstones that the old pack has for other packs; 4. sync the new pack; 5. write a
tombstone for the whole old pack, and sync it: a rebuild from the packs alone then knows which of the two counts (where
a pack is uploaded whole, 4 and 5 are one step); 6. commit a manifest that has the new extents and not the old pack; 7.
unlink the old pack, if no long reader runs, and sync the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from rsdos import names
from rsdos.errors import Busy
from rsdos.index.dictionaries import MOST_DICTIONARIES
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.segment_files import without_dead
from rsdos.model import FIRST_DICTIONARY, Counts, Durability
from rsdos.pack.writer import PackWriter
from rsdos.storage.opened import HeldLock
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.delete import tombstones_of_packs
from rsdos.stores.packed.dictionary_writer import DictionaryWriter
from rsdos.stores.packs import unlink_pack


def lock_pack(context: PackedContext, pack_id: int) -> HeldLock:
    """Do step 1: keep writers from appending to a pack. Raises `Busy`."""
    lock = context.layout.storage.lock(names.pack_lock(pack_id), wait=False)
    if lock is None:
        raise Busy(context.layout.pack(pack_id))
    return lock


def old_pack(context: PackedContext, manifest: Manifest, pack_id: int) -> PackEntry:
    """Return a pack of a manifest. Raise `Busy` if somebody else has repacked it."""
    pack = manifest.packs.find(pack_id)
    if pack is None:
        raise Busy(context.layout.pack(pack_id))
    return pack


def crowded(packs: Packs, pack: PackEntry) -> list[int]:
    """Return the packs that have no numbers left for the dictionaries of a pack."""
    most = MOST_DICTIONARIES - len(pack.dictionaries)
    if most == MOST_DICTIONARIES:
        return []
    return [other.id for other in packs.with_dictionaries() if len(other.dictionaries) > most]


def unlink_rewritten(context: PackedContext, pack_id: int) -> bool:
    """Do step 7; return whether the old pack is gone."""
    is_gone = unlink_pack(context.layout, pack_id)
    if is_gone:
        context.layout.storage.sync_names(names.PACKED)
    return is_gone


class RepackTarget(ActivePack):
    """The pack that is written to. If the old packs are not sealed, the look behind its lock is the commit of that."""

    def __init__(self, context: PackedContext, pack_ids: Sequence[int], spared: Collection[int]) -> None:
        self._context = context
        manifest = context.index.view.manifest
        if not all(map(manifest.packs.has, pack_ids)):
            # The state that is loaded may be older than they are.
            manifest = context.index.refresh().manifest
        old = [old_pack(context, manifest, pack_id) for pack_id in pack_ids]
        self._unsealed = [pack.id for pack in old if not pack.sealed]
        refused = {*pack_ids, *spared, *(full for pack in old for full in crowded(manifest.packs, pack))}
        super().__init__(context, refused, old[0].kind)

    def _look(self) -> Manifest:
        unsealed, self._unsealed = self._unsealed, []
        # 2. Seal them.
        return self._index.commit(partial(self._sealed, unsealed), Durability.FULL) if unsealed else super()._look()

    def _sealed(self, pack_ids: Sequence[int], newest: Manifest) -> Manifest:
        packs = (old_pack(self._context, newest, pack_id) for pack_id in pack_ids)
        return newest.with_packs([pack._replace(sealed=True) for pack in packs])


class PackRewrite:
    """Steps 3 to 6: the batches that replace some packs. One thread; the caller holds the locks of these packs."""

    def __init__(self, context: PackedContext, pack_ids: Sequence[int], target: ActivePack) -> None:
        self._context = context
        self._pack_ids = pack_ids
        self.source = pack_ids[0]
        """The old pack that is copied from."""
        self.target = target
        self._tables: list[Entries] = []
        self._count = 0
        self._segments: list[SegmentEntry] = []
        self.dictionaries = DictionaryWriter(target, context.records.dictionaries)
        """Brings dictionaries into the new pack."""
        self.total = Counts()
        """The objects that were copied."""

    @property
    def writer(self) -> PackWriter:
        """The open file of the new pack."""
        return self.target.opened or self.target.writer

    @property
    def target_id(self) -> int:
        """The pack that is written to."""
        return self.target.pack.id

    def make_room(self, count: int) -> None:
        """End the batch where ``count`` more entries, or what is written already, would be too much for one."""
        if self._count and (
            self._count + count > MOST_ENTRIES or self.writer.position - self.writer.batch_start >= MOST_BATCH
        ):
            self.finish_batch()

    def add(self, table: Entries) -> None:
        """Record entries whose bytes were written to the new pack."""
        self._tables.append(table)
        counts = table.total
        self._count += counts.objects
        self.total += counts

    def carry(self, codecs: Iterable[int]) -> dict[int, int]:
        """Return the codecs in the new pack of forms that need a dictionary of the old one.

        The dictionaries that the new pack lacks are written to it: call this before the forms are written. Raise
        `DecodeError` where there is no good copy of one, and `Busy` where the new pack can have no more of them.
        """
        own = {}
        for codec in sorted(codec for codec in set(codecs) if codec >= FIRST_DICTIONARY):
            named = self.dictionaries.codec_of(self._context.records.dictionaries.named(self.source, codec))
            if named is None:
                raise Busy(self._context.layout.pack(self.target_id), "others, which brought dictionaries into it")
            own[codec] = named
        return own

    def add_moved(self, entries: Entries, at: Sequence[int], offset: int, codecs: Mapping[int, int]) -> None:
        """Record that the bytes of some entries were written as they were, from ``offset`` on.

        ``codecs`` are those that are others in the new pack, by `carry`.
        """
        self.add(entries.moved(at, self.target_id, offset, codecs))

    def finish_batch(self) -> None:
        """End the batch of objects, if there are any."""
        if self._count:
            self._finish(Entries.joined(self._tables))
        self._tables.clear()
        self._count = 0

    def add_tombstones(self, tombstones: Entries) -> None:
        """Write tombstones that the old pack held for other packs, in batches of their own."""
        self.finish_batch()
        for at in range(0, len(tombstones), MOST_ENTRIES):
            self._finish(tombstones.take(slice(at, at + MOST_ENTRIES)))

    def _finish(self, entries: Entries) -> None:
        self._segments.append(self.target.finish_batch(entries, self.dictionaries.end_batch()))

    def commit(self, finish: Callable[[Manifest, Manifest], Manifest]) -> None:
        """Do step 4 to 6. ``finish`` gets the newest manifest and the next one, and returns that with its dead counts.

        It may raise; nothing is committed then.
        """
        self.finish_batch()
        if self.total.objects:
            if self._context.index.appends:
                # 4. All of it is on the disk before anything says that the old pack does not count.
                self.target.sync(Durability.FULL)
            # 5. The manifest does not list this batch: it says the same by not having the pack.
            self.target.finish_batch(tombstones_of_packs(self._pack_ids))
        synced = self.target.sync(Durability.FULL) if self._segments else 0

        def change(newest: Manifest) -> Manifest:
            entry = self.target.entry_after(newest, synced).with_appended(self.total) if synced else None
            manifest = newest
            for pack_id in self._pack_ids:
                manifest = manifest.without_pack(pack_id)
            manifest = manifest.with_segments((), *self._segments)
            if entry:
                manifest = manifest.with_pack(entry)
            manifest = without_dead(manifest, self._context.index.open_segment)
            return finish(newest, manifest)

        # 6. Commit.
        manifest = self._context.index.commit(change, Durability.FULL, self.target.fresh, self.target.tables)
        if synced:
            self.target.committed(manifest)

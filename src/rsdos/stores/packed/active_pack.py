"""A pack that one writer has locked, to append batches to: steps 1 and 2 of every commit protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from rsdos import names
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, UnsupportedContainer, log_warning
from rsdos.index import compact
from rsdos.index.dictionaries import MOST_DICTIONARIES, PackDictionary
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.pack_entry import PackEntry
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import FENCED_FROM, segment_parts
from rsdos.index.table_bytes import written_segment
from rsdos.model import BytesLike, Durability, PackKind
from rsdos.names import LAST_PACK
from rsdos.pack.writer import PackWriter
from rsdos.stores.batch import MOST_ENTRIES
from rsdos.stores.packed.context import PackedContext


class ActivePack:
    """A locked pack that is live and not sealed, or new. One thread.

    As a context manager it gives the pack back at the end of its block; when the block raises, it also looks up which
    of the block's bytes were committed nevertheless. Raises `DamagedContainer` when the newest manifest is damaged.
    """

    def __init__(self, context: PackedContext, refused: Iterable[int] = (), kind: PackKind = PackKind.PLAIN) -> None:
        """Take any pack of this kind that is not among ``refused``."""
        self._kind = kind
        self._layout = context.layout
        self._storage = context.layout.storage
        self._container_id = context.container_id
        self._target = context.config.pack_size_target
        self._index = context.index
        self.opened: PackWriter | None = None
        """`writer`, once it is open."""
        self.tables: dict[SegmentName, Callable[[], Segment]] = {}
        """Make the tables of the batches that were finished since, where these are small; see `Index.commit`."""
        self._begin(set(refused))

    def _begin(self, refused: set[int]) -> None:
        while True:
            pack_id = self._candidate(refused)
            # 1. Lock a pack that nobody appends to.
            lock = self._storage.lock(names.pack_lock(pack_id), wait=False)
            try:
                # 2. Only now look whether it is still one to append to.
                manifest = self._look()
                if not manifest.number:
                    self._index.commits.newest_number()  # Raises, and says which manifest is missing.
                    with suppress(DamagedContainer):
                        self._index.commits.newest()  # Raises where it is of a later release.
                    reason = "the newest manifest; nothing is written before a repair"
                    raise DamagedContainer(self._layout.index, reason)
                pack = manifest.packs.find(pack_id) or PackEntry(pack_id, 0, 0, kind=self._kind)
                if pack.length:
                    # It may have been a new id when it was chosen, and have become a pack of another kind since.
                    fits = bool(lock) and not pack.sealed and pack.kind is self._kind and self._open(pack)
                else:
                    fits = self._index.is_free(manifest, pack_id)
            except BaseException:
                if self.opened:
                    self.opened.end()
                if lock:
                    lock.release()
                raise
            if lock and fits:
                self._lock = lock
                self._has_safe_name = pack.synced > 0
                self.pack = pack
                """The row of the pack in the newest manifest."""
                self.base = manifest
                """The newest manifest when the pack was locked or last committed."""
                self.dictionaries = pack.dictionaries
                """Those of the pack, with those of the batches that were finished since."""
                self.fresh: dict[SegmentName, Entries | None] = {}
                """The compact tables of those batches, which the commit writes to segment files; see `Index.commit`."""
                return
            refused.add(pack_id)
            if lock:
                lock.release()

    def _look(self) -> Manifest:
        """Return the newest manifest."""
        self._index.refresh()
        return self._index.writable().manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._release()
        else:
            self._abandon()

    def _candidate(self, refused: set[int]) -> int:
        """Return the first pack of the kind that has room, or the first id that was never given out; none refused.

        A file of two names is in another container too, a backup or a copy by ``cp -al``, and stays as it is (ADR 10).
        Names are counted before the pack is locked: a file that gets a second name later only grows, in one of the two
        containers.
        """
        manifest = self._index.writable().manifest
        for pack in manifest.packs.unsealed() if self._index.appends else ():
            if pack.kind is self._kind and pack.id not in refused:
                info = self._storage.stat(names.pack(pack.id))
                if info is None or info.names <= 1:
                    return pack.id
        pack_id = self._index.free_pack_id(manifest, refused)
        if pack_id > LAST_PACK:
            raise DamagedContainer(self._layout.packed, "no id is left for another pack")
        return pack_id

    def _open(self, pack: PackEntry) -> bool:
        """Open a pack to append to it; return whether that worked.

        A pack that is missing, cut short or not itself is left for repair; one whose lock file was removed under a
        living writer is left to that. One that may not be written, where others could be made, is passed over with a
        warning.
        """
        try:
            self.opened = self._new_writer(pack)
        except (FileNotFoundError, DamagedContainer, Busy):
            return False
        except PermissionError as error:
            if not self._storage.may_add(names.PACKED):
                raise
            log_warning("%s: cannot be written (%s): another pack is taken", self._layout.pack(pack.id), error.strerror)
            return False
        return True

    @property
    def writer(self) -> PackWriter:
        """The open file that appends to the pack; a new pack is made at the first use."""
        writer = self.opened
        if writer is None:
            writer = self.opened = self._new_writer(self.pack)
        return writer

    def _new_writer(self, pack: PackEntry) -> PackWriter:
        return PackWriter(
            self._storage,
            names.pack(pack.id),
            pack.id,
            self._container_id,
            pack.length,
            pack.kind,
            still=self._is_without_commit,
        )

    def _is_without_commit(self) -> bool:
        """Return whether a file that has the name of the new pack is a dead writer's.

        If the lock file was removed after the pack was chosen, another writer may have taken and committed the same id.
        """
        pack = self._look().packs.find(self.pack.id)
        return pack is None or not pack.length

    def finish_batch(self, entries: Entries, dictionaries: Sequence[PackDictionary] = ()) -> SegmentEntry:
        """Close a batch with its entries, in any order; return the entry of its table for a manifest.

        ``dictionaries`` are those whose bytes the batch brings into the pack: their numbers follow those of
        `dictionaries`.
        """
        writer = self.opened or self.writer
        count, tombstones = len(entries), entries.tombstones
        is_compact = count >= compact.COMPACT_FROM or bool(dictionaries)
        if is_compact:
            parts: Sequence[BytesLike] = compact.compact_parts(entries, dictionaries, len(self.dictionaries))
        else:
            parts = segment_parts(entries.sort(), tombstones)
        batch = writer.finish_batch(parts, count)
        self.dictionaries += tuple(dictionaries)
        place = self.pack.id, batch.segment_offset, batch.segment_length
        segment = SegmentEntry(count, tombstones, 0, *place)
        if is_compact:
            self._keep_entries(segment, entries.sort())
        elif self._index.appends and count < FENCED_FROM:
            version = self._storage.version(names.pack(self.pack.id)) or ()
            made = partial(written_segment, writer.path, version, batch.segment_offset, parts)
            self.tables[segment_name(segment)] = made
        return segment

    def _keep_entries(self, segment: SegmentEntry, entries: Entries) -> None:
        """Keep the entries of a compact table for the commit, in the place of earlier ones if they are too many."""
        if sum(len(table) for table in self.fresh.values() if table) + len(entries) > MOST_ENTRIES:
            self.fresh.update(dict.fromkeys(self.fresh))
        self.fresh[segment_name(segment)] = entries

    def sync(self, durability: Durability) -> int:
        """Put the finished batches on stable storage, under full durability; return how many bytes are there now."""
        if durability is not Durability.FULL:
            return self.pack.synced
        writer = self.opened or self.writer
        writer.sync()
        if not self._has_safe_name:
            # A relaxed writer that made the pack has not synced its name.
            self._storage.sync_names(names.PACKED)
            self._has_safe_name = True
        return writer.position

    def entry_after(self, newest: Manifest, synced: int) -> PackEntry:
        """Return the pack's entry for the next manifest: that of the newest manifest, with the finished batches.

        Raises `ContainerReplaced` when others have committed to the pack.
        """
        pack = newest.packs.find(self.pack.id) or PackEntry(self.pack.id, 0, 0, kind=self._kind)
        if pack.length != self.pack.length:
            reason = "others have committed to it while it was locked, and nothing was stored: open the container anew"
            raise ContainerReplaced(self._layout.pack(self.pack.id), reason)
        end = self.opened.position if self.opened else pack.length
        return pack._replace(
            length=end,
            synced=max(pack.synced, synced),
            # Without a number for another dictionary, it takes those of a later batch no more.
            sealed=not self._index.appends or end >= self._target or len(self.dictionaries) >= MOST_DICTIONARIES,
            dictionaries=self.dictionaries,
        )

    def committed(self, manifest: Manifest) -> None:
        """Note that this manifest has the batches that were finished."""
        pack = manifest.packs.find(self.pack.id)
        assert pack is not None
        self.pack, self.base = pack, manifest
        self.fresh, self.tables = {}, {}

    def _release(self) -> None:
        """Give the pack back, and the space of what was written and not committed."""
        try:
            if self.opened:
                self.opened.leave(self.pack.length)
        finally:
            self._lock.release()

    def _abandon(self) -> None:
        """Give the pack back after a failure, which may have been the last sync of a commit that was published."""
        # What the newest manifest covers is not cut. When that cannot be read, the next writer cuts the tail.
        try:
            with suppress(OSError, UnsupportedContainer):
                # What was uploaded whole stays anyway, and a medium that does not answer is not asked for each pack.
                pack = self._index.newest().packs.find(self.pack.id) if self._index.appends else None
                if self.opened:
                    self.opened.cut(pack.length if pack else 0)
        finally:
            try:
                if self.opened:
                    self.opened.end()
            finally:
                self._lock.release()

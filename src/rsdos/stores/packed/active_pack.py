"""A pack that one writer has to itself, to append batches to: steps 1 and 2 of every commit protocol."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from rsdos.config import Config
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, log_warning
from rsdos.index.entries import Entries
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, PackEntry, SegmentEntry
from rsdos.index.segment import segment_parts
from rsdos.layout import LAST_PACK, Layout
from rsdos.model import Durability
from rsdos.pack.writer import PackWriter
from rsdos.storage import locks, posix


class ActivePack:
    """A locked pack that is live and not sealed, or new. One thread; `release` or `abandon` has to be called.

    Raises `DamagedContainer` when the newest manifest is damaged.
    """

    def __init__(self, layout: Layout, config: Config, index: Index, refused: Iterable[int] = ()) -> None:
        """Takes none of the packs that are ``refused``."""
        self._layout = layout
        self._container_id = bytes.fromhex(config.container_id)
        self._target = config.pack_size_target
        self._index = index
        self._writer: PackWriter | None = None
        self._begin(set(refused))

    def _begin(self, refused: set[int]) -> None:
        self._index.write_down_losses()
        manifest = self._index.snapshot.manifest
        while True:
            pack_id = self._candidate(manifest, refused)
            # 1. Lock a pack that nobody appends to.
            lock = locks.try_acquire(self._layout.pack_lock(pack_id))
            try:
                # 2. Only now look whether it is still one to append to.
                self._index.refresh()
                self._index.write_down_losses()
                manifest = self._index.snapshot.manifest
                if not manifest.number:
                    self._index.commits.newest_number()  # Says which, if it is missing.
                    reason = "the newest manifest; nothing is written before a repair"
                    raise DamagedContainer(self._layout.index, reason)
                pack = manifest.pack(pack_id) or PackEntry(pack_id, 0, 0)
                if pack.length:
                    fits = bool(lock) and not pack.sealed and self._open(pack)
                else:
                    fits = pack_id >= manifest.next_pack_id
            except BaseException:
                if self._writer:
                    self._writer.end()
                if lock:
                    lock.release()
                raise
            if lock and fits:
                self._lock = lock
                self.pack = pack
                """The pack as it was committed last."""
                self.base = manifest
                """The newest manifest at the time."""
                return
            refused.add(pack_id)
            if lock:
                lock.release()

    def _candidate(self, manifest: Manifest, refused: set[int]) -> int:
        """The first pack that has room, or the first id that was never given out, without those that were refused.

        A file of two names is in another container as well, a backup or a copy by ``cp -al``, and stays as it is (ADR
        10). It is looked at before its lock: what gets a second name later only grows, in one of the two containers.
        """
        for pack in manifest.packs:
            if not pack.sealed and pack.id not in refused and not posix.has_other_names(self._layout.pack(pack.id)):
                return pack.id
        pack_id = manifest.next_pack_id
        while pack_id in refused:
            pack_id += 1
        if pack_id > LAST_PACK:
            raise DamagedContainer(self._layout.packed, "no id is left for another pack")
        return pack_id

    def _open(self, pack: PackEntry) -> bool:
        """Open a pack to append to it; whether that can be.

        One that is missing, cut short or not itself is left for repair, and one that has a writer to that: its lock
        file was removed. One that may not be written, where others could be made, is passed over, and named.
        """
        try:
            self._writer = PackWriter(self._layout.pack(pack.id), pack.id, self._container_id, pack.length)
        except (FileNotFoundError, DamagedContainer, Busy):
            return False
        except PermissionError as error:
            if not os.access(self._layout.packed, os.W_OK):
                raise
            log_warning("%s: cannot be written (%s): another pack is taken", self._layout.pack(pack.id), error.strerror)
            return False
        return True

    @property
    def position(self) -> int:
        """Where the next payload goes."""
        return self._writer.position if self._writer else self.pack.length

    @property
    def room(self) -> int:
        """Stored bytes until the pack has reached its target; at least 1."""
        return max(self._target - self.position, 1)

    @property
    def writer(self) -> PackWriter:
        """What appends to the pack; one that is new is made at the first use."""
        if self._writer is None:
            path = self._layout.pack(self.pack.id)
            self._writer = PackWriter(path, self.pack.id, self._container_id, self.pack.length)
        return self._writer

    def finish_batch(self, entries: Entries) -> SegmentEntry:
        """Close a batch with its sorted entries; what a manifest says of its segment."""
        batch = self.writer.finish_batch(segment_parts(entries), len(entries))
        return SegmentEntry(
            len(entries),
            entries.tombstones,
            pack_id=self.pack.id,
            offset=batch.segment_offset,
            length=batch.segment_length,
        )

    def sync(self, durability: Durability) -> int:
        """Put the finished batches on stable storage, under full durability; returns how many bytes are there now."""
        if durability is not Durability.FULL:
            return self.pack.synced
        self.writer.sync()
        if self.pack.synced == 0:
            # Its name as well: a relaxed writer that made it has not synced that.
            posix.sync_directory(self._layout.packed)
        return self.writer.position

    def entry_after(self, newest: Manifest, synced: int) -> PackEntry:
        """The pack's entry of the next manifest: as it is in the newest, with the finished batches."""
        pack = newest.pack(self.pack.id) or PackEntry(self.pack.id, 0, 0)
        if pack.length != self.pack.length:
            reason = "others have committed to it while it was locked, and nothing was stored: open the container anew"
            raise ContainerReplaced(self.writer.path, reason)
        end = self.writer.position
        return pack._replace(length=end, synced=max(pack.synced, synced), sealed=end >= self._target)

    def committed(self, manifest: Manifest) -> None:
        """What was finished is in this manifest now."""
        pack = manifest.pack(self.pack.id)
        assert pack is not None
        self.pack, self.base = pack, manifest

    def release(self) -> None:
        """Give the pack back, and the space of what was written and not committed."""
        try:
            self._cut(self.pack.length)
        finally:
            self._close()

    def abandon(self) -> None:
        """`release` after a failure, which may have been that of the last sync of a commit that stands."""
        # What the newest manifest covers is not cut. When that cannot be read, the next writer cuts the tail.
        try:
            with suppress(OSError):
                pack = self._index.newest().pack(self.pack.id)
                self._cut(pack.length if pack else 0)
        finally:
            self._close()

    def _cut(self, committed: int) -> None:
        if self._writer:
            self._writer.cut(committed)

    def _close(self) -> None:
        try:
            if self._writer:
                self._writer.end()
        finally:
            self._lock.release()

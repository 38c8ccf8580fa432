"""Appending objects to packs of version 3: several packs in one commit, uploaded while others are filled.

Steps as in `rsdos.stores.packed.writer`. 1 and 2 are done for each pack, which is always a new one. 4 is done for a
pack when it is full: it gets its table and its footer, and a thread uploads it while the next is filled. Then all packs
of the commit and one segment with the entries of all of them are in the medium, before 5 and 6, which are one commit:
its change may run again and again, and uploads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from rsdos.index.entries import Entries
from rsdos.index.ids import RESERVED_AT_ONCE
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName
from rsdos.index.remote_commits import RemoteCommits
from rsdos.index.remote_index import RemoteIndex
from rsdos.model import Durability, PackKind
from rsdos.storage import chance
from rsdos.stores.batch import Duplicates, Large, end_large
from rsdos.stores.encoding import Forms
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.writer import PackedBatch
from rsdos.stores.packs import Packing
from rsdos.stores.remote.in_flight import InFlight

MOST_PACKS = 64
"""The most packs in one commit, and their bytes if it has fewer: a killed writer uploads no more than that again."""

_MOST_ENTRIES = 1 << 17
"""Entries in one commit, which holds them beside the packs. With 2^18 a push of 600,000 objects took 50 MiB more."""

_FEW = RESERVED_AT_ONCE - 2
"""Packs that need, with one more and their segment, no more ids than are reserved for any writer."""

MOST_SECONDS = 600.0
"""After this time a full pack is committed with those before it, so that on a slow line no more than that is lost."""


@dataclass(slots=True)
class _Full:
    """A pack with all of its objects, its table and footer: it is being uploaded. ``synced`` bytes are there."""

    pack: ActivePack
    entries: Entries
    segment: SegmentEntry
    length: int
    synced: int = 0

    def upload(self) -> None:
        self.synced = self.pack.sync(Durability.FULL)


class _NewPack(ActivePack):
    """A pack under an id that is reserved for this process."""

    def __init__(self, context: PackedContext, kind: PackKind, before: int) -> None:
        """``before`` is the number of a manifest. What is newest is not looked up where a later one is known."""
        self._before = before
        super().__init__(context, kind=kind)

    def _look(self) -> Manifest:
        commits = self._index.commits
        assert isinstance(commits, RemoteCommits)
        known = commits.known
        return known if known and known.number > self._before else super()._look()


class RemoteBatch(PackedBatch):
    """The batch of a writer of container version 3; see `rsdos.stores.batch.OpenBatch`.

    Memory: the packs that are under way and the one that is filled, each of at most twice the target unless it has one
    larger object, and 200 bytes for each object.
    """

    def __init__(self, context: PackedContext, packing: Packing, kind: PackKind = PackKind.PLAIN) -> None:
        super().__init__(context, Durability.FULL, kind)
        assert isinstance(context.index, RemoteIndex)
        self._remote = context.index
        self._target = packing.target
        self._uploads = InFlight(packing.uploads)
        self._full: list[_Full] = []
        self._began = 0.0
        """When the first pack of the commit was full."""

    def _leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        full, self._full = self._full, []
        with ExitStack() as packs:  # Each is given back, whatever giving back another one raises.
            packs.callback(super()._leave, kind, error, trace)
            for one in full:
                packs.callback(one.pack.__exit__, kind, error, trace)
            self._uploads.__exit__(kind, error, trace)

    @property
    def is_full(self) -> bool:
        full = self._full
        if len(self.keys) >= _MOST_ENTRIES or len(full) >= MOST_PACKS:
            return True
        length = sum(one.length for one in full)
        return bool(full) and (length >= MOST_PACKS * self._target or chance.now() - self._began >= MOST_SECONDS)

    def _new_pack(self) -> ActivePack:
        # 1 and 2. What is newest was looked up for the first pack of a commit, and is again by the commit. The first
        # one need not look either if the ids were reserved for it: that was a commit.
        known = self._remote.commits.known
        return _NewPack(self._context, self._kind, 0 if self._full or known is None else known.number)

    # 4. Writing.

    def put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        super().put(digests, forms, sizes)
        self._end_full_pack()

    def put_large(self, large: Large) -> None:
        super().put_large(large)
        self._end_full_pack()

    def _end_full_pack(self) -> None:
        if self.room == 1:
            if len(self._full) == _FEW:
                # There will be more of them, and a segment: one commit reserves all ids.
                self._remote.commits.ids.reserve(MOST_PACKS + 1 - _FEW)
            self._end_pack()

    def _end_pack(self) -> None:
        pack = self._open()
        entries = Entries.joined(self._tables)
        self._tables.clear()
        segment = pack.finish_batch(entries, self._dictionaries.end_batch() if self._dictionaries else ())
        if not self._full:
            self._began = chance.now()
        full = _Full(pack, entries, segment, entries.total.length)
        self._full.append(full)
        self._pack = self._dictionaries = None
        # 4. Upload it, beside others.
        self._uploads.add(full.upload)

    # 5 and 6. The commit.

    def commit(self, duplicates: Duplicates) -> None:
        if duplicates.large:
            # Its pack is uploaded before the commit: the newest state decides.
            end_large(self, duplicates, self.absent([duplicates.large.digest]).digests)
        if self._tables:
            self._end_pack()
        self._uploads.wait()
        full = self._full
        entries = full[0].entries if len(full) == 1 else Entries.joined(one.entries for one in full)
        segment, fresh = self._segment_of(entries)
        gone: Collection[bytes] = ()

        def change(newest: Manifest) -> Manifest:
            nonlocal gone
            if duplicates:
                # 5. What was deleted since step 3 is stored by the next batch.
                absent = self._absent_from(newest, duplicates.digests(), {})
                gone = {*absent.digests, *absent.unsafe}
            entries_after = [(one.pack.entry_after(newest, one.synced), one.entries.total) for one in full]
            packs = [entry.with_appended(total) for entry, total in entries_after]
            manifest = newest.with_segments((), segment).with_packs(packs)
            return self.next_after(newest, self._count_dead(manifest, newest, entries))

        manifest = self._index.commit(change, Durability.FULL, fresh)
        duplicates.keep_some(gone)
        self._committed(manifest)

    def _segment_of(self, entries: Entries) -> tuple[SegmentEntry, dict[SegmentName, Entries | None]]:
        """Return the segment of the commit, and the compact table that is to get a segment file, as `Index.commit`.

        That of a single pack is in the pack. Several packs get one file: a thousand packs would be as many segments.
        """
        if len(self._full) == 1:
            return self._full[0].segment, self._full[0].pack.fresh
        return self._remote.new_segment(entries.sort()), {}

    def _committed(self, manifest: Manifest) -> None:
        for one in self._full:
            one.pack.committed(manifest)
            self.pack_ids.append(one.pack.pack.id)
            one.pack.__exit__(None, None, None)
        self._full = []
        self.keys.clear()
        self.damaged.clear()

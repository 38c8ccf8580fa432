"""The index of a container: the newest manifest and its segments, for lookups and commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.loading import IndexLoader
from rsdos.index.manifest import Manifest, SegmentName
from rsdos.index.opening import Tables
from rsdos.index.runs import Found
from rsdos.index.segment import KEY_SPACE
from rsdos.index.state import IndexState, counted
from rsdos.index.view import IndexView, key_lists
from rsdos.model import Durability, PackKind, Record
from rsdos.storage.base import Version

if TYPE_CHECKING:
    from rsdos.index.digests import Digests
    from rsdos.index.entries import Entries
    from rsdos.index.merging import SegmentMerge

_NOTHING: Mapping[SegmentName, None] = MappingProxyType({})


class Index(IndexLoader):
    """Looks up and commits. Any number of threads; a view that was handed out never changes.

    If a manifest or a segment file is damaged, missing or of a later release, the index uses in its place, in memory,
    what ``recover`` finds inside the packs. Only `commit` writes. It refuses if the newest manifest is damaged, missing
    or of a later release.

    A lookup for a ``kind`` finds only copies that stand in for one of that kind. Without a kind it finds all copies.
    """

    appends = True
    """Whether later commits append to packs. If not, each pack is new, and sealed by its first commit."""

    _durable: Version | None = None
    """The manifest whose name this process has synced."""
    _sync_failed = False

    def newest(self) -> Manifest:
        """Return the newest manifest, see `CommitLog.newest`, without the batches that a power loss has taken."""
        return self._whole(self.commits.newest())

    def readable(self) -> Manifest | None:
        """Return the newest whole manifest, if there is one, without the batches that a power loss has taken."""
        manifest = self.commits.readable()
        return manifest and self._opener.left_of(manifest)

    def free_pack_id(self, manifest: Manifest, refused: Collection[int]) -> int:
        """Return an id for a new pack that was never given out by this manifest, and is not ``refused``."""
        pack_id = manifest.next_pack_id
        while pack_id in refused:
            pack_id += 1
        return pack_id

    def is_free(self, manifest: Manifest, pack_id: int) -> bool:
        """Return whether a pack of this id can be made after this manifest; the caller holds the lock of the id."""
        return pack_id >= manifest.next_pack_id

    def find(self, digest: bytes) -> Record | None:
        """Return the entry of a key in `view`, or None."""
        try:
            state = self._state
            if state is None:
                record = self._find_in_part(digest)
                if record is not None:
                    return record
                state = self.state
            return state.view.find(digest)
        except DamagedContainer:
            return self._recovery().find(digest)

    def find_for(self, kind: PackKind, digest: bytes) -> Record | None:
        """Do `find` for a kind."""
        try:
            return (self._state or self._load()).view.for_kind(kind).find(digest)
        except DamagedContainer:
            return self._recovery().for_kind(kind).find(digest)

    def find_all(self, digest: bytes, kind: PackKind | None = None) -> list[Record]:
        """Return the entries of all copies of a key."""
        try:
            return self.view.for_kind(kind).find_all(digest)
        except DamagedContainer:
            return self._recovery().for_kind(kind).find_all(digest)

    def live_copies(self, digests: Sequence[bytes], kind: PackKind | None = None) -> Entries:
        """Return the entries of all copies of many keys, sorted."""
        try:
            return self.view.for_kind(kind).live_copies(digests)
        except DamagedContainer:
            return self._recovery().for_kind(kind).live_copies(digests)

    def find_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> Found:
        """Return the entries of many keys."""
        try:
            return self.view.for_kind(kind).find_many(digests)
        except DamagedContainer:
            return self._recovery().for_kind(kind).find_many(digests)

    def find_keys(self, keys: Digests, kind: PackKind | None = None) -> Found:
        """Return the entries of many keys that are columns already."""
        try:
            return self.view.for_kind(kind).find_keys(keys)
        except DamagedContainer:
            return self._recovery().for_kind(kind).find_keys(keys)

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        """Yield the objects of one pack of the newest state, by offset, in lists of bounded size."""
        view = self.refresh()
        pack = view.manifest.packs.find(pack_id)
        if pack:
            for entries in view.in_storage_order(pack):
                yield entries.digests()

    def key_lists(self, prefix: str = "", kind: PackKind | None = None) -> Iterator[list[str]]:
        """Yield every key of the newest state that begins with ``prefix``, once, sorted, in lists of bounded size.

        Raise `DamagedContainer` at the end if damage hides other keys.
        """
        yield from key_lists(prefix, partial(self.tables, kind=kind))

    def tables(self, start: int = 0, end: int = KEY_SPACE, kind: PackKind | None = None) -> Iterator[Entries]:
        """Do `IndexView.tables` for the newest state. Where a part of it is damaged, read the packs instead.

        Raise `DamagedContainer` at the end if damage hides other entries.
        """
        yield from self.tables_of(self.refresh(), start, end, kind)

    def tables_of(self, view: IndexView, start: int, end: int, kind: PackKind | None = None) -> Iterator[Entries]:
        """Do `tables` for a view that this index has handed out."""
        tables = view.for_kind(kind).tables(start, end)
        try:
            first = next(tables, None)
        except DamagedContainer:
            tables = self._recovery().for_kind(kind).readable_tables(start, end)
            first = next(tables, None)
        if first is not None:
            yield first
            yield from tables

    def _recovery(self) -> IndexView:
        """Return the view of the same manifest, made from the packs."""
        state = self.state
        if state.is_recovered:
            return state.view
        manifest = state.view.manifest
        left = self._opener.left_of(manifest)
        if left is not manifest:
            return self._swap(state, state._replace(view=counted(self.open(left)), lost=True))
        if mended := self._opener.mended(state.view):
            return self._swap(state, state._replace(view=mended))
        return self._swap(state, state._replace(view=self._recover(manifest), is_recovered=True))

    def commit(
        self,
        change: Callable[[Manifest], Manifest],
        durability: Durability,
        fresh: Mapping[SegmentName, Entries | None] = _NOTHING,
        tables: Tables | None = None,
    ) -> Manifest:
        """Make the next manifest from the newest by ``change``; see `CommitLog.commit`.

        A commit that would leave too many segments merges the smallest of them. If these have many entries, a merge
        follows the commit instead, and no other commit waits for it. The new segments ``fresh`` are compact tables.
        Their entries, which are given if they are in memory, are written to segment files. Lookups use the new
        ``tables``, which were just written, without reading them back.
        """

        # A program that only reads does not need it.
        from rsdos.index.merge import MOST_SEGMENTS
        from rsdos.index.segment_files import SegmentFiles
        from rsdos.index.settling import settled
        from rsdos.index.table_files import folded

        def change_and_write(newest: Manifest) -> Manifest:
            manifest = change(self._whole(newest))
            # Compact tables that are decoded in memory, for lack of a good segment file, get one as well.
            decoded = self._state.view.decoded if self._state else ()
            files = SegmentFiles(self._layout, self.sound_segment, {**dict.fromkeys(decoded), **fresh})
            try:
                manifest = files.filed(files.merged(manifest))
                if durability is Durability.FULL:
                    manifest = settled(self._storage, manifest)
                return folded(self._layout, manifest)
            except BaseException:
                files.undo()
                raise

        manifest = self._publish(change_and_write, durability, tables)
        if len(manifest.segments) > MOST_SEGMENTS:
            self._merge.merge_due(durability)
        return manifest

    def _publish(
        self,
        change: Callable[[Manifest], Manifest],
        durability: Durability,
        tables: Tables | None = None,
    ) -> Manifest:
        """Make the next manifest, and let lookups use it."""
        try:
            manifest, file, before = self.commits.commit(change, durability)
        except OSError:
            self._sync_failed = True
            raise
        if durability is Durability.FULL:
            self._durable, self._sync_failed = file, False
        try:
            shared = self._shared((manifest.number - 1, before))
            view = self._open(manifest, shared, tables)
            self._keep(IndexState(view, manifest.number, file=file), shared)
        except (FileNotFoundError, DamagedContainer):
            self._state = None  # The next use loads it.
        return manifest

    def _whole(self, manifest: Manifest) -> Manifest:
        """Return a manifest without the batches that a power loss has taken."""
        if not manifest.packs.behind and all(segment.synced for segment in manifest.segments):
            return manifest
        try:
            return self._opener.whole(manifest, self._shared()).manifest
        except (FileNotFoundError, DamagedContainer):
            left = self._opener.left_of(manifest)
            rebuilt = self._rebuilt(left)
            return rebuilt.manifest if rebuilt else left

    def writable(self) -> IndexView:
        """Return `view`. If a power loss has taken batches, first commit a manifest without them.

        Call it before a pack is written. Otherwise new bytes would be written to places where, by the manifest on the
        disk, the lost bytes are.
        """
        state = self._state or self._load()
        if state.lost:
            self.commit(lambda newest: newest, Durability.FULL)
            state = self.state
        return state.view

    def make_durable(self) -> None:
        """Make the manifest that lookups use survive a power loss, even if its writer died before it did so.

        If a sync of the directory has failed, a second sync proves nothing. Then commit a new manifest.
        """
        file = self.state.file
        if file is not None and file == self._durable:
            return
        if self._sync_failed:
            self.commit(lambda newest: newest, Durability.FULL)
            return
        try:
            self._storage.sync_names(names.INDEX)
        except OSError:
            self._sync_failed = True
            raise
        self._durable = file

    def merge(self, durability: Durability) -> Manifest:
        """Merge all segments into one, and one of tombstones if any are still needed. Return the newest manifest."""
        self._merge.merge_all(durability)
        return self.view.manifest

    @property
    def _merge(self) -> SegmentMerge:
        from rsdos.index.merging import SegmentMerge  # Most programs do not need it.

        def commit(change: Callable[[Manifest], Manifest], durability: Durability) -> Manifest:
            return self._publish(lambda newest: change(self._whole(newest)), durability)

        return SegmentMerge(self._layout, self.commits, self.newest, self.sound_segment, commit)

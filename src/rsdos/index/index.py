"""The index of a container: the newest manifest and its segments, for lookups and commits."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from operator import is_not
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.cache import forget, keep, kept_state
from rsdos.index.commits import MOST_LOOKUPS, CommitLog
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.segment import KEY_SPACE, CompactFound, Segment
from rsdos.index.snapshot import Found, Snapshot, key_lists
from rsdos.index.state import CheckPack, IndexState, Losses, Recover, counted
from rsdos.layout import Layout
from rsdos.model import Durability, Record
from rsdos.storage.base import RandomAccess, Version

if TYPE_CHECKING:
    from rsdos.index.entries import Entries

_NOTHING: Mapping[SegmentName, None] = MappingProxyType({})

_MOST_AGE = 1.0
"""Seconds for which the note of the last commit is not read again. Only after damage it says more than the names do."""


class Index:
    """Looks up and commits. Any number of threads; a snapshot that was handed out stays as it is.

    A manifest or a segment file that is damaged or missing is replaced, in memory, by what ``recover`` finds inside
    the packs. Nothing is written but by `commit`, which refuses when the newest manifest is damaged or missing.
    """

    def __init__(
        self, layout: Layout, container_id: str, recover: Recover, check_pack: CheckPack, losses: Losses
    ) -> None:
        self.commits = CommitLog(layout, container_id)
        self._layout = layout
        self._storage = layout.storage
        self._recover = recover
        self._check_pack = check_pack
        self._losses = losses
        self._state: IndexState | None = None
        self._last: tuple[int, Version | None] | None = None
        """Number and file of the newest manifest that any thread has loaded, also after `close`."""
        self._unlock()
        _indexes[id(self)] = self
        self.replaced: Callable[[], None] = lambda: None
        """Called when what is loaded does not come from what was loaded before: what is open may be of other files."""
        self._durable: Version | None = None
        """The manifest of which this process has synced the name."""
        self._sync_failed = False
        self._read_note = -inf
        """The time at which `is_latest` has last read the note of the last commit."""

    clock: Callable[[], float] = staticmethod(monotonic)
    """Seconds."""

    def _unlock(self) -> None:
        """Have a lock that nobody holds. One that signals' handlers may take again in the thread that holds it."""
        self._swapping = threading.RLock()

    @property
    def state(self) -> IndexState:
        """What was looked at last, loaded at the first use."""
        return self._state or self._load()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a state that was looked at."""
        return self._state is not None

    @property
    def snapshot(self) -> Snapshot:
        """The newest state that was looked at, loaded at the first use."""
        return self.state.snapshot

    @property
    def is_recovered(self) -> bool:
        """Whether the present snapshot was made from the packs, because a manifest or a segment is damaged."""
        return self.state.is_recovered

    def is_latest(self, state: object) -> bool:
        """Whether ``state`` is still what lookups go to, and nobody has committed since it was loaded.

        Nor put another container, or another state of this one, in its place. Two calls of the storage, and once in
        `_MOST_AGE` a third, for a manifest that was committed and is lost. It comes each time where the first two may
        be answered from what this machine knew before.
        """
        now = self._state
        if now is None or not isinstance(state, IndexState) or not state.is_of(now):
            return False
        time = self.clock()
        if time - self._read_note >= _MOST_AGE or not self._storage.is_prompt():
            if self.commits.committed() > max(state.number, state.missing):
                return False
            self._read_note = time
        if not state.number:
            return not self._layout.manifest_numbers()
        return self.commits.is_newest(state.number, state.file)

    def refresh(self) -> Snapshot:
        """Load the newest state. Raises `ContainerReplaced` and `NotAContainer`, see `CommitLog.check`."""
        return self._load().snapshot

    def _load(self) -> IndexState:
        if self._state is None and (kept := self._kept()):
            return self._keep(kept)
        if self._last is not None:  # Else it was opened a moment ago.
            self.commits.check()
        number = 0
        for _ in range(MOST_LOOKUPS):
            number, missing = self.commits.latest()
            if missing:
                # What an older manifest leads to may be gone: all that the packs have.
                self.commits.check()
                file = self.commits.file_of(number)
                return self._keep(
                    IndexState(self._recover(None), number, is_recovered=True, missing=missing, file=file)
                )
            if state := self._loaded(number):
                return state
            if state := self._opened(number):
                return self._keep(state)
        raise self.commits.never_there(number)

    def _loaded(self, number: int) -> IndexState | None:
        """The state that lookups go to, if it is of this manifest: to read that again takes 100 us."""
        state = self._state
        if state is None or state.number != number or state.is_recovered or state.lost or state.file is None:
            return None
        return state if self.commits.file_of(number) == state.file else None

    def _opened(self, number: int) -> IndexState | None:
        """The state of this manifest; None when commits went by since the listing, and took away what it showed."""
        manifest = None
        file = None
        try:
            manifest, file = self.commits.read_with_file(number)
            snapshot = self._open_whole(manifest)
            return IndexState(snapshot, number, file=file, lost=snapshot.manifest.packs != manifest.packs)
        except FileNotFoundError:
            if number and not self.commits.is_newest(number):
                return None
        except DamagedContainer:
            pass
        # It may be damage of another container, or of what a migration has left.
        self.commits.check()
        file = file or self.commits.file_of(number)
        left = manifest and self._left_of(manifest)
        if left and (rebuilt := self._rebuilt(left)):
            return IndexState(rebuilt, number, file=file, lost=True)
        return IndexState(self._recover(left), number, is_recovered=True, file=file)

    def _keep(self, state: IndexState) -> IndexState:
        """Make this what lookups go to, unless a newer one is that; returns what they go to.

        A thread that was slow to load its state must not put it over that of another: what others have deleted since
        would be there again.
        """
        with self._swapping:
            if self._last is not None and self._last != (state.number, state.file):
                number, file = self._last
                is_there = file is not None and self.commits.file_of(number) == file
                if is_there and number > state.number:
                    return self._state or state
                if not is_there:
                    self.replaced()
            self._state = state
            self._last = state.number, state.file
        return state

    def _kept(self) -> IndexState | None:
        """What is kept since the container was closed last, if it is still the newest."""
        kept = kept_state(self._storage)
        return kept if kept and self.commits.is_newest(kept.number, kept.file) else None

    def _shared(self) -> Snapshot | None:
        """The snapshot whose segments are those of the same names now; None when they may be others.

        Places come again in a container that was put in the place of this one. While the manifest is there, so is what
        was committed to it. One ``stat``; it may be gone for being old, too, and all is opened anew then.
        """
        state = self._state
        is_same = state is not None and state.file is not None and self.commits.file_of(state.number) == state.file
        return state.snapshot if state is not None and is_same else None

    def _open_whole(self, manifest: Manifest) -> Snapshot:
        """A snapshot of a manifest without the batches that a power loss has taken. Raises what `open` does."""
        if not _is_behind(manifest):
            return self.open(manifest)
        left = self._losses.cut(manifest)
        if any(segment.number and segment.pack_id for segment in left.segments):
            # Their files are whole, and say nothing of the batches. Each is asked for once in a process.
            shared = self._shared()
            left = self._losses.unwritten(left, shared.named if shared else ())
        try:
            snapshot = self.open(left)
        except (FileNotFoundError, DamagedContainer):
            less = self._losses.unwritten(left, ())
            if less is left:
                raise
            left, snapshot = less, self.open(less)
        return snapshot if left is manifest else counted(snapshot)

    def _left_of(self, manifest: Manifest) -> Manifest:
        """A manifest without the batches that a power loss has taken."""
        return self._losses.unwritten(self._losses.cut(manifest), ()) if _is_behind(manifest) else manifest

    def newest(self) -> Manifest:
        """The newest manifest, see `CommitLog.newest`, without the batches that a power loss has taken."""
        return self._whole(self.commits.newest())

    def readable(self) -> Manifest | None:
        """The newest manifest that is whole, if there is one, without the batches that a power loss has taken."""
        manifest = self.commits.readable()
        return manifest and self._left_of(manifest)

    def open(self, manifest: Manifest) -> Snapshot:
        """Return a snapshot of this manifest; segments that are open already are shared. Raises FileNotFoundError."""
        shared = self._shared()
        opened = shared.named if shared else {}
        named = zip(map(segment_name, manifest.segments), manifest.segments, strict=True)
        return Snapshot(
            manifest, [opened[name] if name in opened else self._open_segment(entry) for name, entry in named]
        )

    def open_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment of a manifest. Raises FileNotFoundError, `DamagedContainer`."""
        shared = self._shared()
        opened = shared.segment(entry) if shared else None
        return self._open_segment(entry) if opened is None else opened

    def _open_segment(self, entry: SegmentEntry) -> Segment:
        """Open a segment; in the place of a file of a batch that cannot be opened, the table in the pack."""
        try:
            return self._open_listed(entry)
        except (FileNotFoundError, DamagedContainer):
            if not entry.is_of_batch:
                raise
            with suppress(FileNotFoundError, DamagedContainer):
                return self._open_table(entry)
            raise

    def _open_table(self, entry: SegmentEntry) -> Segment:
        """Open the table in the pack in the place of a file of its batch: it has the same entries."""
        return self._open_listed(entry._replace(number=0))

    def sound_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment all of which was verified, and in the place of a damaged file of a batch its table."""
        return self._sound(entry, self.open_segment(entry))

    def _sound(self, entry: SegmentEntry, segment: Segment) -> Segment:
        try:
            segment.entries()
        except DamagedContainer:
            if not entry.is_of_batch or segment.is_decoded:
                raise
            return self._open_table(entry)
        return segment

    def _mended(self, snapshot: Snapshot) -> Snapshot | None:
        """Return a snapshot with the tables in packs in the place of damaged files of batches.

        None where none of them is damaged, or anything else is.
        """
        opened = zip(snapshot.manifest.segments, snapshot.segments, strict=True)
        with suppress(FileNotFoundError, DamagedContainer):
            segments = [self._sound(entry, segment) for entry, segment in opened]
            if any(map(is_not, segments, snapshot.segments)):
                return Snapshot(snapshot.manifest, segments, snapshot.damage)
        return None

    def sound(self) -> Snapshot:
        """Load the newest state, verify its segments, and return it without the damaged files of batches."""
        state = self._load()
        mended = None if state.is_recovered else self._mended(state.snapshot)
        return self._swap(state, state._replace(snapshot=mended)) if mended else state.snapshot

    def open_sound(self, manifest: Manifest) -> Snapshot:
        """Do `open`, verify the segments, and return the snapshot without the damaged files of batches."""
        snapshot = self.open(manifest)
        return self._mended(snapshot) or snapshot

    def _swap(self, state: IndexState, better: IndexState) -> Snapshot:
        """Put a better state of the same manifest in the place of one, unless that was replaced already."""
        with self._swapping:
            if self._state is state:
                self._state = better
        return better.snapshot

    def _open_listed(self, entry: SegmentEntry) -> Segment:
        file = self._storage.open(names.table(entry.number, entry.pack_id))
        try:
            if not entry.number:
                # In another pack there may stand a segment as well, of other keys: these would be missing.
                self._check_pack(file, entry.pack_id)
            segment = Segment(file) if entry.number else _segment_in(file, entry)
        finally:
            file.close()
        if (segment.count, segment.tombstones) != (entry.count, entry.tombstones):
            raise DamagedContainer(file.path, "a segment has other entries than the manifest says", entry.offset)
        if entry.check and segment.check != entry.check:
            raise DamagedContainer(file.path, "another segment stands in the place of this one", entry.offset)
        return segment

    def find(self, digest: bytes) -> Record | None:
        """The entry of a key in `snapshot`, or None."""
        try:
            return (self._state or self._load()).snapshot.find(digest)
        except DamagedContainer:
            return self._recovery().find(digest)

    def find_all(self, digest: bytes) -> list[Record]:
        """The entries of all copies of a key."""
        try:
            return self.snapshot.find_all(digest)
        except DamagedContainer:
            return self._recovery().find_all(digest)

    def live_copies(self, digests: Sequence[bytes]) -> Entries:
        """The entries of all copies of many keys, sorted."""
        try:
            return self.snapshot.live_copies(digests)
        except DamagedContainer:
            return self._recovery().live_copies(digests)

    def find_many(self, digests: Sequence[bytes]) -> Found:
        """The entries of many keys."""
        try:
            return self.snapshot.find_many(digests)
        except DamagedContainer:
            return self._recovery().find_many(digests)

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        """The objects of one pack of the newest state, by offset, in lists of bounded size."""
        snapshot = self.refresh()
        pack = snapshot.manifest.pack(pack_id)
        if pack:
            for entries in snapshot.in_storage_order(pack):
                yield entries.digests()

    def key_lists(self, prefix: str = "") -> Iterator[list[str]]:
        """Every key of the newest state that begins with ``prefix``, once, sorted, in lists of bounded size.

        Raises `DamagedContainer` at the end, when there are others that cannot be told.
        """
        yield from key_lists(prefix, self.tables)

    def tables(self, start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
        """`Snapshot.tables` of the newest state, made from the packs where a part of it is damaged.

        Raises `DamagedContainer` at the end, when there are entries that cannot be told.
        """
        tables = self.refresh().tables(start, end)
        try:
            first = next(tables, None)
        except DamagedContainer:
            tables = self._recovery().readable_tables(start, end)
            first = next(tables, None)
        if first is not None:
            yield first
            yield from tables

    def _recovery(self) -> Snapshot:
        """The snapshot of the same manifest, made from the packs."""
        state = self.state
        if state.is_recovered:
            return state.snapshot
        manifest = state.snapshot.manifest
        left = self._left_of(manifest)
        if left is not manifest:
            return self._swap(state, state._replace(snapshot=counted(self.open(left)), lost=True))
        if mended := self._mended(state.snapshot):
            return self._swap(state, state._replace(snapshot=mended))
        return self._swap(state, state._replace(snapshot=self._recover(manifest), is_recovered=True))

    def commit(
        self,
        change: Callable[[Manifest], Manifest],
        durability: Durability,
        fresh: Mapping[SegmentName, Entries | None] = _NOTHING,
        due: Callable[[Manifest], Sequence[SegmentEntry]] | None = None,
    ) -> Manifest:
        """Make the next manifest from the newest by ``change``; see `CommitLog.commit`.

        A commit that would leave too many segments merges the smallest of them; or those that ``due`` names. Of the
        new segments those that are ``fresh`` are compact tables: their entries, given where they are in memory, are
        written to segment files.
        """

        # A program that only reads does not need it.
        from rsdos.index.segment_files import SegmentFiles
        from rsdos.index.settling import settled

        def change_and_write(newest: Manifest) -> Manifest:
            manifest = change(self._whole(newest))
            files = SegmentFiles(self._layout, self.sound_segment, {**self._decoded(manifest), **fresh})
            try:
                manifest = files.filed(files.merged(manifest, due and due(manifest)))
                return settled(self._storage, manifest) if durability is Durability.FULL else manifest
            except BaseException:
                files.undo()
                raise

        try:
            manifest, file = self.commits.commit(change_and_write, durability)
        except OSError:
            self._sync_failed = True
            raise
        if durability is Durability.FULL:
            self._durable, self._sync_failed = file, False
        try:
            self._keep(IndexState(self.open(manifest), manifest.number, file=file))
        except (FileNotFoundError, DamagedContainer):
            self._state = None  # The next use loads it.
        return manifest

    def _whole(self, manifest: Manifest) -> Manifest:
        """A manifest without the batches that a power loss has taken."""
        if not _is_behind(manifest) and all(segment.synced for segment in manifest.segments):
            return manifest
        try:
            return self._open_whole(manifest).manifest
        except (FileNotFoundError, DamagedContainer):
            left = self._left_of(manifest)
            rebuilt = self._rebuilt(left)
            return rebuilt.manifest if rebuilt else left

    def _rebuilt(self, left: Manifest) -> Snapshot | None:
        """A snapshot of the tables in the packs, where a segment file may be what was lost, and nothing else is."""
        if all(segment.synced for segment in left.segments):
            return None
        recovered = self._recover(left)
        return None if recovered.damage else counted(recovered)

    def writable(self) -> Snapshot:
        """Return `snapshot`, after committing what is left if a power loss was found to have taken anything.

        Before a pack is written: else the bytes of others would be in places where, by the manifest on the disk, the
        lost bytes are.
        """
        if self.state.lost:
            self.commit(lambda newest: newest, Durability.FULL)
        return self.state.snapshot

    def make_durable(self) -> None:
        """Make the manifest that lookups go to survive a power loss, even if its writer died before it did so.

        A directory of which a sync has failed is not believed the second time: a new manifest is made then.
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

    def _decoded(self, manifest: Manifest) -> dict[SegmentName, None]:
        """Compact tables of a manifest that are open in memory: they have no segment file, or it is damaged."""
        state = self._state
        opened = state.snapshot.named if state else {}
        segment_names = map(segment_name, manifest.segments)
        return {name: None for name in segment_names if name in opened and opened[name].is_decoded}

    def merge(self, durability: Durability) -> Manifest:
        """Merge all segments into one, and one of tombstones if any are still needed. Other commits wait."""
        return self.commit(lambda newest: newest, durability, due=lambda manifest: manifest.segments)

    def rest(self) -> None:
        """`let_go`, but what is small is kept for the next lookup, see `park`."""
        state, self._state = self._state, None  # Another thread may be at it as well.
        if state and state.number:
            keep(self._storage, state)

    def let_go(self) -> None:
        """Let go of the mappings; the next lookup loads them again."""
        self._state = None

    def close(self) -> None:
        """`let_go`, also of what was kept."""
        self._state = None
        forget(self._storage)


def _segment_in(file: RandomAccess, entry: SegmentEntry) -> Segment:
    """Return the segment at the place of an entry in an open pack. A compact table is decoded, in memory."""
    try:
        return Segment(file, entry.offset, entry.length)
    except CompactFound:
        from rsdos.index.compact import CompactTable

        return CompactTable(file, entry.offset, entry.length).as_segment()


def _is_behind(manifest: Manifest) -> bool:
    """Whether a part of its packs may not be on stable storage."""
    return any(pack.synced < pack.length for pack in manifest.packs)


_indexes: weakref.WeakValueDictionary[int, Index] = weakref.WeakValueDictionary()
"""By ``id``: all that there are."""


def _unlock_all() -> None:
    """In a forked child: what another thread of the parent was about to swap is never swapped here."""
    for reference in _indexes.valuerefs():
        if index := reference():
            index._unlock()


os.register_at_fork(after_in_child=_unlock_all)

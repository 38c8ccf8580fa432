"""Opening the segments of manifests, and verifying them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from operator import is_not
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.segment import CompactFound, Segment, view_of
from rsdos.index.segment_layout import ENTRY_SIZE, FENCED_VERSION, HEADER_SIZE, file_length, version_of
from rsdos.index.state import CheckPack, Losses, counted
from rsdos.index.view import IndexView
from rsdos.storage.base import Storage

if TYPE_CHECKING:
    from rsdos.storage.opened import RandomAccess, View

_LARGE = 1 << 20
"""Entries, 69 MB, from which on an index may be too large for the memory: no program runs with less than twice that."""

_PART = 2
"""An index may take one part in so many of the memory: packs and the program itself need some, too."""


_AT_ONCE = 16
"""Segments of a remote that are opened at the same time."""


_MOST_TABLE = 1 << 25
"""The most bytes of a table in a pack: the table of the largest batch has half as many."""


Tables: TypeAlias = Mapping[SegmentName, Callable[[], Segment]]
"""Make tables that this process has just written, so that they are not read back."""


class _Shared(Protocol):
    """A view that has segments open."""

    @property
    def named(self) -> Mapping[SegmentName, Segment]:
        """The open segments, by their names."""


class SegmentOpener:
    """Opens segments. Any number of threads.

    The methods raise FileNotFoundError and `DamagedContainer`. If the file of a batch is missing or damaged, they open
    the table in the pack instead: it has the same entries.
    """

    def __init__(self, storage: Storage, check_pack: CheckPack, losses: Losses) -> None:
        self._storage = storage
        self._check_pack = check_pack
        self._losses = losses

    def view(
        self,
        manifest: Manifest,
        shared: _Shared | None,
        tables: Tables | None = None,
    ) -> IndexView:
        """Return a view of a manifest. Segments that ``shared`` has open, or ``tables`` has, are not opened again."""
        open_segment = self.segment_of(manifest)
        opened = shared.named if shared else {}
        entries = manifest.segments
        if tables:
            written = map(segment_name, entries)
            opened = {**opened, **{name: tables[name]() for name in written if name in tables}}
        if self._storage.traits.is_remote:
            absent = [entry for entry in entries if segment_name(entry) not in opened]
            opened = {**opened, **_each_opened(open_segment, absent)}
        named = zip(map(segment_name, entries), entries, strict=True)
        return IndexView(manifest, [opened[name] if name in opened else open_segment(entry) for name, entry in named])

    def segment_of(self, manifest: Manifest) -> Callable[[SegmentEntry], Segment]:
        """Return a method like `segment`: if the manifest's segments do not fit into memory, lookups read them."""
        return self._waiting if _is_too_large(manifest) else self.segment

    def _waiting(self, entry: SegmentEntry) -> Segment:
        segment = self.segment(entry)
        segment.wait()
        return segment

    def segment(self, entry: SegmentEntry) -> Segment:
        """Open a segment of a manifest."""
        try:
            return self._listed(entry, self._known_length(entry))
        except (FileNotFoundError, DamagedContainer):
            if self._storage.traits.is_remote:
                with suppress(FileNotFoundError, DamagedContainer):
                    return self._fetched_anew(entry)
            if not entry.is_of_batch:
                raise
            with suppress(FileNotFoundError, DamagedContainer):
                return self._table(entry)
            raise

    def _fetched_anew(self, entry: SegmentEntry) -> Segment:
        """Open a segment of a remote again: its copy here may be damaged, or the bytes from the network were."""
        self._storage.drop_copy(names.table(entry.number, entry.pack_id))
        return self._listed(entry)

    def _table(self, entry: SegmentEntry) -> Segment:
        """Open the table in the pack in the place of a file of its batch."""
        # The check belongs to the file, whose header differs if it has fences. So compare the header of the pack.
        return self._listed(entry._replace(number=0, check=0))

    def _known_length(self, entry: SegmentEntry) -> int | None:
        """Return the length of a segment file of a remote, which saves a request for it; None for any other segment."""
        return file_length(entry.count) if self._storage.traits.is_remote and entry.number else None

    def _listed(self, entry: SegmentEntry, length: int | None = None) -> Segment:
        file = self._storage.open(names.table(entry.number, entry.pack_id), length)
        try:
            if entry.number:
                segment = open_segment_file(file)
            elif self._storage.traits.is_remote:
                # There is no other pack of this name, and reading its header would be a request.
                segment = _segment_in(file, entry, _fetched(file, entry))
            else:
                # Another pack may have a segment at this place, of other keys. Keys of this pack would be missing.
                self._check_pack(file, entry.pack_id)
                segment = _segment_in(file, entry)
        finally:
            file.close()
        if (segment.count, segment.tombstones) != (entry.count, entry.tombstones):
            raise DamagedContainer(file.path, "a segment has other entries than the manifest says", entry.offset)
        if entry.check and segment.check != entry.check:
            raise DamagedContainer(file.path, "another segment is in the place of this one", entry.offset)
        return segment

    def verified(self, entry: SegmentEntry, segment: Segment) -> Segment:
        """Verify an open segment as a whole. Return it or, if the file is damaged, the table in the pack."""
        try:
            segment.entries()
        except DamagedContainer:
            if self._storage.traits.is_remote and not segment.is_decoded:
                with suppress(FileNotFoundError, DamagedContainer):
                    fresh = self._fetched_anew(entry)
                    fresh.entries()
                    return fresh
            if not entry.is_of_batch or segment.is_decoded:
                raise
            return self._table(entry)
        return segment

    def mended(self, view: IndexView) -> IndexView | None:
        """Return a view in which the tables in packs replace damaged files of batches. Raise nothing.

        Return None if no such file is damaged, or if anything else is.
        """
        opened = zip(view.manifest.segments, view.segments, strict=True)
        with suppress(FileNotFoundError, DamagedContainer):
            segments = [self.verified(entry, segment) for entry, segment in opened]
            if any(map(is_not, segments, view.segments)):
                return IndexView(view.manifest, segments, view.damage)
        return None

    def left_of(self, manifest: Manifest) -> Manifest:
        """Return a manifest without the batches that a power loss has taken."""
        return self._losses.unwritten(self._losses.cut(manifest), ()) if manifest.packs.behind else manifest

    def whole(self, manifest: Manifest, shared: _Shared | None) -> IndexView:
        """Return `view` of a manifest without the batches that a power loss has taken."""
        if not manifest.packs.behind:
            return self.view(manifest, shared)
        left = self._losses.cut(manifest)
        if any(segment.number and segment.pack_id for segment in left.segments):
            # Their files may be whole although the batches are lost. Each batch is checked once in a process.
            known: Collection[SegmentName] = shared.named if shared else ()
            left = self._losses.unwritten(left, known)
        try:
            view = self.view(left, shared)
        except (FileNotFoundError, DamagedContainer):
            less = self._losses.unwritten(left, ())
            if less is left:
                raise
            left, view = less, self.view(less, shared)
        return view if left is manifest else counted(view)


def _each_opened(
    open_segment: Callable[[SegmentEntry], Segment], entries: Sequence[SegmentEntry]
) -> dict[SegmentName, Segment]:
    """Return segments of a remote by their names, opened by threads. Raise the first error."""
    from rsdos.codecs.cores import most_waiting
    from rsdos.codecs.workers import Threads

    opened: dict[SegmentName, Segment] = {}

    def open_one(entry: SegmentEntry) -> None:
        opened[segment_name(entry)] = open_segment(entry)

    with Threads(most_waiting(_AT_ONCE)) as threads:
        threads.each(open_one, entries)
    return opened


def _is_too_large(manifest: Manifest) -> bool:
    """Return whether the segments of a manifest together take too much of the memory."""
    count = sum(entry.count for entry in manifest.segments)
    if count < _LARGE:
        return False
    from rsdos.storage.memory_limit import memory_limit  # Takes 0.2 ms the first time.

    return count * ENTRY_SIZE > memory_limit() // _PART


def open_segment_file(file: RandomAccess) -> Segment:
    """Return the segment in an open file, in either form. Raise `DamagedContainer`."""
    view = view_of(file, 0, file.size(), (0, HEADER_SIZE))
    if version_of(view.data) == FENCED_VERSION:
        from rsdos.index.fenced import FencedSegment

        return FencedSegment(file, view=view)
    return Segment(file, view=view)


def _segment_in(file: RandomAccess, entry: SegmentEntry, view: View | None = None) -> Segment:
    """Return the segment at the place of an entry in an open pack. A compact table is decoded in memory.

    ``view`` is a view of these bytes, if there is one.
    """
    try:
        return Segment(file, entry.offset, entry.length, view)
    except CompactFound:
        from rsdos.index.compact import CompactTable

        return CompactTable(file, entry.offset, entry.length, view).as_segment()


def _fetched(file: RandomAccess, entry: SegmentEntry) -> View:
    """Return a view of all bytes of a table in a pack of a remote: one request, instead of one for each part."""
    from rsdos.storage.memory import MemoryView

    if entry.length > _MOST_TABLE:
        raise DamagedContainer(file.path, f"a table of {entry.length} bytes", entry.offset)
    return MemoryView(file.read(entry.offset, entry.length))

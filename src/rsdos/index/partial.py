"""A manifest whose segments are opened one after another, as lookups need them.

A program that opens a container and reads one object finds it in one of up to sixteen segments, most often in the
largest. Opening the others takes two or three requests each: 40 ms of 60, on a medium that takes 2 ms for a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.segment import Segment
from rsdos.index.view import IndexView
from rsdos.model import Record
from rsdos.storage.base import Version


class PartialView:
    """Finds objects that are there, and never says that an object is absent. Any number of threads."""

    def __init__(self, manifest: Manifest, file: Version, open_segment: Callable[[SegmentEntry], Segment]) -> None:
        """``manifest`` is one that `may_be_partial`, and ``file`` is the version of its file."""
        self.manifest = manifest
        self.number = manifest.number
        self.file = file
        self._open: dict[SegmentName, Segment] = {}
        """The open segments. Each is added in one step, because other threads add some too."""
        self._open_segment = open_segment
        self._entries = sorted(manifest.segments, key=lambda entry: entry.count, reverse=True)
        self._packs = manifest.packs.live

    @property
    def named(self) -> Mapping[SegmentName, Segment]:
        """The segments that are open now, by their names."""
        return dict(self._open)

    def find(self, digest: bytes) -> Record | None:
        """Return the live entry of a key. Return None if no segment has one; then all segments are open.

        Raise FileNotFoundError and `DamagedContainer` if a segment cannot be opened or read.
        """
        opened = self.named
        for segment in opened.values():
            if record := self._living(segment, digest):
                return record
        for entry in self._entries:
            if segment_name(entry) not in opened and (record := self._living(self._opened(entry), digest)):
                return record
        return None

    def _living(self, segment: Segment, digest: bytes) -> Record | None:
        record = segment.first(digest)
        if record is None or record.pack_id in self._packs:
            return record
        # A missing id belongs to a pack that was repacked. Merged segments may still name it.
        return next((copy for copy in segment.find(digest) if copy.pack_id in self._packs), None)

    def _opened(self, entry: SegmentEntry) -> Segment:
        return self._open.setdefault(segment_name(entry), self._open_segment(entry))

    def whole(self) -> IndexView:
        """Return a view of the manifest, whose segments are all open."""
        return IndexView(self.manifest, [self._open[segment_name(entry)] for entry in self.manifest.segments])


def may_be_partial(manifest: Manifest) -> bool:
    """Return whether one segment is enough to say that an object is there, whatever the others have.

    It is not if a tombstone may kill the entry, or if a power loss may have taken its batch.
    """
    return len(manifest.segments) > 1 and not (
        bool(manifest.packs.behind) or any(entry.tombstones for entry in manifest.segments)
    )

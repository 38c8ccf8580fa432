"""A manifest whose segments are opened one after another, as lookups need them.

A program that opens a container and reads one object finds it in one of up to sixteen segments, most often in the
largest. To open the others takes two or three requests each, 40 ms of 60 on a medium that takes 2 ms for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.segment import Segment
from rsdos.index.view import IndexView
from rsdos.model import Record
from rsdos.storage.base import Version


class PartialView:
    """Finds what is there, and does not say that anything is absent. Any number of threads."""

    def __init__(self, manifest: Manifest, file: Version, open_segment: Callable[[SegmentEntry], Segment]) -> None:
        """``manifest`` is one that `may_be_partial`, and ``file`` the version of its file."""
        self.manifest = manifest
        self.number = manifest.number
        self.file = file
        self._open: dict[SegmentName, Segment] = {}
        """Segments are added one by one, each in one step: other threads add some too."""
        self._open_segment = open_segment
        self._entries = sorted(manifest.segments, key=lambda entry: entry.count, reverse=True)
        self._packs = manifest.packs.live

    @property
    def named(self) -> Mapping[SegmentName, Segment]:
        """The segments that are open now, by their names."""
        return dict(self._open)

    def find(self, digest: bytes) -> Record | None:
        """Return the entry of a key; None when no segment has a living one, and then all are open.

        Raise FileNotFoundError and `DamagedContainer` where a segment cannot be opened or read.
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
        # An id that is not there any more is of a pack that was repacked: merged segments may still name it.
        return next((copy for copy in segment.find(digest) if copy.pack_id in self._packs), None)

    def _opened(self, entry: SegmentEntry) -> Segment:
        return self._open.setdefault(segment_name(entry), self._open_segment(entry))

    def whole(self) -> IndexView:
        """Return a view of the manifest, whose segments are all open."""
        return IndexView(self.manifest, [self._open[segment_name(entry)] for entry in self.manifest.segments])


def may_be_partial(manifest: Manifest) -> bool:
    """Return whether one segment can say that an object is there, whatever the others have.

    Not where a tombstone may kill it, or a power loss may have taken its batch.
    """
    return len(manifest.segments) > 1 and not (
        bool(manifest.packs.behind) or any(entry.tombstones for entry in manifest.segments)
    )

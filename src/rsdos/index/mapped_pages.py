"""Keeping the pages that lookups have mapped within bounds.

The segments are mapped. Lookups anywhere in an index of 6.7 GB would make all of it count as memory of the process, and
batch systems kill for that. Pages that are given back stay in the system's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rsdos.storage.resident import resident_files

if TYPE_CHECKING:
    from rsdos.index.digests import Digests, Positions
    from rsdos.index.segment import Segment

_MOST = 160 << 20
"""Bytes of mapped pages that are kept."""

_LOOKUPS = 1 << 6
"""Lookups after which the mapped pages are counted. One mapped 0.2 MiB of a file on tmpfs, and 0.8 of one on ext4."""

_SPAN = 1 << 26
"""Bytes of a segment among which keys are looked up together. All of them may be mapped then."""

_KEYS = 80
"""Keys that are looked up together wherever they are: at 0.8 MiB each, they map as much."""


class MappedPages:
    """The mapped pages of the segments of a large index. Any number of threads.

    Threads that count at the same time may lose a count.
    """

    _others = -1
    """Resident bytes of files when those of the segments were given back last. Of the process: a new view of the index,
    after each commit, must not take the pages of the view before it for those of others."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._left = _LOOKUPS
        if MappedPages._others < 0:
            MappedPages._others = resident_files()

    def looked_up(self, keys: int = 1) -> None:
        """Count lookups. Give the pages back when there are too many."""
        self._left -= keys
        if self._left < 0:
            self._left = _LOOKUPS
            if resident_files() > MappedPages._others + _MOST:
                for segment in self._segments:
                    segment.let_all_go()
                MappedPages._others = resident_files()

    def parts(self, segment: Segment, wanted: Digests) -> Iterator[Positions]:
        """Yield the positions of keys to look up together in a segment, and count them. Leave out those that it can
        exclude.

        A part is a range of keys, so that it maps a part of the segment. A key that is given twice is in one part.
        Neighbours are one part: a delete by a listing of the container looks up 32,768 in a small range at a time.
        """
        import numpy as np

        passed = segment.passing_of_large(wanted)
        prefixes = wanted.prefixes if passed is None else wanted.prefixes[passed]
        order = np.argsort(prefixes)
        ordered = prefixes[order]
        span = int(ordered[-1]) - int(ordered[0]) if len(ordered) else 0
        parts = min((segment.length * span >> 64) // _SPAN, len(ordered) // _KEYS) + 1
        cuts = np.searchsorted(ordered, ordered[np.arange(1, parts) * len(order) // parts])
        for part in np.split(order if passed is None else passed[order], cuts):
            yield part
            self.looked_up(len(part))

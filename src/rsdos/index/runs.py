"""Entries in storage order, in runs that are worth one read each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.index.digests import Positions, Records
    from rsdos.index.entries import Entries

_LISTED = 1 << 12
"""Entries that become lists together, and the most of a run: 1 MB, so that everything made of them stays in the
processor's caches."""

_COLUMNS = ("offset", "length", "size", "crc", "codec")
"""The columns of a `ReadRange`, in its order."""


class ReadRange(NamedTuple):
    """Neighbours in one pack, as columns. ``crc`` is the CRC-32 of the stored bytes alone, without the key."""

    positions: list[int]
    pack_id: int
    flags: int
    offset: list[int]
    length: list[int]
    size: list[int]
    crc: list[int]
    codec: list[int]

    def part(self, at: Sequence[int]) -> ReadRange:
        """Return some of the neighbours."""
        columns = (self.positions, self.offset, self.length, self.size, self.crc, self.codec)
        positions, offset, length, size, crc, codec = ([column[i] for i in at] for column in columns)
        return ReadRange(positions, self.pack_id, self.flags, offset, length, size, crc, codec)


def coalesce(entries: Entries, gap: int, window: int) -> Iterator[ReadRange]:
    """Yield all entries of a table in storage order, in runs; see `Found.runs`."""
    import numpy as np

    return Found(entries, np.arange(len(entries.prefixes)), np.empty(0, np.intp)).runs(gap, window)


def rows(entries: Entries, gap: int, window: int) -> Iterator[Entries]:
    """Yield all entries of a table in storage order, those of each run of `coalesce` by themselves."""
    ordered = entries.in_storage_order()
    for start in range(0, len(ordered), _LISTED):
        some = ordered.take(slice(start, start + _LISTED))
        for begin, end in pairwise(_edges(some.records, gap, window)):
            yield some.take(slice(begin, end))


def _edges(records: Records, gap: int, window: int) -> list[int]:
    """Return where the runs of some entries in storage order begin, and where the last one ends; see `Found.runs`."""
    import numpy as np

    pack_ids, offsets, flags = records["pack_id"], records["offset"], records["flags"]
    ends, windows = offsets + records["length"], offsets // np.uint64(window)
    breaks = (
        (pack_ids[1:] != pack_ids[:-1])
        | (offsets[1:] > ends[:-1] + np.uint64(gap))
        | (windows[1:] != windows[:-1])
        | (flags[1:] != 0)
        | (flags[:-1] != 0)
    )
    return [0, *(np.flatnonzero(breaks) + 1).tolist(), len(records)]


class Found(NamedTuple):
    """The answer to a bulk lookup: ``entries[i]`` answers the digest at ``positions[i]``; the others are missing."""

    entries: Entries
    positions: Positions
    missing: Positions

    def runs(self, gap: int, window: int) -> Iterator[ReadRange]:
        """Yield the hits in storage order, in runs that are worth one read each.

        The extents of a run are in one pack, begin within the same ``window`` bytes of it, and have at most ``gap``
        unwanted bytes between them. A framed object is a run of its own.
        """
        order = self.entries.storage_order()
        for start in range(0, len(order), _LISTED):
            at = order[start : start + _LISTED]
            records = self.entries.take(at).keyed().records
            positions = self.positions[at].tolist()
            of_pack, of_flags = records["pack_id"].tolist(), records["flags"].tolist()
            columns = [records[name].tolist() for name in _COLUMNS]
            for begin, end in pairwise(_edges(records, gap, window)):
                part = slice(begin, end)
                yield ReadRange(positions[part], of_pack[begin], of_flags[begin], *[column[part] for column in columns])

"""Opening the segments of a manifest one after another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import pytest

from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.partial import PartialView
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import encode_segment
from rsdos.index.table_bytes import TableBytes
from rsdos.model import Record

KEYS = [bytes([number]) * 32 for number in range(1, 6)]
ABSENT = b"\xff" * 32
"""In none of the segments, of which each has one key."""

MANIFEST = Manifest(
    1,
    "0" * 32,
    next_pack_id=2,
    packs=Packs.of([PackEntry(1, 100, 100)]),
    segments=tuple(SegmentEntry(1, 0, number=number) for number in range(1, 6)),
)


def opened(entry: SegmentEntry) -> Segment:
    data = encode_segment(Entries.of_records([Record(KEYS[entry.number - 1], 1, 0, 0, 0, 0, 0, 0)]))
    return Segment(TableBytes("segment", (), data))


@pytest.mark.parametrize(("found", "at"), list(permutations(range(1, 6), 2)))
def test_what_another_thread_opens_while_a_segment_is_opened_is_kept_and_shared(found: int, at: int) -> None:
    """Whatever the other thread looks up, and in the middle of whichever segment."""
    others: list[Mapping[SegmentName, Segment]] = []

    def open_segment(entry: SegmentEntry) -> Segment:
        if entry.number == at and not others:
            others.append({})
            assert part.find(KEYS[found - 1]) is not None
            others.append(part.named)
        return opened(entry)

    part = PartialView(MANIFEST, (), open_segment)
    assert part.find(ABSENT) is None
    view = part.whole()
    assert list(view.named) == [segment_name(entry) for entry in MANIFEST.segments]
    assert all(view.named[name] is segment for name, segment in others[1].items())
    assert all(view.find(key) is not None for key in KEYS)

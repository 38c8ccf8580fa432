"""Lookups in one state of the index: which copy counts, what damage hides, and the order in which objects are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rsdos import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.runs import Found
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import encode_segment
from rsdos.index.view import IndexView, key_lists
from rsdos.model import Record, RecordFlag
from rsdos.storage.local import LocalFile

ONE, TWO, THREE = b"\1" * 32, b"\2" * 32, b"\3" * 32


def entry(digest: bytes, pack_id: int, offset: int, length: int = 5, flags: int = 0) -> Record:
    return Record(digest, pack_id, offset, length, 7, 0, 0, flags)


def tombstone(digest: bytes, pack_id: int, offset: int) -> Record:
    return entry(digest, pack_id, offset, 0, RecordFlag.TOMBSTONE)


def view(directory: Path, packs: Sequence[int], *tables: Sequence[Record]) -> IndexView:
    """A view of segment files with these records."""
    segments, entries = [], []
    for number, records in enumerate(tables, 1):
        path = directory / f"{number:010d}.seg"
        path.write_bytes(encode_segment(Entries.of_records(records).sort()))
        segments.append(Segment(LocalFile(str(path))))
        dead = sum(bool(record.flags & RecordFlag.TOMBSTONE) for record in records)
        entries.append(SegmentEntry(len(records), dead, number))
    live = Packs.of(PackEntry(pack_id, 1 << 20, 1 << 20, objects=10) for pack_id in packs)
    return IndexView(Manifest(1, "0" * 32, max(packs) + 1, len(tables) + 1, live, tuple(entries)), segments)


def places(records: Sequence[Record]) -> list[tuple[int, int]]:
    return sorted((record.pack_id, record.offset) for record in records)


def all_keys(state: IndexView, prefix: str = "") -> list[str]:
    return [key for keys in key_lists(prefix, state.tables) for key in keys]


def test_a_key_is_found_in_whichever_segment_it_is(tmp_path: Path) -> None:
    state = view(tmp_path, [1], [entry(ONE, 1, 64)], [entry(TWO, 1, 128)])
    assert [record and record.offset for record in map(state.find, (ONE, TWO, THREE))] == [64, 128, None]
    found = state.find_many([THREE, TWO, ONE])
    assert dict(zip(found.positions.tolist(), found.entries.records["offset"].tolist(), strict=True)) == {1: 128, 2: 64}
    assert found.missing.tolist() == [0]


def test_a_tombstone_in_a_later_or_an_earlier_segment_hides_its_copy_alone(tmp_path: Path) -> None:
    state = view(tmp_path, [1, 2], [tombstone(ONE, 1, 64), entry(TWO, 1, 128)], [entry(ONE, 1, 64), entry(ONE, 2, 64)])
    assert places(state.find_all(ONE)) == [(2, 64)]
    record = state.find(ONE)
    assert record is not None and record.pack_id == 2
    assert places(list(state.live_copies([ONE, TWO]))) == [(1, 128), (2, 64)]


def test_copies_are_the_same_if_segments_are_taken_whole_and_not_searched(tmp_path: Path) -> None:
    state = view(
        tmp_path,
        [1, 2],
        [entry(ONE, 1, 64), entry(TWO, 1, 128), tombstone(THREE, 2, 64), tombstone(TWO, 2, 128)],
        [entry(ONE, 2, 256), entry(TWO, 2, 128), entry(THREE, 2, 64)],
        [tombstone(ONE, 1, 64), entry(TWO, 1, 512)],
    )
    first, _, third = state.segments
    wanted = first.entries().take(~first.entries().is_tombstone()).keys()
    assert places(list(state.copies_of(wanted))) == [(1, 128), (1, 512), (2, 256)]
    for whole in ([first], [first, third]):
        assert list(state.copies_of(wanted, whole)) == list(state.copies_of(wanted))


def test_a_deleted_object_is_missing_and_a_later_copy_is_found(tmp_path: Path) -> None:
    state = view(tmp_path, [1], [entry(ONE, 1, 64)], [tombstone(ONE, 1, 64)], [entry(ONE, 1, 256)])
    assert places(state.find_all(ONE)) == [(1, 256)]
    gone = view(tmp_path, [1], [entry(ONE, 1, 64)], [tombstone(ONE, 1, 64)])
    assert gone.find(ONE) is None and gone.find_many([ONE]).missing.tolist() == [0]


def test_entries_of_a_pack_that_the_manifest_does_not_name_are_not_found(tmp_path: Path) -> None:
    state = view(tmp_path, [2], [entry(ONE, 1, 64), entry(TWO, 2, 64)])
    assert state.find(ONE) is None
    assert all_keys(state) == [TWO.hex()]


def test_a_damaged_segment_hides_no_object_of_another_and_is_never_taken_for_absence(tmp_path: Path) -> None:
    state = view(tmp_path, [1], [entry(ONE, 1, 64)], [entry(TWO, 1, 128)])
    path = tmp_path / "0000000001.seg"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # In the entries' checksums.
    path.write_bytes(data)
    broken = Segment(LocalFile(str(path)))
    damaged = IndexView(state.manifest, [broken, state.segments[1]])
    record = damaged.find(TWO)
    assert record is not None and record.offset == 128
    for lookup in (damaged.find, damaged.find_all):
        with pytest.raises(DamagedContainer):
            lookup(THREE)
    with pytest.raises(DamagedContainer):
        damaged.find_many([TWO, THREE])
    readable = []
    with pytest.raises(DamagedContainer):
        for entries in damaged.readable_tables():
            readable += entries.hex_keys()
    assert readable == [TWO.hex()]


def test_keys_are_listed_once_sorted_and_by_prefix(tmp_path: Path) -> None:
    state = view(tmp_path, [1, 2], [entry(TWO, 1, 64), entry(ONE, 1, 128)], [entry(ONE, 2, 64), entry(THREE, 2, 128)])
    assert all_keys(state) == [ONE.hex(), TWO.hex(), THREE.hex()]
    assert all_keys(state, "02") == [TWO.hex()]
    assert all_keys(state, THREE.hex()) == [THREE.hex()]
    assert all_keys(state, "04") == []


def test_the_objects_of_a_pack_come_in_the_order_of_their_offsets(tmp_path: Path) -> None:
    state = view(tmp_path, [1, 2], [entry(ONE, 2, 300), entry(TWO, 2, 100)], [entry(ONE, 1, 64), entry(THREE, 2, 200)])
    first, second = state.manifest.packs
    assert [record.offset for table in state.in_storage_order(second) for record in table] == [100, 200]
    assert [record.offset for table in state.copies_in(second) for record in table] == [100, 200, 300]
    assert [record.offset for table in state.in_storage_order(first) for record in table] == [64]


def test_the_counts_of_a_pack_are_those_of_its_entries(tmp_path: Path) -> None:
    state = view(tmp_path, [1, 2], [entry(ONE, 1, 64), entry(TWO, 1, 128), entry(ONE, 2, 64)], [tombstone(TWO, 1, 128)])
    counts = [(pack.objects, pack.size, pack.stored, pack.dead_objects, pack.dead_stored) for pack in state.counted()]
    assert counts == [(2, 14, 10, 1, 5), (1, 7, 5, 1, 5)]


def ranges(gap: int, window: int, *records: Record) -> list[list[int]]:
    entries = Entries.of_records(records)
    found = Found(entries, np.arange(len(entries)), np.empty(0, np.intp))
    return [run.offset for run in found.runs(gap, window)]


def test_neighbours_are_one_read_unless_too_much_lies_between_them() -> None:
    records = entry(ONE, 1, 0, 10), entry(TWO, 1, 14, 10), entry(THREE, 1, 29, 10)
    assert ranges(4, 1 << 20, *records) == [[0, 14], [29]]
    assert ranges(5, 1 << 20, *reversed(records)) == [[0, 14, 29]]


def test_another_pack_another_window_and_a_framed_object_begin_another_read() -> None:
    assert ranges(100, 1 << 20, entry(ONE, 2, 0), entry(TWO, 1, 0)) == [[0], [0]]
    assert ranges(100, 64, entry(ONE, 1, 60), entry(TWO, 1, 65)) == [[60], [65]]
    framed = entry(TWO, 1, 5, flags=RecordFlag.FRAMED)
    assert ranges(100, 1 << 20, entry(ONE, 1, 0), framed, entry(THREE, 1, 10)) == [[0], [5], [10]]


def test_a_few_keys_have_the_copies_that_they_have_among_many(tmp_path: Path) -> None:
    state = view(
        tmp_path,
        [1, 2],
        [entry(ONE, 1, 64), entry(TWO, 1, 128)],
        [entry(ONE, 2, 64), tombstone(TWO, 1, 128)],
        [entry(THREE, 2, 256), entry(ONE, 3, 0)],  # Pack 3 is gone.
    )
    others = [bytes([number]) * 32 for number in range(100, 120)]
    for few in ([ONE], [TWO], [THREE], [ONE, TWO, THREE], [ONE, ONE], others[:1]):
        assert places(list(state.live_copies(few))) == places(list(state.live_copies([*few, *others])))
    assert places(list(state.live_copies([ONE, TWO, THREE]))) == [(1, 64), (2, 64), (2, 256)]
    assert state.find_many([TWO, ONE]).missing.tolist() == [0]

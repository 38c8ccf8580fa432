"""Marks on the keys of an index: what is marked, what is left, and in which tables."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from rsdos import DamagedContainer
from rsdos.index import key_marks
from rsdos.index.entries import Entries
from rsdos.index.key_marks import KeyMarks, RecordMarks, ViewMarks, sorted_batches
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import encode_segment
from rsdos.index.view import IndexView
from rsdos.model import Record, RecordFlag
from rsdos.storage.local import LocalFile
from tests.unit.index.fenced_data import digests

KEYS = digests(3000, 7)
ABSENT = digests(1000, 8)


def entry(digest: bytes, pack_id: int, offset: int, flags: int = 0) -> Record:
    return Record(digest, pack_id, offset, 0 if flags else 5, 7, 0, 0, flags)


def view(directory: Path, *tables: Sequence[Record]) -> IndexView:
    segments, entries = [], []
    for number, records in enumerate(tables, 1):
        path = directory / f"{number:010d}.seg"
        path.write_bytes(encode_segment(Entries.of_records(records).sort()))
        segments.append(Segment(LocalFile(str(path))))
        entries.append(SegmentEntry(len(records), sum(bool(record.flags) for record in records), number))
    packs = Packs.of(PackEntry(pack_id, 1 << 30, 1 << 30, objects=3000) for pack_id in (1, 2))
    return IndexView(Manifest(1, "0" * 32, 3, len(tables) + 1, packs, tuple(entries)), segments)


def mixed(directory: Path) -> IndexView:
    """Every third key is in two packs, every seventh is deleted from the first, and some are there twice in a pack."""
    return view(
        directory,
        [entry(key, 1, at) for at, key in enumerate(KEYS)],
        [entry(key, 2, at) for at, key in enumerate(KEYS) if at % 3 == 0],
        [entry(key, 2, 5000 + at) for at, key in enumerate(KEYS) if at % 5 == 0],
        [entry(key, 1, at, RecordFlag.TOMBSTONE) for at, key in enumerate(KEYS) if at % 7 == 0],
    )


def alive() -> dict[bytes, set[tuple[int, int]]]:
    copies = {key: {(1, at)} if at % 7 else set() for at, key in enumerate(KEYS)}
    for at, key in enumerate(KEYS):
        copies[key] |= {(2, at)} if at % 3 == 0 else set()
        copies[key] |= {(2, 5000 + at)} if at % 5 == 0 else set()
    return {key: places for key, places in copies.items() if places}


def mark(marks: ViewMarks | RecordMarks, keys: Iterable[bytes]) -> None:
    for batch in sorted_batches([list(keys)], len(KEYS[0])):
        marks.mark(batch)


def left(marks: ViewMarks, most: int) -> list[dict[bytes, set[tuple[int, int]]]]:
    tables = []
    for entries in marks.unmarked(most):
        found: dict[bytes, set[tuple[int, int]]] = {}
        for record in entries:
            found.setdefault(record.digest, set()).add((record.pack_id, record.offset))
        tables.append(found)
    return tables


@pytest.mark.parametrize("most", [1, 100, 1 << 15])
@pytest.mark.parametrize("kept", [1, 20, 1500, 3000])
@pytest.mark.parametrize("rows", [8, 1 << 16])
def test_all_live_copies_of_the_keys_without_a_mark_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, kept: int, rows: int
) -> None:
    monkeypatch.setattr(key_marks, "_ROWS", rows)
    monkeypatch.setattr(key_marks, "_KEYS", 2)
    keep = random.Random(kept).sample(KEYS, kept)
    marks = ViewMarks(mixed(tmp_path))
    # In several batches, with keys that come twice and keys that are not there.
    mark(marks, [*keep[::2], *ABSENT[:500], *keep[:7]])
    mark(marks, [*keep[1::2], *ABSENT[500:], *keep[:7]])
    for _ in range(2):  # A plan and its execution.
        tables = left(marks, most)
        assert max(map(len, tables), default=0) <= most
        keys = [key for table in tables for key in table]
        copies = alive()
        assert keys == sorted(copies.keys() - set(keep))
        assert all(places == copies[key] for table in tables for key, places in table.items())


@pytest.mark.parametrize("rows", [8, 1 << 16])
def test_keys_that_are_not_there_are_told_and_marked_ones_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(key_marks, "_ROWS", rows)
    monkeypatch.setattr(key_marks, "_KEYS", 2)
    marks = ViewMarks(mixed(tmp_path))
    for batch in sorted_batches([KEYS[::3], ABSENT], 32):
        assert marks.mark(batch).tolist() == sorted(int.from_bytes(key[:8], "big") for key in ABSENT)
    every = sorted([*KEYS, *ABSENT])
    wanted = set(KEYS[::3])
    numbers = np.array([int.from_bytes(key[:8], "big") for key in every], np.uint64)
    assert marks.among(numbers).tolist() == [key in wanted for key in every]
    assert marks.among(numbers[:0]).tolist() == []


def test_keys_may_be_marked_while_the_others_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.index.merge._RANGE", 300)
    marks = ViewMarks(mixed(tmp_path))
    mark(marks, KEYS[:100])
    listed: set[bytes] = set()
    for entries in marks.unmarked(50):
        if not listed:
            mark(marks, KEYS[100:200])
        listed.update(entries.take(~marks.among(entries.prefixes)).digests())
    assert listed == alive().keys() - set(KEYS[:200])


def test_keys_that_begin_with_the_same_8_bytes_are_marked_together(tmp_path: Path) -> None:
    one, two = KEYS[0], KEYS[0][:8] + bytes(24)
    marks = ViewMarks(view(tmp_path, [entry(one, 1, 0), entry(KEYS[1], 1, 1)], [entry(two, 1, 2)]))
    mark(marks, [two])
    assert [set(table) for table in left(marks, 10)] == [{KEYS[1]}]


def test_an_empty_index_has_nothing_to_mark(tmp_path: Path) -> None:
    marks = ViewMarks(view(tmp_path))
    mark(marks, KEYS)
    assert left(marks, 10) == []


def test_a_damaged_segment_is_no_reason_to_list_less(tmp_path: Path) -> None:
    whole = view(tmp_path, [entry(KEYS[0], 1, 0)], [entry(KEYS[1], 1, 1)])
    with pytest.raises(DamagedContainer):
        ViewMarks(IndexView(whole.manifest, whole.segments, DamagedContainer("a segment", "is missing")))
    path = tmp_path / "0000000002.seg"
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedContainer):
        ViewMarks(IndexView(whole.manifest, [whole.segments[0], Segment(LocalFile(str(path)))]))


def test_batches_are_sorted_and_hold_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_marks, "_TOGETHER", 100)
    lists = [KEYS[:30], KEYS[30:30], KEYS[30:290], KEYS[290:400]]
    # Each is read before the next is made, which has the same memory.
    batches = [batch.tolist() for batch in sorted_batches(lists, 32)]
    assert all(batch == sorted(batch) and len(batch) <= 100 for batch in batches)
    first_bytes = [int.from_bytes(key[:8], "big") for key in KEYS[:400]]
    assert sorted(number for batch in batches for number in batch) == sorted(first_bytes)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_records_are_marked_by_the_keys_that_they_begin_with(hash_name: str) -> None:
    keys = sorted(hashlib.new(hash_name, b"%d" % number).digest() for number in range(100))
    twice = sorted([*keys, keys[50]])
    marks = RecordMarks(b"".join(key + b"rest" for key in twice), len(keys[0]) + 4)
    for batch in sorted_batches([keys[::3], [keys[50], hashlib.new(hash_name).digest()]], len(keys[0])):
        marks.mark(batch)
    found = list(marks.unmarked(7))
    assert max(map(len, found)) <= 7
    expected = [at for at, key in enumerate(twice) if key not in {*keys[::3], keys[50]}]
    assert [at for numbers in found for at in numbers] == expected


def test_marks_take_a_bit_for_each_entry(tmp_path: Path) -> None:
    import tracemalloc

    keys = digests(400_000, 9)
    path = tmp_path / "0000000001.seg"
    numbers = range(len(keys))
    table = Entries.of(keys, pack_id=1, offset=numbers, length=1, size=1, crc=0, codec=0, flags=0)
    path.write_bytes(encode_segment(table.sort()))
    packs = Packs.of([PackEntry(1, 1 << 30, 1 << 30, objects=len(keys))])
    state = IndexView(
        Manifest(1, "0" * 32, 2, 2, packs, (SegmentEntry(len(keys), 0, 1),)), [Segment(LocalFile(str(path)))]
    )
    prefixes = np.sort(table.prefixes)
    tracemalloc.start()
    try:
        marks = ViewMarks(state)
        for at in range(0, len(prefixes), 1000):
            marks.mark(prefixes[at : at + 1000])
        assert tracemalloc.get_traced_memory()[0] < 150_000
    finally:
        tracemalloc.stop()
    assert not list(marks.unmarked(10))


def test_records_that_are_not_sorted_are_told() -> None:
    assert RecordMarks(b"".join(sorted(KEYS)), 32).is_sorted
    assert not RecordMarks(b"".join(sorted(KEYS, reverse=True)), 32).is_sorted


def test_marks_of_other_entries_do_not_list_all(tmp_path: Path) -> None:
    """What is listed is deleted: the plan must fail before that."""
    marks = ViewMarks(mixed(tmp_path))
    mark(marks, KEYS[:500])
    assert marks.count == 500
    marks._view = view(tmp_path, [entry(key, 1, at) for at, key in enumerate(KEYS)])
    with pytest.raises(AssertionError, match="do not belong together"):
        list(marks.unmarked(100))


class Column(np.ndarray):
    """A column that notes how many of its elements each search was in."""

    searched: ClassVar[list[int]] = []

    def searchsorted(self, v, side="left", sorter=None):  # type: ignore[no-untyped-def]
        self.searched.append(len(self))
        return super().searchsorted(v, side, sorter)


def test_a_large_column_is_searched_range_by_range(monkeypatch: pytest.MonkeyPatch) -> None:
    # A search of the whole column for all bounds maps most of it: 800 MB of 100 million keys.
    monkeypatch.setattr(key_marks, "_ROWS", 1 << 8)
    prefixes = np.sort(np.random.default_rng(3).integers(0, 1 << 64, 100_000, np.uint64))
    column = prefixes.view(Column)
    marks = KeyMarks([column])
    column.searched.clear()
    assert not len(marks.mark(prefixes[::2]))
    assert marks.count == 50_000
    first, *others = column.searched
    assert first == 100_000
    assert len(others) > 300
    assert max(others) < 3000

"""Fenced segments: what a lookup reads of them, and what their filters answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rsdos.errors import DamagedContainer
from rsdos.index.digests import Digests
from rsdos.index.entries import Entries
from rsdos.index.fenced import FencedSegment
from rsdos.index.fenced_parts import crc_of, fenced_segment_parts, file_parts, filter_parts
from rsdos.index.key_filter import KeyFilter
from rsdos.index.segment_layout import FENCE, FENCED_FROM, FENCED_VERSION, FencedLayout, version_of
from rsdos.index.table_bytes import TableBytes
from rsdos.model import Record
from rsdos.storage.local import LocalFile
from rsdos.storage.opened import View
from tests.unit.index.fenced_data import digests, fenced_data

COUNT = 300_000
"""So many that a lookup is far from all of it, and the filter more than what is read for the first lookup."""


class Counting:
    """A view that counts what is needed of it, in the place of one that is far away."""

    keeps_open = False

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.needed: list[tuple[int, int]] = []
        self.asked_for: list[tuple[int, int]] = []

    def need(self, start: int, end: int) -> None:
        self.needed.append((start, end))

    def will_need(self, start: int, end: int) -> None:
        self.asked_for.append((start, end))

    def copy(self, start: int, end: int) -> bytes:
        self.need(start, end)
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        return


def opened(data: bytes, view: View | None = None) -> FencedSegment:
    return FencedSegment(TableBytes("segment", (), data), view=view)


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    return digests(COUNT, 18)


@pytest.fixture(scope="module")
def data(keys: list[bytes]) -> bytes:
    return fenced_data(keys)


def found(segment: FencedSegment, keys: list[bytes]) -> list[int | None]:
    """The offsets of the entries of some keys, one by one."""
    records = map(segment.first, keys)
    return [None if record is None else record.offset for record in records]


def test_only_large_files_are_fenced() -> None:
    for count in (FENCED_FROM - 1, FENCED_FROM):
        parts = file_parts(Entries.of_records([Record(key, 1, 0, 0, 0, 0, 0, 0) for key in digests(count, 1)]).sort())
        data = b"".join(bytes(part) for part in parts)
        assert (version_of(memoryview(data)) == FENCED_VERSION) == (count >= FENCED_FROM)


def test_a_lookup_of_a_key_is_one_request_of_at_most_32_kib(keys: list[bytes], data: bytes) -> None:
    chance = random.Random(1)
    for key in chance.sample(keys, 300):
        view = Counting(data)
        segment = opened(data, view)
        view.needed.clear()
        assert segment.first(key) is not None
        ((start, end),) = view.needed
        assert end - start <= 32 << 10


def test_a_lookup_of_an_absent_key_is_one_request_or_none_once_the_filter_is_there(data: bytes) -> None:
    view = Counting(data)
    segment = opened(data, view)
    segment.wait()
    absent = digests(2000, 2)
    for key in absent[:4]:
        view.needed.clear()
        assert segment.first(key) is None
        assert len(view.needed) == 1
    found(segment, absent[:10])  # The filter is read by now.
    view.needed.clear()
    view.asked_for.clear()
    assert found(segment, absent) == [None] * len(absent)
    assert len(view.asked_for) < 0.015 * len(absent)
    # It was read once, for so many lookups as take as long.
    assert len(view.needed) < 0.015 * len(absent)


def test_where_the_index_is_larger_than_memory_each_lookup_asks_for_its_entries(keys: list[bytes], data: bytes) -> None:
    view = Counting(data)
    segment = opened(data, view)
    segment.wait()
    segment.check_all()
    layout = FencedLayout(COUNT)
    for key in keys[:100]:
        view.asked_for.clear()
        assert segment.first(key) is not None
        ((start, end),) = view.asked_for
        assert layout.records <= start < end <= layout.table and end - start <= 58 * FENCE


def test_lookups_become_quick_once_their_place_was_read(keys: list[bytes], data: bytes) -> None:
    view = Counting(data)
    segment = opened(data, view)
    for _ in range(3):
        view.needed.clear()
        found(segment, keys[:50])
    assert not view.needed
    # And after some more nothing has to be checked any more.
    found(segment, keys[:1000])
    view.needed.clear()
    assert found(segment, keys) == list(range(COUNT))
    assert not view.needed


@pytest.mark.parametrize("prepare", [lambda segment: None, FencedSegment.wait, FencedSegment.check_all])
def test_a_bulk_lookup_finds_the_same(keys: list[bytes], data: bytes, prepare: Callable[[FencedSegment], None]) -> None:
    absent = digests(500, 3)
    for count in (1, 50, 140, 20_000):
        segment = opened(data)
        prepare(segment)
        wanted = [*keys[:count], *absent, *keys[-count:]]
        expected = [*range(count), *[-1] * 500, *range(COUNT - count, COUNT)]
        at = segment.find_many(Digests.of(wanted))
        offsets = segment.unchecked_entries().records["offset"][at].astype(np.int64)
        assert np.where(at < 0, -1, offsets).tolist() == expected


def test_a_bulk_lookup_of_few_keys_reads_two_places_for_each(keys: list[bytes], data: bytes) -> None:
    view = Counting(data)
    segment = opened(data, view)
    view.needed.clear()
    at = segment.find_many(Digests.of(keys[:20]))
    assert (at >= 0).all()
    filter_at = FencedLayout(COUNT).filter
    needed = [end - start for start, end in view.needed if start < filter_at]
    assert len(needed) <= 40 + 3 and sum(needed) <= 43 << 14
    # All are asked for before the first is waited for.
    assert len(view.asked_for) >= len(needed)


def test_keys_at_fences_and_copies_around_them() -> None:
    """The first entries of a key before a fence, at it and behind it; and more copies than there are between two."""
    spread = sorted(digests(5 * FENCE, 4))
    for at in (0, 1, FENCE - 1, FENCE, FENCE + 1, 2 * FENCE, 5 * FENCE - 1):
        for copies in (1, 2, 3, FENCE, 3 * FENCE):
            records = [Record(key, 1, 7, 1, 1, 1, 0, 0) for key in spread if key != spread[at]]
            mine = [Record(spread[at], 2, number, 1, 1, 1, 0, 0) for number in range(copies)]
            entries = Entries.of_records(records + mine).sort()
            segment = opened(b"".join(fenced_segment_parts(entries)))
            for _ in range(3):
                assert segment.first(spread[at]) == mine[0]
                segment.check_all()
            assert segment.find(spread[at]) == mine
            segment = opened(b"".join(fenced_segment_parts(entries)))
            segment.wait()
            assert segment.first(spread[at]) == mine[0]
            assert len(segment.find_all_many(Digests.of([spread[at]]))) == copies


def test_damage_in_one_block_is_told_by_the_lookups_that_need_it_and_no_others(keys: list[bytes], data: bytes) -> None:
    layout = FencedLayout(COUNT)
    bad = bytearray(data)
    bad[layout.records + 3 * layout.block_size] ^= 1
    segment = opened(bytes(bad))
    told = 0
    for number, key in enumerate(keys[:5000]):
        try:
            record = segment.first(key)
        except DamagedContainer:
            told += 1
        else:
            assert record is not None and record.offset == number
    # Of 1,060 blocks one is damaged, and of those that need it some need its neighbour too.
    assert 0 < told < 30


def test_in_a_large_index_absent_keys_are_excluded_by_what_is_between_their_fences(
    keys: list[bytes], data: bytes
) -> None:
    absent = digests(9_000, 3)
    # At fences, beside them, and at both ends.
    present = sorted(keys)[:: COUNT // 40] + sorted(keys)[FENCE - 1 : FENCE + 2] + [min(keys), max(keys)]
    wanted = [*absent[:5_000], *present, *absent[5_000:]]
    view = Counting(data)
    segment = opened(data, view)
    passed = segment.passing(Digests.of(wanted))
    assert passed is not None and len(passed) > len(present) + 50
    for _ in range(2):  # Blocks that are checked are read in smaller parts.
        left = segment.passing_of_large(Digests.of(wanted))
        assert left is not None and left.tolist() == list(range(5_000, 5_000 + len(present)))
    assert any(end - start == FENCE * 8 for start, end in view.needed)
    # For many of a table this is no saving.
    left = segment.passing_of_large(Digests.of(wanted[4_800:5_200]))
    assert left is not None and len(left) > len(present)


def test_damage_between_fences_excludes_no_key(keys: list[bytes], data: bytes) -> None:
    bad = bytearray(data)
    for block in range(FencedLayout(COUNT).records // FencedLayout.block_size):
        bad[FencedLayout(COUNT).start + block * FencedLayout.block_size] ^= 1
    segment = opened(bytes(bad))
    with pytest.raises(DamagedContainer, match="a block of a segment is damaged"):
        segment.passing_of_large(Digests.of([*digests(2000, 3), keys[0]]))


# The filter.


@pytest.mark.parametrize("count", [410, 8192, COUNT])
def test_a_filter_lets_its_keys_pass_and_one_other_in_a_hundred(count: int) -> None:
    prefixes = np.sort(np.frombuffer(random.Random(count).randbytes(8 * count), "<u8"))
    blocks = FencedLayout(count).filter_blocks
    data = b"".join(filter_parts(blocks, (prefixes,)))
    assert len(data) * 8 <= 10 * count
    read = KeyFilter(TableBytes("filter", (), data), 0, len(data))
    assert read.is_whole(crc_of((data,)))
    assert read.has_all(prefixes)
    others = np.frombuffer(random.Random(1).randbytes(8 * 50_000), "<u8")
    passing = read.mask(others)
    assert passing.mean() < (0.02 if count == 410 else 0.0105)
    assert [read.may_have(prefix) for prefix in others[:3000].tolist()] == passing[:3000].tolist()
    assert all(map(read.may_have, prefixes[:3000].tolist()))
    # Whatever the parts in which the keys come.
    cuts = sorted(random.Random(2).sample(range(count + 1), 9))
    parts = [prefixes[start:end] for start, end in pairwise([0, *cuts, count])]
    assert b"".join(filter_parts(blocks, parts)) == data


def test_a_filter_is_as_the_format_page_says(keys: list[bytes], data: bytes) -> None:
    layout = FencedLayout(COUNT)
    bits = data[layout.filter : layout.length]
    for key in keys[:2000]:
        p, m = int.from_bytes(key[:8], "big"), 10 * COUNT // 4096
        for i in range(5):
            bit = (p + i * (p >> 12 | 1)) % 4096
            assert bits[(p * m >> 64) * 512 + bit // 8] >> bit % 8 & 1


def test_a_damaged_filter_is_never_believed_and_is_told_by_a_check(keys: list[bytes], data: bytes) -> None:
    layout = FencedLayout(COUNT)
    bad = bytearray(data)
    bad[layout.filter : layout.length] = bytes(layout.length - layout.filter)  # "Nothing is here."
    segment = opened(bytes(bad))
    assert found(segment, keys[:500]) == list(range(500))
    assert (opened(bytes(bad)).find_many(Digests.of(keys)) >= 0).all()
    with pytest.raises(DamagedContainer, match="filter"):
        segment.verify()
    opened(data).verify()


def test_a_filter_of_other_keys_is_told_by_a_check(tmp_path: Path, keys: list[bytes]) -> None:
    """Whole, with the right checksum, and made wrong: an object that is there would read as missing."""
    some = keys[:FENCED_FROM]
    entries = Entries.of_records([Record(key, 1, 0, 0, 0, 0, 0, 0) for key in some]).sort()
    parts = fenced_segment_parts(entries)
    layout = FencedLayout(len(some))
    others = np.sort(entries.prefixes ^ np.uint64(1 << 63 | 5))
    wrong = b"".join(filter_parts(layout.filter_blocks, (others,)))
    good = b"".join(bytes(part) for part in parts)
    head = bytearray(good[:64])
    head[36:40] = crc_of((wrong,)).to_bytes(4, "little")
    from hashlib import sha256

    head[48:] = sha256(head[:48]).digest()[:16]
    path = tmp_path / "segment"
    path.write_bytes(bytes(head) + good[64 : layout.filter] + wrong)
    with pytest.raises(DamagedContainer, match="filter"):
        FencedSegment(LocalFile(str(path))).verify()


def test_fences_of_other_keys_are_told_by_a_check(keys: list[bytes]) -> None:
    from rsdos.index.fenced_parts import fenced_ends

    entries = Entries.of_records([Record(key, 1, 0, 0, 0, 0, 0, 0) for key in keys[:5000]]).sort()
    good = b"".join(bytes(part) for part in fenced_segment_parts(entries))
    layout = FencedLayout(5000)
    table, filter_ = good[layout.table : layout.table_end], good[layout.filter :]
    fences = (entries.prefixes[::FENCE] + np.uint64(1)).tobytes()
    head, tail = fenced_ends(layout, table, fences, crc_of((filter_,)), 0)
    with pytest.raises(DamagedContainer, match="fences"):
        opened(head + good[layout.start : layout.table] + tail + filter_).verify()

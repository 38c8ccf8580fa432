"""What tables of entries are asked, beside what segments and merges ask of them."""

import random

import pytest

from rsdos.hashing import SHA1, SHA256, HashType
from rsdos.index.digests import all_differ
from rsdos.index.entries import Entries
from rsdos.model import Record


@pytest.mark.parametrize("hash_type", [SHA256, SHA1])
@pytest.mark.parametrize("count", [1, 2, 5000])
def test_different_digests_are_distinguished(hash_type: HashType, count: int) -> None:
    digests = [hash_type.digest_of(b"%d" % number) for number in range(count)]
    random.Random(count).shuffle(digests)
    assert all_differ(digests)
    assert all_differ(hash_type.spelled_by(list(map(bytes.hex, digests))))
    assert not all_differ([*digests, digests[count // 2]])
    assert all_differ([])


def test_extents_are_told_apart_by_key_pack_and_offset_even_where_keys_begin_alike() -> None:
    beginnings = [bytes(8), b"\x01" * 8, b"\xff" * 8]
    records = [
        Record(beginning + bytes([end]) * 24, pack_id, offset, 10, 10, 0, 0, 0)
        for beginning in beginnings
        for end in (1, 2)
        for pack_id in (1, 2)
        for offset in (0, 4096)
    ]
    rest = [Record(SHA256.digest_of(b"%d" % number), 1, number, 10, 10, 0, 0, 0) for number in range(500)]
    chosen = random.Random(1)
    for share in (0.0, 0.2, 0.5, 1.0):
        mine = [record for record in records + rest if chosen.random() < 0.7]
        others = [record for record in records + rest if chosen.random() < share]
        chosen.shuffle(mine)
        known = {(record.digest[:8], record.extent) for record in others}
        expected = [(record.digest[:8], record.extent) in known for record in mine]
        mask = Entries.of_records(mine).of_extents(Entries.of_records(others).sort())
        assert mask.tolist() == expected


@pytest.mark.parametrize("tails", [1, 2])
def test_entries_of_one_key_are_sorted_by_pack_and_offset_and_those_that_begin_alike_by_key(tails: int) -> None:
    chosen = random.Random(tails)
    records = [
        Record(SHA256.digest_of(b"%d" % number)[:8] + bytes([tail]) * 24, pack_id, offset, 10, 10, 0, 0, 0)
        for number in range(50)
        for tail in range(tails)
        for pack_id in (1, 2, 300)
        for offset in (0, 70_000)
    ]
    expected = sorted(records, key=lambda record: record[:3])
    for _ in range(5):
        chosen.shuffle(records)
        assert list(Entries.of_records(records).sort()) == expected
    by_key = sorted(records, key=lambda record: record.digest[:8])
    assert list(Entries.of_records(by_key).sort()) == expected

"""Fingerprints: equal for the same entries in any order and any parts, and different for any other entry."""

from __future__ import annotations

import numpy as np
import pytest

from rsdos.index import fingerprint
from rsdos.index.entries import Entries
from rsdos.index.fingerprint import add_fingerprints, fingerprints
from rsdos.model import Record
from tests.data import noise

COUNT = 200


def record(number: int) -> Record:
    return Record(noise(32, number), number % 3 + 1, 4096 + 100 * number, 90, 120, number * 77, 2, 0)


EVERY = Entries.of_records([record(number) for number in range(COUNT)])


def test_the_order_of_entries_and_how_they_are_parted_is_of_no_matter() -> None:
    whole = fingerprints(EVERY)
    assert sorted(whole) == [1, 2, 3]
    assert fingerprints(EVERY.take(np.arange(COUNT)[::-1])) == whole
    parts: dict[int, int] = {}
    for start in range(0, COUNT, 7):
        add_fingerprints(parts, fingerprints(EVERY.take(slice(start, start + 7))))
    assert parts == whole


@pytest.mark.parametrize("together", [1, 7, COUNT - 1, COUNT])
def test_many_entries_are_hashed_part_by_part(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fingerprints(EVERY)
    monkeypatch.setattr(fingerprint, "_TOGETHER", together)
    assert fingerprints(EVERY) == whole


@pytest.mark.parametrize("member", ["prefix", "tail", "pack_id", "offset", "length", "size", "crc", "codec", "flags"])
def test_another_value_of_any_member_shows(member: str) -> None:
    table = Entries.of_records([record(5)])
    other = Entries(table.prefixes.copy(), table.records.copy())
    if member == "prefix":
        other.prefixes[0] ^= np.uint64(1)
    elif member == "tail":
        other.records["tail"] = noise(24, 1)
    else:
        other.records[member] += 1
    assert fingerprints(other) != fingerprints(table)


def test_values_that_are_exchanged_between_two_entries_show() -> None:
    one, two = record(0), record(3)
    swapped = [one._replace(crc=two.crc), two._replace(crc=one.crc)]
    assert fingerprints(Entries.of_records(swapped)) != fingerprints(Entries.of_records([one, two]))


def test_nothing_has_no_fingerprint() -> None:
    assert fingerprints(Entries.empty()) == {}

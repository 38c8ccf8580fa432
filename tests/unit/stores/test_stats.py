"""The counts of packs, and when a pack is worth a repack."""

from __future__ import annotations

import pytest

from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import NO_PACKS, Packs
from rsdos.model import Counts
from rsdos.stores.stats import PackedStats, is_worth_a_repack


def pack(stored: int, dead_stored: int, objects: int = 10, dead_objects: int = 0) -> PackEntry:
    return PackEntry(1, 4096, 4096, True, objects, 2 * stored, stored, dead_objects, 2 * dead_stored, dead_stored)


@pytest.mark.parametrize(("dead", "is_worth"), [(0, False), (199, False), (200, True), (1000, True)])
def test_a_fifth_of_dead_bytes_is_worth_a_repack(dead: int, is_worth: bool) -> None:
    assert is_worth_a_repack(pack(1000, dead)) is is_worth


def test_no_share_makes_a_pack_without_dead_bytes_worth_a_repack() -> None:
    assert not is_worth_a_repack(pack(1000, 0), 0.0)
    assert is_worth_a_repack(pack(1000, 1), 0.0)


def test_a_pack_of_dead_empty_objects_is_worth_a_repack_though_no_byte_is_dead() -> None:
    assert is_worth_a_repack(pack(0, 0, objects=2, dead_objects=2))
    assert not is_worth_a_repack(pack(0, 0, objects=2, dead_objects=1))


def test_the_sums_count_living_and_dead_apart() -> None:
    stats = PackedStats(Packs.of([pack(1000, 200, 10, 2), pack(500, 0)._replace(id=2)]), 99)
    assert stats.live == Counts(18, 2600, 1300)
    assert stats.dead == Counts(2, 400, 200)
    assert PackedStats(NO_PACKS, 0).live == Counts()

"""Which entries are alive, which of them a merge keeps, and the dead counts of packs."""

from __future__ import annotations

from rsdos.index.entries import Entries
from rsdos.index.liveness import counting_mask, kept_by_merge, live_mask, with_dead_counts
from rsdos.index.manifest import Manifest
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.model import PackKind, Record, RecordFlag

ONE, TWO = b"\1" * 32, b"\2" * 32


def entry(digest: bytes, pack_id: int, offset: int, flags: int = 0) -> Record:
    return Record(digest, pack_id, offset, 5, 7, 0, 0, flags)


def tombstone(digest: bytes, pack_id: int, offset: int) -> Record:
    return entry(digest, pack_id, offset, RecordFlag.TOMBSTONE)


def table(*records: Record) -> Entries:
    return Entries.of_records(records).sort()


def places(entries: Entries) -> list[tuple[bytes, int, int, bool]]:
    return [(one.digest, one.pack_id, one.offset, bool(one.flags & RecordFlag.TOMBSTONE)) for one in entries]


def test_a_tombstone_kills_its_extent_and_no_other_copy_of_the_key() -> None:
    entries = table(entry(ONE, 1, 64), entry(ONE, 2, 64), entry(TWO, 1, 80), tombstone(ONE, 1, 64))
    assert places(entries.take(live_mask(entries, [1, 2]))) == [(ONE, 2, 64, False), (TWO, 1, 80, False)]


def test_a_tombstone_of_another_key_at_the_same_place_kills_nothing() -> None:
    entries = table(entry(ONE, 1, 64), tombstone(TWO, 1, 64))
    assert places(entries.take(live_mask(entries, [1]))) == [(ONE, 1, 64, False)]


def test_entries_of_a_pack_that_is_gone_are_dead() -> None:
    entries = table(entry(ONE, 1, 64), entry(TWO, 2, 64))
    assert places(entries.take(live_mask(entries, [2]))) == [(TWO, 2, 64, False)]


def test_a_merge_drops_an_entry_together_with_its_tombstone() -> None:
    entries = table(entry(ONE, 1, 64), tombstone(ONE, 1, 64), entry(TWO, 1, 80))
    assert places(entries.take(kept_by_merge(entries, [1]))) == [(TWO, 1, 80, False)]


def test_a_merge_keeps_a_tombstone_whose_entry_is_in_another_segment_once() -> None:
    entries = table(tombstone(ONE, 1, 64), tombstone(ONE, 1, 64), entry(ONE, 2, 64))
    assert places(entries.take(kept_by_merge(entries, [1, 2]))) == [(ONE, 1, 64, True), (ONE, 2, 64, False)]


def test_a_merge_drops_a_tombstone_of_a_pack_that_is_gone() -> None:
    entries = table(tombstone(ONE, 1, 64), entry(ONE, 2, 64))
    assert places(entries.take(kept_by_merge(entries, [2]))) == [(ONE, 2, 64, False)]


def dead(manifest: Manifest) -> list[tuple[int, int, int]]:
    return [(pack.dead_objects, pack.dead_size, pack.dead_stored) for pack in manifest.packs]


def manifest(*packs: PackEntry) -> Manifest:
    return Manifest(1, "0" * 32, 3, 1, Packs.of(packs))


def test_the_second_copy_of_a_key_is_dead_bytes_of_its_pack() -> None:
    packs = manifest(
        PackEntry(1, 100, 100, objects=1, size=7, stored=5), PackEntry(2, 100, 100, objects=1, size=7, stored=5)
    )
    before, after = table(entry(ONE, 1, 64)), table(entry(ONE, 1, 64), entry(ONE, 2, 64))
    # The new copy is counted as dead when it is appended; here only the first one counts as live before and after.
    assert dead(with_dead_counts(packs, packs, before, after)) == [(0, 0, 0), (0, 0, 0)]
    assert dead(with_dead_counts(packs, packs, before, table())) == [(1, 7, 5), (0, 0, 0)]


def test_a_copy_that_becomes_the_first_is_not_dead_any_more() -> None:
    second = PackEntry(2, 100, 100, objects=1, size=7, stored=5, dead_objects=1, dead_size=7, dead_stored=5)
    packs = manifest(PackEntry(1, 100, 100, objects=1, size=7, stored=5), second)
    before, after = table(entry(ONE, 1, 64), entry(ONE, 2, 64)), table(entry(ONE, 2, 64))
    assert dead(with_dead_counts(packs, packs, before, after)) == [(1, 7, 5), (0, 0, 0)]


def test_dead_counts_stay_between_zero_and_the_total_of_the_pack() -> None:
    packs = manifest(PackEntry(1, 100, 100, objects=1, size=7, stored=5))
    two = table(entry(ONE, 1, 64), entry(TWO, 1, 80))
    assert dead(with_dead_counts(packs, packs, two, table())) == [(1, 7, 5)]
    assert dead(with_dead_counts(packs, packs, table(), two)) == [(0, 0, 0)]


def test_of_the_copies_of_a_key_a_plain_one_counts_before_a_held_one_and_that_before_a_page() -> None:
    kinds = {1: PackKind.TREES, 2: PackKind.HELD, 4: PackKind.HELD}
    three = table(entry(ONE, 1, 64), entry(ONE, 2, 64), entry(ONE, 3, 96), entry(ONE, 3, 64), entry(TWO, 1, 80))
    assert places(three.take(counting_mask(three, kinds))) == [(ONE, 3, 64, False), (TWO, 1, 80, False)]
    two = table(entry(ONE, 1, 64), entry(ONE, 4, 64), entry(ONE, 2, 96), entry(TWO, 3, 64))
    assert places(two.take(counting_mask(two, kinds))) == [(ONE, 2, 96, False), (TWO, 3, 64, False)]
    # Without kinds the first counts, as ever.
    assert places(two.take(counting_mask(two, {}))) == [(ONE, 1, 64, False), (TWO, 3, 64, False)]


def test_a_plain_copy_makes_the_held_one_dead_bytes_wherever_it_is() -> None:
    held = PackEntry(1, 100, 100, objects=1, size=7, stored=5, kind=PackKind.HELD)
    plain = PackEntry(2, 100, 100, objects=1, size=7, stored=5, dead_objects=1, dead_size=7, dead_stored=5)
    packs = manifest(held, plain)
    before, after = table(entry(ONE, 1, 64)), table(entry(ONE, 1, 64), entry(ONE, 2, 64))
    assert dead(with_dead_counts(packs, packs, before, after)) == [(1, 7, 5), (0, 0, 0)]
    # And back, when the plain one is deleted.
    gone = manifest(held.counting(held.total, held.total), plain.counting(plain.total, plain.dead - plain.dead))
    assert dead(with_dead_counts(gone, gone, after, before)) == [(0, 0, 0), (1, 7, 5)]

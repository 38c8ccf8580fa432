"""Which objects of a container of version 3 are dead, and what is old enough: by numbers and times alone."""

from __future__ import annotations

import pytest

from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import NO_PACKS, Packs
from rsdos.index.remote_state import PACK, SEGMENT, TABLE, RemoteState, Reservation, Retired
from rsdos.stores.remote.dead import NEWEST, Bounds, DeadNames, SeenManifest, bounds, lapsed, to_empty

DAY = 86400.0
NOW = SeenManifest(100, 50 * DAY)
ONE, TWO = "1" * 16, "2" * 16


def manifest(emptied_below: int = 1) -> Manifest:
    """Pack 1 and segment 2 are live, pack 3 is retired by commit 40, and 10 to 13 were reserved by commit 50."""
    remote = RemoteState(
        commit="0" * 32,
        reserved=(Reservation(10, 4, 50, "a" * 32),),
        retired=(Retired(PACK, 3, ONE, 40),),
        emptied_below=emptied_below,
    )
    return Manifest(
        number=100,
        container_id="0" * 32,
        next_pack_id=20,
        next_segment=20,
        packs=Packs.of([PackEntry(1, 10, 10, True, suffix=ONE)]),
        segments=(SegmentEntry(1, 0, pack_id=1), SegmentEntry(5, 0, number=2, suffix=ONE)),
        remote=remote,
    )


# What is old.


def test_the_newest_manifest_that_is_old_enough_counts() -> None:
    seen = [SeenManifest(number, number * DAY / 2) for number in range(1, 100)]
    assert bounds(seen, NOW, grace=DAY, keep=7 * DAY) == Bounds(98, 86)


def test_exactly_so_old_is_old() -> None:
    seen = [SeenManifest(7, 49 * DAY), SeenManifest(8, 49 * DAY + 0.001)]
    assert bounds(seen, NOW, grace=DAY, keep=DAY) == Bounds(7, 7)


def test_nothing_is_old_by_a_time_that_is_not_known() -> None:
    assert bounds([SeenManifest(7, 0.0)], NOW, grace=DAY, keep=DAY) == Bounds()
    assert bounds([SeenManifest(7, 1.0)], SeenManifest(100, 0.0), grace=0, keep=0) == Bounds()


def test_what_was_committed_since_is_not_old_even_if_the_clock_of_the_medium_was_set_back() -> None:
    assert bounds([SeenManifest(101, DAY), SeenManifest(100, 50 * DAY)], NOW, grace=DAY, keep=DAY) == Bounds()


def test_an_emptied_manifest_looks_young_and_hides_no_older_one() -> None:
    assert bounds(
        [SeenManifest(5, 50 * DAY), SeenManifest(4, 50 * DAY), SeenManifest(6, 30 * DAY)], NOW, DAY, DAY
    ) == Bounds(6, 6)


def test_reservations_and_retired_rows_lapse_by_the_commit_that_made_them() -> None:
    newest = manifest()
    assert lapsed(newest, Bounds(49, 39)) is newest
    assert lapsed(newest, Bounds(50, 39)).remote == newest.remote._replace(reserved=())  # type: ignore[union-attr]
    assert lapsed(newest, Bounds(49, 40)).remote == newest.remote._replace(retired=())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("emptied_below", "unneeded", "numbers"),
    [
        (1, 30, range(1, 30)),
        (20, 30, range(20, 30)),
        (30, 30, range(30, 30)),
        (40, 30, range(40, 30)),
        (1, 0, range(1, 0)),
        (1, 90, range(1, 100 - NEWEST + 1)),
    ],
)
def test_old_manifests_are_emptied_but_never_one_of_the_newest(
    emptied_below: int, unneeded: int, numbers: range
) -> None:
    found = to_empty(manifest(emptied_below=emptied_below), Bounds(90, unneeded))
    assert list(found) == list(numbers)
    assert len({*range(1, 101)} - {*range(1, found.stop)}) >= NEWEST


# What is dead.


@pytest.mark.parametrize(
    ("name", "is_dead"),
    [
        ((PACK, 1, ONE), False),
        ((SEGMENT, 2, ONE), False),
        ((PACK, 3, ONE), False),
        ((PACK, 4, ONE), True),
        ((SEGMENT, 4, ONE), True),
        ((TABLE, 4, ONE), True),
        ((PACK, 9, ONE), True),
        ((PACK, 10, ONE), False),
        ((SEGMENT, 13, ONE), False),
        ((PACK, 14, ONE), True),
        ((PACK, 19, ONE), True),
        ((PACK, 20, ONE), False),
        ((PACK, 4_000_000_000, ONE), False),
    ],
)
def test_dead_is_what_was_given_out_and_is_neither_live_nor_reserved_nor_retired(
    name: tuple[str, int, str], is_dead: bool
) -> None:
    assert DeadNames(manifest()).has(*name) is is_dead


@pytest.mark.parametrize("name", [(PACK, 1, TWO), (SEGMENT, 1, ONE), (PACK, 2, ONE), (PACK, 3, TWO), (SEGMENT, 3, ONE)])
def test_an_id_that_is_used_up_lives_under_one_name(name: tuple[str, int, str]) -> None:
    assert DeadNames(manifest()).has(*name)


def test_what_is_dead_stays_dead_whatever_is_committed_afterwards() -> None:
    before = manifest()
    dead = DeadNames(before)
    later = lapsed(before, Bounds(99, 99))._replace(next_pack_id=30, next_segment=30, packs=NO_PACKS)
    names = [(kind, number, suffix) for kind in (PACK, SEGMENT) for number in range(1, 20) for suffix in (ONE, TWO)]
    assert all(DeadNames(later).has(*name) for name in names if dead.has(*name))

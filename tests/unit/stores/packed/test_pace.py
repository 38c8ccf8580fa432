"""The gap over which a remote is read follows what its requests took."""

from __future__ import annotations

import random

import pytest

from rsdos.index.entries import Entries
from rsdos.index.runs import coalesce
from rsdos.model import FRAME_SIZE
from rsdos.stores.packed.ahead import IN_FLIGHT, MOST_SPAN, span_of
from rsdos.stores.packed.pace import FIRST_GAP, LEAST_GAP, MOST_GAP, Pace, Request, gap_of


def requests(wait: float, bytes_per_second: float, lengths: list[int]) -> list[Request]:
    return [Request(length, wait + length / bytes_per_second) for length in lengths]


SHORT_AND_LONG = [1000, 2000, 4000, 8000, 1 << 20, 2 << 20, 3 << 20, 4 << 20]


def test_the_gap_is_what_takes_as_long_as_the_wait_of_a_request() -> None:
    assert gap_of(requests(0.004, 100e6, SHORT_AND_LONG), FIRST_GAP) == pytest.approx(400_000, rel=0.01)
    assert gap_of(requests(0.002, 100e6, SHORT_AND_LONG), FIRST_GAP) == pytest.approx(200_000, rel=0.01)


def test_the_gap_stays_between_its_bounds() -> None:
    assert gap_of(requests(1.0, 1e9, SHORT_AND_LONG), FIRST_GAP) == MOST_GAP
    assert gap_of(requests(0.0001, 1e7, SHORT_AND_LONG), FIRST_GAP) == LEAST_GAP
    # Bytes that take no time at all, as far as these requests tell.
    assert gap_of([Request(length, 0.01) for length in SHORT_AND_LONG], FIRST_GAP) == MOST_GAP


def test_what_tells_nothing_changes_nothing() -> None:
    assert gap_of([], 123_456) == 123_456
    assert gap_of(requests(0.004, 100e6, SHORT_AND_LONG)[1:], 123_456) == 123_456
    assert gap_of(requests(0.004, 100e6, [1000 + at for at in range(64)]), 123_456) == 123_456


def test_one_slow_answer_changes_nothing() -> None:
    made = requests(0.004, 100e6, 4 * SHORT_AND_LONG)
    slow = [*made, Request(1500, 30.0)]
    assert gap_of(slow, FIRST_GAP) == pytest.approx(gap_of(made, FIRST_GAP), rel=0.1)


def test_only_the_last_64_requests_count() -> None:
    pace = Pace()
    assert pace.reach.gap == FIRST_GAP
    for made in requests(0.004, 100e6, 8 * SHORT_AND_LONG):
        pace.add(*made)
    assert pace.reach.gap == pytest.approx(400_000, rel=0.01)
    for made in requests(0.008, 100e6, 8 * SHORT_AND_LONG):
        pace.add(*made)
    assert pace.reach.gap == pytest.approx(800_000, rel=0.01)
    # A store that is known begins with what is known of it, within the bounds.
    assert Pace(1000).reach.gap == LEAST_GAP


def test_the_plan_has_each_object_once_in_storage_order_and_no_span_is_too_long() -> None:
    chance = random.Random(1)
    offsets, lengths, at = [], [], 0
    for _ in range(5000):
        at += chance.choice((0, 0, 1000, 300_000, 2_000_000))
        offsets.append(at)
        lengths.append(chance.choice((10, 1000, FRAME_SIZE)))
        at += lengths[-1]
    digests = [chance.randbytes(32) for _ in offsets]
    same: dict[str, int] = dict.fromkeys(("crc", "codec", "flags"), 0)
    entries = Entries.of(digests, pack_id=1, offset=offsets, length=lengths, size=lengths, **same)
    reach = Pace().reach
    runs = list(coalesce(entries, reach.gap, reach.window))
    assert [offset for run in runs for offset in run.offset] == offsets
    assert max(map(span_of, runs)) <= MOST_SPAN
    for run in runs:
        ends = [offset + length for offset, length in zip(run.offset, run.length, strict=True)]
        assert all(begin - end <= FIRST_GAP for begin, end in zip(run.offset[1:], ends, strict=False))


def test_what_is_under_way_has_at_most_128_mib() -> None:
    assert Pace().reach.held == IN_FLIGHT * MOST_SPAN == 128 << 20

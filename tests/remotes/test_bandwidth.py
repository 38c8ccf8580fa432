"""The limit of bytes per second, with a clock that only sleeping moves."""

from __future__ import annotations

import time

import pytest

from rsdos import CompressMode, Container, InvalidOption
from rsdos.maintenance.remotes.bandwidth import TokenBucket
from tests.data import noise


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += seconds


def bucket(rate: int, clock: Clock) -> TokenBucket:
    return TokenBucket(rate, lambda: clock.now, clock.sleep)


def test_many_small_amounts_take_their_time_together() -> None:
    clock = Clock()
    limit = bucket(1000, clock)
    for _ in range(100):
        limit.take(100)
    # 10,000 bytes: the first second's are there at once, and the last call does not wait for what it took.
    assert 8.5 <= clock.slept <= 10


def test_a_large_amount_is_paid_by_the_next_call() -> None:
    clock = Clock()
    limit = bucket(1000, clock)
    limit.take(50_000)
    assert clock.slept == 0
    limit.take(1)
    assert clock.slept == pytest.approx(49)


def test_a_pause_saves_up_one_second_and_no_more() -> None:
    clock = Clock()
    limit = bucket(1000, clock)
    limit.take(1000)
    clock.now += 3600
    limit.take(3000)
    limit.take(1)
    assert clock.slept == pytest.approx(2)


def test_time_that_the_work_itself_takes_counts() -> None:
    clock = Clock()
    limit = bucket(1000, clock)
    for _ in range(10):
        limit.take(1000)
        clock.now += 1
    assert clock.slept == 0


def test_a_rate_below_one_is_refused() -> None:
    with pytest.raises(InvalidOption):
        TokenBucket(0)


def test_a_push_and_a_pull_keep_to_the_limit(
    here: Container, there: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    here.insert_many([noise(100_000, seed) for seed in range(100)], compress=CompressMode.NO)
    here.remotes.push(limit=1_000_000)
    assert 1 <= clock.slept <= 10
    there.insert_many([noise(100_000, 1000 + seed) for seed in range(100)], compress=CompressMode.NO)
    clock.slept = 0
    here.remotes.pull(limit=1_000_000)
    assert 1 <= clock.slept <= 10

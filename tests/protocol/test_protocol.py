"""The model of the protocol: a share of the runs of `make protocol`, and the mutants, each of which must be found."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest.mock import patch

import pytest

from rsdos import Container
from rsdos.errors import Busy, CommitUnknown, Expired, Unavailable
from rsdos.storage import chance as clocks
from tests.data import key_of
from tests.protocol.bucket import Bucket
from tests.protocol.client import Client, Medium
from tests.protocol.judge import Judge
from tests.protocol.mutants import MUTANTS, small_world
from tests.protocol.run import BEGAN, play, tally
from tests.protocol.scheduler import Actor, Scheduler
from tests.protocol.weather import CALM

RUNS = 2000
_SHARE = 25


@pytest.mark.parametrize("first", range(0, RUNS, _SHARE))
def test_nothing_that_was_promised_is_lost(first: int) -> None:
    total = tally(first, _SHARE)
    assert not total.failed, total
    assert total.commits > 20 * _SHARE


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_protocol_without_one_of_its_rules_is_found_out(mutant: str) -> None:
    assert any(play(seed, mutant).wrong for seed in range(200))


def test_a_run_is_that_of_its_seed() -> None:
    one, other = play(7), play(7)
    assert one.trace == other.trace
    assert one.commits == other.commits


def test_sixteen_writers_that_take_turns_at_every_request_all_commit() -> None:
    chance = random.Random(0)
    bucket = Bucket(BEGAN)
    judge = Judge(bucket)
    scheduler = Scheduler(bucket, CALM, chance)
    objects = {name: [b"%s, %d" % (name.encode(), at) for at in range(3)] for name in map(str, range(16))}

    def write(actor: Actor) -> None:
        client = Client(scheduler, actor)
        container = Container(client)
        for data in objects[actor.name]:
            client.sender = judge.begin(actor.name, "insert", [bytes.fromhex(key_of(data))])
            container.insert_many([data])
            judge.stored(client.sender)

    with small_world(chance, scheduler), patch.object(clocks, "now", float):  # Their time never ends.
        Container.create(Medium(bucket), container_version=3)
        scheduler.run([Actor(name, write) for name in objects])
    assert not judge.wrong
    assert set(Container(Medium(bucket))) == {key_of(data) for some in objects.values() for data in some}


@pytest.mark.parametrize("is_rough", [False, True], ids=["calm", "lost answers"])
def test_each_of_forty_writers_is_acknowledged_or_told_to_run_again_and_nothing_is_lost(is_rough: bool) -> None:
    """The attack "412 storm": all want the same number at the same time, and their time ends."""
    chance = random.Random(1)
    bucket = Bucket(BEGAN)
    judge = Judge(bucket)
    scheduler = Scheduler(bucket, replace(CALM, lost=0.05, never=0.05) if is_rough else CALM, chance)
    objects = {f"writer {at}": b"object of writer %d" % at for at in range(40)}
    told: list[str] = []

    def write(actor: Actor) -> None:
        client = Client(scheduler, actor)
        data = objects[actor.name]
        while True:
            container = Container(client)
            client.sender = judge.begin(actor.name, "insert", [bytes.fromhex(key_of(data))])
            try:
                assert container.insert_many([data]) == [key_of(data)]
            except (Busy, CommitUnknown, Expired, Unavailable) as error:
                told.append(f"{actor.name}: {type(error).__name__}")
            else:
                judge.stored(client.sender)
                return

    with small_world(chance, scheduler):
        Container.create(Medium(bucket), container_version=3)
        scheduler.run([Actor(name, write) for name in objects])
    assert not judge.wrong
    assert told  # Otherwise the storm was none.
    there = Container(Medium(bucket))
    assert {key: there.extract(key) for key in there} == {key_of(data): data for data in objects.values()}

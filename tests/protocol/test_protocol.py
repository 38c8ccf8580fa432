"""The model of the protocol: a share of the runs of `make protocol`, and the mutants, each of which must be found."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest

from rsdos import Container
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

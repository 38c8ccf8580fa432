"""Operations beside one another, one call at a time, in orders that seeds decide: a share of `make interleave`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from math import comb
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.crash import shim
from tests.dictionaries import trained
from tests.helpers import ROOT, manifest_of
from tests.interleave.acts import ACTS, WITHOUT_LOCKS, act_of
from tests.interleave.child import Ending, Job
from tests.interleave.known import KNOWN, Fault
from tests.interleave.run import VERSIONS, Worker, pairs, unknown, working
from tests.interleave.threads import CASES, Points
from tests.interleave.world import MAIN, prepare

pytestmark = pytest.mark.skipif(not shim.CAN_BUILD, reason="needs gcc and Linux for the shim of the C library")

PARTS = 3
"""Tests that all pairs of a version are shared out to, so that processors share them."""


@pytest.fixture(scope="module")
def worker_of() -> Iterator[Callable[[int], Worker]]:
    """Starts the worker of a version once for all tests of a process: it does every act twice before the first job."""
    memory = Path("/dev/shm")
    with (
        TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory,
        ExitStack() as workers,
    ):
        yield cache(lambda version: workers.enter_context(working(version, Path(directory))))


def faults_of(worker: Worker, jobs: Iterable[Job]) -> dict[str, str]:
    """Play jobs, and return what is wrong that is not known."""
    faults = {}
    for job in jobs:
        faults.update({f"{' + '.join(job.acts)}, {kind}": text for kind, text in unknown(worker.tally(job)).items()})
    return faults


def test_the_page_counts_the_operations_and_the_orders_of_all_their_pairs() -> None:
    page = " ".join((ROOT / "docs" / "durability.md").read_text().split())
    first, second = (sum(version in act.versions for act in ACTS.values()) for version in VERSIONS)
    assert f"{first} operations of version 1 and {second} of version 2" in page
    orders = 200 * (comb(first + 1, 2) + comb(second + 1, 2))
    assert f"200 orders of every pair, {orders:,} schedules" in page


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledged_objects_exist_in_every_order(version: int, part: int, worker_of: Callable[[int], Worker]) -> None:
    jobs = [Job(acts, seeds=[number]) for number, acts in enumerate(pairs(version)) if number % PARTS == part]
    assert not faults_of(worker_of(version), jobs)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_dies_and_the_others_go_on(version: int, worker_of: Callable[[int], Worker]) -> None:
    some = [(number, acts) for number, acts in enumerate(pairs(version)) if number % 16 == 0]
    jobs = [Job(acts, seeds=[number], ending=Ending.KILLED) for number, acts in some]
    assert not faults_of(worker_of(version), jobs)


@pytest.mark.parametrize("version", VERSIONS)
def test_power_is_lost_behind_relaxed_and_full_writers_together(
    version: int, worker_of: Callable[[int], Worker]
) -> None:
    some = (["insert packed, relaxed", "delete one", "insert new"], ["insert loose, relaxed", "pack"])
    assert not faults_of(worker_of(version), [Job(acts, seeds=[0, 1], ending=Ending.POWER) for acts in some])


def test_power_is_lost_behind_large_batches(worker_of: Callable[[int], Worker]) -> None:
    some = (
        ["insert packed, relaxed, in large batches", "delete one", "insert new"],
        ["insert packed, in large batches", "optimize, in large batches"],
    )
    assert not faults_of(worker_of(2), [Job(acts, seeds=[0, 1], ending=Ending.POWER) for acts in some])


@pytest.mark.parametrize("version", VERSIONS)
def test_one_is_stopped_at_a_call_and_the_other_runs_whole(version: int, worker_of: Callable[[int], Worker]) -> None:
    """What needs no seed: every eighteenth call of a few; `make interleave ARGS="--sweep 1"` takes all of all pairs."""
    some = (["delete", "look and insert"], ["insert loose, duplicates", "delete"], ["insert packed", "repack"])
    assert not faults_of(worker_of(version), [Job(acts, share=18) for acts in some])


@pytest.mark.parametrize("version", VERSIONS)
def test_both_are_stopped_at_a_call_and_the_first_ends_first(version: int, worker_of: Callable[[int], Worker]) -> None:
    """A few of all n times m; `make interleave ARGS="--sweep 5 --second 5 --only 'delete + pack'"` takes more."""
    worker = worker_of(version)
    faults = {}
    for acts in (["delete", "insert loose, duplicates"], ["insert packed", "repack"], ["pack", "transfer out"]):
        tally = worker.tally(Job(acts, share=53, second=41))
        assert tally.schedules > 4
        faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


_BESIDE_SAVES = (
    "save",
    "tag",
    "save garbage",
    "forget and gc",
    "delete shared",
    "insert shared",
    "undo",
    "repack",
    "repair index",
)


@pytest.mark.parametrize("first", ["save", "save garbage", "tag", "undo"])
def test_what_snapshots_need_is_there_in_every_order(first: str, worker_of: Callable[[int], Worker]) -> None:
    jobs = []
    for number, second in enumerate(_BESIDE_SAVES):
        jobs += [
            Job([first, second], seeds=[number]),
            Job([first, second], share=127),
            Job([second, first], share=127),
            Job([first, second, "forget and gc"], seeds=[number]),
            Job([first, second], seeds=[number], ending=Ending.KILLED),
        ]
    assert not faults_of(worker_of(2), jobs)


def test_what_gc_takes_is_stored_again_wherever_the_save_is_stopped(worker_of: Callable[[int], Worker]) -> None:
    """At every 47th of its calls a whole gc runs, which takes what the save has found or is about to publish."""
    some = (["save garbage", "gc"], ["gc", "save garbage"], ["delete shared", "save"])
    assert not faults_of(worker_of(2), [Job(acts, share=47) for acts in some])


@pytest.mark.parametrize("part", range(4))
def test_threads_share_a_container_and_one_is_stopped_at_a_line(part: int, in_memory: Path) -> None:
    faults = {}
    points = Points(2, in_memory)
    for number, case in enumerate(CASES):
        if number % 4 == part:
            faults.update({f"{case} at {where}": some for where, some in points.sweep(case, 397, number * 7) if some})
    assert not faults


def test_the_acts_that_train_do_so_and_overhead_goes_into_one_pack(in_memory: Path) -> None:
    """Each by itself: else they would be played beside the others and try nothing new."""
    left = {}
    for name in ("insert packed, training", "repack, training anew", "optimize, mostly overhead"):
        prepare(in_memory / name, 2)
        act_of(name).run(in_memory / name, lambda said: None)
        left[name] = manifest_of(in_memory / name / MAIN).packs
    given = trained(0, 256).digest
    for name in ("insert packed, training", "repack, training anew"):
        assert {place.digest for pack in left[name] for place in pack.dictionaries} - {given}, name
    assert sorted(pack.live.objects for pack in left["optimize, mostly overhead"]) == [1, 8]


def test_the_rig_is_not_blind(worker_of: Callable[[int], Worker]) -> None:
    """Where locks lock nothing, two that pack lose something or damage it. (In version 1 lock files do as well.)"""
    acts = [f"insert packed{WITHOUT_LOCKS}", f"insert packed, large{WITHOUT_LOCKS}"]
    assert worker_of(2).tally(Job(acts, seeds=list(range(20)))).failed


SHOWN = [(fault, version) for fault in KNOWN for version in fault.shown]


@pytest.mark.parametrize(("fault", "version"), SHOWN, ids=[f"{fault.entry}-{version}" for fault, version in SHOWN])
def test_known_failures_still_fail(fault: Fault, version: int, worker_of: Callable[[int], Worker]) -> None:
    """Else it has been mended, and comes off the list."""
    acts, seeds = fault.shown[version]
    worker = worker_of(version)
    tallies = (worker.tally(Job(acts.split(" + "), seeds=[seed], ending=fault.ending)) for seed in range(seeds))
    assert any(fault.kinds & tally.kinds.keys() for tally in tallies)

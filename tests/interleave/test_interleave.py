"""Operations beside one another, one call at a time, in orders that seeds decide: a share of `make interleave`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import shim
from tests.interleave.acts import WITHOUT_LOCKS
from tests.interleave.child import Ending, Job
from tests.interleave.known import KNOWN, Fault
from tests.interleave.run import VERSIONS, pairs, unknown, working
from tests.interleave.threads import CASES, Points

pytestmark = pytest.mark.skipif(not shim.CAN_BUILD, reason="needs gcc and Linux for the shim of the C library")

PARTS = 8
"""Tests that all pairs of a version are shared out to, so that processors share them."""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledged_objects_exist_in_every_order(version: int, part: int, in_memory: Path) -> None:
    faults = {}
    with working(version, in_memory) as worker:
        for number, acts in enumerate(pairs()):
            if number % PARTS == part:
                tally = worker.tally(Job(acts, seeds=[number]))
                faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


@pytest.mark.parametrize("version", VERSIONS)
def test_one_dies_and_the_others_go_on(version: int, in_memory: Path) -> None:
    faults = {}
    with working(version, in_memory) as worker:
        for number, acts in enumerate(pairs()):
            if number % 16 == 0:
                tally = worker.tally(Job(acts, seeds=[number], ending=Ending.KILLED))
                faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


@pytest.mark.parametrize("version", VERSIONS)
def test_power_is_lost_behind_relaxed_and_full_writers_together(version: int, in_memory: Path) -> None:
    faults = {}
    with working(version, in_memory) as worker:
        for acts in (["insert packed, relaxed", "delete one", "insert new"], ["insert loose, relaxed", "pack"]):
            tally = worker.tally(Job(acts, seeds=[0, 1], ending=Ending.POWER))
            faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


def test_power_is_lost_behind_large_batches(in_memory: Path) -> None:
    faults = {}
    with working(2, in_memory) as worker:
        for acts in (
            ["insert packed, relaxed, in large batches", "delete one", "insert new"],
            ["insert packed, in large batches", "optimize, in large batches"],
        ):
            tally = worker.tally(Job(acts, seeds=[0, 1, 2], ending=Ending.POWER))
            faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


@pytest.mark.parametrize("version", VERSIONS)
def test_one_is_stopped_at_a_call_and_the_other_runs_whole(version: int, in_memory: Path) -> None:
    """What needs no seed: every eighteenth call of a few; `make interleave ARGS="--sweep 1"` takes all of all pairs."""
    faults = {}
    with working(version, in_memory) as worker:
        for acts in (
            ["delete", "look and insert"],
            ["insert loose, duplicates", "delete"],
            ["insert packed", "repack"],
        ):
            tally = worker.tally(Job(acts, share=18))
            faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


@pytest.mark.parametrize("version", VERSIONS)
def test_both_are_stopped_at_a_call_and_the_first_ends_first(version: int, in_memory: Path) -> None:
    """A few of all n times m; `make interleave ARGS="--sweep 5 --second 5 --only 'delete + pack'"` takes more."""
    faults = {}
    with working(version, in_memory) as worker:
        for acts in (["delete", "insert loose, duplicates"], ["insert packed", "repack"], ["pack", "transfer out"]):
            tally = worker.tally(Job(acts, share=37, second=29))
            assert tally.schedules > 9
            faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


_BESIDE_SAVES = (
    "save",
    "save garbage",
    "forget and gc",
    "delete shared",
    "insert shared",
    "undo",
    "repack",
    "repair index",
)


@pytest.mark.parametrize("first", ["save", "save garbage", "undo"])
def test_what_snapshots_need_is_there_in_every_order(first: str, in_memory: Path) -> None:
    faults = {}
    with working(2, in_memory) as worker:
        for number, second in enumerate(_BESIDE_SAVES):
            for job in (
                Job([first, second], seeds=[number, number + 100]),
                Job([first, second], share=61),
                Job([second, first], share=61),
                Job([first, second, "forget and gc"], seeds=[number]),
                Job([first, second], seeds=[number], ending=Ending.KILLED),
            ):
                tally = worker.tally(job)
                faults.update({f"{' + '.join(job.acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


def test_what_gc_takes_is_stored_again_wherever_the_save_is_stopped(in_memory: Path) -> None:
    """At every 47th of its calls a whole gc runs, which takes what the save has found or is about to publish."""
    faults = {}
    with working(2, in_memory) as worker:
        for acts in (["save garbage", "gc"], ["gc", "save garbage"], ["delete shared", "save"]):
            tally = worker.tally(Job(acts, share=47))
            faults.update({f"{' + '.join(acts)}, {kind}": text for kind, text in unknown(tally).items()})
    assert not faults


@pytest.mark.parametrize("part", range(4))
def test_threads_share_a_container_and_one_is_stopped_at_a_line(part: int, in_memory: Path) -> None:
    faults = {}
    points = Points(2, in_memory)
    for number, case in enumerate(CASES):
        if number % 4 == part:
            faults.update({f"{case} at {where}": some for where, some in points.sweep(case, 199, number * 7) if some})
    assert not faults


def test_the_rig_is_not_blind(in_memory: Path) -> None:
    """Where locks lock nothing, two that pack lose something or damage it. (In version 1 lock files do as well.)"""
    acts = [f"insert packed{WITHOUT_LOCKS}", f"insert packed, large{WITHOUT_LOCKS}"]
    with working(2, in_memory) as worker:
        assert worker.tally(Job(acts, seeds=list(range(20)))).failed


SHOWN = [(fault, version) for fault in KNOWN for version in fault.shown]


@pytest.mark.parametrize(("fault", "version"), SHOWN, ids=[f"{fault.entry}-{version}" for fault, version in SHOWN])
def test_known_failures_still_fail(fault: Fault, version: int, in_memory: Path) -> None:
    """Else it has been mended, and comes off the list."""
    acts, seeds = fault.shown[version]
    with working(version, in_memory) as worker:
        tallies = (worker.tally(Job(acts.split(" + "), seeds=[seed], ending=fault.ending)) for seed in range(seeds))
        assert any(fault.kinds & tally.kinds.keys() for tally in tallies)

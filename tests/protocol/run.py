"""Plays runs: `python -m tests.protocol.run SEEDS [FIRST]` prints the counts, and those of the mutants."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from time import process_time

from rsdos import Container
from rsdos.maintenance import collect
from rsdos.maintenance.check import validate
from tests.protocol.bucket import Bucket
from tests.protocol.client import Medium
from tests.protocol.judge import Judge
from tests.protocol.machines import COLLECT, DATA, crew
from tests.protocol.mutants import MUTANTS, small_world
from tests.protocol.scheduler import MOST_STEPS, Over, Scheduler
from tests.protocol.weather import KEEP, weather_of

BEGAN = 1_700_000_000.0
"""The bucket's time at first, in seconds."""

_SHARE = 100
"""Seeds that a process plays before it tells."""


@dataclass
class Played:
    """What came of a run."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    commits: int = 0
    steps: int = 0
    trace: list[str] = field(default_factory=list)


def play(seed: int, mutant: str = "") -> Played:
    """Play the run of a seed, of the design or of a mutant."""
    chance = random.Random(f"{mutant} {seed}")
    bucket = Bucket(BEGAN)
    judge = Judge(bucket)
    scheduler = Scheduler(bucket, weather_of(chance), chance)
    scheduler.is_wrong = lambda: bool(judge.wrong)
    with small_world(chance, scheduler), MUTANTS[mutant]() if mutant else nullcontext():
        medium = Medium(bucket)
        Container.create(medium, container_version=3, pack_size_target=400)
        try:
            scheduler.run(crew(scheduler, judge))
            _end(judge, scheduler, medium, whole=seed % 8 == 0)
        except Over:
            if not judge.wrong:
                judge.wrong.append(f"stuck: {MOST_STEPS} requests, and no end")
    return Played(seed, judge.wrong, judge.commits, scheduler.steps, scheduler.trace)


def _end(judge: Judge, scheduler: Scheduler, medium: Medium, *, whole: bool) -> None:
    """Judge what is left: by a new machine, before and after all that is dead was collected."""
    if judge.wrong:
        return
    bucket = medium.bucket
    while scheduler.chance.random() < 0.9 and scheduler.deliver_one():
        pass
    _read_all(judge, medium)
    bucket.clock += 2 * KEEP
    medium.sender = judge.begin("the last", "collect")
    engine = Container(medium).engine
    collect.execute(engine, collect.plan(engine, COLLECT))
    judge.collected()
    while scheduler.deliver_one():
        pass
    _read_all(judge, medium)
    if whole:
        engine = Container(medium).engine
        report = validate.execute(engine, validate.plan(engine, validate.ValidateOptions(validate.Depth.FULL)))
        judge.wrong.extend(f"validate: {finding}" for finding in (*report.files, *report.damaged))


def _read_all(judge: Judge, medium: Medium) -> None:
    medium.sender = operation = judge.begin("the last", "read")
    with Container(medium) as container:
        answers = dict.fromkeys(DATA, False)
        for key, data in container.extract_many([key.hex() for key in DATA], missing="none"):
            digest = bytes.fromhex(key)
            answers[digest] = data is not None
            if data is not None and data != DATA[digest]:
                judge.wrong.append(f"wrong bytes: {key}")
        judge.read(operation, answers, operation.began)
        listed = {bytes.fromhex(key) for key in container}
    if listed != judge.live[judge.newest]:
        judge.wrong.append("not found: what is listed is not what is there")


@dataclass
class Tally:
    """The counts of many runs."""

    runs: int = 0
    commits: int = 0
    steps: int = 0
    seconds: float = 0.0
    failed: list[tuple[int, str]] = field(default_factory=list)
    """The seeds of those in which something was wrong, and what was the first."""

    def add(self, other: Tally) -> None:
        """Add the counts of others."""
        self.runs += other.runs
        self.commits += other.commits
        self.steps += other.steps
        self.seconds += other.seconds
        self.failed += other.failed

    def __str__(self) -> str:
        kinds = Counter(wrong.partition(":")[0] for _, wrong in self.failed)
        what = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        return (
            f"{len(self.failed):,} of {self.runs:,} runs failed; {self.commits:,} commits, {self.steps:,} requests, "
            f"{self.seconds:.0f} s of CPU" + (f" ({what})" if what else "")
        )


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core: the threads of a run take turns, and waking one on another core is slow."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def tally(first: int, count: int, mutant: str = "") -> Tally:
    """Play some runs."""
    began, total = process_time(), Tally()
    with one_core():
        for seed in range(first, first + count):
            played = play(seed, mutant)
            total.runs += 1
            total.commits += played.commits
            total.steps += played.steps
            if played.wrong:
                total.failed.append((seed, played.wrong[0]))
    total.seconds = process_time() - began
    return total


def _tally_all(count: int, first: int, mutant: str, workers: int) -> Tally:
    total = Tally()
    shares = range(first, first + count, _SHARE)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        counts = [min(_SHARE, first + count - at) for at in shares]
        for share in pool.map(tally, shares, counts, [mutant] * len(shares)):
            total.add(share)
    return total


def _begin() -> None:
    """Begin a process: without a log, since what is wrong is judged."""
    logging.disable()


def main(arguments: Sequence[str]) -> int:
    """Play; print the counts, and what is wrong."""
    count, first, workers = int(arguments[0]), int((*arguments, "0", "0")[1]), os.cpu_count() or 1
    total = _tally_all(count, first, "", workers)
    print(f"the design: {total}", flush=True)
    for seed, wrong in total.failed[:20]:
        print(f"  seed {seed}: {wrong}")
    is_good = not total.failed
    for mutant in MUTANTS:
        caught = _tally_all(max(count // 20, 100), first, mutant, workers)
        print(f"{mutant}: {caught}", flush=True)
        is_good = is_good and bool(caught.failed)
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The program that plays schedules, started with the shim by `tests.interleave.run`.

`python -m tests.interleave.child VERSION DIRECTORY`: reads a `Job` in each line, as JSON, and prints a `Tally`.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import rsdos
from rsdos.codecs.workers import Threads
from tests.crash.judge import in_child
from tests.crash.replay import write
from tests.crash.warm import import_operations
from tests.interleave import oracle
from tests.interleave.acts import ACTS, act_of
from tests.interleave.power import losses
from tests.interleave.schedule import MATTERS, Cast, Order, Played, Stopped, order_of, play
from tests.interleave.world import Template, prepare
from tests.patience import HANG


class Ending(StrEnum):
    """How schedules end."""

    WHOLE = "whole"
    KILLED = "killed"
    """One actor dies at a step that the seed decides; the others go on."""
    POWER = "power"
    """Power is lost behind some of the calls."""


@dataclass
class Job:
    """Acts beside one another, by ``seeds`` or, where there are none, stopped at every ``share``-th step.

    With a ``second`` the second is stopped as well, at every so-manyth of its own steps for each stop of the first.
    """

    acts: list[str]
    seeds: list[int] = field(default_factory=list)
    share: int = 0
    second: int = 0
    ending: str = Ending.WHOLE


@dataclass
class Tally:
    """How many schedules were played, of how many steps; how many failed, of each kind, with an example."""

    acts: list[str]
    schedules: int = 0
    steps: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, faults: Sequence[str], played: Played, where: str) -> None:
        self.schedules += 1
        self.steps += len(played.trace)
        self.failed += bool(faults)
        for kind in {fault.partition(":")[0] for fault in faults}:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            example = next(fault for fault in faults if fault.startswith(kind))
            self.examples.setdefault(kind, f"{where}: {example}")


class Player:
    """Plays schedules of one version of container, one after another."""

    def __init__(self, version: int, directory: Path) -> None:
        def made() -> dict[str, str]:
            prepare(directory / "template", version)
            prepare(directory / "roomy", version, 9000)
            return {}

        assert not in_child(made)
        self._template = Template(directory / "template")
        self._roomy = Template(directory / "roomy")
        self._path = directory / "world"
        self._version = version
        _warm_up_acts(self._template, directory / "warm", version)
        self._trace = os.open(directory / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._cast = Cast(lambda name: act_of(name).run)
        self._lengths: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """End the processes of the actors."""
        self._cast.close()
        os.close(self._trace)

    def length(self, name: str) -> tuple[int, int]:
        """Steps of an act alone, and how many of them are no looks."""
        if name not in self._lengths:
            played, faults = self.run([name], Stopped([None]))
            assert not faults, f"{name!r} fails alone: {faults}\n{played.text()}"
            self._lengths[name] = len(played.trace), sum(step.kind in MATTERS for step in played.trace)
        return self._lengths[name]

    def order(self, names: Sequence[str], seed: int) -> Order:
        steps, changes = map(sum, zip(*map(self.length, names), strict=True))
        return order_of(seed, "+".join(names), len(names), steps, changes)

    def run(self, names: Sequence[str], order: Order, kill: tuple[int, int] | None = None) -> tuple[Played, list[str]]:
        """Play once; returns what was done, and what is wrong. ``kill``: see `play`."""
        self._template.make(self._path)
        try:
            acts = [act_of(name) for name in names]
            played = play(self._cast, names, self._path, order, kill)
            faults = list(oracle.told(played, acts))
            if not played.stuck:
                faults += patient(oracle.left(played, self._path, acts))
        finally:
            self._tidy()
        return played, faults

    def _tidy(self) -> None:
        shutil.rmtree(self._path)
        if self._version == 1:
            self._cast.close()  # A process keeps its connections to SQLite's file; each schedule begins without them.

    def kill(self, names: Sequence[str], seed: int) -> tuple[int, int]:
        """Which actor dies, and at which of its steps."""
        chance = random.Random(f"kill {names} {seed}")
        actor = chance.randrange(len(names))
        return actor, chance.randrange(self.length(names[actor])[0])

    def lose_power(self, names: Sequence[str], seed: int) -> tuple[Played, dict[str, list[str]]]:
        """Play once, and lose power behind some of the calls; returns what is wrong, by where that was."""
        trace = self._path.with_name("trace")
        os.truncate(trace, 0)
        order = self.order(names, seed)
        self._roomy.make(self._path)
        try:
            acts = [act_of(name) for name in names]
            played = play(self._cast, names, self._path, order, trace=self._trace)
            lost = {"whole": list(oracle.told(played, acts))}
        finally:
            self._tidy()
        for where, steps, tree in losses(self._path.with_name("roomy"), self._path, trace, played.trace, seed):
            write(tree, self._path)
            lost[where] = patient(oracle.after_power_loss(steps, self._path))
            shutil.rmtree(self._path)
        return played, lost

    def _stops(self, job: Job) -> Iterator[tuple[int, ...]]:
        for stop in range(1, self.length(job.acts[0])[0] + 1, job.share):
            if not job.second:
                yield (stop,)
                continue
            for second in range(1, self.length(job.acts[1])[0] + 1, job.second):
                yield stop, second

    def tally(self, job: Job) -> Tally:
        tally = Tally(job.acts)
        if job.share:
            for stops in self._stops(job):
                played, faults = self.run(job.acts, Stopped([*stops, *[None] * (len(job.acts) - len(stops))]))
                tally.add(faults, played, f"stop {' '.join(map(str, stops))}")
        for seed in job.seeds:
            if job.ending == Ending.POWER:
                played, lost = self.lose_power(job.acts, seed)
                for where, faults in lost.items():
                    tally.add(faults, played, f"seed {seed}, {where}")
                continue
            kill = self.kill(job.acts, seed) if job.ending == Ending.KILLED else None
            played, faults = self.run(job.acts, self.order(job.acts, seed), kill)
            tally.add(faults, played, f"seed {seed}")
        return tally


def patient(faults: Iterable[str]) -> list[str]:
    """Return the faults that are found, and that looking for them hangs, if it does."""
    found: list[str] = []
    signal.signal(signal.SIGALRM, _hang)
    signal.alarm(HANG)
    try:
        found += faults
    except _Hangs:
        found.append("hang: of the looks behind the schedule")
    finally:
        signal.alarm(0)
    return found


class _Hangs(BaseException):
    """No handler of errors takes it for one of theirs."""


def _hang(number: int, frame: object) -> None:
    raise _Hangs


def one_thread() -> None:
    """Let the store do without threads of its own: which of them comes first no seed decides."""
    rsdos.set_threads(0)
    make = Threads.__init__
    Threads.__init__ = lambda self, most: make(self, 1)  # type: ignore[method-assign]


def warm_up() -> None:
    """Import what actors would import each for itself."""
    import_operations()
    logging.disable()  # What is wrong is judged.


def _warm_up_acts(template: Template, path: Path, version: int) -> None:
    """Do everything once in this process: what is compiled and kept then, each actor has from the start.

    Of 81 ms of processor time for a schedule of version 2 it takes 22, of 66 for one of version 1 it takes 12.
    """
    for act in ACTS.values():
        if version in act.versions:
            template.make(path)
            with suppress(Exception):
                act.run(path, lambda said: None)
                list(oracle.left(Played(), path, [act]))
            shutil.rmtree(path)
    gc.collect()
    gc.freeze()


def main(version: str, directory: str) -> None:
    """Play what is asked for."""
    one_thread()
    warm_up()
    with closing(Player(int(version), Path(directory))) as player:
        for line in sys.stdin:
            print(json.dumps(asdict(player.tally(Job(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    assert os.environ.get("LD_PRELOAD"), "to be started with the shim"
    main(*sys.argv[1:])

"""Plays operations beside one another: `python -m tests.interleave.run --help`. Prints counts; 1 when any is wrong.

`make interleave` plays all pairs of both versions with 200 seeds each, and triples by chance. A schedule that failed is
played again, and told step by step, with ``--replay "delete + pack" --seed 17 --version 2``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from threading import local

from tests.crash import shim
from tests.interleave.acts import ACTS, MIXED
from tests.interleave.child import Ending, Job, Player, Tally, one_thread, warm_up
from tests.interleave.known import known
from tests.interleave.schedule import Stopped

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = (1, 2)


def acts_of(version: int) -> list[str]:
    """The names of the acts of a version."""
    return [name for name, act in ACTS.items() if version in act.versions]


def pairs(version: int) -> list[list[str]]:
    """All pairs of the acts of a version, an act beside itself too."""
    return [list(pair) for pair in combinations_with_replacement(acts_of(version), 2)]


def triples(number: int, seed: int, names: Iterable[str]) -> Iterator[list[str]]:
    """Some threes and fours, by chance."""
    chance = random.Random(f"triples {seed}")
    names = list(names)
    for _ in range(number):
        yield [chance.choice(names) for _ in range(chance.choice((3, 3, 4)))]


def environment(directory: Path, source: Path | None = None) -> dict[str, str]:
    """What a process that plays is started with. ``source``: where the package is, if not where ours is."""
    import rsdos

    state = directory / "state"
    state.write_bytes(bytes(shim.STATE_LENGTH))
    package = source or Path(rsdos.__file__).parent.parent
    return os.environ | {
        "LD_PRELOAD": str(shim.build(directory)),
        "SHIM_STATE": str(state),
        "TMPDIR": str(directory),
        "PYTHONPATH": os.pathsep.join([str(package), str(ROOT)]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Worker:
    """A process that plays schedules of one version."""

    def __init__(self, version: int, directory: Path, source: Path | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(dir=directory)
        place = Path(self._directory.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.interleave.child", str(version), str(place)],
            cwd=ROOT,
            env=environment(place, source),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tally(self, job: Job) -> Tally:
        """Have a job done."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(asdict(job)), file=self._process.stdin, flush=True)
        return Tally(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._directory.cleanup()


@contextmanager
def working(version: int, directory: Path, source: Path | None = None) -> Iterator[Worker]:
    worker = Worker(version, directory, source)
    try:
        yield worker
    finally:
        worker.close()


def play_all(
    version: int, jobs: Sequence[Job], directory: Path, workers: int, source: Path | None = None
) -> Iterator[Tally]:
    """Have all jobs done by so many processes."""
    own = local()
    made: list[Worker] = []

    def one(job: Job) -> Tally:
        if not hasattr(own, "worker"):
            own.worker = Worker(version, directory, source)
            made.append(own.worker)
        tally: Tally = own.worker.tally(job)
        return tally

    try:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(one, jobs)
    finally:
        for worker in made:
            worker.close()


def unknown(tally: Tally) -> dict[str, str]:
    """The examples of those kinds of fault that are not on the list of what is to be mended."""
    listed = known(tally.acts)
    return {kind: example for kind, example in tally.examples.items() if kind not in listed}


def _show(version: int, tallies: Iterable[Tally]) -> tuple[Counter[str], bool]:
    counts: Counter[str] = Counter()
    wrong = False
    for tally in tallies:
        counts.update(played=tally.schedules, steps=tally.steps, failed=tally.failed)
        if tally.failed:
            fresh = unknown(tally)
            wrong |= bool(fresh)
            kinds = ", ".join(f"{kind} {count}" for kind, count in tally.kinds.items())
            print(f"version {version}: {' + '.join(tally.acts)}: {tally.failed} of {tally.schedules}: {kinds}")
            for kind, example in tally.examples.items():
                print(f"    {'' if kind in fresh else '(known) '}{example}", flush=True)
    return counts, wrong


def _replay(names: list[str], chosen: argparse.Namespace) -> int:
    """Play one schedule in this process, which was started with the shim, and tell it step by step."""
    one_thread()
    warm_up()
    with (
        tempfile.TemporaryDirectory(dir=os.environ["TMPDIR"]) as directory,
        closing(Player(chosen.version or 2, Path(directory))) as player,
    ):
        if chosen.seed is None:
            played, faults = player.run(names, Stopped([*chosen.stop, *[None] * (len(names) - len(chosen.stop))]))
        elif chosen.ending == Ending.POWER:
            played, lost = player.lose_power(names, chosen.seed)
            faults = [f"{where}: {fault}" for where, some in lost.items() for fault in some]
        else:
            kill = player.kill(names, chosen.seed) if chosen.ending == Ending.KILLED else None
            played, faults = player.run(names, player.order(names, chosen.seed), kill)
            print(f"{'ABCDEFGH'[kill[0]]} is killed before its step {kill[1]}" if kill else "nobody is killed")
    print("\n".join(f"{'ABCDEFGH'[number]} is {name!r}" for number, name in enumerate(names)))
    print(played.text(looks=chosen.looks))
    print("\n".join(faults) or "nothing is wrong")
    return int(bool(faults))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", type=int, choices=VERSIONS)
    parser.add_argument("--seeds", type=int, default=200, help="schedules of each pair")
    parser.add_argument("--seed", type=int, help="the first of them; default 0")
    parser.add_argument("--ending", choices=list(Ending), default=Ending.WHOLE, help="one is killed, or power is lost")
    parser.add_argument("--sweep", type=int, metavar="SHARE", help="instead: stop the first at each SHARE-th call")
    parser.add_argument("--second", type=int, default=0, metavar="SHARE", help="and, with --sweep, the second as well")
    parser.add_argument("--triples", type=int, default=400, help="threes and fours, each with a quarter of the seeds")
    parser.add_argument("--only", default="", help="pairs of which one has this in its name; or A + B")
    parser.add_argument("--replay", metavar="A + B", help="play one schedule, --seed or --stop, and tell it")
    parser.add_argument("--stop", type=int, nargs="+", help="with --replay: the step of the first, and of the second")
    parser.add_argument("--looks", action="store_true", help="tell looks as well")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--source", type=Path, help="src/ of another checkout")
    memory = Path("/dev/shm")
    parser.add_argument("--directory", type=Path, default=memory if memory.is_dir() else None)
    chosen = parser.parse_args(arguments)
    if chosen.replay and "SHIM_STATE" in os.environ:
        names = chosen.replay.split(" + ")
        return _replay(names, chosen)
    with tempfile.TemporaryDirectory(dir=chosen.directory) as place:
        directory = Path(place)
        if chosen.replay:
            command = [sys.executable, "-m", "tests.interleave.run", *(arguments or sys.argv[1:])]
            return subprocess.run(command, check=False, cwd=ROOT, env=environment(directory, chosen.source)).returncode
        return _play(chosen, directory)


def _jobs(chosen: argparse.Namespace, version: int) -> list[Job]:
    first = chosen.seed or 0
    seeds = list(range(first, first + chosen.seeds))
    if chosen.ending == Ending.POWER:
        # What is relaxed and what is full has to come together, and often a third that leans on both.
        groups = [*combinations_with_replacement(MIXED, 2), *triples(chosen.triples, first, MIXED)]
        return [Job(list(acts), seeds=seeds, ending=Ending.POWER) for acts in groups if _is_meant(acts, chosen.only)]
    some = [pair for pair in pairs(version) if _is_meant(pair, chosen.only)]
    if chosen.sweep:
        both = [order for pair in some for order in ([pair, pair[::-1]] if pair[0] != pair[1] else [pair])]
        return [Job(pair, share=chosen.sweep, second=chosen.second) for pair in both]
    few = seeds[: max(chosen.seeds // 4, 1)]
    jobs = [Job(pair, seeds=seeds, ending=chosen.ending) for pair in some]
    more = triples(0 if chosen.only else chosen.triples, first, acts_of(version))
    return [*jobs, *(Job(acts, seeds=few, ending=chosen.ending) for acts in more)]


def _is_meant(acts: Sequence[str], only: str) -> bool:
    names = only.split(" + ")
    return sorted(acts) == sorted(names) if len(names) > 1 else any(only in name for name in acts)


def _play(chosen: argparse.Namespace, directory: Path) -> int:
    wrong = False
    for version in [chosen.version] if chosen.version else VERSIONS:
        jobs = _jobs(chosen, version)
        tallies = play_all(version, jobs, directory, chosen.workers, chosen.source)
        counts, is_wrong = _show(version, tallies)
        wrong |= is_wrong
        print(
            f"version {version}, {chosen.ending}: {len(jobs)} pairs and more, {counts['played']} points of "
            f"{counts['steps']} steps, {counts['failed']} failed",
            flush=True,
        )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

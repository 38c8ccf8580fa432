"""A million objects of 1 KB in rsdos and in its peers, read with nothing in the cache of the system."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.cold_cache import drop_caches
from benchmarks.measure import ROOT, environment_of, python_of
from benchmarks.sides import Side, side_class

SIDES = ("ours", "dos", "sqlite", "lmdb")
SIZE = 1000
_BATCH = 20_000
_READS = 300
_BULK = 5000
_ROUNDS = 3

SideFigures = dict[str, float]
"""Milliseconds an object, by line."""


class NotMade(Exception):
    """A side could not do it; what it printed says why."""


def measure_side(name: str, directory: Path, count: int, peers: Path) -> SideFigures:
    """Fill a side with ``count`` objects, a multiple of 20,000, and read them in some rounds; return the best.

    The filling and each round are processes of their own.
    """
    path = directory / name
    _apart("--fill", name, path, peers, str(count))
    rounds: list[SideFigures] = [json.loads(_apart("--measure", name, path, peers)) for _ in range(_ROUNDS)]
    return {line: min(found[line] for found in rounds) for line in rounds[0]}


def _apart(verb: str, name: str, path: Path, peers: Path, *more: str) -> str:
    command = (python_of(name, peers), "-m", "benchmarks.cold_sides", verb, name, str(path), *more)
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment_of(name), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise NotMade(f"exit code {done.returncode} in {verb.strip('-')}")
    return done.stdout


def _fill(side: Side, count: int) -> None:
    """Insert random bytes, as they are, a batch in each call; keep some keys for the reads."""
    chance = random.Random(1)
    side.create()
    kept: list[str] = []
    share = -(-(_READS + _BULK) * _BATCH // count)
    for _ in range(0, count, _BATCH):
        keys = side.insert_packed([chance.randbytes(SIZE) for _ in range(_BATCH)], compress=False)
        kept += chance.sample(keys, share)
    side.settle()
    side.close()
    chance.shuffle(kept)
    _keys_file(side.path).write_text("\n".join(kept))


def _keys_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.keys")


def _measured(side: Side) -> SideFigures:
    keys = _keys_file(side.path).read_text().split()
    chance = random.Random(2)
    absent = [chance.randbytes(32).hex() for _ in range(_READS)]

    def cold(work: Callable[[], object], count: int) -> float:
        drop_caches(side.path)
        side.open()
        begin = time.perf_counter()
        work()
        seconds = time.perf_counter() - begin
        side.close()
        return seconds / count * 1000

    return {
        "one read": cold(lambda: [side.extract(key) for key in keys[:_READS]], _READS),
        "bulk": cold(lambda: sum(1 for _ in side.extract_many(keys[_READS : _READS + _BULK])), _BULK),
        "absent": cold(lambda: [side.has_many([key]) for key in absent], _READS),
    }


def main() -> None:
    """Do what the command says in this process."""
    verb, name, path = sys.argv[1:4]
    side = side_class(name)(Path(path), durable=False)
    if verb == "--fill":
        _fill(side, int(sys.argv[4]))
        os.sync()
    else:
        print(json.dumps(_measured(side)))


if __name__ == "__main__":
    main()

"""Reads that have to wait for their medium: with nothing in the system's cache, and 2 ms away; beside a warm cache.

The container has 4,000 objects of 1 KB, each behind one of 24 KB, in 20 commits, and an object of 20 MiB.
"""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# What else the first bulk read would load is no part of what is measured.
import rsdos.index.entries  # noqa: F401
from benchmarks.cold_cache import drop_caches
from rsdos import CompressMode, Container, Place

OBJECTS = 4000
COMMITS = 20
WANTED = 2000
SECONDS = 0.002
"""That the slow medium waits before each answer."""

ROUNDS = 3
ABSENT = 20
PROGRAM = Path(__file__).with_name("slow_medium.py")


Media = dict[str, dict[str, float]]
"""Milliseconds by medium and line."""


class NoSlowMedium(Exception):
    """The file system that waits is not to be had."""


class Kept(NamedTuple):
    """The container, and keys of its objects in random order."""

    path: Path
    keys: list[str]
    large: str


def make(path: Path) -> Kept:
    """Make the container."""
    chance = random.Random(18)
    keys: list[str] = []
    with Container.create(path) as container:
        for _ in range(COMMITS):
            objects = [chance.randbytes(size) for _ in range(OBJECTS // COMMITS) for size in (1000, 24_000)]
            keys += container.insert_many(objects, to=Place.PACKED, compress=CompressMode.NO)[::2]
        large = container.insert(chance.randbytes(20 << 20), to=Place.PACKED)
    chance.shuffle(keys)
    return Kept(path, keys, large)


@contextmanager
def slow(root: Path, place: Path, cache: str) -> Iterator[Path]:
    """Show a directory through FUSE as a medium that is far away, for one block."""
    place.mkdir()
    process = subprocess.Popen([sys.executable, PROGRAM, root, place, str(SECONDS), cache])
    while not os.path.ismount(place):
        if process.poll() is not None:
            place.rmdir()
            raise NoSlowMedium
        time.sleep(0.01)
    try:
        yield place
    finally:
        gc.collect()
        subprocess.run(["umount", place], check=True)
        process.wait()
        place.rmdir()


def milliseconds(do: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    do()
    return (time.perf_counter() - begin) * 1000


def measured(path: Path, kept: Kept, forget: Callable[[], None]) -> dict[str, float]:
    """Return milliseconds, each line with nothing in the cache before it if ``forget`` sees to that."""
    found: dict[str, float] = {}
    forget()
    container = Container(path)
    found["open and first read"] = milliseconds(lambda: container.extract(kept.keys[0]))
    forget()
    reads = kept.keys[1 : ABSENT + 1]
    found["one read"] = milliseconds(lambda: [container.extract(key) for key in reads]) / len(reads)
    absent = [f"{number:064x}" for number in range(ABSENT)]
    found["absent"] = milliseconds(lambda: [container.has(key) for key in absent]) / len(absent)
    forget()
    wanted = kept.keys[-WANTED:]
    found["extract_many, each"] = milliseconds(lambda: list(container.extract_many(wanted))) / WANTED
    forget()
    found["extract of 20 MiB"] = milliseconds(lambda: container.extract(kept.large))
    container.close()
    return found


def measure_media(directory: Path) -> Media:
    """Measure, and return the best of some rounds. Columns of the slow medium are left out where there is none."""
    root = directory / "root"
    kept = make(root / "container")
    rounds = {
        "warm": [measured(kept.path, kept, lambda: None) for _ in range(ROUNDS)],
        "disk, cold": [measured(kept.path, kept, lambda: drop_caches(kept.path)) for _ in range(ROUNDS)],
    }
    with suppress(NoSlowMedium):
        for name, cache in (("2 ms", ""), ("2 ms, no cache", "direct")):
            rounds[name] = [_measured_far_away(root, directory / "place", cache, kept) for _ in range(ROUNDS)]
    return {name: {line: min(found[line] for found in column) for line in column[0]} for name, column in rounds.items()}


def _measured_far_away(root: Path, place: Path, cache: str, kept: Kept) -> dict[str, float]:
    with slow(root, place, cache) as seen:
        return measured(seen / "container", kept, lambda: drop_caches(seen / "container"))

"""Real timers over every operation: each is interrupted once, at a random moment, by the handler of a signal.

``make storm`` runs it for MINUTES. It runs in a process of its own, since it owns its signals. What it looks at after
each interrupt: no descriptor and no thread more than before, no file in the sandbox, nothing held: another description
of every lock can be had. At the end: all that was acknowledged is there, and ``validate`` in full finds nothing.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from rsdos import Container, Place, locks


class Interrupted(BaseException):
    """What the handler raises."""


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def opened() -> list[str]:
    return sorted(os.listdir("/dev/fd"))


class Storm:
    """One container, and what was acknowledged of it."""

    def __init__(self, path: Path, version: int, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.container = Container.create(path, container_version=version, pack_size_target=1 << 20)
        self.kept: dict[str, bytes] = {}
        self.landed = self.attempts = 0

    def data(self, size: int) -> bytes:
        return self.random.randbytes(size)

    # The operations.

    def loose(self) -> None:
        data = self.data(300)
        self.kept[self.container.insert(data)] = data

    def packed(self) -> None:
        some = [self.data(500) for _ in range(20)]
        self.kept |= dict(zip(self.container.insert_many(some), some, strict=True))

    def loose_many(self) -> None:
        some = [self.data(500) for _ in range(20)]
        self.kept |= dict(zip(self.container.insert_many(some, to=Place.LOOSE), some, strict=True))

    def read(self) -> None:
        with Container(self.path) as container:
            for key in self.random.sample(list(self.kept), min(5, len(self.kept))):
                container.extract(key)
                with container.open(key) as stream:
                    stream.read()
            dict(container.extract_many(list(self.kept)[:50]))

    def delete(self) -> None:
        if len(self.kept) < 40:
            self.packed()
        key = self.random.choice(list(self.kept))
        del self.kept[key]  # Whether it is gone is not known from now on, and it is never asked for again.
        self.container.delete([key])

    def pack(self) -> None:
        self.container.pack_all_loose()

    def clean(self) -> None:
        self.container.clean_storage()

    def repack(self) -> None:
        self.container.repack(min_dead=0.1)

    def operations(self) -> list[Callable[[], None]]:
        return [
            *(self.loose, self.packed, self.loose_many, self.read, self.delete),
            *(self.pack, self.clean, self.repack),
        ]

    # The oracle.

    def look(self, what: str, before: list[str], threads: int) -> None:
        gc.collect()
        self.container.close()
        now = opened()
        assert now == before, f"{what}: descriptors {set(now) ^ set(before)}"
        assert threading.active_count() == threads, f"{what}: threads"
        held = [name for name in os.listdir(self.path / "locks") if self.is_held(str(self.path / "locks" / name))]
        assert held == [], f"{what}: {held} are held"
        left = [name for _, _, names in os.walk(self.path / "sandbox") for name in names]
        assert left == [], f"{what}: {left} in the sandbox"

    def is_held(self, path: str) -> bool:
        lock = locks.try_acquire(path)
        if lock is None:
            return True
        lock.release()
        return False

    def step(self) -> None:
        operation = self.random.choice(self.operations())
        self.container.close()
        gc.collect()
        before, threads = opened(), threading.active_count()
        self.attempts += 1
        moment = self.random.choice((1e-4, 1e-3, 1e-2)) * (self.random.random() + 1e-3)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, moment)
                operation()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            self.landed += 1
        self.look(operation.__name__, before, threads)

    def finish(self) -> None:
        found = dict(self.container.extract_many(list(self.kept)))
        assert found == self.kept
        report = self.container.validate("full")
        assert report.is_good, report
        self.container.close()


def main() -> None:
    """Run; prints what was done."""
    parser = argparse.ArgumentParser(prog="tests.storm.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="How long.")
    parser.add_argument("--steps", type=int, default=100, help="How many operations of each version, at least.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, interrupt)
    sys.unraisablehook = lambda unraisable: None  # An interrupt in a finalizer is swallowed by Python itself.
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as directory:
        storms = [Storm(Path(directory) / f"version {version}", version, options.seed) for version in (2, 1)]
        for storm in storms:
            storm.packed()
        rounds = 0
        while rounds < options.steps or time.monotonic() < end:
            rounds += 1
            for storm in storms:
                storm.step()
        for storm in storms:
            storm.finish()
    print(f"{sum(s.attempts for s in storms)} operations, {sum(s.landed for s in storms)} interrupted")


if __name__ == "__main__":
    main()

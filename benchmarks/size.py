"""The bytes on disk that stores take for what people keep, and the rates: ``python -m benchmarks.size``.

Each corpus goes into each side in a process of its own: in one call, compressed as the side does it by itself, and then
made as small as the side makes it. Then objects are read one by one, in random order, and rsdos reads all in one call.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.corpora import CORPORA
from benchmarks.data import LEVELS, Data
from benchmarks.measure import ROOT, environment_of, file_sizes, python_of, warm_memory
from benchmarks.results import describe_machine
from benchmarks.sides import STORES, Side, has_verb, side_class

_COMPARED = ("ours", "ours-plain")
"""The sides whose rates are compared to within a tenth: they run in ..."""

_ROUNDS = 7
"""... so many rounds, the others once. By medians of 3 an insert of a source tree, 0.2 s, took 1.19 times the other's,
and 1.42 in the next run."""

_READS = 2000
_BULK_READS = 5
_SECONDS = 1.0
"""Reads are repeated for so many seconds: a bulk read of 685 objects takes 6 ms, or 9. Bulk reads at least so often."""

_WARM = 512 << 20
LARGE = "json-180-1m"
_OF_LARGE = ("ours", "ours-plain", "sqlite", "lmdb", "frames")
"""The sides that a million records take no minutes. They run once."""


@dataclass(frozen=True, slots=True)
class SizeSample:
    """What one side made of one corpus.

    ``size`` is raw bytes, ``length`` all bytes on disk above those of an empty store, ``stored`` those of the stored
    objects alone (0: not told). It took ``insert`` seconds to insert all, ``shrink`` more to make it small,
    and ``read`` for ``reads`` objects.
    """

    corpus: str
    side: str
    objects: int
    size: int
    length: int
    stored: int
    insert: float
    shrink: float
    reads: int
    read: float
    bulk: float | None = None
    """Seconds for all objects in one call, in random order."""
    training: float | None = None
    """Seconds of ``insert`` that trained dictionaries, ..."""
    choosing: float | None = None
    """... and those with the judging of samples."""

    @property
    def read_us(self) -> float:
        """Microseconds for one read; 0 where none was made."""
        return 1e6 * self.read / max(self.reads, 1)


@dataclass(frozen=True, slots=True)
class SizeResults:
    """All samples of one run, and the sides that are not installed."""

    level: str
    machine: dict[str, str]
    samples: list[SizeSample]
    missing: list[str]

    def of(self, corpus: str, side: str) -> list[SizeSample]:
        """The samples of one side; none if it has not run."""
        return [sample for sample in self.samples if (sample.corpus, sample.side) == (corpus, side)]


def read_sizes(path: Path) -> SizeResults:
    """What a run has written."""
    stored = json.loads(path.read_text())
    samples = [SizeSample(**sample) for sample in stored["samples"]]
    return SizeResults(stored["level"], stored["machine"], samples, stored["missing"])


def main() -> None:
    """Run what is asked for; print as it goes."""
    options = _options()
    if options.sample:
        corpus, side, path, data, level = options.sample
        print(json.dumps(asdict(_sample(corpus, side, Path(path), Data(Path(data), LEVELS[level])))))
        return
    level = LEVELS[options.level]
    work: Path = options.work.resolve()
    data = Data(work / "data", level)
    wanted = [corpus.name for corpus in CORPORA if not (level.is_quick and corpus.full_only)]
    wanted = [name for name in wanted if not options.corpora or name in options.corpora]
    print(f"making the data in {options.work}", file=sys.stderr)
    data.make_corpora(wanted)
    sides = [side for side in STORES if not options.sides or side in options.sides]
    missing = [side for side in sides if not side_class(side).is_available()]
    results = SizeResults(level.name, describe_machine(work), [], missing)
    for corpus in wanted:
        here = [side for side in sides if side not in missing and (corpus != LARGE or side in _OF_LARGE)]
        # In turns: the speed of the machine changes from one minute to the next.
        for number in range(1 if level.is_quick or corpus == LARGE else _ROUNDS):
            for side in [side for side in here if not number or side in _COMPARED]:
                if not _run(corpus, side, work, options.peers, data, results):
                    here.remove(side)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")


def _run(corpus: str, side: str, work: Path, peers: Path, data: Data, results: SizeResults) -> bool:
    """Measure one side on one corpus, in a process of its own. Return whether it worked."""
    place = work / f"size-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    os.sync()
    warm_memory(_WARM)
    task = (corpus, side, str(place / "store"), str(data.root), data.level.name)
    command = (python_of(side, peers), "-m", "benchmarks.size", "--sample", *task)
    try:
        done = subprocess.run(
            command, check=False, cwd=ROOT, env=environment_of(side), stdout=subprocess.PIPE, text=True
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if done.returncode:
        print(f"{side} failed with {corpus}: exit code {done.returncode}", file=sys.stderr)
        return False
    sample = SizeSample(**json.loads(done.stdout.splitlines()[-1]))
    results.samples.append(sample)
    print(
        f"{corpus:18} {side:12} {sample.length:>12,} B  {sample.length / sample.size:6.3f} of raw  in"
        f" {sample.insert:7.3f} s and {sample.shrink:7.3f}  read {sample.read_us:8.2f} us",
        flush=True,
    )
    return True


def _sample(corpus: str, name: str, path: Path, data: Data) -> SizeSample:
    """Measure one side on one corpus."""
    _import(name, path.with_name("warm"))
    side = side_class(name)(path, durable=False)
    payloads = data.payloads(corpus)
    size = sum(map(len, payloads))
    side.create()
    empty = sum(file_sizes(path))
    side.stage(payloads)
    gc.collect()
    begun = time.perf_counter()
    keys = side.store(payloads)
    inserted = time.perf_counter()
    side.shrink()
    shrunk = time.perf_counter()
    stored = side.stored_bytes()
    side.close()
    length = sum(file_sizes(path)) - empty
    training, choosing = side.training_seconds() or (None, None)
    reads, read = _read(side, keys)
    bulk = _read_all(side, keys, size) if name in _COMPARED else None
    return SizeSample(
        corpus,
        name,
        objects=len(payloads),
        size=size,
        length=length,
        stored=stored,
        insert=inserted - begun,
        shrink=shrunk - inserted,
        reads=reads,
        read=read,
        bulk=bulk,
        training=training,
        choosing=choosing,
    )


def _import(name: str, path: Path) -> None:
    """Let a side store something elsewhere: what it imports at its first insert is no part of the next."""
    side = side_class(name)(path, durable=False)
    side.create()
    side.stage([b"warm"])
    side.store([b"warm"])
    side.close()


def _read(side: Side, keys: Sequence[str]) -> tuple[int, float]:
    """Read some objects one by one, in random order. Return how many, and the seconds, the median of some times."""
    if not keys or not has_verb(type(side), "extract"):
        return 0, 0.0
    chance = random.Random(1)
    asked = [chance.choice(keys) for _ in range(min(_READS, len(keys)))]
    side.open()
    side.extract(keys[0])
    taken: list[float] = []
    while sum(taken) < _SECONDS:
        start = time.perf_counter()
        for key in asked:
            side.extract(key)
        taken.append(time.perf_counter() - start)
    side.close()
    return len(asked), median(taken)


def _read_all(side: Side, keys: Sequence[str], size: int) -> float:
    """Read all objects in one call, in random order. Return the seconds, the median of some times."""
    asked = random.Random(2).sample(keys, len(keys))
    side.open()
    taken: list[float] = []
    while len(taken) < _BULK_READS or sum(taken) < _SECONDS:
        gc.collect()
        start = time.perf_counter()
        read = sum(map(len, side.extract_many(asked)))
        taken.append(time.perf_counter() - start)
        assert read == size
    side.close()
    return median(taken)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.size", description=__doc__)
    parser.add_argument("corpora", nargs="*", help="Only these corpora.")
    parser.add_argument("--level", choices=LEVELS, default="quick", help="How much to take on.")
    parser.add_argument("--sides", action="append", default=[], choices=STORES, help="Only this side; may be repeated.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where data and stores are.")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / ".venv-peers", help="The virtual environment of the peers."
    )
    parser.add_argument("--json", type=Path, help="Write all samples to this file.")
    parser.add_argument("--sample", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

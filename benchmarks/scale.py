"""The container of millions: ``python -m benchmarks.scale`` fills one and measures it on the way. Only this rsdos.

Every step runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import ROOT
from benchmarks.results import describe_machine

_SIZE = 100
_CALL = 200_000
"""Objects of one insert_many: a program that imports millions does it in calls of this order."""
_SINGLES = 20_000
_LOOK_SECONDS = 0.01
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """One figure: what was done with a container of so many objects."""

    name: str
    title: str
    objects: int
    figure: float
    unit: str


@dataclass(frozen=True, slots=True)
class ScaleResults:
    """The figures of one run."""

    machine: dict[str, str]
    steps: list[Step]

    def figure(self, name: str, which: int = -1) -> float | None:
        """A step's figure; ``which`` of the sizes that were tried: the first is 0, the last -1."""
        found = [step.figure for step in self.steps if step.name == name]
        return found[which] if found else None


def read_scale(path: Path) -> ScaleResults:
    """What a run has written."""
    stored = json.loads(path.read_text())
    return ScaleResults(stored["machine"], [Step(**step) for step in stored["steps"]])


def _payloads(start: int, end: int) -> Iterator[bytes]:
    """Objects by number: 100 bytes, of which the first 16 are the number."""
    tail = random.Random(5).randbytes(_SIZE - 16)
    return (b"%016d" % number + tail for number in range(start, end))


class _Memory:
    """The most anonymous memory of this process while the block lasts, above what it was before."""

    def __enter__(self) -> _Memory:
        self.before = self.most = _anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.most = max(self.most, _anonymous())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def above(self) -> float:
        """In MiB."""
        return (self.most - self.before) / _MIB


def _anonymous() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and MiB of memory."""
    with _Memory() as memory:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun, memory.above


# The steps, each in its own process: path, objects so far, objects then -> figures.


def _insert(path: Path, start: int, end: int) -> list[Step]:
    from rsdos import CompressMode, Container

    container = Container(path)
    container.has("0" * 64)

    def work() -> None:
        for at in range(start, end, _CALL):
            container.insert_many(_payloads(at, min(at + _CALL, end)), compress=CompressMode.NO)

    seconds, memory = _timed(work)
    return [
        Step("insert", f"insert_many, full, in calls of {_CALL:,}: the part from {start:,}", end,
             (end - start) / seconds, "objects/s"),
        Step("insert-memory", "the same: anonymous memory", end, memory, "MiB"),
    ]  # fmt: skip


def _status(path: Path, start: int, end: int) -> list[Step]:
    from rsdos import Container

    Container(path).status()  # Imports.
    seconds = sorted(_timed(Container(path).engine.packed.sums)[0] for _ in range(9))[4]
    return [Step("status", "status of the packed side, a fresh container object", end, 1000 * seconds, "ms")]


def _merge(path: Path, start: int, end: int) -> list[Step]:
    from rsdos import Container
    from rsdos.maintenance import merge

    engine = Container(path).engine
    seconds, memory = _timed(lambda: merge.execute(engine, merge.plan(engine, merge.MergeOptions())))
    segments = sum(file.stat().st_size for file in (path / "index").glob("*.seg"))
    live = max(file.stat().st_size for file in (path / "index").glob("*.seg"))
    return [
        Step("merge", "merge of the index", end, seconds, "s"),
        Step("merge-memory", "the same: anonymous memory", end, memory, "MiB"),
        Step("index", "the merged segment", end, live / end, "bytes an object"),
        Step("index-all", "all of index/, with the segments that are kept for readers", end, segments / end,
             "bytes an object"),
    ]  # fmt: skip


def _list(path: Path, start: int, end: int) -> list[Step]:
    from rsdos import Container

    container = Container(path)
    container.has("0" * 64)
    seconds, memory = _timed(lambda: sum(1 for _ in container))
    return [
        Step("list", "list all keys", end, seconds, "s"),
        Step("list-memory", "the same: anonymous memory", end, memory, "MiB"),
    ]


def _read(path: Path, start: int, end: int) -> list[Step]:
    from hashlib import sha256

    from rsdos import Container

    container = Container(path)
    chance = random.Random(end)
    wanted = [next(_payloads(number, number + 1)) for number in (chance.randrange(end) for _ in range(_SINGLES))]
    keys = [sha256(data).hexdigest() for data in wanted]
    container.extract(keys[0])

    def singles() -> None:
        for key in keys:
            container.extract(key)

    def many() -> None:
        for _ in container.extract_many(keys):
            pass

    one, one_memory = _timed(singles)
    bulk, bulk_memory = _timed(many)
    return [
        Step("extract", "extract of one object, random", end, 1e6 * one / len(keys), "µs"),
        Step("extract-many", f"extract_many of {_SINGLES:,}", end, len(set(keys)) / bulk, "objects/s"),
        Step("read-memory", "both: anonymous memory", end, max(one_memory, bulk_memory), "MiB"),
    ]


_STEPS = {step.__name__: step for step in (_insert, _status, _merge, _list, _read)}


def _in_child(step: str, path: Path, start: int, end: int) -> list[Step]:
    command = (sys.executable, "-m", "benchmarks.scale", "--step", step, str(path), str(start), str(end))
    sources = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": sources}
    )
    steps = [Step(**step) for step in json.loads(done.stdout)]
    for one in steps:
        print(f"{one.objects:>12,}  {one.figure:12.4g} {one.unit:18} {one.title}", flush=True)
    return steps


def main() -> None:
    """Fill and measure; print as it goes."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--objects", type=int, nargs="*", default=[1_000_000, 10_000_000], help="Measure at so many.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where the container is.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, path, start, end = options.step
        print(json.dumps([asdict(one) for one in _STEPS[step](Path(path), int(start), int(end))]))
        return
    results = _run(options.work.resolve() / "scale", options.objects)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")


def _run(path: Path, sizes: list[int]) -> ScaleResults:
    from rsdos import Container

    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    Container.create(path)
    results = ScaleResults(describe_machine(path.parent), [])
    start = 0
    try:
        for end in sizes:
            results.steps.extend(_in_child("_insert", path, start, end))
            for step in ("_status", "_merge", "_status", "_list", "_read"):
                results.steps.extend(_in_child(step, path, start, end))
            start = end
    finally:
        shutil.rmtree(path, ignore_errors=True)
    return results


if __name__ == "__main__":
    main()

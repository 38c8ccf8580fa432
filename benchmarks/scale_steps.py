"""What is done with the container of millions, one process each: a function takes its path, how many objects it had
before the step that fills it, and how many it has then."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SIZE = 100
_CALL = 200_000
"""Objects of one insert_many: a program that imports millions does it in calls of this order."""
_SINGLES = 20_000
_EVERY = 10
"""Garbage collection takes each tenth object."""
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


def _payloads(start: int, end: int) -> Iterator[bytes]:
    """Objects by number: 100 bytes, of which the first 16 are the number."""
    tail = random.Random(5).randbytes(_SIZE - 16)
    return (b"%016d" % number + tail for number in range(start, end))


def _keys(numbers: Iterator[int]) -> Iterator[str]:
    """The keys of some of these objects."""
    tail = random.Random(5).randbytes(_SIZE - 16)
    return (hashlib.sha256(b"%016d" % number + tail).hexdigest() for number in numbers)


class _Memory:
    """The most memory of this process while the block lasts, in MiB.

    ``anonymous`` is what came beyond that of before; ``resident`` is all, with the pages of mapped files.
    """

    def __enter__(self) -> _Memory:
        self.resident = 0.0
        self._before, _ = _memory()
        self._most = self._before
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._note()

    def _note(self) -> None:
        anonymous, resident = _memory()
        self._most = max(self._most, anonymous)
        self.resident = max(self.resident, resident)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._note()

    @property
    def anonymous(self) -> float:
        return self._most - self._before

    def steps(self, name: str, objects: int) -> list[Step]:
        return [
            Step(f"{name}-memory", "the same: anonymous memory", objects, self.anonymous, "MiB"),
            Step(f"{name}-resident", "the same: resident memory, with mapped pages", objects, self.resident, "MiB"),
        ]


def _memory() -> tuple[float, float]:
    """Return the anonymous and all resident memory of this process, in MiB."""
    with open("/proc/self/status", encoding="ascii") as file:
        sizes = {line.partition(":")[0]: line.split()[1] for line in file if line.startswith(("RssAnon", "VmRSS"))}
    return int(sizes["RssAnon"]) / 1024, int(sizes["VmRSS"]) / 1024


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _took(name: str, title: str, objects: int, work: Callable[[], object]) -> list[Step]:
    """Seconds and memory of one piece of work."""
    with _Memory() as memory:
        seconds = _seconds(work)
    return [Step(name, title, objects, seconds, "s"), *memory.steps(name, objects)]


def insert(path: Path, start: int, end: int) -> list[Step]:
    """Fill it."""
    from rsdos import CompressMode, Container

    container = Container(path)
    container.has("0" * 64)

    def work() -> None:
        for at in range(start, end, _CALL):
            container.insert_many(_payloads(at, min(at + _CALL, end)), compress=CompressMode.NO)

    with _Memory() as memory:
        seconds = _seconds(work)
    title = f"insert_many, full, in calls of {_CALL:,}: the part from {start:,}"
    return [Step("insert", title, end, (end - start) / seconds, "objects/s"), *memory.steps("insert", end)]


def status(path: Path, start: int, end: int) -> list[Step]:
    """Count what is packed."""
    from rsdos import Container

    Container(path).status()  # Imports.
    seconds = median(_seconds(Container(path).engine.packed.maintenance.stats) for _ in range(9))
    return [Step("status", "status of the packed side, a fresh container object", end, 1000 * seconds, "ms")]


def merge(path: Path, start: int, end: int) -> list[Step]:
    """Bring the index together."""
    from rsdos import Container
    from rsdos.maintenance import merge

    engine = Container(path).engine
    steps = _took(
        "merge", "merge of the index", end,
        lambda: merge.execute(engine, merge.plan(engine)),
    )  # fmt: skip
    lengths = [file.stat().st_size for file in (path / "index").glob("*.seg")]
    return [
        *steps,
        Step("index", "the merged segment", end, max(lengths) / end, "bytes an object"),
        Step("index-all", "all of index/, with the segments that are kept for readers", end, sum(lengths) / end,
             "bytes an object"),
    ]  # fmt: skip


def list_keys(path: Path, start: int, end: int) -> list[Step]:
    """Go through all keys."""
    from rsdos import Container

    container = Container(path)
    container.has("0" * 64)
    return _took("list", "list all keys", end, lambda: sum(1 for _ in container))


def list_command(path: Path, start: int, end: int) -> list[Step]:
    """List on the command line into a pipe, in three forms."""
    steps = []
    for name, *options in (("list-plain",), ("list-long", "-l"), ("list-json", "--json")):
        command = (sys.executable, "-m", "rsdos", "-p", str(path), "list", *options)
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        while child.stdout.read(_MIB):
            pass
        _, code, usage = os.wait4(child.pid, 0)
        assert code == 0
        title = " ".join(("rsdos list", *options))
        resident = usage.ru_maxrss / 1024
        steps += [
            Step(name, f"{title}, into a pipe", end, time.perf_counter() - begun, "s"),
            Step(f"{name}-resident", "the same: resident memory, with mapped pages", end, resident, "MiB"),
        ]
    return steps


def read(path: Path, start: int, end: int) -> list[Step]:
    """Look for and read objects anywhere."""
    from rsdos import Container

    container = Container(path)
    chance = random.Random(end)
    keys = list(_keys(chance.randrange(end) for _ in range(_CALL)))
    container.extract(keys[0])

    def singles() -> None:
        for key in keys[:_SINGLES]:
            container.extract(key)

    def many() -> None:
        for _ in container.extract_many(keys):
            pass

    with _Memory() as memory:
        one = _seconds(singles)
        look = _seconds(lambda: container.has_many(keys))
        bulk = _seconds(many)
    return [
        Step("extract", "extract of one object, random", end, 1e6 * one / _SINGLES, "µs"),
        Step("has-many", f"has_many of {_CALL:,}", end, len(keys) / look, "objects/s"),
        Step("extract-many", f"extract_many of {_CALL:,}", end, len(set(keys)) / bulk, "objects/s"),
        *memory.steps("read", end),
    ]


def validate(path: Path, start: int, end: int) -> list[Step]:
    """The quick validation."""
    from rsdos import Container

    container = Container(path)
    container.has("0" * 64)

    def work() -> None:
        assert container.validate("quick").is_good

    return _took("validate", "validate --quick", end, work)


def validate_by_two(path: Path, start: int, end: int) -> list[Step]:
    """The same, by two processes."""
    from rsdos import Container

    def work() -> None:
        assert Container(path).validate("quick", jobs=2).is_good

    return [Step("validate-by-two", "validate --quick --jobs 2", end, _seconds(work), "s")]


def backup(path: Path, start: int, end: int) -> list[Step]:
    """The first backup, which copies all."""
    from rsdos import Container

    container = Container(path)
    container.has("0" * 64)
    place = path.with_name(path.name + "-backup")
    steps = _took("backup", "backup, everything new", end, lambda: container.backup(place))
    shutil.rmtree(place)
    return steps


def rebuild(path: Path, start: int, end: int) -> list[Step]:
    """Make the index anew, from the packs alone."""
    from rsdos import Container
    from rsdos.maintenance.repair import index as repair_index

    for file in (path / "index").iterdir():
        file.unlink()
    engine = Container(path).engine
    steps = _took(
        "rebuild", "repair index, when all of it is gone", end,
        lambda: repair_index.execute(engine, repair_index.plan(engine)),
    )  # fmt: skip
    shutil.rmtree(path / "quarantine", ignore_errors=True)
    assert Container(path).status().packed_objects == end
    return steps


def collect(path: Path, start: int, end: int) -> list[Step]:
    """Delete each tenth object: all others are on a list, and as many keys that are not there."""
    from rsdos import Container
    from rsdos.cli.key_file import KeyFile
    from rsdos.maintenance import retain

    kept = path.with_name(path.name + "-kept")
    with kept.open("w") as file:
        numbers = (number if number % _EVERY else end + number for number in range(end))
        file.writelines(f"{key}\n" for key in _keys(numbers))
    container = Container(path)
    container.has("0" * 64)

    def work() -> None:
        plan = retain.plan(container.engine, retain.RetainOptions(KeyFile(str(kept))))
        assert retain.execute(container.engine, plan).deleted == len(range(0, end, _EVERY))

    title = f"delete --keep-from-file, a list of {end:,} keys: one object in {_EVERY} goes"
    steps = _took("collect", title, end, work)
    kept.unlink()
    return steps


def repack(path: Path, start: int, end: int) -> list[Step]:
    """Write all packs anew."""
    from rsdos import Container
    from rsdos.maintenance import repack

    engine = Container(path).engine

    def work() -> None:
        repack.execute(engine, repack.plan(engine, repack.RepackOptions(min_dead=0.01)))

    return _took("repack", f"repack, one object in {_EVERY} is dead", end, work)


STEPS = {
    step.__name__: step
    for step in (
        insert,
        status,
        merge,
        list_keys,
        list_command,
        read,
        validate,
        validate_by_two,
        backup,
        rebuild,
        collect,
        repack,
    )
}
EACH = ("insert", "status", "merge", "status", "list_keys", "read", "validate")
"""At each size."""
LAST = ("list_command", "validate_by_two", "backup", "rebuild", "status", "collect", "status", "repack", "status")
"""At the largest size: these change more than the next could be compared with."""

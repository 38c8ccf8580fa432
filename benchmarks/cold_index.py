"""Lookups in an index of 10 million entries that has to be read: with nothing in the system's cache, and in 250 MB.

It needs 0.7 GB of disk. The limit is a cgroup, of version 1 or 2, which needs root.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.cold_cache import drop_caches
from benchmarks.measure import ROOT
from rsdos.index.digests import PREFIX, Digests
from rsdos.index.entries import RECORD, Entries
from rsdos.index.fenced import FencedSegment
from rsdos.index.fenced_parts import fenced_segment_parts
from rsdos.storage.local import LocalFile

COUNT = 10_000_000
LOOKUPS = 500
BULK = 2000
LIMIT = 250 << 20
_GROUP = "rsdos-bench-cold"
_PLACES = (
    (Path("/sys/fs/cgroup"), "memory.max"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)

Row = dict[str, tuple[float, float, float]]
"""Milliseconds, KiB from the disk, and page faults that waited for it, a key."""


def make(path: Path) -> list[bytes]:
    """Make a segment file of random keys, and return some of them."""
    chance = np.random.default_rng(18)
    prefixes = np.sort(chance.integers(0, 1 << 64, COUNT, dtype=np.uint64)).astype(PREFIX)
    records = np.zeros(COUNT, RECORD)
    records["tail"] = chance.integers(0, 256, (COUNT, 24), dtype=np.uint8).view("V24").ravel()
    records["offset"], records["pack_id"] = np.arange(COUNT), 1
    entries = Entries(prefixes, records)
    with path.open("wb") as file:
        for part in fenced_segment_parts(entries):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return entries.take(chance.integers(0, COUNT, 2 * LOOKUPS + BULK)).digests()


def group(limit: int) -> Path | None:
    """Make a group of processes with a limit of memory. Return None where that cannot be done."""
    for root, name in _PLACES:
        if (root / name).exists() or (root / "memory.stat").exists():
            try:
                place = root / _GROUP
                place.mkdir(exist_ok=True)
                (place / name).write_text(str(limit))
            except OSError:
                continue
            return place
    return None


def _read_bytes() -> int:
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def _measured(count: int, do: Callable[[], object]) -> tuple[float, float, float]:
    faults, length, begin = resource.getrusage(resource.RUSAGE_SELF).ru_majflt, _read_bytes(), time.perf_counter()
    do()
    seconds = time.perf_counter() - begin
    waited = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
    return seconds / count * 1000, (_read_bytes() - length) / 1024 / count, waited / count


def measure(path: Path, keys: list[bytes], is_limited: bool) -> Row:
    """Look up with nothing in the cache; if memory is limited, after more was read than fits into it."""
    chance = random.Random(1)
    absent = [chance.randbytes(32) for _ in range(LOOKUPS)]
    found: Row = {}
    drop_caches(path)

    def open_it() -> FencedSegment:
        return FencedSegment(LocalFile(str(path)))

    found["open"] = _measured(1, open_it)
    segment = open_it()
    if is_limited:
        segment.wait()
        segment.check_all()
    found["first lookups, the filter not read"] = _measured(40, lambda: list(map(segment.first, keys[:40])))
    for _ in range(LOOKUPS):
        segment.first(absent[0])
    found["a key that is there"] = _measured(LOOKUPS, lambda: list(map(segment.first, keys[40 : LOOKUPS + 40])))
    found["an absent key"] = _measured(LOOKUPS, lambda: list(map(segment.first, absent)))
    wanted = Digests.of(keys[-BULK:])
    found[f"{BULK} keys in one call, each"] = _measured(BULK, lambda: segment.find_many(wanted))
    return found


def measure_index(directory: Path) -> dict[str, Row]:
    """Measure in processes of their own. The column of little memory is missing where none can be set."""
    path = directory / "index.seg"
    path.with_suffix(".keys").write_bytes(b"".join(make(path)))
    columns = {"cold": _measured_apart(path, "")}
    limited = group(LIMIT)
    if limited:
        columns[f"in {LIMIT >> 20} MB"] = _measured_apart(path, str(limited))
        limited.rmdir()
    return columns


def _measured_apart(path: Path, place: str) -> Row:
    command = (sys.executable, "-m", "benchmarks.cold_index", str(path), place)
    return json.loads(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)  # type: ignore[no-any-return]


def main() -> None:
    """Measure a table in this process; print the row as JSON."""
    path, place = Path(sys.argv[1]), sys.argv[2]
    if place:
        (Path(place) / "cgroup.procs").write_text(str(os.getpid()))
    data = path.with_suffix(".keys").read_bytes()
    keys = [data[at : at + 32] for at in range(0, len(data), 32)]
    print(json.dumps(measure(path, keys, bool(place))))


if __name__ == "__main__":
    main()

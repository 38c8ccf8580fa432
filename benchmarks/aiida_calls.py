"""AiiDA's own calls on one container, each timed: what `benchmarks.aiida_table` runs in a process of its own.

``python aiida_calls.py PLACE VERSION OBJECTS SIZE``, by a Python that has aiida-core, and disk-objectstore or the
drop-in. Prints JSON: for each call seconds that passed, and seconds of processor time in all threads. Imports nothing
of rsdos unless a container of version 2 is to be made.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from aiida.repository.backend.disk_object_store import DiskObjectStoreRepositoryBackend
from disk_objectstore import Container

times: dict[str, tuple[float, float]] = {}


def contents(objects: int, size: int) -> list[bytes]:
    """Half text, half noise, in sizes around the one given; files of more than a megabyte are of that size."""
    rng = random.Random(1)
    found = []
    for number in range(objects):
        length = size if size > 1 << 20 else rng.randrange(size // 4, 2 * size)
        line = b"%d %f the value of a quantity\n" % (number, rng.random())
        found.append((line * (length // len(line) + 1))[:length] if number % 2 else rng.randbytes(length))
    return found


def timed(name: str, call: Callable[[], object]) -> None:
    before, cpu = time.perf_counter(), time.process_time()
    call()
    times[name] = time.perf_counter() - before, time.process_time() - cpu


SAMPLE = 100
"""Objects that are asked for one by one: it takes disk-objectstore 5 ms each."""


def each(call: Callable[[str], object], keys: list[str]) -> Callable[[], None]:
    def run() -> None:
        for key in keys[:SAMPLE]:
            call(key)

    return run


class Repository:
    """AiiDA's repository on a container, and what its parts do with it."""

    def __init__(self, place: Path, version: int) -> None:
        if version == 2:
            from rsdos import Container as Own

            Own.create(place, container_version=2, compression="zlib+1").close()
        self.container = Container(place)
        if version == 1:
            self.container.init_container()
        self.backend = DiskObjectStoreRepositoryBackend(self.container)

    def store(self, data: list[bytes]) -> list[str]:
        return [self.backend.put_object_from_filelike(io.BytesIO(one)) for one in data]

    def read(self, key: str) -> int:
        with self.backend.open(key) as stream:
            return len(stream.read())

    def export(self, keys: list[str], path: Path) -> None:
        """What ``verdi archive create`` does with the files, without compression of its own."""
        with zipfile.ZipFile(path, "w") as archive:
            for key, stream in self.backend.iter_object_streams(keys):
                with archive.open(key, "w") as target:
                    shutil.copyfileobj(stream, target)

    def take(self, path: Path) -> None:
        """What ``verdi archive import`` does with them."""
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as stream:
                    self.backend.put_object_from_filelike(stream)


def reading(repository: Repository, keys: list[str], place: Path, state: str) -> None:
    backend = repository.backend

    def iterate() -> int:
        return sum(len(stream.read()) for _, stream in backend.iter_object_streams(keys))

    timed(f"has, {state}", each(backend.has_object, keys))
    timed(f"open and read, {state}", each(repository.read, keys))
    timed(f"content, {state}", each(backend.get_object_content, keys))
    timed(f"iterate, {state}", iterate)
    timed(f"list, {state}", lambda: list(backend.list_objects()))
    timed(f"export, {state}", lambda: repository.export(keys, place / "archive.zip"))


def run(place: Path, version: int, objects: int, size: int) -> None:
    data = contents(objects, size)
    first, second = (Repository(place / name, version) for name in ("first", "second"))
    keys: list[str] = []
    first.store(data[:1])  # What the first call imports is not what it costs.
    first.read(first.store(data[:1])[0])
    timed("store", lambda: keys.extend(first.store(data)))
    reading(first, keys, place, "loose")
    timed("import", lambda: second.take(place / "archive.zip"))
    timed("maintain", first.backend.maintain)
    reading(first, keys, place, "packed")
    timed("store what is packed", lambda: first.store(data))
    timed("maintain, nothing new", first.backend.maintain)
    timed("pack", lambda: second.backend.maintain(compress=True, clean_storage=False, incremental_cleanup=False))
    timed("clean after packing", lambda: second.backend.maintain(pack_loose=False))
    reading(second, keys, place, "compressed")
    timed("delete", lambda: first.backend.delete_objects(keys[: objects // 2]))
    timed("maintain --full", lambda: first.backend.maintain(live=False))
    left = sorted(set(first.backend.list_objects()))
    assert left == sorted(set(keys) - set(keys[: objects // 2])), "objects are missing"


def main() -> None:
    place, version, objects, size = sys.argv[1:]
    os.makedirs(place)
    try:
        run(Path(place), int(version), int(objects), int(size))
    finally:
        shutil.rmtree(place)
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()

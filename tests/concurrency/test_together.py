"""Readers, writers and a packer on one container at once, in processes and in threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rsdos import Container, Place
from tests.data import key_of, noise
from tests.helpers import assert_holds, manifest_of
from tests.patience import HANG

WRITER = """
import sys
from rsdos import Container, Place
path, seed, place = sys.argv[1], int(sys.argv[2]), Place(sys.argv[3])
container = Container(path)
for round in range(12):
    sources = [b"%d %d %d" % (seed if number % 3 else 0, round, number) * 20 for number in range(25)]
    for key in container.insert_many(sources, to=place):
        print(key)
"""

PACKER = """
import sys
from rsdos import Busy, Container
container = Container(sys.argv[1])
for _ in range(15):
    assert container.pack_all_loose().damaged == ()
"""

READER = """
import sys
from rsdos import Container
container = Container(sys.argv[1])
seen = {}
for _ in range(25):
    for key in seen:
        assert key in container
    seen |= {key: data for key, data in container.extract_many(list(container))}
    for key in list(seen)[-20:]:
        assert container.extract(key) == seen[key]
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "container", pack_size_target=200_000)
    writers = [
        start(WRITER, container.path, seed, place.value) for seed in range(2) for place in (Place.LOOSE, Place.PACKED)
    ]
    others = [start(READER, container.path), start(PACKER, container.path)]
    acknowledged: set[str] = set()
    for process in (*writers, *others):
        said, complaint = process.communicate(timeout=HANG)
        assert (process.returncode, complaint) == (0, "")
        acknowledged.update(said.split())
    wanted = {
        key_of(data): data
        for data in (
            b"%d %d %d" % (seed if n % 3 else 0, r, n) * 20 for seed in range(2) for r in range(12) for n in range(25)
        )
    }
    assert acknowledged == set(wanted)
    assert_holds(Container(container.path), wanted)
    container.pack_all_loose()
    assert_holds(container, wanted)
    manifest = manifest_of(container.path)
    assert sum(pack.objects - pack.dead_objects for pack in manifest.packs) == len(wanted)


def test_threads_share_a_container(container: Container) -> None:
    """Three readers that must never miss what was there before they began, two writers, and one that packs."""
    contents = {container.insert(data): data for data in (noise(200, seed) for seed in range(60))}
    end = threading.Event()
    wrong: list[BaseException] = []

    def guarded(work: object) -> None:
        try:
            while not end.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - reported below
            wrong.append(error)
            end.set()

    def read() -> None:
        for key, data in contents.items():
            assert container.extract(key) == data
        assert dict(container.extract_many(contents)) == contents
        assert all(container.has_many(contents))

    fresh = iter(range(10**9))

    def write() -> None:
        key = container.insert(b"loose %d" % next(fresh))
        assert container.has(key)
        container.insert_many([b"packed %d" % next(fresh)])

    rounds = iter(range(25))

    def pack() -> None:
        if next(rounds, None) is None:
            end.set()
        container.pack_all_loose()
        for data in list(contents.values())[:5]:
            container.insert(data)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (read, read, read, write, pack)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_writers_at_the_same_moment_count_what_both_wrote(container: Container) -> None:
    """Each holds a pack of its own; the duplicates of the later commit are dead bytes, and counted as such."""
    sources = [noise(100, seed) for seed in range(10)]
    packed = container.engine.packed
    other = Container(container.path).engine.packed
    from rsdos import CompressMode
    from rsdos.stores.encoding import Encoding

    encoding = Encoding(CompressMode.NO, container.config.codec)
    with packed.writer() as first, other.writer() as second:
        first.add_many(sources, encoding)
        second.add_many(sources[5:], encoding)
        first.commit()
        second.commit()
        assert first.pack_ids != second.pack_ids
    status = container.status()
    assert (status.packed_objects, status.dead_objects, status.dead_length) == (10, 5, 500)
    assert_holds(container, {key_of(data): data for data in sources})


def test_both_processes_of_a_fork_can_continue(container: Container) -> None:
    contents = {container.insert(data, to=to): data for to in Place for data in (noise(50, 1), noise(60, 2))}
    container.extract(next(iter(contents)))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            container.insert(b"child, loose")
            container.insert(b"child, packed", to=Place.PACKED)
            assert all(container.extract(key) == data for key, data in contents.items())
            status = 0
        finally:
            os._exit(status)
    contents[container.insert(b"parent, loose")] = b"parent, loose"
    contents[container.insert(b"parent, packed", to=Place.PACKED)] = b"parent, packed"
    assert os.waitpid(child, 0)[1] == 0
    contents |= {key_of(data): data for data in (b"child, loose", b"child, packed")}
    assert_holds(container, contents)


def test_a_writer_that_is_killed_leaves_a_tail_and_no_lock(container: Container) -> None:
    code = """
import sys, signal
from rsdos import Container
def sources():
    yield b"x" * 900_000
    for number in range(10, 90): yield (b"%d" % number) * 100_000
    print("ready", flush=True)
    signal.pause()
Container(sys.argv[1]).insert_many(sources())
"""
    key = container.insert(b"before", to=Place.PACKED)
    committed = manifest_of(container.path).packs[0].length
    process = start(code, container.path)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    pack = container.path / "packed" / "0000000001.pack"
    assert pack.stat().st_size > committed
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    after = container.insert(b"after", to=Place.PACKED)
    assert pack.stat().st_size == manifest_of(container.path).packs[0].length < committed + 10_000
    assert_holds(container, {key: b"before", after: b"after"})

"""Memory stays flat: measured in a child process, with objects of a gibibyte that are made as they are read."""

from __future__ import annotations

import os
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import ScanOptions
from rsdos.worktree.scan import RUN, DirectoryScan
from tests.helpers import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MOST = 64 << 20
"""Bytes above the idle process, for one stream."""

PRELUDE = """
import io, os, sys, threading
from rsdos import CompressMode, Container, Place

LINES = b"".join(b"%d: the quick brown fox jumps over the lazy dog\\n" % (n * n) for n in range(20000))
SIZE = 1 << 30

class Generated(io.RawIOBase):
    "A gibibyte of text, each block with a number of its own."
    def __init__(self): self._at = 0
    def readable(self): return True
    def readinto(self, buffer):
        size = min(len(buffer), SIZE - self._at, len(LINES) - 8)
        buffer[:size] = (b"%08d" % (self._at >> 20) + LINES)[:size]
        self._at += size
        return size

def anonymous():
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith("RssAnon")) << 10

class Peak:
    "The most anonymous memory while its block runs, sampled every few milliseconds."
    def __enter__(self):
        self.idle = self.most = anonymous()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self
    def _watch(self):
        while not self._end.wait(0.005):
            self.most = max(self.most, anonymous())
    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self.most = max(self.most, anonymous())

container = Container.create(sys.argv[1])
container.insert_many([b"warm", LINES])  # imports, allocators and contexts belong to the idle process
container.insert(b"warm too")
container.pack_all_loose()
"""


@pytest.mark.parametrize(
    ("to", "compress"), [("PACKED", "NO"), ("PACKED", "AUTO"), ("LOOSE", "AUTO")], ids=["packed", "zstd", "loose"]
)
def test_a_gibibyte_goes_in_is_packed_and_comes_out(tmp_path: Path, to: str, compress: str) -> None:
    code = (
        PRELUDE
        + f"""
with Peak() as peak:
    (key,) = container.insert_many([Generated()], to=Place.{to}, compress=CompressMode.{compress})
print(peak.most - peak.idle)
with Peak() as peak:
    container.pack_all_loose()
print(peak.most - peak.idle)
with Peak() as peak, container.open(key) as stream:
    while stream.read(1 << 16):
        pass
    assert stream.tell() == SIZE
print(peak.most - peak.idle)
with Peak() as peak:
    assert container.extract_to(key, sys.argv[1] + "/../out") == SIZE
print(peak.most - peak.idle)
"""
    )
    peaks = [int(line) for line in run_python(code, tmp_path / "container").split()]
    assert len(peaks) == 4
    assert max(peaks) <= MOST, peaks


def test_a_bulk_insert_of_many_tiny_objects(tmp_path: Path) -> None:
    """8 MiB of objects and 200 bytes for each object of a batch, beside the keys that it returns (113 bytes each)."""
    code = (
        PRELUDE
        + """
count = 400_000
with Peak() as peak:
    keys = container.insert_many((b"%d" % number for number in range(count)), compress=CompressMode.NO)
assert len(container) >= count
print(peak.most - peak.idle - count * 121)
"""
    )
    assert int(run_python(code, tmp_path / "container")) <= 128 << 20


TRAINING = """
import random
from rsdos.stores.packed.context import PackedContext

class Untrained:
    def choose(self, *_): return None

def records(count):
    "Objects of 190 B whose words change from time to time, so that dictionaries are trained again and again."
    chance = random.Random(17)
    for number in range(count):
        if number % 20_000 == 0:
            words = [chance.randbytes(9).hex() for _ in range(40)]
        yield b"%08d" % number + " ".join(chance.choices(words, k=chance.randrange(5, 15))).encode()

def memory(name):
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith(name)) << 10

count, chooser = int(sys.argv[2]), sys.argv[3]
if chooser == "untrained":
    PackedContext.new_chooser = staticmethod(Untrained)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # The peak of this process begins anew. A thread that samples would miss a training: it takes 1 ms.
idle = memory("VmRSS")
keys = container.insert_many(records(count))
assert len(keys) == count
print(memory("VmHWM") - idle, container.inspect_packed().live.length)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="cannot reset the peak of memory")
@pytest.mark.parametrize("count", [20_000, 200_000])
def test_training_takes_little_memory_however_many_objects_there_are(tmp_path: Path, count: int) -> None:
    """Beyond what the same insert takes that trains nothing. The bar is 64 MiB; it takes 1 MiB for few, 12 for many."""
    (peak, length), (without, raw) = (
        map(int, run_python(PRELUDE + TRAINING, tmp_path / chooser, count, chooser).split())
        for chooser in ("trained", "untrained")
    )
    assert length < 0.7 * raw, "it has trained"
    assert peak - without <= MOST // 2


def test_a_scan_of_one_directory_takes_100_bytes_a_name() -> None:
    """Of names of 12 bytes: 72 as they are listed, 26 while they are encoded, then 55. Nothing else grows with them."""
    count = 200_000
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        for number in range(count):
            os.close(os.open(f"{directory}/{number:012}", os.O_CREAT | os.O_WRONLY))
        with OpenDirectories(directory) as top:
            scan = iter(DirectoryScan(top, None, ScanOptions()))
            tracemalloc.start()
            try:
                found = next(scan)
                listed = tracemalloc.get_traced_memory()[1]
                tracemalloc.reset_peak()
                taken = 0
                while not found.is_over:
                    taken += len(found.take(found.at + RUN).names)
                looked_at = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert taken == count
    assert listed <= 100 * count
    assert looked_at <= 60 * count + (4 << 20)


@pytest.mark.parametrize("to", ["packed", "loose"])
@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_the_end_of_a_large_object_takes_no_more_than_a_frame(tmp_path: Path, to: str, codec: str) -> None:
    """The buffer was made for the whole object: 1 GiB for the last five bytes of 3 GB."""
    size = 64 << 20
    with Container.create(tmp_path / "container", compression=codec, loose_compression=codec) as container:
        (key,) = container.insert_many([bytes(range(256)) * (size >> 8)], to=to)
        with container.open(key) as stream:
            stream.seek(-5, os.SEEK_END)
            tracemalloc.start()
            try:
                assert stream.read() == bytes(range(251, 256))
                assert tracemalloc.get_traced_memory()[1] < size // 4
            finally:
                tracemalloc.stop()

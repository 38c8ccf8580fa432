"""What AiiDA's calls read of the disk, counted by the system. `make bench-aiida` measures time, and fails for nothing.

Each in a process of its own, whose reads are nobody else's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container as OurContainer
from tests.helpers import run_python

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system counts no reads")

READ = """
import sys
from rsdos.compat.disk_objectstore import Container
from tests.data import noise

def counted(call):
    "Reads, and the bytes of them, of a call that has been made before: modules are imported then."
    def now():
        with open("/proc/self/io") as file:
            found = dict(line.split(": ") for line in file.read().splitlines())
        return int(found["syscr"]), int(found["rchar"])
    (reads, size), _, (more, longer) = now(), call(), now()
    return more - reads, longer - size

container = Container(sys.argv[1])
"""

ITERATE = (
    READ
    + """
keys = container.add_objects_to_pack([noise(3000 + number, number) for number in range(3000)])
def iterate():
    with container.get_objects_stream_and_meta(keys) as triplets:
        assert sum(len(stream.read()) for _, stream, _ in triplets) == meant
meant = sum(3000 + number for number in range(3000))
iterate()
reads, size = counted(iterate)
assert reads < 100, reads
assert size < 1.1 * meant, (size, meant)
"""
)

CLEAN = (
    READ
    + """
for number in range(8):
    container.add_object(noise(1 << 20, number))
container.clean_storage()
container.pack_all_loose(clean_loose_per_pack=True)
assert container.count_objects().loose == 0
reads, size = counted(container.clean_storage)
assert size < 1 << 20, size
"""
)


@pytest.mark.parametrize("version", [1, 2])
def test_many_small_packed_objects_are_read_together(tmp_path: Path, version: int) -> None:
    """One by one they took 3.4 times as long as with the original."""
    OurContainer.create(tmp_path / "container", container_version=version).close()
    run_python(ITERATE, tmp_path / "container")


@pytest.mark.parametrize("version", [1, 2])
def test_a_cleaning_reads_no_copy_of_what_packing_has_cleaned(tmp_path: Path, version: int) -> None:
    """As AiiDA calls both by default; docs/aiida.md says that it costs nothing more."""
    OurContainer.create(tmp_path / "container", container_version=version).close()
    run_python(CLEAN, tmp_path / "container")

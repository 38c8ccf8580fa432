"""A bad sector under a mapped table of the index is damage of that table, which its pack has as well.

To touch a mapped page that cannot be read kills the process by SIGBUS: every command died so, `validate` and
`repair index` too. The sector is one behind the end of the file that a loop device is on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import run_python

COUNT = 20_000

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason="mounts a disk of its own"
)


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounts nothing here: {done.stderr.strip()}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A container of which the middle of a table of the index cannot be read."""
    store, disk, image = tmp_path / "store", tmp_path / "disk", tmp_path / "image"
    with Container.create(store) as container:
        container.insert_many(b"object %d" % number for number in range(COUNT))
    (table,) = (store / "index").glob("*.seg")
    data = table.read_bytes()
    middle = data[len(data) // 2 & -4096 :][:4096]
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True)
    disk.mkdir()
    mount("-o", "loop", image, disk)
    try:
        shutil.copy(table, disk / "table")
        fd = os.open(disk / "table", os.O_RDONLY)
        os.fsync(fd)
        os.truncate(image, image.read_bytes().index(middle))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        mount("--bind", disk / "table", table)
        try:
            with pytest.raises(OSError, match="Input/output error"):
                table.read_bytes()
            yield store
        finally:
            subprocess.run(["umount", table], check=True)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


READ = """
import hashlib, sys
from rsdos import Container

keys = [hashlib.sha256(b"object %d" % number).hexdigest() for number in range(int(sys.argv[2]))]
with Container(sys.argv[1]) as container:
    for way in sys.argv[3:]:
        if way == "has":
            print(sum(key in container for key in keys))
        elif way == "list":
            print(len(set(container)))
        elif way == "extract":
            print(len(dict(container.extract_many(keys))))
        else:
            report = container.validate(way)
            print(report.is_good, [finding.path for finding in report.leftovers])
"""


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("has", f"{COUNT}"),
        ("list", f"{COUNT}"),
        ("extract", f"{COUNT}"),
        ("quick", "True ['index/0000000001.seg']"),
        ("full", "True ['index/0000000001.seg']"),
    ],
)
def test_a_bad_sector_under_the_index_is_read_past(store: Path, way: str, said: str) -> None:
    assert run_python(READ, store, COUNT, way) == f"{said}\n"

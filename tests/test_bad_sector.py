"""A bad sector is damage of what lies on it, and of nothing else.

To touch a mapped page that cannot be read kills the process by SIGBUS: every command died so, `validate` and
`repair index` too. The sector is one behind the end of the file that a loop device is on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, ObjectNotFound
from tests.data import key_of, noise
from tests.helpers import run_python

COUNT = 20_000

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason="mounts a disk of its own"
)


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounts nothing here: {done.stderr.strip()}")


@contextmanager
def unreadable(path: Path, directory: Path) -> Iterator[None]:
    """Let the system fail to read the middle of a file, by a loop device that is longer than its file."""
    disk, image = directory / "disk", directory / "image"
    data = path.read_bytes()
    middle = data[len(data) // 2 & -4096 :][:4096]
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True)
    disk.mkdir()
    mount("-o", "loop", image, disk)
    try:
        shutil.copy(path, disk / "file")
        fd = os.open(disk / "file", os.O_RDONLY)
        os.fsync(fd)
        os.truncate(image, image.read_bytes().index(middle))
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        mount("--bind", disk / "file", path)
        try:
            with pytest.raises(OSError, match="Input/output error"):
                path.read_bytes()
            yield
        finally:
            subprocess.run(["umount", "-l", path], check=True)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with Container.create(tmp_path / "store") as container:
        container.insert_many(b"object %d" % number for number in range(COUNT))
    return tmp_path / "store"


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
def test_a_bad_sector_under_the_index_is_read_past(store: Path, tmp_path: Path, way: str, said: str) -> None:
    (table,) = (store / "index").glob("*.seg")
    with unreadable(table, tmp_path):
        assert run_python(READ, store, COUNT, way) == f"{said}\n"


def test_a_manifest_on_a_bad_sector_is_a_damaged_manifest(store: Path, tmp_path: Path) -> None:
    """Every command said "Input/output error", and not of what."""
    newest = max((store / "index").glob("manifest-*"))
    with unreadable(newest, tmp_path), Container(store) as container:
        assert len(set(container)) == COUNT
        assert [finding.path for finding in container.validate().files] == [f"index/{newest.name}"]
        with pytest.raises(DamagedContainer, match="the newest manifest"):
            container.insert_many([b"another"])


def test_a_batch_on_a_bad_sector_hides_no_other(tmp_path: Path) -> None:
    with Container.create(tmp_path / "store") as container:
        container.insert_many([b"the first"])
        container.insert_many([noise(1 << 20, 1)])
    (pack,) = (tmp_path / "store" / "packed").glob("*.pack")
    for file in (tmp_path / "store" / "index").iterdir():
        file.unlink()
    with unreadable(pack, tmp_path), Container(tmp_path / "store") as container:
        assert container.extract(key_of(b"the first")) == b"the first"
        with pytest.raises((DamagedContainer, ObjectNotFound)):
            container.extract(key_of(noise(1 << 20, 1)))

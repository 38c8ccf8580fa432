"""What is closed, or dropped, pins no file system: it can be unmounted."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, Place
from tests.helpers import ABSENT


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mounted"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() or not mount("-t", "tmpfs", "none", str(place)):
        pytest.skip("only root can mount")
    yield place
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", place], check=True)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def use(container: Container) -> None:
    container.insert(b"loose")
    (key,) = container.insert_many([b"packed"])
    container.insert_many([b"loose, too"], to=Place.LOOSE)
    assert container.extract(key) == b"packed"
    assert len(dict(container.extract_many(list(container)))) == 3
    with container.open(key) as stream:
        stream.read()
    assert ABSENT not in container
    container.pack_all_loose()
    container.clean_storage()
    container.repack(min_dead=0)
    assert container.delete([key]) == [key]
    assert container.validate("full").is_good


@pytest.mark.parametrize("how", ["closed", "dropped"])
@pytest.mark.parametrize("version", [2, 1])
def test_a_file_system_can_be_unmounted(mounted: Path, version: int, how: str) -> None:
    """Several containers: what is kept of the last few is kept without descriptors."""
    gc.collect()
    gc.disable()
    try:
        for number in range(6):
            container = Container.create(mounted / str(number), container_version=version)
            use(container)
            if how == "closed":
                container.close()
            else:
                del container
        done = subprocess.run(["umount", mounted], capture_output=True, text=True)
    finally:
        gc.enable()
    assert done.returncode == 0, done.stderr

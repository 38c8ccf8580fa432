"""Power losses on real file systems: what the replay of recorded calls takes for granted of one holds there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from rsdos import Container
from tests.crash.real_disk import KINDS, Disk
from tests.data import key_of, noise
from tests.helpers import ABSENT, run_python

_MAIN = "import sys; from tests.crash.real_disk import main; main(*sys.argv[1:])"


@cache
def _why_not(kind: str) -> str:
    """Why this process cannot make and mount an image of that file system; "" if it can."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return "needs root"
    if not shutil.which(f"mkfs.{kind}"):
        return f"mkfs.{kind} is not installed"
    with tempfile.TemporaryDirectory() as directory:
        disk = Disk(Path(directory), kind)
        try:
            disk.make()
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{kind} cannot be mounted here: {error}"
        finally:
            disk.unmount()
    return ""


def _lose_power(name: str, directory: Path, kind: str, syncs: str) -> tuple[int, int]:
    if reason := _why_not(kind):
        pytest.skip(reason)
    try:
        tried, failed = run_python(_MAIN, name, directory, os.environ.get("POINTS", "4"), kind, syncs).split()
    finally:
        Disk(directory, kind).unmount()
    return int(tried), int(failed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "init",
        "insert packed",
        "insert loose",
        "insert many loose",
        "pack",
        "delete",
        "repack",
        "backup",
        "restore",
        "v1: insert packed",
        "v1: pack",
    ],
)
def test_power_loss(name: str, kind: str, tmp_path: Path) -> None:
    tried, failed = _lose_power(name, tmp_path, kind, "real")
    assert tried >= 3
    assert not failed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["insert packed", "insert loose", "insert many loose"])
def test_it_is_not_blind(name: str, kind: str, tmp_path: Path) -> None:
    """The same without any sync: it has to fail, unless somebody else syncs the whole machine at that moment.

    Not so packing: where nothing at all has reached the disk, nothing went.
    """
    for attempt in range(3):
        directory = tmp_path / f"{attempt}"
        directory.mkdir()
        if _lose_power(name, directory, kind, "none")[1]:
            return
    pytest.fail("nothing was lost without syncs: the rig is blind")


_RELAXED = """
import os, sys
from rsdos import Container
from tests.data import noise
with Container.create(sys.argv[1]) as container:
    container.insert_many([b"full"])
os.sync()
with Container(sys.argv[1], durability="relaxed") as container:
    container.insert_many([noise(200_000, 1)])
    container.repack(min_dead=0) if sys.argv[2] == "repack" else None
    container.insert_many([noise(200_000, 2)])
# Any sync by anybody brings the names of the manifests to the disk, and not the bytes of the packs.
fd = os.open(f"{sys.argv[1]}/index", os.O_RDONLY)
os.fsync(fd)
os._exit(0)
"""


@pytest.mark.parametrize("way", ["insert", "repack"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_of_a_relaxed_writer_stop_nobody(kind: str, way: str, tmp_path: Path) -> None:
    """Before, on ext4 and xfs a manifest named a pack of 0 bytes: counting, listing and deleting were refused."""
    if reason := _why_not(kind):
        pytest.skip(reason)
    disk = Disk(tmp_path, kind)
    try:
        disk.make()
        run_python(_RELAXED, disk.path / "container", way)
        disk.lose_power()
        # Elsewhere: what is kept of an open container would keep the disk mounted.
        shutil.copytree(disk.path / "container", tmp_path / "left")
    finally:
        disk.unmount()
    known = {key_of(data): data for data in (b"full", noise(200_000, 1), noise(200_000, 2))}
    with Container(tmp_path / "left") as container:
        keys = list(container)
        assert len(container) == len(keys)
        assert {key_of(b"full")} <= set(keys) <= set(known)
        assert not container.has(ABSENT)
        assert container.delete([ABSENT]) == []
        assert dict(container.extract_many(keys)) == {key: known[key] for key in keys}
        assert set(container.insert_many(known.values())) == set(known)
        assert dict(container.extract_many(known)) == known
        assert container.validate("full").is_good

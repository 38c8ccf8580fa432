"""Power losses on real file systems: what the replay of recorded calls takes for granted of one holds there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.crash.real_disk import KINDS, Disk
from tests.helpers import run_python

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

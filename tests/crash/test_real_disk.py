"""Power losses on a real ext4: what the replay of recorded calls takes for granted of a file system holds there."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import run_python

_MAIN = "import sys; from tests.crash.real_disk import main; main(*sys.argv[1:])"


@cache
def can_mount() -> bool:
    """Whether this process may mount an image of ext4."""
    if os.geteuid() or not all(map(shutil.which, ("mkfs.ext4", "mount", "umount", "losetup"))):
        return False
    return subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs root, mkfs.ext4 and loop devices")
@pytest.mark.parametrize(
    "name", ["init", "insert packed", "insert many loose", "pack", "delete", "repack", "v1: insert packed", "v1: pack"]
)
def test_power_loss_on_ext4(name: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    try:
        assert int(run_python(_MAIN, name, tmp_path, os.environ.get("POINTS", "4"))) >= 3
    finally:
        while disk.is_mount():
            subprocess.run(["umount", disk], check=True)

"""The block of README.md about many machines, played on Ceph: its commands to the letter, with small directories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rsdos import Container
from tests.ceph.cluster import BUCKET
from tests.ceph.fixtures import S3
from tests.data import noise, text
from tests.helpers import ROOT, child_environment
from tests.pages import blocks
from tests.patience import HANG

NAMES = ("bin", "sbin", "share")
ONE = "common-licenses/GPL-3"
"""The file that the block takes out."""

# The Ceph is there. Nobody waits: the kill comes at the beginning of a push; `demo/remote.py` kills in the middle.
HERE = "make() { :; }; sleep() { :; }"


def fill(top: Path) -> None:
    """Write the directories that are saved, in the place of those in /usr."""
    for seed, name in enumerate(NAMES):
        files = {f"{at}/{at}.dat": noise(3000, 1000 * seed + at) for at in range(200)} | {ONE: text(5000)}
        for path, data in files.items():
            (top / name / path).parent.mkdir(parents=True, exist_ok=True)
            (top / name / path).write_bytes(data)


def test_the_block_of_the_readme_about_many_machines_runs(s3_environment: S3, tmp_path: Path) -> None:
    s3 = s3_environment
    (block,) = (block for block in blocks((ROOT / "README.md").read_text(), "bash") if "make -s ceph" in block)
    assert f"s3://{BUCKET}/" in block and " /usr/" in block and ONE in block
    fill(tmp_path / "usr")
    program = tmp_path / "programs" / "rsdos"
    program.parent.mkdir()
    # A function would be another process than the one that is killed.
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rsdos "$@"\n')
    program.chmod(0o755)
    environment = child_environment() | s3.environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"
    script = block.replace(f"s3://{BUCKET}/", f"s3://{s3.bucket}/").replace(" /usr/", f" {tmp_path}/usr/")
    done = subprocess.run(
        ["bash", "-ec", f"{HERE}\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is damaged" in done.stdout + done.stderr
    files = {path: path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert files == {tmp_path / "one" / ONE: text(5000)}
    with Container(f"s3://{s3.bucket}/usr", endpoint=s3.endpoint.url) as container:
        assert set(container.snapshots) == set(NAMES)

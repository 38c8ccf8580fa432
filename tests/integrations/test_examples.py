"""The page of the doors: each of its examples does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import ROOT
from tests.integrations.conftest import LABELS, need_fuse, write_tree
from tests.pages import blocks
from tests.remote import little_s3
from tests.remote.little_s3 import LittleS3

PAGE = (ROOT / "docs" / "integrations.md").read_text()
ANNEX = (ROOT / "docs" / "how-to" / "git-annex.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NEEDS = {
    "pandas, pyarrow, duckdb, datasets: fsspec": ("fsspec", "pandas", "datasets"),
    "UPath": ("upath",),
    "zarr and xarray": ("zarr",),
    "torch": ("torch",),
    "Object storage and lazy clones": ("fsspec", "pandas", "torch"),
    "Dask": ("distributed",),
}
"""The libraries of the examples in Python."""
BUCKET, ENDPOINT = "s3://lab/data", "https://rgw.example.org"
"""What the page calls a container in a bucket, and the server of that."""


def _blocks(section: str, language: str) -> list[str]:
    return blocks(SECTIONS[section], language)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the page calls /path/to: a container with the directory that the examples read, `flowers`."""
    files = {"labels.csv": LABELS, "train/rose/1.jpg": b"a rose", "train/tulip/2.jpg": b"a tulip"}
    flowers = write_tree(tmp_path / "flowers", files)
    with Container.create(tmp_path / "store") as container:
        container.snapshots.save("flowers", flowers)
    (tmp_path / "mount").mkdir()
    return tmp_path


def test_every_section_has_an_example_that_is_tested() -> None:
    assert set(SECTIONS) == {*NEEDS, "Mount"}
    assert all(_blocks(section, "python") for section in NEEDS)


@pytest.mark.parametrize("section", NEEDS)
def test_the_example_in_python_runs(section: str, place: Path, request: pytest.FixtureRequest) -> None:
    for library in NEEDS[section]:
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed: `make doors` has it")
    code = "\n".join(_blocks(section, "python")).replace("/path/to", str(place))
    if BUCKET in code:
        little: LittleS3 = request.getfixturevalue("little")
        with Container.create(f"s3://{little_s3.BUCKET}/data", endpoint=little.url) as container:
            container.snapshots.save("flowers", place / "flowers")
            container.close()
        code = code.replace(BUCKET, f"s3://{little_s3.BUCKET}/data").replace(ENDPOINT, little.url)
    environment = {**os.environ, "HF_HOME": str(place / "hf")}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _type(text: str, place: Path, where: Path) -> None:
    """Run the last console block of a text, and compare what it prints."""
    lines = blocks(text, "console")[-1].replace("/path/to", str(place)).splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    printed = [line for line in lines if not line.startswith("$ ")]
    python = shlex.quote(sys.executable)
    program = place / "bin" / "git-annex-remote-rsdos"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec {python} -c 'from rsdos.integrations.annex import main; main()'\n")
    program.chmod(0o755)
    names = {f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, **names, "HOME": str(place), "PATH": path}
    script = "\n".join([f'rsdos() {{ {python} -m rsdos "$@"; }}', *commands])
    done = subprocess.run(["sh", "-ec", script], cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert [line for line in shown if line in printed] == printed


def test_the_example_of_a_mount_runs(place: Path) -> None:
    need_fuse()
    _type(SECTIONS["Mount"], place, place)
    assert not os.listdir(place / "mount")


def test_the_example_of_git_annex_runs(place: Path) -> None:
    if not shutil.which("git-annex"):
        pytest.skip("git-annex is not installed")
    where = place / "repository"
    for command in (["git", "init", "--quiet", where], ["git", "-C", where, "annex", "init", "--quiet", "here"]):
        subprocess.run([*map(str, command)], check=True, env={**os.environ, "HOME": str(place)})
    (where / "file").write_bytes(b"data")
    subprocess.run(["git", "-C", str(where), "annex", "add", "--quiet", "file"], check=True)
    _type(ANNEX, place, where)
    assert (where / "file").read_bytes() == b"data"
    assert len(Container(place / "store")) > 0

"""Containers that a group shares: whatever is made in one, by whomever, the group may write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from tests.data import noise, text
from tests.helpers import NOBODY, run_python, writable_as_nobody


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def live(path: Path) -> None:
    """Everything that makes files."""
    with Container(path) as container:
        keys = container.insert_many([noise(400, 1), text(5000, 2), text(1_100_000, 3)])
        container.insert_many([noise(500, 4), b"loose"], to=Place.LOOSE)
        container.pack_all_loose(CompressMode.YES)
        container.delete(keys[:2])
        container.repack(min_dead=0.0)
        container.insert(b"loose again")
        container.clean_storage()
        container.validate()


def modes(path: Path) -> dict[str, int]:
    return {str(one.relative_to(path)): stat.S_IMODE(one.lstat().st_mode) for one in (path, *path.rglob("*"))}


@pytest.mark.parametrize("version", [1, 2])
def test_the_group_may_write_whatever_is_made(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    Container.create(path, container_version=version, sharing="group").close()
    live(path)
    for name, mode in modes(path).items():
        wanted = stat.S_ISGID | stat.S_IRWXG if (path / name).is_dir() else stat.S_IRGRP | stat.S_IWGRP
        assert mode & wanted == wanted, (name, oct(mode))


@pytest.mark.parametrize("version", [1, 2])
def test_otherwise_the_umask_sets_the_permissions(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    Container.create(path, container_version=version).close()
    live(path)
    assert [name for name, mode in modes(path).items() if mode & (stat.S_IWGRP | stat.S_IWOTH)] == []


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root, to be somebody else")
@pytest.mark.parametrize("version", [1, 2])
def test_another_user_of_the_group_writes_and_maintains(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    path.mkdir()
    os.chown(path, -1, NOBODY)
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o055)
    Container.create(path, container_version=version, sharing="group").close()
    live(path)
    code = """
import os, sys
from rsdos import Container, Place
os.umask(0o077)
with Container(sys.argv[1]) as container:
    keys = container.insert_many([b"by another"]) + container.insert_many([b"and loose"], to=Place.LOOSE)
    container.pack_all_loose()
    container.repack(min_dead=0.0)
    assert container.extract(keys[0]) == b"by another"
"""
    run_python(code, path, user=NOBODY)
    live(path)

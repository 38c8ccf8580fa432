"""A container that is renamed, removed, or gone from under its path while it is open: no promise is made there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, NotAContainer, Place

Call = Callable[[Container, str, str], object]

WRITES: dict[str, Call] = {
    "insert": lambda c, loose, packed: c.insert(b"new"),
    "insert into directories that are not there": lambda c, loose, packed: [c.insert(b"%d" % n) for n in range(40)],
    "insert what is loose": lambda c, loose, packed: c.insert(b"loose"),
    "insert many loose": lambda c, loose, packed: c.insert_many([b"new", b"newer"], to=Place.LOOSE),
    "insert a large one": lambda c, loose, packed: c.insert(bytes(3 << 20)),
    "insert many": lambda c, loose, packed: c.insert_many([b"new", b"newer"]),
    "insert what is packed": lambda c, loose, packed: c.insert_many([b"packed"]),
    "delete": lambda c, loose, packed: c.delete([loose, packed]),
    "pack": lambda c, loose, packed: c.pack_all_loose(),
    "clean": lambda c, loose, packed: c.clean_storage(),
    "repack": lambda c, loose, packed: c.repack(),
    "backup": lambda c, loose, packed: c.backup(c.path.parent / "backup"),
}
READS: dict[str, Call] = {
    "has": lambda c, loose, packed: c.has(loose),
    "has of what is missing": lambda c, loose, packed: c.has("0" * 64),
    "extract": lambda c, loose, packed: c.extract(loose),
    "extract of what is missing": lambda c, loose, packed: c.extract("0" * 64),
    "extract many": lambda c, loose, packed: dict(c.extract_many([loose, packed])),
    "meta": lambda c, loose, packed: c.meta(loose),
    "len": lambda c, loose, packed: len(c),
    "list": lambda c, loose, packed: list(c),
    "status": lambda c, loose, packed: c.status(),
    "validate": lambda c, loose, packed: c.validate("full"),
}


def _go(path: Path, how: str) -> None:
    if how == "removed":
        shutil.rmtree(path)
        return
    path.rename(path.with_name("moved"))
    if how == "an empty directory in its place":
        path.mkdir()


@pytest.mark.parametrize("name", [*WRITES, *READS])
@pytest.mark.parametrize("how", ["renamed", "removed", "an empty directory in its place"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_removed_container_acknowledges_nothing_and_is_not_recreated(
    tmp_path: Path, version: int, how: str, name: str
) -> None:
    path = tmp_path / "container"
    with Container.create(path, container_version=version) as container:
        loose, (packed, _) = container.insert(b"loose"), container.insert_many([b"packed", b"packed too"])
        assert container.extract(packed) + container.extract(loose) == b"packedloose"
        assert not container.has("1" * 64)
        _go(path, how)
        with pytest.raises(NotAContainer):
            (WRITES | READS)[name](container, loose, packed)
    assert not path.exists() or not os.listdir(path)
    if how != "removed":
        with Container(tmp_path / "moved") as moved:
            assert moved.extract(packed) + moved.extract(loose) == b"packedloose"
            assert len(moved) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_empty_directories_that_a_copy_lacks_are_made_again(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    with Container.create(path, container_version=version) as container:
        for name in ("loose", "sandbox", "locks"):
            shutil.rmtree(path / name, ignore_errors=True)
        key = container.insert(b"new")
        container.pack_all_loose()
        assert container.extract(key) == b"new"

"""A symbolic link in the place of a container's directory: refused by name, unless the caller follows links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, NotOurs
from tests.hostile.limits import rsdos
from tests.hostile.watch import Watch

DIRECTORIES = {
    1: ("loose", "packs", "sandbox", "duplicates", "locks", "quarantine"),
    2: ("loose", "packed", "index", "sandbox", "locks", "quarantine"),
}
PLACES = [(version, name) for version, names in DIRECTORIES.items() for name in names]

CALLS: dict[str, Callable[[Container], object]] = {
    "insert": lambda c: c.insert(b"new"),
    "insert many": lambda c: c.insert_many([b"new"]),
    "has": lambda c: c.has("0" * 64),
    "list": list,
    "status": lambda c: c.status(),
    "validate": lambda c: c.validate("full"),
    "pack": lambda c: c.pack_all_loose(),
    "clean": lambda c: c.clean_storage(),
    "repack": lambda c: c.repack(min_dead=0.0),
    "delete": lambda c: c.delete(["0" * 64]),
    "backup": lambda c: c.backup(c.path.parent / "backups"),
}


def _made(path: Path, version: int) -> Path:
    with Container.create(path, container_version=version) as container:
        container.insert(b"loose")
        container.insert_many([b"packed", b"packed too"])
        container.delete([container.insert(b"deleted")])
    return path


@pytest.mark.parametrize(("version", "name"), PLACES)
def test_a_link_in_the_place_of_a_directory_is_refused_and_nothing_happens_outside(
    tmp_path: Path, version: int, name: str
) -> None:
    path, other = _made(tmp_path / "container", version), _made(tmp_path / "outside" / "other", version)
    (other / name).mkdir(exist_ok=True)
    (other / name / "mine").mkdir()
    (other / name / "mine" / "file").write_text("kept")
    shutil.rmtree(path / name, ignore_errors=True)
    (path / name).symlink_to(other / name)
    watch = Watch(tmp_path / "outside")
    for call in CALLS.values():
        with pytest.raises(NotOurs, match=f"container/{name}: a symbolic link.*follow_links"):
            call(Container(path))
    assert watch.changes() == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("call", ["insert", "has", "extract", "list", "pack", "clean", "delete"])
def test_a_link_in_the_place_of_a_directory_of_loose_files_is_refused(tmp_path: Path, version: int, call: str) -> None:
    path, other = _made(tmp_path / "container", version), _made(tmp_path / "outside" / "other", version)
    key = Container(path).insert(b"loose")
    shutil.rmtree(path / "loose" / key[:2])
    (path / "loose" / key[:2]).symlink_to(other / "loose" / key[:2])
    watch = Watch(tmp_path / "outside")
    calls: dict[str, Callable[[Container], object]] = {
        **CALLS,
        "insert": lambda c: c.insert(b"loose"),
        "has": lambda c: c.has(key),
        "extract": lambda c: c.extract(key),
        "delete": lambda c: c.delete([key]),
    }
    with Container(path) as container, pytest.raises(NotOurs, match=f"loose/{key[:2]}: a symbolic link"):
        calls[call](container)
    assert watch.changes() == []


@pytest.mark.parametrize("version", [1, 2])
def test_links_to_packs_elsewhere_need_the_option(tmp_path: Path, version: int) -> None:
    path = _made(tmp_path / "container", version)
    name = DIRECTORIES[version][1]
    (path / name).rename(tmp_path / "larger disk")
    (path / name).symlink_to(tmp_path / "larger disk")
    with Container(path, follow_links=True) as container:
        key = container.insert_many([b"new"])[0]
        container.pack_all_loose()
        container.repack(min_dead=0.0)
        container.clean_storage()
        assert container.extract(key) == b"new"
        assert len(container) == 4
    refused = rsdos("-p", path, "status")
    assert refused.code == 1 and "RSDOS_FOLLOW_LINKS=1" in refused.err
    assert rsdos("-p", path, "validate", "--full", RSDOS_FOLLOW_LINKS="1").code == 0
    assert os.path.islink(path / name)

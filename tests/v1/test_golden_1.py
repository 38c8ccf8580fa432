"""The golden containers of version 1: made by disk-objectstore and rsdos 0.1, whole and in their stale states."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container
from rsdos.maintenance.migrate import migrate
from tests.compat.conftest import start_real
from tests.helpers import ROOT, tree

GOLDEN = ROOT / "tests" / "golden" / "version_1"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.zip"))


def unpack(name: str, target: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a golden container, as old as a lock file must be to be taken for abandoned, and what is in it."""
    root = target / name
    with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
        archive.extractall(root)
    for path in (root / "packs").iterdir():
        os.utime(path, (1e9, 1e9))
    return root, json.loads((GOLDEN / f"{name}.json").read_text())


def assert_objects(container: Container, expected: dict[str, Any]) -> None:
    keys = expected["objects"]
    assert sorted(container) == sorted(keys)
    for key, size in keys.items():
        data = container.extract(key)
        assert (hashlib.new(expected["hash"], data).hexdigest(), len(data)) == (key, size)
        with container.open(key) as stream:
            assert stream.read() == data
        assert container.meta(key).size == size
    assert {key: len(data or b"") for key, data in container.extract_many(keys)} == keys


def readable(name: str, expected: dict[str, Any]) -> dict[str, Any]:
    """What can be read before maintenance has been there: all but objects of which only a duplicate is good."""
    if name != "peer-duplicates":
        return expected
    hidden = {"a387721ebc7a817469dc7ee2e5467c8e1dd9407f02dd2772c7493ff19e14027c"}  # gone
    hidden |= {"db3785583125df45ba3ae3971b63af69bda4acda696eb170c24b20b461d6dc7e"}  # damaged
    return {**expected, "objects": {key: size for key, size in expected["objects"].items() if key not in hidden}}


def test_there_are_golden_containers_of_both_programs() -> None:
    assert len(NAMES) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    before = tree(root)
    with Container(root) as container:
        for key in readable(name, expected)["objects"]:
            assert hashlib.new(expected["hash"], container.extract(key)).hexdigest() == key
        if name != "peer-duplicates":
            assert_objects(container, expected)
    beside = {name: length for name, length in tree(root).items() if name not in before}
    assert set(beside) <= {"packs.idx-shm", "packs.idx-wal"}
    assert {name: tree(root)[name] for name in before} == before


@pytest.mark.parametrize("name", NAMES)
def test_maintenance_puts_it_right(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    with Container(root) as container:
        container.clean_storage()
        assert_objects(container, expected)
        container.pack_all_loose()
        container.repack(min_dead=0.01)
        assert_objects(container, expected)
        added = container.insert_many([b"what is added"])
        assert container.delete(added) == added
    assert [path for path in tree(root) if path.startswith("loose")] == []
    assert not {"-1", "-1.lock", "0.lock"} & set(os.listdir(root / "packs"))
    if name.startswith("peer"):
        left = os.listdir(root / "duplicates")
        assert left == []
        real = start_real()
        assert real.do("listed", path=str(root)) == sorted(expected["objects"])
        assert real.do("validate", path=str(root))["valid"]
        real.do("repack", path=str(root))
        assert real.do("validate", path=str(root))["valid"]
        real.close()


@pytest.mark.parametrize("name", NAMES)
def test_it_migrates(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    if expected["hash"] != "sha256":
        return  # Version 2 has no other keys: `rsdos transfer` gives new ones.
    with Container(root) as container:
        container.clean_storage()
        plan = migrate.plan(container.engine, migrate.MigrateOptions(2, None, None))
        report = migrate.execute(container.engine, plan)
    assert report.damaged == ()
    with Container(root) as container:
        assert container.config.version == 2
        assert_objects(container, expected)

"""The golden containers: what was once on disk is read forever, and reading changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, RsdosError, errors
from rsdos.engine.publish import read_refs
from rsdos.maintenance.repair import index as repair_index
from rsdos.model import Missing, PackKind
from tests.data import key_of
from tests.helpers import ABSENT, ROOT, child_environment, manifest_of

GOLDEN = ROOT / "tests" / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.zip"))


def unpack(name: str, target: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a golden container, and what is expected of it."""
    with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
        archive.extractall(target / name)
    return target / name, json.loads((GOLDEN / f"{name}.json").read_text())


def state(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, mtime and bytes of everything there is."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = os.lstat(path)
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, data)
    return found


def outcome(call: Callable[..., object], *arguments: object) -> object:
    """What a call returns, or the name of the class of what it raises."""
    try:
        return call(*arguments)
    except RsdosError as error:
        return type(error).__name__


def streamed(container: Container, key: str) -> bytes:
    with container.open(key) as stream:
        return stream.read()


def in_bulk(container: Container, key: str, missing: Missing) -> list[object]:
    return list(container.extract_many([key], missing=missing))


def test_there_are_golden_containers() -> None:
    assert {"v2-raw", "v2-mixed", "v2-many-batches", "damaged-manifest"} <= set(NAMES)
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_container_reads_as_it_always_did(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    before = state(root)
    with Container(root) as container:
        if "open" in expected:
            assert outcome(lambda: container.config) == expected["open"]
            assert outcome(list, container) == expected["open"]
        else:
            check_objects(container, expected["objects"], expected["errors"], expected["list"])
            pages = expected.get("pages", [])
            assert {key_of(data) for _, data in container.extract_many(pages)} == set(pages)
            assert container.has_many(pages) == [True] * len(pages)
    assert state(root) == before, "reading changed the container"


def check_objects(container: Container, sizes: dict[str, int], bad: dict[str, str], listing: str | None) -> None:
    for key, size in sizes.items():
        data = container.extract(key)
        assert (key_of(data), len(data)) == (key, size)
        assert streamed(container, key) == data
        assert container.has(key)
        assert container.meta(key).size == size
    for key, error in bad.items():
        assert issubclass(getattr(errors, error), OSError)
        assert outcome(container.extract, key) == error
        assert outcome(streamed, container, key) == error
        assert outcome(in_bulk, container, key, "raise") == error
        assert outcome(in_bulk, container, key, "skip") == error
    found = dict(container.extract_many(sizes))
    assert {key: key_of(data) for key, data in found.items() if data is not None} == {key: key for key in sizes}
    assert outcome(sorted, container) == (listing or sorted([*sizes, *bad]))
    assert outcome(container.extract, ABSENT) in ("ObjectNotFound", *bad.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_rescue_program_gets_everything_out_of_it_that_the_store_reads(name: str, tmp_path: Path) -> None:
    root, expected = unpack(name, tmp_path)
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "docs" / "rescue.py"), str(root), "extract", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rescued = {path.name for path in out.glob("*/*")}
    assert all(key_of(path.read_bytes()) == path.name for path in out.glob("*/*"))
    assert {*expected.get("objects", ()), *expected.get("pages", ())} <= rescued, done.stderr
    assert name.startswith("damaged") or (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr


def test_a_golden_container_that_is_there_is_never_written_again(tmp_path: Path) -> None:
    for path in GOLDEN.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    gone = tmp_path / "v2-raw.zip"
    gone.unlink()
    (tmp_path / "v2-empty.zip").write_bytes(b"the old one")
    before = state(tmp_path)
    command = [sys.executable, str(tmp_path / "make.py")]
    subprocess.run(command, check=True, capture_output=True, env=child_environment())
    after = state(tmp_path)
    assert after.keys() - before.keys() == {str(gone)}
    for path in (tmp_path, tmp_path / "v2-raw.json"):
        del before[str(path)]
    assert {name: after[name] for name in before} == before


def test_the_index_of_packs_of_all_kinds_is_rebuilt_from_them(tmp_path: Path) -> None:
    root, expected = unpack("damaged-no-manifest-of-kinds", tmp_path)
    with Container(root) as container:
        assert repair_index.execute(container.engine, repair_index.plan(container.engine)).is_good
        assert sorted(container) == sorted(expected["objects"])
        refs, epoch = read_refs(container.engine)
        versions = {name: len(branch.versions) for name, branch in refs.branches.items()}
        assert (versions, epoch > 0) == ({"data": 2, "other/times": 1}, True)
    with Container(root) as container:
        assert container.validate().is_finished
        assert {entry.kind for entry in manifest_of(root).packs} == set(PackKind)

"""Maintenance of a container behind a URL, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def url(run: Run, tmp_path: Path) -> str:
    """A container of version 3 with twelve objects, in two packs."""
    place = f"file://{tmp_path}/bucket"
    run("init", place)
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        for number in range(6):
            (tmp_path / part / f"{number}").write_bytes(f"{part}{number}".encode() * 100)
        run("-p", place, "add-files", "-r", part)
    return place


def packs(place: Path) -> set[str]:
    return {path.name for path in (place / "bucket" / "packs").iterdir()}


def test_a_week_of_upkeep(run: Run, url: str, tmp_path: Path) -> None:
    keys = run("-p", url, "list").stdout.split()
    assert len(keys) == 12
    run("-p", url, "delete", *keys[:4])
    was = packs(tmp_path)
    plan = json.loads(run("-p", url, "optimize", "--dry-run", "--json").stdout)
    assert len(plan["pack_ids"]) == 3
    done = run("-p", url, "optimize")
    assert "Repacked 3 packs" in done.stdout
    assert "Removed 0 dead objects of the store" in done.stdout
    assert len(packs(tmp_path) - was) == 1
    for depth in ((), ("--full",)):
        assert "nothing is damaged" in run("-p", url, "validate", *depth).stdout
    assert "out of use" in run("-p", url, "collect", "--dry-run").stdout
    assert json.loads(run("-p", url, "collect", "--json").stdout)["collected"]["objects"] == 0
    assert "Removed " in run("-p", url, "collect", "--grace", "0s", "--keep", "0s").stdout
    assert packs(tmp_path) == packs(tmp_path) - was
    assert run("-p", url, "list").stdout.split() == keys[4:]
    assert "Nothing to repair" in run("-p", url, "repair", "index").stdout


def test_a_damaged_manifest_is_repaired(run: Run, url: str, tmp_path: Path) -> None:
    keys = run("-p", url, "list").stdout.split()
    newest = min((tmp_path / "bucket" / "manifests").iterdir())
    newest.write_bytes(b"damaged")
    assert run("-p", url, "list").stdout.split() == keys
    assert "damaged" in run("-p", url, "validate", code=1).stdout
    assert "damaged" in run("-p", url, "delete", keys[0], code=1).stderr
    run("-p", url, "repair", "index")
    run("-p", url, "delete", keys[0])
    assert run("-p", url, "list").stdout.split() == keys[1:]
    assert "nothing is damaged" in run("-p", url, "validate", "--full").stdout


def test_a_repair_names_a_pack_of_which_nothing_else_tells_what_was_in_it(run: Run, url: str, tmp_path: Path) -> None:
    store = tmp_path / "bucket"
    min((store / "manifests").iterdir()).write_bytes(b"damaged")
    last = max((store / "packs").iterdir())
    last.write_bytes(last.read_bytes()[:-1])
    done = run("-p", url, "repair", "index", code=1)
    assert f"packs/{last.name}" in done.stderr
    assert "no readable manifest names the pack" in done.stderr
    assert len(run("-p", url, "list").stdout.split()) == 6


def test_a_container_in_a_directory_has_nothing_to_collect(run: Run) -> None:
    run("init")
    assert "only a container of version 3" in run("collect", code=2).stderr

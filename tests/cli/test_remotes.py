"""The commands of remotes, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsdos import CompressMode, Container
from tests.cli.conftest import Run
from tests.data import key_of, noise
from tests.helpers import flip


@pytest.fixture
def two(tmp_path: Path, run: Run) -> tuple[Container, Container]:
    """A container that is the default one of `run`, and its remote."""
    here, there = Container.create(tmp_path / "container"), Container.create(tmp_path / "disk")
    run("remote", "add", "origin", "disk")
    return here, there


def test_a_day_with_a_remote(two: tuple[Container, Container], run: Run, tmp_path: Path) -> None:
    here, _ = two
    here.insert_many([noise(1000, seed) for seed in range(20)], compress=CompressMode.NO)
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "a.txt").write_text("a")
    run("save", "flowers", "flowers")
    assert run("remote", "list").stdout == f"origin {tmp_path}/disk never seen\n"
    dry = run("push", "--dry-run").stdout
    assert dry.startswith("[info] 20 objects to push, 20.0 kB (20.0 kB stored), and 3 objects of snapshots")
    assert "new" not in run("log", code=0).stderr
    assert len(Container(tmp_path / "disk")) == 0
    assert run("push").stdout.startswith("[info] Pushed 21 objects")
    status = run("status", "--remote").stdout
    assert "Here = 20 by key, and 1 for snapshots\nThere = 20 by key, and 1 for snapshots\n" in status
    assert "Only here = 0, 0 B" in status
    assert "commit" in run("remote", "list").stdout
    assert "nothing new" in run("fetch").stdout
    before = sorted(tmp_path.iterdir())
    counted = run("clone", "disk", "clone", "--dry-run").stdout
    assert counted.startswith("[info] 20 objects to clone, 20.0 kB (20.0 kB stored), and 3 objects of snapshots")
    assert "flowers@1" in counted and sorted(tmp_path.iterdir()) == before
    cloned = run("clone", "disk", "clone").stdout
    assert cloned.startswith("[info] Cloned 21 objects") and "new names: flowers@1" in cloned
    run("-p", "clone", "checkout", "flowers", "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "a"
    key = Container(tmp_path / "clone").insert(b"more")
    run("-p", "clone", "push")
    assert run("pull").stdout.startswith("[info] Pulled 1 object")
    assert run("cat-file", key).stdout == "more"
    run("remote", "remove", "origin")
    assert run("remote", "list").stdout == ""


def test_reports_are_one_json_document(two: tuple[Container, Container], run: Run) -> None:
    here, there = two
    here.insert_many([b"one", b"two"])
    there.insert_many([b"three"])
    assert json.loads(run("push", "--dry-run", "--json").stdout)["objects"] == 2
    report = json.loads(run("push", "--json").stdout)
    assert (report["objects"], report["damaged"], report["requests"]["put"]) == (2, [], 0)
    compared = json.loads(run("status", "--remote", "origin", "--json").stdout)
    assert (compared["here"], compared["there"], compared["only_there"]["objects"]) == (2, 3, 1)
    assert compared["is_same"] is False
    assert json.loads(run("pull", "--json").stdout)["objects"] == 1
    assert json.loads(run("fetch", "--json").stdout)["objects"] == 3
    listed = json.loads(run("remote", "list", "--json").stdout)
    assert listed["seen"]["container_id"] == there.container_id


def test_exit_codes(two: tuple[Container, Container], run: Run) -> None:
    here, there = two
    (key,) = here.insert_many([noise(5000)], compress=CompressMode.NO)
    run("status", "--remote", "--exit-code", code=3)
    extent = here.meta(key).extent
    assert extent
    flip(here.path / "packed" / f"{extent.pack_id:010d}.pack", extent.offset + 10)
    assert f"object {key} is damaged, and was left out" in run("push", code=1).stderr
    here.insert_many([noise(5000)])
    run("push")
    run("status", "--remote", "--exit-code")
    assert "no remote 'nobody'" in run("push", "nobody", code=2).stderr
    run("push", "origin", key, "--prefix", "ab", code=2)
    run("status", "--remote", "--rehash", code=2)
    assert "is KEY=VALUE" in run("remote", "add", "x", "s3://lab", "--option", "endpoint", code=2).stderr
    run("remote", code=2)
    there.delete([key])


def test_keys_and_lists_select(two: tuple[Container, Container], run: Run, tmp_path: Path) -> None:
    here, _ = two
    keys = here.insert_many([noise(100, seed) for seed in range(10)])
    run("push", "origin", keys[0][:12], keys[1])
    (tmp_path / "keys").write_text("".join(f"{key}\n" for key in keys[2:5]))
    run("push", "--from-file", "keys", "--bwlimit", "10MB", "--pack-size", "1MB")
    assert set(Container(tmp_path / "disk")) == set(keys[:5])
    other = Container.create(tmp_path / "other")
    run("-p", "other", "remote", "add", "origin", "disk")
    run("-p", "other", "pull", "origin", keys[0])
    assert set(other) == {keys[0]}


def test_a_remote_that_was_set_back_is_named_with_the_way_out(
    two: tuple[Container, Container], run: Run, tmp_path: Path
) -> None:
    here, _ = two
    here.insert_many([b"one"])
    run("push")
    (tmp_path / "disk").rename(tmp_path / "lost")
    assert "not a container" in run("push", code=1).stderr
    Container.create(tmp_path / "disk")
    assert "rsdos remote adopt" in run("push", code=1).stderr
    assert "Adopted origin: commit 1" in run("remote", "adopt").stdout
    run("push")
    assert Container(tmp_path / "disk").extract(key_of(b"one")) == b"one"

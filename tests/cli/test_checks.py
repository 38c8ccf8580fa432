"""`rsdos validate` and `rsdos repair` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsdos import Container, Place
from tests.cli.conftest import Run
from tests.data import key_of, noise
from tests.helpers import flip


@pytest.fixture(params=["1", "2"])
def path(run: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    container = Container.create(tmp_path / "container", container_version=int(request.param))
    container.insert_many([b"one", b"two", noise(4000)])
    container.insert_many([b"loose"], to=Place.LOOSE)
    container.close()
    return container.path


def test_validate_says_what_is_damaged(run: Run, path: Path) -> None:
    assert "nothing is damaged" in run("validate").stdout
    assert "nothing is damaged" in run("validate", "--full", "--stats").stdout
    assert "1 pack to check" in run("validate", "--dry-run").stdout
    assert "full, 4 objects" in run("status").stdout
    pack = next(path.glob("pack*/*[0-9]")) if (path / "packs").exists() else next(path.glob("packed/*.pack"))
    extent = Container(path).meta(key_of(b"two")).extent
    assert extent is not None
    flip(pack, extent.offset)
    done = run("validate", "--full", code=1)
    assert "1 damaged object, 0 damaged files\n" in done.stdout
    assert key_of(b"two") in done.stderr
    report = json.loads(run("validate", "--full", "--json", code=1).stdout)
    assert [finding["key"] for finding in report["damaged"]] == [key_of(b"two")]
    assert (report["depth"], report["is_finished"], report["objects"]) == ("full", True, 4)
    assert json.loads(run("status", "--json").stdout)["validation"]["damaged"] == 1
    assert "1 damaged objects" in run("status").stdout


def test_validate_says_how_many_objects_a_missing_pack_had(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"one", b"two", noise(4000)])
    (tmp_path / "container" / "packed" / "0000000001.pack").unlink()
    done = run("validate", code=1)
    assert "0 damaged objects, 1 damaged file with 3 objects that cannot be read there" in done.stdout
    assert "the pack is missing, with 3 objects" in done.stderr
    assert "1 damaged files, and 3 objects" in run("status").stdout


def test_validate_in_parts(run: Run, path: Path) -> None:
    assert "--resume" in run("validate", "--full", "--budget", "0").stdout
    assert "the same" in run("validate", "--resume", code=2).stderr
    runs = 1
    while "the time is up" in run("validate", "--full", "--resume", "--budget", "0s").stdout:
        runs += 1
        assert runs < 10
    run("validate", "--full", "--quick", code=2)
    run("validate", "--sample", "0", code=2)
    run("validate", "--sample", "50%")


def test_repair_objects(run: Run, path: Path, tmp_path: Path) -> None:
    assert "Repaired 0 objects" in run("repair", "objects").stdout
    assert "0 objects to repair, 0 beyond" in run("repair", "objects", "--dry-run").stdout
    other = Container.create(tmp_path / "other")
    other.insert_many([b"two"])
    extents = [Container(path).meta(key_of(data)).extent for data in (b"one", b"two")]
    pack = next(path.glob("pack*/*[0-9]")) if (path / "packs").exists() else next(path.glob("packed/*.pack"))
    for extent in extents:
        assert extent is not None
        flip(pack, extent.offset)
    done = run("repair", "objects", "--from", "other", "--dry-run", code=1)
    assert "1 objects to repair, 1 beyond" in done.stdout
    assert f"object {key_of(b'one')} is beyond help" in done.stderr and key_of(b"two") not in done.stderr
    done = run("repair", "objects", code=1)
    assert "Repaired 0 objects, 2 are beyond help" in done.stdout
    assert "--from" in done.stderr
    done = run("repair", "objects", "--from", "other", "--quarantine", code=1)
    assert "Repaired 1 objects, 1 are beyond help; see quarantine/" in done.stdout
    assert key_of(b"one") in done.stderr
    assert run("repair", "objects", "--json").stdout.startswith("{")
    run("validate", "--full")
    run("repair", "objects", "--from", "nowhere", code=1)


def test_repair_index(run: Run, path: Path) -> None:
    assert "Nothing to repair" in run("repair", "index").stdout
    assert "Nothing to repair" in run("repair", "index", "--dry-run").stdout
    if (path / "packs").exists():
        return
    flip(max(path.glob("index/manifest-*")), 40)
    assert "faults" in run("repair", "index", "--dry-run", code=1).stdout
    assert "made anew" in run("repair", "index").stdout
    assert json.loads(run("repair", "index", "--json").stdout)["is_changed"] is False
    run("validate", "--full")
    assert len(run("list").stdout.split()) == 4


def test_stats_say_how_much_how_fast_and_how_much_memory(run: Run, tmp_path: Path) -> None:
    run("init")
    for number in range(120):
        (tmp_path / f"{number}.txt").write_bytes(b"%d" % number * 100)
    for jobs in ("1", "2"):
        lines = run("add-files", "-r", "--jobs", jobs, "--stats", ".", "--to", "packed").stderr.splitlines()
        (line,) = (line for line in lines if line.startswith("[stats]"))
        assert "120 objects, " in line and "objects/s" in line and "/s; peak memory " in line
    done = run("validate", "--json", "--stats")
    assert json.loads(done.stdout)["peak_memory"] > 1 << 20
    assert "[stats] 120 objects, " in done.stderr
    assert "peak_memory" not in json.loads(run("validate", "--json").stdout)

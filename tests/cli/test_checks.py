"""`rsdos validate` and `rsdos repair` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.model import PackKind
from tests.cli.conftest import Run
from tests.data import key_of, noise
from tests.helpers import flip, manifest_of


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
    assert "full, 4 copies of objects" in run("status").stdout
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
    assert "Found = 1 damaged object, 0 damaged files" in run("status").stdout


def test_validate_says_how_many_objects_a_missing_pack_had(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"one", b"two", noise(4000)])
    (tmp_path / "container" / "packed" / "0000000001.pack").unlink()
    done = run("validate", code=1)
    assert "0 damaged objects, 1 damaged file with 3 objects that cannot be read because of it" in done.stdout
    assert "the pack is missing, with 3 objects" in done.stderr
    assert "1 damaged file, and 3 objects" in run("status").stdout


@pytest.mark.parametrize("merged", [False, True], ids=["tables in the packs", "tables in the index"])
@pytest.mark.parametrize("damage", ["cut", "missing", "header", "table"])
def test_a_damaged_pack_is_named_and_what_it_does_not_hide_is_listed(
    run: Run, tmp_path: Path, damage: str, merged: bool
) -> None:
    container = Container.create(tmp_path / "container", pack_size_target=40_000)
    batches = [container.insert_many(noise(9000 + start, start + at) for at in range(5)) for start in (0, 10, 20)]
    loose = container.insert(b"loose")
    if merged:
        container.engine.packed.maintenance.merge_index()
    segment = manifest_of(container.path).segments[0].offset
    container.close()
    pack = tmp_path / "container" / "packed" / "0000000002.pack"
    committed = pack.stat().st_size
    match damage:
        case "cut":
            pack.write_bytes(pack.read_bytes()[:20_000])
        case "missing":
            pack.unlink()
        case "header":
            flip(pack, 20)
        case "table":
            flip(pack, segment + 100)
    status = run("status").stderr
    listed = run("list", code=0 if merged else 1)
    if damage in ("cut", "missing") or (not merged and damage == "header"):
        assert "packed/0000000002.pack" in status and "index" not in status
    if merged:  # Not the pack is asked.
        assert set(listed.stdout.split()) == {*batches[0], *batches[1], *batches[2], loose}
        return
    assert set(listed.stdout.split()) == {*batches[0], *batches[2], loose}
    assert "packed/0000000002.pack" in listed.stderr and "not all" in listed.stderr
    assert set(run("list", "--packed", code=1).stdout.split()) == {*batches[0], *batches[2]}
    short = json.loads(run("status", "--json").stdout)["short"]
    if damage == "cut":
        assert short == [{"path": "packed/0000000002.pack", "length": 20_000, "committed": committed}]


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
    assert "0 objects to repair, 0 without a good copy" in run("repair", "objects", "--dry-run").stdout
    other = Container.create(tmp_path / "other")
    other.insert_many([b"two"])
    extents = [Container(path).meta(key_of(data)).extent for data in (b"one", b"two")]
    pack = next(path.glob("pack*/*[0-9]")) if (path / "packs").exists() else next(path.glob("packed/*.pack"))
    for extent in extents:
        assert extent is not None
        flip(pack, extent.offset)
    done = run("repair", "objects", "--from", "other", "--dry-run", code=1)
    assert "1 object to repair, 1 without a good copy" in done.stdout
    assert f"object {key_of(b'one')} has no good copy" in done.stderr and key_of(b"two") not in done.stderr
    done = run("repair", "objects", code=1)
    assert "Repaired 0 objects, 2 without a good copy" in done.stdout
    assert "--from" in done.stderr
    done = run("repair", "objects", "--from", "other", "--quarantine", code=1)
    assert "Repaired 1 object, 1 without a good copy; see quarantine/" in done.stdout
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
    assert "Rebuilt the index" in run("repair", "index").stdout
    assert json.loads(run("repair", "index", "--json").stdout)["is_changed"] is False
    run("validate", "--full")
    assert len(run("list").stdout.split()) == 4


def test_lost_names_are_told_of_and_older_ones_are_taken_only_if_asked_for(run: Run, tmp_path: Path) -> None:
    run("init")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"content")
    run("save", "flowers", "data")
    container = tmp_path / "container"
    (trees,) = (pack for pack in manifest_of(container).packs if pack.kind is PackKind.TREES)
    (container / "packed" / f"{trees.id:010}.pack").unlink()
    for _ in range(2):
        assert "repair objects --from BACKUP" in run("repair", "index", code=1).stderr
        assert json.loads(run("repair", "index", "--dry-run", "--json", code=1).stdout)["lost_names"]
        for command in (["log"], ["gc"], ["save", "flowers", "data"]):
            assert "is missing" in run(*command, code=1).stderr
    run("repair", "index", "--lost-names", "older")
    assert run("log").stdout == ""


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


@pytest.mark.skipif(sys.platform != "linux", reason="where a worker is no fork, it takes what it takes")
def test_the_peak_memory_is_that_of_the_workers_too(run: Run, tmp_path: Path) -> None:
    """A worker does what one process did alone; the one that only hands out names takes two thirds of that."""
    run("init")
    names = [f"{number}.txt" for number in range(120)]
    for name in names:
        (tmp_path / name).write_text(name)
    peaks = []
    for jobs in ("1", "2"):
        command = [sys.executable, "-m", "rsdos", "add-files", "--jobs", jobs, "--stats", "--to", "packed", *names]
        # Through a shell: Linux counts as the first memory of a program that of who has started it, pytest's.
        through = ["sh", "-c", '"$@"; exit $?', "sh", *command]
        line = subprocess.run(through, cwd=tmp_path, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
        amount, unit = line.rpartition("peak memory ")[2].split()
        assert unit == "MB"
        peaks.append(float(amount))
    assert peaks[1] > 0.8 * peaks[0]

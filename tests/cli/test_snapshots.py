"""Snapshots on the command line: to the letter where it is shown in docs/datasets.md, and in JSON by its members."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container
from tests.cli.conftest import Run
from tests.cli.test_surroundings import imported_by
from tests.data import key_of

FILES = {
    "labels.csv": b"rose,1\n",
    "train/rose/1.jpg": b"a rose",
    "train/rose/2.jpg": b"another rose",
    "train/tulip/1.jpg": b"a tulip",
}


@pytest.fixture
def flowers(run: Run, tmp_path: Path) -> Path:
    """A directory, saved once, two hours old: what changed less than two seconds ago is read again."""
    top = tmp_path / "flowers"
    write(top, FILES)
    (top / "latest").symlink_to("train/rose")
    (top / "empty").mkdir()
    run("init")
    run("save", "flowers", "flowers", "-m", "first delivery")
    return top


def write(top: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
        os.utime(top / name, (1_000_000_000, 1_000_000_000))


def change(top: Path) -> None:
    write(top, {"labels.csv": b"rose,1\ntulip,2\n", "train/rose/3.jpg": b"a third"})
    (top / "train/tulip/1.jpg").unlink()


def same(stdout: str, shown: str) -> bool:
    """Whether an output is as shown, but for keys, seconds and times."""
    pattern = re.escape(shown).replace("KEY", "[0-9a-f]{8}").replace("SECONDS", r"\d+\.\d")
    return re.fullmatch(pattern.replace("TIME", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), stdout) is not None


def rows(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_the_way_of_a_directory_through_its_versions(run: Run, flowers: Path, tmp_path: Path) -> None:
    change(flowers)
    done = run("status", "./flowers").stdout
    assert re.fullmatch(
        "M  labels.csv\nA  train/rose/3.jpg\nD  train/tulip/1.jpg\n"
        r"\[info\] against flowers@1: 1 modified, 1 added, 1 removed; 3 unchanged, (none|\d) read" + "\n",
        done,
    ), done
    done = run("save", "flowers", "./flowers").stdout
    assert same(done, "[info] flowers@2 KEY: 1 modified, 1 added, 1 removed; 2 new objects, 1 page, in SECONDS s\n"), (
        done
    )
    done = run("save", "flowers", "./flowers").stdout
    assert same(done, "[info] flowers@2 KEY: nothing changed; 4 files, 40 B, in SECONDS s\n"), done
    done = run("checkout", "flowers@1", "./old", "--include", "train/rose/**").stdout
    assert done == "[info] Wrote 2 files, 18 B to ./old (flowers@1)\n"
    assert sorted(path.name for path in (tmp_path / "old/train/rose").iterdir()) == ["1.jpg", "2.jpg"]
    for options, verb in ((("--dry-run", "-j2"), "Would write"), (("--force",), "Wrote"), (("-j", "2"), "Wrote")):
        shutil.rmtree(tmp_path / "whole", ignore_errors=True)
        done = run("checkout", "flowers@1", "./whole", *options).stdout
        assert done == f"[info] {verb} 4 files and 1 link, 32 B to ./whole (flowers@1)\n"
    write(flowers, {"labels.csv": b"mine\n"})
    failed = run("checkout", "flowers@1", "./flowers", code=1)
    assert failed.stderr == "rsdos: error: ./flowers/labels.csv: modified since flowers@2; save it, or --force\n"
    assert failed.stdout == "[info] Nothing was written: 1 conflict\n"
    assert (flowers / "labels.csv").read_bytes() == b"mine\n" and (flowers / "train/rose/3.jpg").exists()
    run("checkout", "flowers@1", "./flowers", "--force")
    assert {name: (flowers / name).read_bytes() for name in FILES} == FILES
    assert not (flowers / "train/rose/3.jpg").exists() and (flowers / "latest").readlink() == Path("train/rose")
    assert run("forget", "flowers", "--keep-last", "1").stdout == (
        "[info] Forgot flowers@1 (undo brings it back until gc)\n"
    )
    assert re.fullmatch(
        r"\[info\] Deleted \d objects?, .* B; `rsdos optimize repack` gives the space back\n", run("gc").stdout
    )
    assert run("cat-file", "flowers:labels.csv").stdout == "rose,1\ntulip,2\n"


def test_a_first_save_says_what_was_stored(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "flowers", FILES)
    run("init")
    done = run("save", "flowers", "flowers").stdout
    assert same(done, "[info] flowers@1 KEY: 4 files, 32 B; 4 new objects, 1 page, in SECONDS s\n"), done


def test_a_save_says_what_the_version_before_kept_and_it_does_not(run: Run, flowers: Path) -> None:
    assert not run("save", "flowers", "flowers", "--times", "--modes").stderr
    assert run("save", "flowers", "flowers", "--times").stderr == (
        "rsdos: note: the version before kept modes of files, this one does not: --modes\n"
    )
    assert not run("save", "flowers", "flowers", "--times").stderr


def test_a_save_in_json(run: Run, flowers: Path) -> None:
    change(flowers)
    report = json.loads(run("save", "flowers", "flowers", "--json").stdout)
    assert list(report) == [
        "snapshot", "tree", "name", "version", "parent", "changed", "files", "size", "stored", "skipped", "unchanged",
        "seconds",
    ]  # fmt: skip
    assert (report["name"], report["version"], report["unchanged"]) == ("flowers", 2, False)
    assert report["changed"] == {"added": 1, "removed": 1, "modified": 1}
    assert (report["files"], report["size"]) == (4, 40) and report["stored"]["objects"] == 2
    assert report["skipped"] == {"special": 0, "unreadable": 0}
    assert report["parent"] == json.loads(run("show", "flowers@1", "--json").stdout)["snapshot"]
    assert json.loads(run("save", "flowers", "flowers", "--json").stdout)["unchanged"] is True


def test_what_is_said_about_a_version(run: Run, flowers: Path) -> None:
    change(flowers)
    run(
        "save", "flowers", "flowers", "-m", "two\nlines", "--meta", 'licence="CC0"', "--meta", "n=[1]",
        "--author", "me", "--time", "2026-01-02T03:04:05Z", "--times", "--modes",
        "--derived-from", "flowers@1", "--derived-from", "f" * 64,
    )  # fmt: skip
    shown = json.loads(run("show", "flowers", "--json").stdout)
    first = json.loads(run("show", "flowers@1", "--json").stdout)
    record = json.loads(run("cat-file", shown["snapshot"]).stdout)
    assert set(record) <= set(shown) and (shown["type"], shown["version"]) == ("rsdos snapshot", 1)
    record["attributes"].sort()
    assert {name: shown[name] for name in record} == record
    assert shown["metadata"] == {"licence": "CC0", "n": [1]} and shown["time"] == "2026-01-02T03:04:05Z"
    assert (shown["author"], shown["message"], shown["attributes"]) == ("me", "two\nlines", ["modes", "times"])
    assert shown["derived_from"] == [first["snapshot"], "f" * 64] and shown["parents"] == [first["snapshot"]]
    assert shown["names"] == [{"name": "flowers", "version": 2}] and shown["tags"] == []
    assert (shown["objects"], shown["pages"], shown["size"]) == (4, 1, 40)
    text = run("show", "flowers").stdout
    assert "\nNames = flowers@2\n" in text and text.endswith("\n    two\n    lines\n")
    row = rows(run("ls", "--json", "flowers:labels.csv").stdout)[0]
    assert (row["mtime"], row["mode"]) == (1e9, f"{(flowers / 'labels.csv').stat().st_mode & 0o777:04o}")


def test_a_save_can_be_reproduced(run: Run, flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    keys = set()
    for path in ("one", "two"):
        run("-p", path, "init")
        done = run("-p", path, "save", "flowers", "flowers", "--author", "", "--json")
        keys.add(json.loads(done.stdout)["snapshot"])
    assert len(keys) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert "SOURCE_DATE_EPOCH" in run("save", "three", "flowers", code=2).stderr


def test_a_dry_run_of_an_unchanged_directory_names_the_version_that_the_save_names(run: Run, flowers: Path) -> None:
    planned = run("save", "flowers", "flowers", "--dry-run").stdout
    done = run("save", "flowers", "flowers").stdout
    assert same(done, "[info] flowers@1 KEY: nothing changed; 4 files, 32 B, in SECONDS s\n")
    assert planned.split(", in")[0] == done.split(", in")[0]
    would = json.loads(run("save", "flowers", "flowers", "--dry-run", "--json").stdout)
    did = json.loads(run("save", "flowers", "flowers", "--json").stdout)
    assert {**would, "seconds": 0} == {**did, "seconds": 0} and did["unchanged"]


def test_a_dry_run_writes_nothing(run: Run, flowers: Path, tmp_path: Path) -> None:
    change(flowers)
    before = run("log", "--operations", "--json").stdout
    assert (
        "Would save flowers@2: 1 modified, 1 added, 1 removed" in run("save", "flowers", "flowers", "--dry-run").stdout
    )
    assert (
        "Would save flowers@2: 1 modified, 1 added, 1 removed" in run("save", "flowers", "flowers", "--dry-run").stdout
    )
    would = run("checkout", "flowers", "out", "--dry-run").stdout
    assert would == "[info] Would write 4 files and 1 link, 32 B to out (flowers@1)\n"
    assert not (tmp_path / "out").exists()
    run("tag", "v1", "flowers")
    assert "forget  v1" in run("forget", "v1", "--dry-run").stdout
    assert "Would undo the tag of v1" in run("undo", "--dry-run").stdout
    assert "to delete" in run("gc", "--dry-run").stdout
    assert set(json.loads(run("gc", "--dry-run", "--json").stdout)) == {"objects", "size", "pages", "live", "running"}
    assert json.loads(run("undo", "--dry-run", "--json").stdout)["forgotten"][0]["name"] == "v1"
    assert json.loads(run("forget", "v1", "--dry-run", "--json").stdout)["forgotten"][0]["version"] is None
    planned = json.loads(run("gc", "--dry-run", "--json").stdout)
    assert {"objects", "size", "pages", "live", "running"} <= set(planned) and "marks" not in planned
    run("undo")
    assert rows(run("log", "--operations", "--json").stdout)[-1] == rows(before)[-1]


def test_the_log_in_lines_and_json(run: Run, flowers: Path) -> None:
    change(flowers)
    run("save", "flowers", "flowers", "-m", "second\nand more")
    run("tag", "v1", "flowers@1")
    done = run("log", "flowers").stdout
    assert same(
        done,
        "flowers@2  KEY  TIME  4 files, 40 B  second\nflowers@1  KEY  TIME  4 files, 32 B  [v1]  first delivery\n",
    ), done
    done = run("log").stdout
    assert same(done, "flowers@2  KEY  TIME  4 files, 40 B  second\nv1  KEY  TIME  4 files, 32 B  first delivery\n"), (
        done
    )
    newest, tag = rows(run("log", "--json").stdout)
    assert list(newest) == [
        "name", "version", "snapshot", "tree", "time", "author", "message", "files", "size", "parents", "tags"
    ]  # fmt: skip
    assert (tag["name"], tag["version"], newest["parents"]) == ("v1", None, [tag["snapshot"]])
    assert len(rows(run("log", "flowers", "-n", "1", "--json").stdout)) == 1
    operations = rows(run("log", "--operations", "--json").stdout)
    assert [row["verb"] for row in operations] == ["tag", "save", "save"]
    assert list(operations[0]) == ["number", "verb", "names", "time", "by", "refs"]
    assert len(run("log", "--operations").stdout.splitlines()) == 3
    assert "no NAME" in run("log", "flowers", "--operations", code=2).stderr


def test_lists_of_a_directory(run: Run, flowers: Path) -> None:
    assert run("ls", "flowers").stdout == "empty\nlabels.csv\nlatest\ntrain\n"
    assert run("ls", "flowers:train").stdout == "rose\ntulip\n" == run("ls", "flowers@1:/train/").stdout
    assert run("ls", "-r", "flowers:train").stdout.splitlines() == [
        "rose", "tulip", "rose/1.jpg", "rose/2.jpg", "tulip/1.jpg"
    ]  # fmt: skip
    assert run("ls", "-l", "flowers:labels.csv").stdout == (
        f"{'file':<10} {7:>12} {key_of(FILES['labels.csv'])} labels.csv\n"
    )
    assert run("ls", "-l", "flowers").stdout.splitlines()[2].split() == [
        "link",
        "10",
        "-",
        "latest",
        "->",
        "train/rose",
    ]
    assert [line.split() for line in run("ls", "-d", "flowers").stdout.splitlines()] == [
        ["9", "32", "."], ["0", "0", "empty"], ["5", "25", "train"]
    ]  # fmt: skip
    assert len(run("ls", "-d", "-r", "flowers").stdout.splitlines()) == 5
    row = rows(run("ls", "-r", "--json", "flowers:train/tulip").stdout)[0]
    assert row == {
        "path": "train/tulip/1.jpg", "kind": "file", "size": 7, "key": key_of(b"a tulip"), "target": None,
        "mtime": None, "mode": None,
    }  # fmt: skip
    assert rows(run("ls", "-d", "--json", "flowers").stdout)[2] == {
        "path": "train", "kind": "directory", "entries": 5, "size": 25
    }  # fmt: skip


def test_a_diff_of_two_snapshots_and_of_a_directory(run: Run, flowers: Path) -> None:
    (flowers / "train/rose/2.jpg").rename(flowers / "moved.jpg")
    change(flowers)
    against = "M  labels.csv\nA  moved.jpg\nD  train/rose/2.jpg\nA  train/rose/3.jpg\nD  train/tulip/1.jpg\n"
    assert run("diff", "flowers", "./flowers").stdout == against
    assert run("diff", "./flowers", "flowers@1").stdout.splitlines()[1] == "D  moved.jpg"
    run("save", "flowers", "flowers")
    assert run("diff", "flowers@1", "flowers").stdout == (
        "M  labels.csv\nR  train/rose/2.jpg -> moved.jpg\nA  train/rose/3.jpg\nD  train/tulip/1.jpg\n"
    )
    assert run("diff", "flowers@1:train", "flowers:train", "--name-only").stdout == (
        "rose/2.jpg\nrose/3.jpg\ntulip/1.jpg\n"
    )
    assert run("diff", "flowers@1", "flowers", "-0").stdout.split("\0") == [
        "M  labels.csv", "R  train/rose/2.jpg", "moved.jpg", "A  train/rose/3.jpg", "D  train/tulip/1.jpg", ""
    ]  # fmt: skip
    assert run("diff", "flowers@1", "flowers", "--stat").stdout.endswith(
        "D  train/tulip/1.jpg  7 B\n[info] 1 modified, 1 added, 1 removed, 1 renamed; 8 B more\n"
    )
    *found, last = rows(run("diff", "flowers@1", "flowers", "--json").stdout)
    assert found[1] == {
        "path": "moved.jpg", "change": "renamed", "kind": "file", "size": 12, "key": key_of(b"another rose"),
        "old": {"kind": "file", "size": 12, "key": key_of(b"another rose")}, "from": "train/rose/2.jpg", "differs": [],
    }  # fmt: skip
    assert last == {"summary": {"modified": 1, "added": 1, "removed": 1, "kind": 0, "renamed": 1, "growth": 8}}
    assert run("diff", "flowers@1", "flowers", "--exit-code", code=3).stdout
    assert run("diff", "flowers", "flowers@2", "--exit-code").stdout == ""


def test_the_status_of_a_directory(run: Run, flowers: Path) -> None:
    done = run("status", "flowers", "--exit-code").stdout
    assert re.fullmatch(r"\[info\] against flowers@1: no differences; 5 unchanged, (none|\d) read\n", done), done
    change(flowers)
    run("status", "flowers", "--exit-code", code=3)
    *found, last = rows(run("status", "flowers", "--json").stdout)
    assert [(row["change"], row["path"]) for row in found] == [
        ("modified", "labels.csv"), ("added", "train/rose/3.jpg"), ("removed", "train/tulip/1.jpg")
    ]  # fmt: skip
    assert found[2]["old"] == {"kind": "file", "size": 7, "key": key_of(b"a tulip")} and found[2]["kind"] is None
    assert last["summary"]["unchanged"] == 3 and last["summary"]["added"] == 1
    run("tag", "v1", "flowers@1")
    assert run("status", "flowers", "v1:train").stdout != ""
    assert "no snapshot" in run("status", ".", code=2).stderr or "container" in run("status", ".", code=2).stderr


def test_what_differs_is_behind_the_path(run: Run, flowers: Path) -> None:
    run("save", "flowers", "flowers")
    (flowers / "labels.csv").chmod(0o755)
    (flowers / "train/rose/1.jpg").write_bytes(b"A rose")
    (flowers / "train/rose/2.jpg").write_bytes(b"longer than before")
    (flowers / "train/rose/2.jpg").chmod(0o755)
    (flowers / "train/tulip/1.jpg").unlink()
    (flowers / "train/tulip/1.jpg").symlink_to("nowhere")
    (flowers / "latest").unlink()
    (flowers / "latest").symlink_to("train/tulip")
    (flowers / "empty").rmdir()
    (flowers / "empty").write_bytes(b"")
    shown = (
        "T  empty  (directory -> file)\nM  labels.csv  (executable)\nM  latest\n"
        "M  train/rose/1.jpg\nM  train/rose/2.jpg  (content, executable)\nT  train/tulip/1.jpg  (file -> link)\n"
    )
    assert run("status", "flowers").stdout.startswith(shown)
    *found, _ = rows(run("status", "flowers", "--json").stdout)
    assert [row["differs"] for row in found] == [
        [], ["executable"], ["target"], ["content"], ["content", "executable"], []
    ]  # fmt: skip
    run("save", "flowers", "flowers")
    assert run("diff", "flowers@1", "flowers").stdout == shown
    assert "M  labels.csv  (not executable)\n" in run("diff", "flowers", "flowers@1").stdout
    assert "M  labels.csv  (executable)  7 B -> 7 B\n" in run("diff", "flowers@1", "flowers", "--stat").stdout
    assert "\0M  labels.csv\0" in run("diff", "flowers@1", "flowers", "-0").stdout
    (flowers / "train/rose/1.jpg").rename(flowers / "run.sh")
    (flowers / "run.sh").chmod(0o755)
    run("save", "flowers", "flowers")
    assert run("diff", "flowers@2", "flowers").stdout == "R  train/rose/1.jpg -> run.sh  (executable)\n"


def test_modes_and_times_that_differ_are_told(run: Run, flowers: Path) -> None:
    for name, mode in (("labels.csv", 0o644), ("train/rose/1.jpg", 0o644), ("train/rose/2.jpg", 0o755)):
        (flowers / name).chmod(mode)
    run("save", "exact", "flowers", "--modes", "--times")
    (flowers / "labels.csv").chmod(0o600)
    os.utime(flowers / "train/tulip/1.jpg", (1_000_000_001, 1_000_000_001))
    (flowers / "train/rose/1.jpg").chmod(0o744)
    os.utime(flowers / "train/rose/1.jpg", (1_000_000_001, 1_000_000_001))
    (flowers / "train/rose/2.jpg").write_bytes(b"another time, too")
    shown = (
        "M  labels.csv  (mode 644 -> 600)\nM  train/rose/1.jpg  (mode 644 -> 744, time)\n"
        "M  train/rose/2.jpg\nM  train/tulip/1.jpg  (time)\n"
    )
    assert run("status", "flowers").stdout.startswith(shown)
    *found, _ = rows(run("status", "flowers", "--json").stdout)
    assert [row["differs"] for row in found] == [
        ["mode"],
        ["executable", "mode", "time"],
        ["content", "time"],
        ["time"],
    ]
    run("save", "exact", "flowers", "--modes", "--times")
    assert run("diff", "exact@1", "exact").stdout == shown
    # A tree without modes and times is compared without them.
    assert (
        run("diff", "flowers", "exact").stdout
        == "M  train/rose/1.jpg  (executable)\nM  train/rose/2.jpg  (content, executable)\n"
    )


def test_the_status_of_the_container_is_as_before(run: Run, flowers: Path) -> None:
    assert run("status").stdout.startswith("[container]\n")
    assert "Location" in run("status", "--check").stdout and json.loads(run("status", "--json").stdout)
    for option in ("--rehash", "--exit-code", "--keep-going"):
        assert "needs a DIR" in run("status", option, code=2).stderr
    for options in (["--check"], ["--max-loose", "1"], ["--max-dead", "1%"]):
        assert "give no DIR" in run("status", "flowers", *options, code=2).stderr


def test_objects_are_named_by_ref_and_path(run: Run, flowers: Path, tmp_path: Path) -> None:
    assert run("cat-file", "flowers@1:train/rose/1.jpg").stdout == "a rose"
    assert run("cat-file", "flowers:latest/2.jpg").stdout == "another rose"
    assert json.loads(run("cat-file", "flowers").stdout)["message"] == "first delivery"
    run("cat-file", "flowers:labels.csv", "-o", "out", "--range", "0:4")
    assert (tmp_path / "out").read_bytes() == b"rose"
    assert key_of(b"a tulip") in run("inspect", "object", "flowers:train/tulip/1.jpg").stdout
    key = json.loads(run("show", "flowers", "--json").stdout)["snapshot"]
    assert run("cat-file", f"{key[:8]}:labels.csv").stdout == run("cat-file", f"{key}:labels.csv").stdout == "rose,1\n"
    assert "Is a directory" in run("cat-file", "flowers:train", code=1).stderr
    assert "flowers@1:nothing: No such file or directory" in run("cat-file", "flowers:nothing", code=1).stderr
    assert "nothing" in run("cat-file", "nothing", code=1).stderr


def test_tags_branches_forget_and_undo(run: Run, flowers: Path) -> None:
    key = json.loads(run("show", "flowers", "--json").stdout)["snapshot"][:8]
    assert run("tag", "v1", "flowers").stdout == f"[info] Tagged {key} as v1\n"
    assert "v1" in run("tag", "v1", "flowers", code=1).stderr
    run("tag", "v1", "flowers", "--move")
    assert run("branch", "other", "v1").stdout == f"[info] other@1 is {key}\n"
    assert "other" in run("branch", "other", "v1", code=1).stderr
    assert "--yes" in run("forget", "other", code=2).stderr
    assert run("forget", "other", "--yes").stdout == "[info] Forgot other@1 (undo brings it back until gc)\n"
    assert "Undid the forget of other@1; back: other@1" in run("undo").stdout
    report = json.loads(run("undo", "--json").stdout)
    assert report["forgotten"][0]["name"] == "other" and report["kept"] == []
    report = json.loads(run("forget", "flowers", "--keep-last", "5", "--json").stdout)
    assert report["forgotten"] == [] and report["kept"][0]["version"] == 1
    assert list(report["kept"][0]) == ["name", "version", "snapshot", "reason"]
    assert run("forget", "flowers", "--keep-last", "5").stdout == "[info] Nothing to forget\n"


def test_an_archive_goes_out_and_in(run: Run, flowers: Path, tmp_path: Path) -> None:
    run("export", "flowers", "-o", "flowers.tar")
    run("export", "flowers", "-o", "again.tar")
    assert (tmp_path / "flowers.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "flowers.tar", "-C", tmp_path / "out"], check=True)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES
    done = run("import", "copy", "flowers.tar").stdout
    assert same(done, "[info] copy@1 KEY: 4 files, 32 B; 0 new objects, 1 page, in SECONDS s\n"), done
    run("import", "piped", "-", stdin=(tmp_path / "flowers.tar").read_bytes())
    shutil.make_archive(str(tmp_path / "flowers"), "zip", flowers)
    run("import", "zipped", "flowers.zip")
    listed = run("export", "flowers", "--format", "list").stdout
    assert {row["path"]: row["key"] for row in rows(listed)} == {name: key_of(data) for name, data in FILES.items()}
    (tmp_path / "list.jsonl").write_text(listed)
    run("import", "listed", "list.jsonl")
    for name in ("copy", "piped"):
        assert run("diff", "flowers", name).stdout == ""
    assert run("cat-file", "listed:labels.csv").stdout == run("cat-file", "zipped:labels.csv").stdout == "rose,1\n"
    assert not [name for name in os.listdir(tmp_path) if ".part-" in name]


def test_a_transfer_brings_snapshots_by_their_names(run: Run, flowers: Path) -> None:
    run("add-files", "--quiet", "flowers/labels.csv")
    run("tag", "v1", "flowers")
    run("-p", "other", "init")
    done = run("transfer", "container", "other", "flowers").stdout
    assert done.endswith("; new names: flowers@1\n"), done
    assert run("-p", "other", "cat-file", "flowers:train/rose/1.jpg").stdout == "a rose"
    assert run("-p", "other", "log").stdout.startswith("flowers@1  ") and "v1" not in run("-p", "other", "log").stdout
    run("transfer", "container", "other", "v1", "--as", "from-a-friend")
    assert run("-p", "other", "cat-file", "from-a-friend:labels.csv").stdout == "rose,1\n"
    run("-p", "third", "init")
    run("transfer", "container", "third", "flowers:train/tulip/1.jpg", key_of(b"a rose")[:8])
    assert set(run("-p", "third", "list").stdout.split()) == {key_of(b"a tulip"), key_of(b"a rose")}
    assert run("-p", "third", "log").stdout == ""
    run("transfer", "container", "third")
    assert len(run("-p", "third", "log").stdout.splitlines()) == 2
    assert run("-p", "third", "diff", "flowers", "./flowers").stdout == ""
    assert "nothing" in run("transfer", "container", "third", "nothing", code=1).stderr
    assert "--as" in run("transfer", "container", "third", "flowers", "v1", "--as", "x", code=2).stderr
    assert "either" in run("transfer", "container", "third", "flowers", key_of(b"a rose"), code=2).stderr


def test_a_year_is_a_name_as_any_other(run: Run, flowers: Path, tmp_path: Path) -> None:
    assert run("save", "2024", "flowers").stdout.startswith("[info] 2024@1 ")
    change(flowers)
    assert run("save", "2024", "flowers").stdout.startswith("[info] 2024@2 ")
    run("tag", "20241231", "2024@1")
    run("branch", "2025", "2024")
    assert [line.split()[0] for line in run("log").stdout.splitlines()] == ["2024@2", "2025@1", "flowers@1", "20241231"]
    assert [line.split()[0] for line in run("log", "2024").stdout.splitlines()] == ["2024@2", "2024@1"]
    assert "Names = 2024@1, 20241231\n" in run("show", "20241231").stdout
    assert run("diff", "20241231", "2024").stdout == run("diff", "flowers", "2024@2").stdout != ""
    assert "labels.csv\n" in run("ls", "20241231").stdout
    assert run("cat-file", "2024:labels.csv").stdout == "rose,1\ntulip,2\n"
    assert run("cat-file", "20241231:labels.csv").stdout == run("cat-file", "2024@1:labels.csv").stdout == "rose,1\n"
    assert json.loads(run("cat-file", "2024").stdout)["type"] == "rsdos snapshot"
    assert "2023: no such branch or tag" in run("cat-file", "2023", code=1).stderr
    run("checkout", "20241231", "old")
    assert (tmp_path / "old/labels.csv").read_bytes() == FILES["labels.csv"]
    assert "against 2024: no differences" in run("status", "flowers", "2024").stdout
    run("export", "20241231", "-o", "old.tar")
    assert run("import", "2026", "old.tar").stdout.startswith("[info] 2026@1 ")
    run("-p", "other", "init")
    run("transfer", "container", "other", "2024", "20241231")
    assert set(Container(tmp_path / "other").snapshots) == {"2024", "20241231"}
    run("-p", "disk", "init")
    run("remote", "add", "origin", "disk")
    assert "2024@1, 2024@2" in run("push").stdout
    run("clone", "disk", "clone")
    assert run("-p", "clone", "log").stdout == run("log").stdout
    run("forget", "2024@1", "2025", "--yes")
    run("gc")
    run("validate", "--full")
    run("doctor")
    run("undo")
    assert "2024@1" in run("log", "2024").stdout


def test_a_name_comes_before_the_beginning_of_a_key(run: Run, flowers: Path, tmp_path: Path) -> None:
    key = key_of(b"a rose")
    name = key[:8]
    assert run("cat-file", name).stdout == "a rose"
    run("tag", name, "flowers")
    snapshot = run("cat-file", "flowers").stdout
    assert run("cat-file", name).stdout == run("cat-file", "flowers").stdout == snapshot
    assert run("inspect", "object", name).stdout == run("inspect", "object", "flowers").stdout
    assert run("cat-file", f"{name}:labels.csv").stdout == "rose,1\n"
    assert f", {name}\n" in run("show", name).stdout
    # The object is still named by more characters, or by less.
    assert run("cat-file", key[:9]).stdout == run("cat-file", key[:7]).stdout == run("cat-file", key).stdout == "a rose"
    run("-p", "other", "init")
    run("transfer", "container", "other", name)
    assert list(Container(tmp_path / "other").snapshots) == [name]
    run("-p", "third", "init")
    run("transfer", "container", "third", key[:9])
    assert run("-p", "third", "list").stdout == f"{key}\n"
    # These take keys alone.
    run("extract", "out", name)
    assert os.listdir(tmp_path / "out") == [key]
    assert run("cat-file", "--batch-check", stdin=name.encode()).stdout == f"{key} blob 6\n"
    run("forget", name)
    assert run("cat-file", name).stdout == "a rose"


def test_deleting_by_key_says_what_snapshots_keep(run: Run, flowers: Path) -> None:
    key = key_of(b"a rose")
    run("add-files", "--quiet", "flowers/train/rose/1.jpg")
    assert run("delete", key).stdout == "[info] Deleted 1 object; missing: 0; kept for snapshots: 1\n"
    assert run("cat-file", "flowers:train/rose/1.jpg").stdout == "a rose"


def test_names_that_a_terminal_would_act_on_are_escaped(run: Run, tmp_path: Path) -> None:
    names = [b"a\nb", b"\x1b[31mred", b"\xff", "é".encode()]
    top = tmp_path / "odd"
    top.mkdir()
    for name in names:
        (Path(os.fsdecode(os.path.join(os.fsencode(top), name)))).write_bytes(name)
    run("init")
    run("save", "odd", "odd")
    shown = sorted(run("ls", "odd").stdout.splitlines())
    assert shown == sorted(["a\\nb", "\\x1b[31mred", os.fsdecode(b"\xff"), "é"])
    assert sorted(map(os.fsencode, run("ls", "-0", "odd").stdout.split("\0")[:-1])) == sorted(names)
    documents = rows(run("ls", "--json", "odd").stdout)
    assert sorted(os.fsencode(row["path"]) for row in documents) == sorted(names)
    assert [row["path_base64"] for row in documents if "path_base64" in row] == ["/w=="]
    for command in (["checkout", "odd", "out"], ["diff", "odd", "./empty"], ["status", "odd", "odd"]):
        (tmp_path / "empty").mkdir(exist_ok=True)
        done = run(*command)
        assert "\x1b" not in done.stdout + done.stderr
    assert {os.fsencode(name) for name in os.listdir(tmp_path / "out")} == set(names)


BAD = {
    ("save", "flowers"): 2,
    ("save", "../x", "flowers"): 2,
    ("save", "", "flowers"): 2,
    ("save", "a b", "flowers"): 2,
    ("save", "a" * 64, "flowers"): 2,
    ("save", "x.lock", "flowers"): 2,
    ("save", "v1", "flowers"): 1,
    ("save", "flowers", "nothing"): 1,
    ("save", "flowers", "file"): 1,
    ("save", "flowers", "container"): 2,
    ("save", "flowers", "flowers", "--meta", "licence"): 2,
    ("save", "flowers", "flowers", "--meta", "licence=CC0"): 2,
    ("save", "flowers", "flowers", "--time", "yesterday"): 2,
    ("save", "flowers", "flowers", "--derived-from", "nothing"): 1,
    ("save", "flowers", "flowers", "--at", "../x"): 2,
    ("save", "flowers", "flowers", "-j", "0"): 2,
    ("log", "nothing"): 1,
    ("log", "a b"): 2,
    ("log", "-n", "-1"): 2,
    ("show",): 2,
    ("show", "nothing"): 1,
    ("show", "flowers@9"): 1,
    ("show", "flowers@x"): 2,
    ("show", "0" * 64): 1,
    ("show", "abcdef"): 1,
    ("ls", "nothing"): 1,
    ("ls", "flowers:nothing"): 1,
    ("ls", "flowers:../x"): 1,
    ("ls", "flowers", "-0", "--json"): 2,
    ("ls", "flowers", "-l", "-d"): 2,
    ("ls", "-d", "flowers:labels.csv"): 1,
    ("diff", "flowers"): 2,
    ("diff", "flowers", "nothing"): 1,
    ("diff", "./flowers", "./flowers"): 2,
    ("diff", "flowers:nothing", "flowers"): 1,
    ("diff", "flowers", "flowers", "--stat", "--json"): 2,
    ("diff", "flowers", "flowers", "--stat", "-0"): 2,
    ("status", "nothing"): 1,
    ("status", "flowers", "nothing"): 1,
    ("checkout", "flowers"): 2,
    ("checkout", "nothing", "out"): 1,
    ("checkout", "flowers:nothing", "out"): 1,
    ("checkout", "flowers:labels.csv", "out"): 1,
    ("checkout", "flowers", "container/x"): 2,
    ("checkout", "flowers", "file"): 1,
    ("checkout", "flowers", "out", "--links", "some"): 2,
    ("tag", "v2"): 2,
    ("tag", "a b", "flowers"): 2,
    ("tag", "v2", "nothing"): 1,
    ("tag", "flowers", "flowers"): 1,
    ("branch", "../x", "flowers"): 2,
    ("branch", "new", "nothing"): 1,
    ("forget",): 2,
    ("forget", "nothing"): 1,
    ("forget", "flowers@9"): 1,
    ("forget", "v1", "--keep-last", "1"): 2,
    ("forget", "flowers", "--keep-last", "-1"): 2,
    ("forget", "flowers", "--keep-within", "soon"): 2,
    ("export", "nothing", "-o", "x"): 1,
    ("export", "flowers", "-o", "container/x"): 2,
    ("export", "flowers", "-o", "nothing/x"): 1,
    ("export", "flowers", "--format", "zip"): 2,
    ("import", "new"): 2,
    ("import", "new", "nothing"): 1,
    ("import", "new", "file"): 1,
    ("import", "new", "file", "--format", "zip"): 1,
    ("import", "new", "file", "--format", "list"): 1,
    ("import", "a b", "file"): 2,
    ("cat-file", "flowers:"): 1,
    ("gc", "now"): 2,
    ("undo", "now"): 2,
}


ONE_AFTER_THE_OTHER = """
import json, os, sys
from rsdos.cli.entry import main

def run(arguments):
    out, errors = os.open("/dev/null", os.O_RDWR), os.memfd_create("errors")
    child = os.fork()
    if child == 0:
        for fd, target in ((out, 0), (out, 1), (errors, 2)):
            os.dup2(fd, target)
        sys.argv[1:] = arguments
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, os.pread(errors, 1 << 16, 0).decode()

print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
"""
"""Runs many command lines, each in a fork of one process: starting Python for each would take a minute."""

Outcomes = dict[tuple[str, ...], tuple[int, str]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What became of all bad command lines: exit codes and errors. None of them may have changed anything."""
    if not hasattr(os, "memfd_create"):
        pytest.skip("needs Linux")
    top = tmp_path_factory.mktemp("bad")
    write(top / "flowers", FILES)
    (top / "file").write_bytes(b"no archive")
    with Container.create(top / "container") as container:
        container.snapshots.save("flowers", top / "flowers")
        container.snapshots.tag("v1", "flowers")
    command = [sys.executable, "-c", ONE_AFTER_THE_OTHER]
    done = subprocess.run(command, cwd=top, input=json.dumps(list(BAD)), capture_output=True, text=True, check=True)
    with Container(top / "container") as container:
        assert list(container.snapshots) == ["flowers", "v1"] and container.snapshots.branches() == {"flowers": [1]}
    assert sorted(os.listdir(top)) == ["container", "file", "flowers"]
    return dict(zip(BAD, map(tuple, json.loads(done.stdout)), strict=True))


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line_and_changes_nothing(outcomes: Outcomes, arguments: tuple[str, ...]) -> None:
    code, errors = outcomes[arguments]
    assert code == BAD[arguments], errors
    assert errors.startswith("rsdos: error: ") and errors.count("\n") == 1, errors
    assert "a bug in rsdos" not in errors


@pytest.mark.parametrize(
    "command",
    [
        ("log",), ("show", "flowers"), ("ls", "flowers"), ("diff", "flowers", "flowers"), ("tag", "new", "flowers"),
        ("branch", "new", "flowers"), ("forget", "flowers"), ("undo",), ("gc",), ("export", "flowers"),
        ("checkout", "flowers", "out"), ("save", "flowers", "."), ("status", "."),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_container_that_is_not_there_is_said_by_its_path(run: Run, command: tuple[str, ...]) -> None:
    assert "container: not a container" in run(*command, code=1).stderr


def test_version_1_is_told_to_migrate(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "flowers", FILES)
    run("init", "--format", "1")
    assert "migrate" in run("save", "flowers", "flowers", code=2).stderr
    assert run("log").stdout == ""


def test_adding_a_tree_says_once_that_names_are_not_kept(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "flowers", FILES)
    run("init")
    told = "rsdos: note: names were not kept, only printed; `rsdos save NAME DIR` keeps them\n"
    assert run("add-files", "-r", "flowers").stderr == told
    for options in (["-r", "--json"], ["-r", "--quiet"], ["-r", "--dry-run"]):
        assert run("add-files", *options, "flowers").stderr == ""
    assert run("add-files", "flowers/labels.csv").stderr == ""


def test_what_cannot_be_read_stops_a_save_unless_it_shall_go_on(run: Run, flowers: Path) -> None:
    change(flowers)
    (flowers / "secret").mkdir(mode=0)
    if os.access(flowers / "secret", os.R_OK):
        pytest.skip("root reads everything")
    assert "secret" in run("save", "flowers", "flowers", code=1).stderr
    report = json.loads(run("save", "flowers", "flowers", "--keep-going", "--json", code=1).stdout)
    assert (report["version"], report["skipped"]["unreadable"]) == (2, 1)


def test_special_files_are_passed_over_counted_and_named(run: Run, flowers: Path) -> None:
    os.mkfifo(flowers / "train/a\x1b[31m\nfifo")
    named = [
        "rsdos: note: 1 special file passed over: FIFOs, sockets, devices",
        r"rsdos: note:   flowers/train/a\x1b[31m\nfifo",
    ]
    for command in ("save flowers flowers --dry-run", "save flowers flowers", "status flowers"):
        assert run(*command.split()).stderr.splitlines() == named


def test_of_many_special_files_the_first_ten_are_named(run: Run, flowers: Path) -> None:
    for number in range(12):
        os.mkfifo(flowers / f"fifo{number:02}")
    done = run("save", "flowers", "flowers", "--json")
    assert json.loads(done.stdout)["skipped"] == {"special": 12, "unreadable": 0}
    heading, *named, last = done.stderr.splitlines()
    assert heading == "rsdos: note: 12 special files passed over: FIFOs, sockets, devices"
    assert named == [f"rsdos: note:   flowers/fifo{number:02}" for number in range(10)]
    assert last == "rsdos: note:   and 2 more"


def test_a_second_writer_is_told_that_the_branch_moved(run: Run, flowers: Path, tmp_path: Path) -> None:
    run("checkout", "flowers", "other")
    change(flowers)
    run("save", "flowers", "flowers")
    write(tmp_path / "other", {"new": b"new"})
    failed = run("save", "flowers", "other", code=1)
    assert failed.stderr.count("\n") == 1 and "flowers" in failed.stderr and "--force" in failed.stderr
    run("save", "flowers", "other", "--force")
    assert run("cat-file", "flowers@3:new").stdout == "new"


def test_help_has_a_section_of_snapshots(run: Run) -> None:
    text = run("--help").stdout
    assert text.index("\nCommands:") < text.index("\nSnapshots:") < text.index("\n  save ")
    assert "3 differences" in " ".join(text.split())


FORBIDDEN = {"rsdos.facade.snapshots", "rsdos.facade.snapshot", "rsdos.facade.draft", "rsdos.cli.save"}


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["list"], ["cat-file", key_of(b"a rose")], ["--version"], ["add-files", "flowers/labels.csv"]],
)
def test_commands_of_before_import_nothing_of_snapshots(flowers: Path, tmp_path: Path, arguments: list[str]) -> None:
    imported = imported_by(tmp_path, *arguments)
    assert not {name for name in imported if name in FORBIDDEN or name.startswith("rsdos.worktree")}


@pytest.mark.parametrize(
    "arguments", [["log"], ["ls", "flowers"], ["cat-file", "flowers:labels.csv"], ["tag", "v1", "flowers"]]
)
def test_reading_a_tree_imports_nothing_that_writes_directories(
    flowers: Path, tmp_path: Path, arguments: list[str]
) -> None:
    imported = imported_by(tmp_path, *arguments)
    assert not {name for name in imported if name.startswith("rsdos.worktree")}
    assert not imported & {"logging", "sqlite3", "tarfile", "zipfile", "rsdos.facade.draft"}
    assert arguments[0] == "tag" or "numpy" not in imported


def test_a_reader_that_closes_the_pipe_is_no_failure(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "many", {f"{number:05}": b"" for number in range(3000)})
    run("init")
    run("save", "many", "many")
    for command in ("ls many", "export many", "diff many ./empty", "log"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        line = f"{sys.executable} -m rsdos {command} | head -c 10 > /dev/null"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), command

"""Directories of a part of a tree: what a user makes or changes in them is seen and saved, whatever the patterns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_snapshots import write

FILES = {"p/a": b"1\n", "p/b": b"the same", "q/b": b"2\n", "top": b"3"}


@pytest.fixture
def part(run: Run, tmp_path: Path) -> Path:
    """A directory with p/, by an earlier checkout, and q/, by the last one."""
    write(tmp_path / "whole", FILES)
    run("init")
    run("save", "exp", "whole")
    run("checkout", "exp", "part", "--include", "p/**")
    run("checkout", "exp", "part", "--include", "q/**")
    return tmp_path / "part"


def changes(run: Run, directory: str) -> list[str]:
    """What a status says of a directory."""
    return [line for line in run("status", directory).stdout.splitlines() if not line.startswith("[info]")]


def saved(run: Run, name: str) -> dict[str, str]:
    """The files of a version."""
    listed = map(json.loads, run("ls", "-r", "--json", name).stdout.splitlines())
    return {entry["path"]: run("cat-file", f"{name}:{entry['path']}").stdout for entry in listed if entry.get("key")}


def test_what_an_earlier_checkout_wrote_and_the_user_changed_is_seen_and_saved(run: Run, part: Path) -> None:
    assert changes(run, "part") == []
    (part / "p/a").write_text("precious\n")
    (part / "p/new").write_text("new\n")
    assert changes(run, "part") == ["M  p/a", "A  p/new"]
    done = run("save", "exp", "part")
    assert "1 modified, 1 added, 0 removed" in done.stdout and "a part" in done.stderr
    assert saved(run, "exp") == {"p/a": "precious\n", "p/b": "the same", "p/new": "new\n", "q/b": "2\n", "top": "3"}
    assert changes(run, "part") == []
    done = run("save", "exp", "part")
    assert "nothing changed" in done.stdout and not done.stderr


@pytest.mark.parametrize("patterns", [("--include", "p/**"), ("--exclude", "q/", "--exclude", "/top")])
def test_new_files_that_no_pattern_covers_are_seen_and_saved(
    run: Run, part: Path, tmp_path: Path, patterns: tuple[str, ...]
) -> None:
    run("checkout", "exp", "other", *patterns)
    write(tmp_path / "other", {"notes": b"mine", "q/b": b"mine too", "q/c": b"and this"})
    assert changes(run, "other") == ["A  notes", "M  q/b", "A  q/c"]
    assert "2 added" in run("save", "exp", "other", "--dry-run").stdout
    run("save", "exp", "other")
    expected = {"p/a": "1\n", "p/b": "the same", "top": "3", "notes": "mine", "q/b": "mine too", "q/c": "and this"}
    assert saved(run, "exp") == expected
    (tmp_path / "other" / "q/c").write_text("edited again")
    assert changes(run, "other") == ["M  q/c"]


def test_a_part_that_was_emptied_and_filled_anew_is_what_is_in_it_and_what_was_left_out(run: Run, part: Path) -> None:
    for path in part.iterdir():
        shutil.rmtree(path)
    (part / "results.csv").write_text("new\n")
    run("save", "brandnew", "part")
    # q/ was covered, and is gone; the rest was left out, and stays.
    assert saved(run, "brandnew") == {"p/a": "1\n", "p/b": "the same", "top": "3", "results.csv": "new\n"}


def test_a_file_of_the_tree_is_not_replaced_by_a_directory_that_is_saved_there(run: Run, part: Path) -> None:
    failed = run("save", "exp", "part/p", "--at", "top", code=2)
    assert "top" in failed.stderr
    assert run("cat-file", "exp:top").stdout == "3"

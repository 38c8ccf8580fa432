"""Patterns: the same names are left out as by git, which made these rules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsdos.ingest.patterns import Excluded, patterns_in
from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.ignore import MOST_BYTES, Ignore, Selection
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import ScanOptions
from rsdos.worktree.scan import DirectoryScan

PATHS = (
    "a",
    "a.b",
    "b/a",
    "b/c",
    "b/a.b",
    "b/b/a",
    "b/b/c/a",
    "c/b/a",
    "c/b/c",
    "d/!a",
    "d/a b",
    "d/[x]",
    "d/x",
    "d/#a",
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("git"):
        pytest.skip("needs git")
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", top], check=True, env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1"})
    for path in PATHS:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).touch()
    return top


def taken_by_git(top: Path) -> set[str]:
    """What git would add."""
    listed = subprocess.run(
        [
            "git",
            "-c",
            "core.excludesFile=/dev/null",
            "ls-files",
            "-z",
            "--others",
            "--exclude-per-directory=.rsdosignore",
        ],
        cwd=top,
        check=True,
        capture_output=True,
        text=True,
    )
    return {path for path in listed.stdout.split("\0") if path and not path.endswith(".rsdosignore")}


def taken(top: Path) -> set[str]:
    found = set()
    with OpenDirectories(top) as opened:
        for directory in DirectoryScan(opened, None, ScanOptions(exclude=(".git/", ".rsdosignore"))):
            run = directory.take(len(directory.names))
            found |= {
                os.fsdecode(directory.prefix + name)
                for name, kind in zip(run.names, run.kinds, strict=True)
                if kind != EntryKind.DIRECTORY
            }
    return found


pieces = st.sampled_from(
    ["a", "b", "c", "*", "?", "**", "/", "/", ".b", "[ab]", "[!a]", "[a-c]", "[c-a]", "[-a]", "!", "\\", " ", "#", "x"]
)
# Not with an escaped slash: git takes `**\/a` for one directory or more, and `**/a` for any number.
line = st.lists(pieces, min_size=1, max_size=5).map("".join).filter(lambda line: "\\/" not in line)
lines = st.lists(line, max_size=4)


@given(top=lines, below=lines)
def test_the_same_files_are_left_out_as_by_git(repository: Path, top: list[str], below: list[str]) -> None:
    (repository / ".rsdosignore").write_text("\n".join(top))
    (repository / "b/.rsdosignore").write_text("\n".join(below))
    assert taken(repository) == taken_by_git(repository)


def test_lines_end_where_they_do_for_git(repository: Path) -> None:
    (repository / "b/.rsdosignore").write_bytes(b"")
    (repository / ".rsdosignore").write_bytes("\ufeffa.b\r\nb/c\r\nd\x0cx\nc\u2028b\n".encode())
    assert taken(repository) == taken_by_git(repository) == set(PATHS) - {"a.b", "b/a.b", "b/c"}


def test_a_pattern_that_was_cut_is_none() -> None:
    ignore = Ignore()
    ignore.enter(b"", b"a\n".ljust(MOST_BYTES - 4, b"\n") + b"dat*")
    assert ignore.file(b"a") and not ignore.file(b"data")
    ignore.enter(b"", b"dat*")
    assert ignore.file(b"data")


def test_the_lines_of_a_file_that_are_no_patterns() -> None:
    assert list(patterns_in("a\n\n# b\n\\#c\n d  \ne\\ \n\t\nf\t")) == ["a", "\\#c", " d", "e\\ ", "f"]


@pytest.mark.parametrize(
    "pattern", ["[z-a]", "[&&a]", "[~~|]", "[--0]", "[a--]", "[[]", "[]]", "[]", "[!]", "[", "[a", "\\"]
)
def test_odd_sets_are_no_errors(pattern: str) -> None:
    excluded = Excluded([pattern])
    assert not excluded.file("é/x")
    assert Excluded([pattern, "!*"]).file("a") is False


def test_sets_match_what_they_name() -> None:
    for pattern, inside, outside in (
        ("[]a]", "]a", "bc"),
        ("[a-c]", "abc", "d-"),
        ("[-a]", "-a", "b"),
        ("[!]]", "a", "]"),
    ):
        assert all(map(Excluded([pattern]).file, inside)), pattern
        assert not any(map(Excluded([pattern]).file, outside)), pattern


def test_the_last_pattern_that_matches_decides() -> None:
    excluded = Excluded(["*.tmp", "!keep.tmp", "keep.tmp/", "!/a/x.tmp", "*.log"])
    assert excluded.file("a.tmp") and excluded.file("b/x.tmp") and excluded.file("a.log")
    assert not excluded.file("keep.tmp") and not excluded.file("a/x.tmp") and not excluded.file("a.txt")
    assert excluded.directory("keep.tmp")
    assert not Excluded([])


@pytest.mark.parametrize(
    ("include", "exclude", "covered"),
    [
        ((), (), {b"a", b"d", b"d/a", b"d/e", b"d/e/b"}),
        (("d/",), (), {b"d", b"d/a", b"d/e", b"d/e/b"}),
        (("d/**",), (), {b"d/a", b"d/e", b"d/e/b"}),
        (("b",), (), {b"d/e/b"}),
        ((), ("e",), {b"a", b"d", b"d/a"}),
        (("d",), ("b",), {b"d", b"d/a", b"d/e"}),
        (("/a", "e/b"), (), {b"a"}),
        (("/a", "**/e/b"), (), {b"a", b"d/e/b"}),
        ((), ("*", "!a"), {b"a"}),
    ],
)
def test_a_selection_covers_what_matches_and_all_below_it(
    include: tuple[str, ...], exclude: tuple[str, ...], covered: set[bytes]
) -> None:
    selection = Selection(include, exclude)
    every = [
        Listing(b"", [b"a", b"d"], b"\0\3", [1, 0], [b"k" * 32, b""], [b"", b""]),
        Listing(b"d", [b"a", b"e"], b"\1\3", [1, 0], [b"k" * 32, b""], [b"", b""], [1, 2], [3, 4]),
        Listing(b"d/e", [b"b"], b"\2", [1], [b""], [b"t"]),
    ]
    found = set()
    for listing in map(selection.listing, every):
        found |= {entry.path for entry in listing.entries()}
    assert found == covered
    assert bool(selection) is bool(include or exclude)

"""Paths inside of a snapshot: as those of pathlib, and compared with them on a directory of the same files."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from rsdos import Container, InvalidOption
from rsdos.facade.snapshot_path import SnapshotPath
from tests.unit.facade.conftest import FILES

TEXTS = ["a", "a/b.tar.gz", "a/.hidden", "a/b/c.txt", "a.b/c", "a/b."]


@pytest.fixture
def root(container: Container) -> SnapshotPath:
    return container.snapshots["flowers"].root


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The same files on the disk."""
    top = tmp_path / "flowers"
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    (top / "empty").mkdir()
    for name, target in {
        "latest": "train/rose", "train/up": "../labels.csv", "out": "../outside", "circle": "circle",
        "absolute": "/etc/nothing",
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_path_has_the_parts_that_pathlib_finds(root: SnapshotPath, text: str) -> None:
    ours, theirs = root / text, PurePosixPath(text)
    assert (ours.name, ours.stem, ours.suffix) == (theirs.name, theirs.stem, theirs.suffix)
    assert (ours.parts, ours.suffixes) == (theirs.parts, theirs.suffixes)
    assert ours.parent.path == ("" if str(theirs.parent) == "." else str(theirs.parent))
    assert len(ours.parents) == len(theirs.parents)
    assert ours.with_name("x").path == str(theirs.with_name("x"))
    assert ours.with_suffix(".x").path == str(theirs.with_suffix(".x"))
    assert (ours / "../d").parts == (theirs / "../d").parts
    assert ours.match("*.txt") == theirs.match("*.txt")


def test_a_path_is_a_value(root: SnapshotPath, container: Container) -> None:
    same = container.snapshots["flowers@1"] / "train" / "rose"
    assert same == root / "train/rose" == root / "./train//rose/" == root / "x" / "/train/rose"
    assert len({same, root / "train" / "rose"}) == 1
    assert sorted([root / "b", root / "a/z", root / "a"]) == [root / "a", root / "a/z", root / "b"]
    assert (root / "train/rose").relative_to("train") == "rose"
    assert (root / "train").is_relative_to(root) and not (root / "training").is_relative_to("train")


@pytest.mark.parametrize(
    "call",
    [
        lambda root: root.with_name("x"),
        lambda root: (root / "a").with_name("b/c"),
        lambda root: (root / "a").with_suffix("x"),
        lambda root: (root / "a").relative_to("b"),
        lambda root: list((root / "a").glob("")),
        lambda root: list((root / "a").glob("/a")),
        lambda root: (root / "labels.csv").open("w"),
        lambda root: (root / "labels.csv").open("ab"),
        lambda root: (root / "labels.csv").readlink(),
    ],
)
def test_what_makes_no_sense_is_an_invalid_option(root: SnapshotPath, call: object) -> None:
    with pytest.raises(InvalidOption):
        call(root)  # type: ignore[operator]


NAMES = ["", "labels.csv", "train", "latest", "latest/1.jpg", "train/up", "out", "absolute", "circle", "nothing",
         "empty", "labels.csv/x", "latest/../tulip/1.jpg", "train/up/x"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_at_a_path_is_what_the_file_system_would_say(root: SnapshotPath, directory: Path, name: str) -> None:
    ours, theirs = root / name, directory / name
    assert ours.exists() == os.path.exists(theirs)
    assert ours.is_file() == os.path.isfile(theirs)
    assert ours.is_dir() == os.path.isdir(theirs)
    assert ours.is_symlink() == os.path.islink(theirs)
    if ours.is_file():
        assert ours.read_bytes() == theirs.read_bytes()
        assert ours.stat().st_size == theirs.stat().st_size and stat.S_ISREG(ours.stat().st_mode)


PATTERNS = ["*", "*.csv", "train/*", "train/*/*.jpg", "**/*.jpg", "train/**/1.jpg", "*/rose", "train/[rt]*/?.jpg",
            "labels.csv", "nothing", "train/rose", "*/*", "**/tulip/*"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_globs_find_what_pathlib_finds(root: SnapshotPath, directory: Path, pattern: str) -> None:
    ours = [path.path for path in root.glob(pattern)]
    theirs = {str(path.relative_to(directory)) for path in directory.glob(pattern)}
    assert set(ours) == theirs and len(ours) == len(theirs)


def test_rglob_and_walk_find_all_below(root: SnapshotPath) -> None:
    assert [path.path for path in (root / "train").rglob("*.jpg")] == sorted(
        name for name in FILES if name.endswith(".jpg")
    )
    assert {path.path for path in (root / "train").walk()} == {
        "train/up", "train/rose", "train/tulip", *(name for name in FILES if name.startswith("train/"))
    }  # fmt: skip
    assert list(root.glob("**")) == list(root.walk())


def test_reading_through_streams_and_text(root: SnapshotPath) -> None:
    assert (root / "labels.csv").read_text() == "rose,1\n"
    with (root / "labels.csv").open() as text:
        assert text.readlines() == ["rose,1\n"]
    with (root / "train/rose/2.jpg").open("rb") as stream:
        stream.seek(8)
        assert stream.read() == b"rose"
    assert (root / "train/up").read_text() == "rose,1\n" and (root / "train/up").readlink() == "../labels.csv"
    assert (root / "latest").resolve() == root / "train/rose"


def test_a_link_behind_a_link_is_seen_as_itself(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft.link("train/rose/inner", "1.jpg")
    inner = container.snapshots["flowers"] / "latest" / "inner"
    assert inner.is_symlink() and inner.readlink() == "1.jpg" and inner.resolve().path == "train/rose/1.jpg"
    assert stat.S_ISLNK(inner.lstat().st_mode) and inner.read_bytes() == b"a rose"
    assert not (inner.parent / "1.jpg").is_symlink() and not (inner / "x").is_symlink()


def test_errors_name_the_snapshot_and_the_path(root: SnapshotPath) -> None:
    with pytest.raises(FileNotFoundError, match=r"'flowers@1:nothing'"):
        (root / "nothing").read_bytes()
    with pytest.raises(IsADirectoryError):
        (root / "train").read_bytes()
    with pytest.raises(NotADirectoryError):
        list((root / "labels.csv").iterdir())
    with pytest.raises(FileNotFoundError):
        list((root / "nothing").walk())


def test_the_status_has_the_mode_of_a_checkout_and_the_time_of_the_snapshot(root: SnapshotPath) -> None:
    when = root.snapshot.time.timestamp()
    assert (root / "labels.csv").stat().st_mtime == when
    assert (root / "labels.csv").stat().st_mtime_ns == int(when) * 1_000_000_000
    assert (root / "labels.csv").stat().st_mode == stat.S_IFREG | 0o644
    assert root.stat().st_mode == stat.S_IFDIR | 0o755
    assert stat.S_ISLNK((root / "latest").lstat().st_mode) and (root / "latest").is_dir()

"""Saving, comparing, checking out and archives from Python."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rsdos import Conflicts, Container, InvalidOption, RefMoved, UnreadableSource
from tests.unit.facade.conftest import FILES


class Counter:
    """A progress that counts files."""

    def __init__(self) -> None:
        self.files = self.size = 0

    def start(self, description: str, total: int | None, unit: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        self.size += amount

    def advance_files(self, files: int, size: int) -> None:
        self.files += files
        self.size += size

    def finish(self) -> None:
        pass


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    top = tmp_path / "directory"
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    (top / "train/rose/1.jpg").chmod(0o755)
    return top


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_what_is_saved_comes_back(container: Container, directory: Path, tmp_path: Path) -> None:
    saved, written = Counter(), Counter()
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    report = container.snapshots.save(
        "mine", directory, message="m", metadata={"n": 1}, author="me", time=moment, times=True, modes=True,
        derived_from=["flowers", container.snapshots["flowers"]], progress=saved,
    )  # fmt: skip
    snapshot = container.snapshots["mine"]
    assert (report.name, report.version, report.snapshot) == ("mine", 1, snapshot.key)
    assert (snapshot.time, snapshot.author, snapshot.metadata) == (moment, "me", {"n": 1})
    assert snapshot.attributes == {"times", "modes"} and len(set(snapshot.derived_from)) == 1
    assert (saved.files, saved.size) == (5, snapshot.size)
    done = container.snapshots.checkout("mine", tmp_path / "back", progress=written)
    assert contents(tmp_path / "back") == FILES and done.written == 5
    assert (written.files, written.size) == (5, snapshot.size)
    both = Counter()
    done = container.snapshots.checkout("mine", tmp_path / "both", jobs=2, progress=both)
    assert contents(tmp_path / "both") == FILES and done.written == 5
    assert (both.files, both.size) == (5, snapshot.size)
    assert (tmp_path / "back/train/rose/1.jpg").stat().st_mode & 0o777 == 0o755
    assert (snapshot / "labels.csv").stat().st_mtime_ns == (directory / "labels.csv").stat().st_mtime_ns


def test_a_part_of_a_snapshot_is_checked_out(container: Container, tmp_path: Path) -> None:
    container.snapshots.checkout("flowers:train", tmp_path / "part", exclude=["*.csv", "up"], links="none")
    assert set(contents(tmp_path / "part")) == {name[6:] for name in FILES if name.startswith("train/")}
    container.snapshots.checkout("flowers", tmp_path / "one", include=["train/rose/**"])
    assert set(contents(tmp_path / "one")) == {"train/rose/1.jpg", "train/rose/2.jpg"}


def test_a_status_is_iterated_and_then_summed_up(container: Container, directory: Path) -> None:
    container.snapshots.save("mine", directory)
    (directory / "labels.csv").write_bytes(b"new")
    with container.snapshots.status(directory) as status:
        assert [(change.path, change.kind) for change in status] == [(b"labels.csv", "modified")]
    assert (status.summary.modified, status.reference) == (1, "mine@1")
    with container.snapshots.status(directory, "mine@1:train") as status:
        assert any(change.path == b"labels.csv" for change in status)
    with pytest.raises(InvalidOption):
        with container.snapshots.status(directory / "train"):
            pass


def test_what_is_in_the_way_stops_a_checkout(container: Container, directory: Path) -> None:
    container.snapshots.save("mine", directory)
    (directory / "labels.csv").write_bytes(b"modified")
    with pytest.raises(Conflicts) as caught:
        container.snapshots.checkout("flowers", directory)
    assert b"labels.csv" in caught.value.paths and (directory / "labels.csv").read_bytes() == b"modified"
    container.snapshots.checkout("flowers", directory, force=True, delete=True)
    assert contents(directory).items() >= FILES.items() and (directory / "latest").is_symlink()


def test_an_older_directory_is_refused_unless_forced(container: Container, tmp_path: Path) -> None:
    container.snapshots.checkout("flowers", tmp_path / "old")
    with container.snapshots.edit("flowers") as draft:
        draft["new"] = b"new"
    (tmp_path / "old/mine").write_bytes(b"mine")
    with pytest.raises(RefMoved) as caught:
        container.snapshots.save("flowers", tmp_path / "old")
    assert (container.snapshots[caught.value.snapshot] / "mine").read_bytes() == b"mine"
    assert container.snapshots.save("flowers", tmp_path / "old", force=True).version == 3


def test_archives_go_out_and_in(container: Container) -> None:
    first, second, listed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    snapshots = container.snapshots
    assert snapshots.export("flowers", first).files == 5
    snapshots.export("flowers@1", second)
    assert first.getvalue() == second.getvalue()
    first.seek(0)
    assert snapshots.import_archive("copy", first, message="m").files == 5
    assert snapshots["copy"].tree == snapshots["flowers"].tree and snapshots["copy"].message == "m"
    snapshots.export("flowers:train", listed, format="list")
    listed.seek(0)
    snapshots.import_archive("listed", listed, format="list")
    assert (snapshots["listed"] / "rose/1.jpg").read_bytes() == b"a rose"
    with pytest.raises(UnreadableSource):
        snapshots.import_archive("broken", io.BytesIO(b"no archive"))
    assert "broken" not in snapshots

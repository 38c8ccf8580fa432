"""Snapshots in a container of version 3: saved, checked out, and published by several at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.storage.base import Put
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import noise, text
from tests.remote.test_remote_container import bucket, in_threads

FILES = {"a.txt": b"a", "sub/b.txt": text(3000, 1), "sub/deep/c.bin": noise(40_000, 2), "empty": b""}


def tree(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def found_in(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_directory_is_saved_and_checked_out_elsewhere(tmp_path: Path) -> None:
    storage = bucket()
    source = tree(tmp_path / "source", FILES)
    first = Container.create(storage).snapshots.save("main", source, state_directory=str(tmp_path / "states"))
    assert first.version == 1
    Container(storage).snapshots.checkout("main", tmp_path / "there", state_directory=str(tmp_path / "others"))
    assert found_in(tmp_path / "there") == FILES
    tree(source, {"a.txt": b"changed", "new": b"new"})
    second = Container(storage).snapshots.save("main", source, state_directory=str(tmp_path / "states"))
    assert second.version == 2
    Container(storage).snapshots.checkout("main@1", tmp_path / "old", state_directory=str(tmp_path / "others"))
    assert found_in(tmp_path / "old") == FILES
    report = Container(storage).validate("full")
    assert not (report.damaged or report.damaged_files)


def test_several_save_at_once_and_all_are_published(tmp_path: Path) -> None:
    storage = bucket()
    Container.create(storage)

    def saves(number: int) -> Callable[[], None]:
        source = tree(tmp_path / f"{number}", {"same": b"same", "own": b"%d" % number})
        states = str(tmp_path / f"states {number}")

        def run() -> None:
            for again in range(3):
                Container(storage).snapshots.save(f"branch-{number}-{again}", source, state_directory=states)

        return run

    in_threads(*map(saves, range(4)))
    names = {f"branch-{number}-{again}" for number in range(4) for again in range(3)}
    assert set(Container(storage).snapshots.branches()) == names
    for number in range(4):
        out = tmp_path / f"out {number}"
        Container(storage).snapshots.checkout(f"branch-{number}-2", out, state_directory=str(tmp_path / "others"))
        assert found_in(out) == {"same": b"same", "own": b"%d" % number}


def test_a_delete_while_others_save_takes_nothing_from_the_snapshot(tmp_path: Path) -> None:
    """Between the lookup of the files and the commit the plain copies go: the save sees another epoch."""
    storage = bucket()
    source = tree(tmp_path / "source", FILES)
    keys = Container.create(storage).insert_many(FILES.values())
    deleted: list[str] = []

    class Deleting(FaultyStorage):
        """Lets another process delete everything before the first manifest of a save is put."""

        def call(self, call: StorageCall, do: Callable[[], object]) -> object:  # type: ignore[override]
            if call.verb == "put_new" and call.name.startswith("packs/") and not deleted:
                deleted.append("")
                deleted.extend(Container(storage).delete(keys))
            return do()

    Container(Deleting(storage, lambda call: None)).snapshots.save(
        "main", source, state_directory=str(tmp_path / "states")
    )
    assert set(deleted[1:]) == set(keys)
    Container(storage).snapshots.checkout("main", tmp_path / "there", state_directory=str(tmp_path / "others"))
    assert found_in(tmp_path / "there") == FILES


@pytest.mark.parametrize("stored", [True, False])
def test_a_publication_whose_answer_is_lost_is_made_once(tmp_path: Path, stored: bool) -> None:
    storage = bucket()
    source = tree(tmp_path / "source", FILES)
    Container.create(storage)

    def fault(call: StorageCall) -> Put | None:
        if call.verb == "put_new":
            storage.lose_answer(stored=stored)
        return None

    Container(FaultyStorage(storage, fault if stored else _sometimes(fault))).snapshots.save(
        "main", source, state_directory=str(tmp_path / "states")
    )
    assert Container(storage).snapshots.branches() == {"main": [1]}


def _sometimes(fault: Callable[[StorageCall], Put | None]) -> Callable[[StorageCall], Put | None]:
    """Every second time: else nothing was ever stored."""
    calls: list[StorageCall] = []

    def every_second(call: StorageCall) -> Put | None:
        if call.verb == "put_new":
            calls.append(call)
        return fault(call) if len(calls) % 2 else None

    return every_second

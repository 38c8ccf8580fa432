"""`Container.snapshots`: names, history, differences, and a snapshot as a value."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, InvalidOption, Policy, RsdosError
from rsdos.errors import InvalidName, RefExists, RefNotFound
from rsdos.facade.differences import Difference, with_renames
from rsdos.facade.entry import SnapshotEntry
from rsdos.trees.entry import EntryKind
from tests.data import key_of
from tests.unit.facade.conftest import FILES


def changed(container: Container) -> None:
    """Save a second version."""
    with container.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"rose,1\ntulip,2\n"
        draft["train/rose/3.jpg"] = b"a third"
        del draft["train/tulip/1.jpg"]
        draft.message = "second"


def test_a_snapshot_says_what_was_said_about_it(container: Container) -> None:
    snapshot = container.snapshots["flowers"]
    assert (snapshot.message, snapshot.author, snapshot.metadata) == ("first delivery", "me", {"licence": "CC0"})
    assert (snapshot.files, snapshot.size) == (5, sum(map(len, FILES.values())))
    assert snapshot.entries == 5 + 5 + 4  # files, links, directories
    assert abs(snapshot.time - datetime.now(UTC)) < timedelta(days=1)
    assert (snapshot.parents, snapshot.derived_from, snapshot.attributes) == ((), (), frozenset())
    snapshot.metadata["licence"] = "mine"
    assert snapshot.metadata == {"licence": "CC0"}
    assert (snapshot.stored().objects, snapshot.stored().pages) == (4, 1)


def test_a_snapshot_is_found_by_all_of_its_names(container: Container) -> None:
    snapshots = container.snapshots
    snapshot = snapshots["flowers"]
    assert snapshots.tag("v1.0", "flowers@1") == snapshot
    today = f"{snapshot.time + timedelta(days=1):%Y-%m-%d}"
    for ref in ("flowers@1", "v1.0", snapshot.key, snapshot.key[:6], f"flowers@{today}"):
        assert snapshots[ref] == snapshot and ref in snapshots
    assert list(snapshots) == ["flowers", "v1.0"] and len(snapshots) == 2
    assert snapshots.branches() == {"flowers": [1]} and snapshots.tags() == {"v1.0": snapshot.key}
    assert snapshots.names_of(snapshot) == [("flowers", 1), ("v1.0", None)]
    assert (snapshots.path("v1.0:train/rose/1.jpg")).read_bytes() == b"a rose"


def test_a_name_of_hex_digits_comes_before_the_beginning_of_a_key(container: Container) -> None:
    snapshots = container.snapshots
    first = snapshots["flowers"]
    with snapshots.edit("2026") as draft:
        draft["a.txt"] = b"a"
    other = snapshots["2026"]
    name = first.key[:7]
    snapshots.tag(name, "2026")
    assert snapshots[name] == other and snapshots.find(name) == other.key and snapshots.is_name(name)
    assert snapshots.path(f"{name}:a.txt").read_bytes() == b"a"
    assert [found.name for found in snapshots.log(name)] == [name]
    assert snapshots.branch("beef", name) == other
    assert snapshots[first.key[:8]] == snapshots[first.key] == first
    assert not snapshots.is_name(first.key[:8]) and not snapshots.is_name("flowers@1")


@pytest.mark.parametrize("ref", ["nothing", "flowers@2", "flowers@1970-01-01", "0" * 64, "abcdef", "v1"])
def test_a_ref_that_is_not_there_is_a_key_error(container: Container, ref: str) -> None:
    with pytest.raises(RefNotFound):
        container.snapshots[ref]
    with pytest.raises(KeyError):
        container.snapshots[ref]
    assert ref not in container.snapshots and container.snapshots.get(ref) is None


@pytest.mark.parametrize("ref", ["", "a b", "../x", "a//b", "x.lock", "F" * 64, "@1", "flowers@x", "flowers@0"])
def test_what_can_be_no_name_is_refused_by_name(container: Container, ref: str) -> None:
    with pytest.raises((InvalidName, RefNotFound)):
        container.snapshots[ref]
    assert ref not in container.snapshots
    if "@" not in ref:
        with pytest.raises(InvalidName):
            container.snapshots.tag(ref, "flowers")


def test_the_key_of_an_object_that_is_no_snapshot_is_an_error_of_ours(container: Container) -> None:
    with pytest.raises(RsdosError):
        container.snapshots[key_of(b"a rose")]


def test_names_are_given_once(container: Container) -> None:
    snapshots = container.snapshots
    snapshots.tag("v1", "flowers")
    for call in (snapshots.tag, snapshots.branch):
        for name in ("v1", "flowers"):
            with pytest.raises(RefExists):
                call(name, "flowers")
    changed(container)
    assert snapshots.tag("v1", "flowers", move=True) == snapshots["flowers@2"]
    assert snapshots.branch("other", "flowers@1") == snapshots["flowers@1"] == snapshots["other@1"]


def test_the_log_has_the_newest_version_of_each_name_and_all_of_one(container: Container) -> None:
    changed(container)
    snapshots = container.snapshots
    snapshots.tag("v1", "flowers@1")
    snapshots.branch("other", "flowers@2")
    assert [row.label for row in snapshots.log()] == ["flowers@2", "other@1", "v1"]
    rows = list(snapshots.log("flowers"))
    assert [(row.label, row.snapshot.message, row.tags) for row in rows] == [
        ("flowers@2", "second", ()),
        ("flowers@1", "first delivery", ("v1",)),
    ]
    assert rows[0].snapshot.parents == (rows[1].snapshot.key,)
    assert [row.label for row in snapshots.log("flowers", limit=1)] == ["flowers@2"]
    assert [row.label for row in snapshots.log("flowers@1")] == ["flowers@1"]
    assert [row.label for row in snapshots.log("v1")] == ["v1"]
    with pytest.raises(RefNotFound):
        list(snapshots.log("nothing"))
    verbs = [(done.number, done.verb, done.names) for done in snapshots.operations()]
    assert verbs == [
        (4, "branch", ("other",)),
        (3, "tag", ("v1",)),
        (2, "save", ("flowers",)),
        (1, "save", ("flowers",)),
    ]
    assert [container.has(done.refs) for done in snapshots.operations()] == [True] * 4


def test_an_empty_container_has_no_names(tmp_path: Path) -> None:
    with Container.create(tmp_path / "empty") as container:
        snapshots = container.snapshots
        assert not list(snapshots) and not list(snapshots.log()) and not list(snapshots.operations())
        assert bool(snapshots) and len(snapshots) == 0
        with pytest.raises(RefNotFound):
            snapshots["flowers"]
        with pytest.raises(InvalidOption):
            snapshots.undo()


def test_version_1_has_none(tmp_path: Path) -> None:
    with Container.create(tmp_path / "old", container_version=1) as container:
        assert list(container.snapshots) == []
        with pytest.raises(InvalidOption, match="migrate"):
            with container.snapshots.edit("flowers") as draft:
                draft["a"] = b"a"


def test_entries_are_walked_in_the_order_of_the_tree(container: Container) -> None:
    snapshot = container.snapshots["flowers"]
    paths = [entry.path for entry in snapshot.walk()]
    assert paths[:7] == ["absolute", "circle", "empty", "labels.csv", "latest", "out", "train"]
    assert [entry.name for entry in snapshot.listing("train")] == ["rose", "tulip", "up"]
    assert snapshot.entry("labels.csv") == SnapshotEntry("labels.csv", EntryKind.FILE, 7, key_of(b"rose,1\n"))
    assert snapshot.entry("train/up") == SnapshotEntry("train/up", EntryKind.LINK, 13, target="../labels.csv")
    assert snapshot.entry("nothing") is None and "train/rose/1.jpg" in snapshot and "rose" not in snapshot
    assert list(snapshot.directory_totals()) == [
        ("", 14, 38), ("empty", 0, 0), ("train", 7, 31), ("train/rose", 2, 18), ("train/tulip", 2, 13)
    ]  # fmt: skip


def test_many_files_are_read_at_once_each_path_once(container: Container) -> None:
    snapshot = container.snapshots["flowers"]
    found = list(snapshot.extract_many([*FILES, "latest/1.jpg", "labels.csv"]))
    assert dict(found) == {**FILES, "latest/1.jpg": b"a rose"} and len(found) == 6
    with pytest.raises(FileNotFoundError, match="nothing"):
        list(snapshot.extract_many(["labels.csv", "nothing"]))
    with pytest.raises(IsADirectoryError):
        list(snapshot.extract_many(["train"]))
    with snapshot.open("latest/2.jpg") as stream:
        assert stream.read() == b"another rose"


def test_a_snapshot_survives_a_pickle(container: Container) -> None:
    snapshot = container.snapshots["flowers"]
    again = pickle.loads(pickle.dumps(snapshot))
    assert again == snapshot and again.label == "flowers@1" and (again / "labels.csv").read_bytes() == b"rose,1\n"
    again.container.close()


def differences(container: Container, old: str, new: str) -> list[tuple[str, str]]:
    return [(found.change, found.path) for found in container.snapshots.diff(old, new)]


def test_a_diff_names_what_changed(container: Container) -> None:
    changed(container)
    assert differences(container, "flowers@1", "flowers") == [
        ("modified", "labels.csv"), ("added", "train/rose/3.jpg"), ("removed", "train/tulip/1.jpg")
    ]  # fmt: skip
    assert differences(container, "flowers@1:train", "flowers:train") == [
        ("added", "rose/3.jpg"), ("removed", "tulip/1.jpg")
    ]  # fmt: skip
    assert differences(container, "flowers@1:train/rose", "flowers@1:train/tulip") == [
        ("modified", "1.jpg"), ("removed", "2.jpg"), ("added", "copy.jpg")
    ]  # fmt: skip
    (found,) = container.snapshots.diff("flowers@1:labels.csv", "flowers:labels.csv")
    assert (found.path, found.change) == ("", "modified") and found.old and found.old.path == "labels.csv"
    assert differences(container, "flowers", "flowers@2") == []
    with pytest.raises(FileNotFoundError):
        differences(container, "flowers:nothing", "flowers")


def test_a_file_that_became_a_directory_is_of_another_kind(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        del draft["labels.csv"]
        draft["labels.csv/a"] = b"a"
        draft.set_executable("train/rose/1.jpg")
    assert differences(container, "flowers@1", "flowers") == [
        ("kind", "labels.csv"), ("added", "labels.csv/a"), ("modified", "train/rose/1.jpg")
    ]  # fmt: skip


def test_renames_are_found_by_content_once_each() -> None:
    def entry(path: str, data: bytes) -> SnapshotEntry:
        return SnapshotEntry(path, EntryKind.FILE, len(data), key_of(data))

    def removed(path: str, data: bytes) -> Difference:
        return Difference(path, "removed", entry(path, data), None)

    def added(path: str, data: bytes) -> Difference:
        return Difference(path, "added", None, entry(path, data))

    found = with_renames(
        [removed("a", b"x"), added("b", b"x"), added("c", b"x"), removed("d", b"y"), removed("e", b""), added("f", b"")]
    )
    assert [(one.change, one.path) for one in found] == [
        ("renamed", "b"), ("added", "c"), ("removed", "d"), ("removed", "e"), ("added", "f")
    ]  # fmt: skip


def test_a_policy_of_forget_comes_behind_the_names_or_by_keyword(container: Container) -> None:
    changed(container)
    snapshots = container.snapshots
    for names, policy in ((("flowers", Policy(last=1)), None), (("flowers",), Policy(last=1))):
        report = snapshots.forget(*names, policy=policy)
        assert [str(version) for version in report.forgotten] == ["flowers@1"]
        assert [str(version) for version in report.kept] == ["flowers@2"]
        snapshots.undo()


def test_what_is_no_name_and_no_policy_is_refused_and_nothing_is_forgotten(container: Container) -> None:
    changed(container)
    snapshots = container.snapshots
    keep = Policy(last=1)
    mistakes: list[tuple[tuple[Any, ...], Any]] = [
        (("flowers", 5), None),
        (("flowers", None), None),
        ((keep, "flowers"), None),
        (("flowers", keep, keep), None),
        (("flowers", keep), keep),
        (("flowers",), 5),
        (("flowers",), {"last": 5}),
        ((keep,), None),
        ((["flowers"],), None),
    ]
    for names, policy in mistakes:
        with pytest.raises(InvalidOption):
            snapshots.forget(*names, policy=policy)
    assert "flowers@1" in snapshots and "flowers@2" in snapshots


def test_forget_undo_and_gc(container: Container) -> None:
    changed(container)
    snapshots = container.snapshots
    old = snapshots["flowers@1"]
    report = snapshots.forget("flowers@1")
    assert [str(version) for version in report.forgotten] == ["flowers@1"]
    assert "flowers@1" not in snapshots
    snapshots.undo()
    assert snapshots["flowers@1"] == old
    snapshots.forget("flowers@1")
    assert snapshots.gc().objects >= 1
    with pytest.raises(RefNotFound):
        snapshots.undo()
    assert (snapshots["flowers"] / "labels.csv").read_bytes() == b"rose,1\ntulip,2\n"
    assert not container.has(key_of(b"a tulip")) and container.has(key_of(b"a rose"))

"""Merges of the index beside the commits of others (ADR 38): what may happen between two of their steps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, names
from rsdos.index import merge as index_merge
from rsdos.index import segment_files
from rsdos.index.manifest import Manifest, SegmentEntry, segment_name
from rsdos.index.merge_lock import collect_unfinished
from rsdos.index.merging import are_live
from rsdos.maintenance.repair import index as repair_index
from rsdos.model import Durability
from tests.crash.calls import intercepted
from tests.data import key_of, noise
from tests.helpers import assert_holds, manifest_of, native

Objects = dict[str, bytes]


def insert(path: Path, *numbers: int) -> Objects:
    objects = {key_of(data): data for data in (noise(300, number) for number in numbers)}
    with Container(path) as container:
        container.insert_many(objects.values())
    return objects


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A container of five tables: of one a tombstone, which kills what is in another."""
    Container.create(tmp_path / "container").close()
    return tmp_path / "container"


def fill(path: Path) -> Objects:
    objects: Objects = {}
    for number in range(4):
        objects |= insert(path, number, 10 + number)
    with Container(path) as container:
        container.delete([gone := next(iter(objects))])
    del objects[gone]
    return objects


def merge(path: Path) -> None:
    with Container(path) as container:
        native(container.engine).index.merge(Durability.FULL)


def delete(path: Path, objects: Objects) -> None:
    with Container(path, when_busy="wait") as container:
        container.delete([gone := list(objects)[2]])
    del objects[gone]


def insert_another(path: Path, objects: Objects) -> None:
    objects |= insert(path, 50)


def insert_much(path: Path, objects: Objects) -> None:
    """So many batches that their commits merge."""
    for number in range(100, 120):
        objects |= insert(path, number)


def repack(path: Path, objects: Objects) -> None:
    with Container(path, when_busy="wait") as container:
        container.repack(min_dead=0.0)


def repair(path: Path, objects: Objects) -> None:
    (path / "index" / "manifest-0000000001.json").write_bytes(b"damaged")
    with Container(path) as container:
        repair_index.execute(container.engine, repair_index.plan(container.engine))


def another_merge(path: Path, objects: Objects) -> None:
    """By a process for which the lock of the first is none."""
    (path / "locks" / "merge").unlink()
    merge(path)


OTHERS: tuple[Callable[[Path, Objects], None], ...] = (
    delete,
    insert_another,
    insert_much,
    repack,
    repair,
    another_merge,
)

STEPS = {
    "before the files are written": ("open", "merged-"),
    "before they are synced": ("fdatasync", ""),
    "before the names are removed": ("unlink", "merged-"),
}


def at(step: str, do: Callable[[], None]) -> Callable[..., Any]:
    """Return a hook that does something once, before the first call of a step in which nobody holds the commits."""
    call, part = STEPS[step]
    done = False

    def hook(name: str, call_it: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal done
        if not done and name == call and part in str(arguments[0]):
            done = True
            do()
        return call_it(*arguments)

    return hook


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("step", STEPS)
def test_whatever_others_commit_between_two_steps_is_kept(
    step: str, other: Callable[[Path, Objects], None], path: Path
) -> None:
    objects = fill(path)
    ran: list[bool] = []

    def run() -> None:
        other(path, objects)
        ran.append(True)

    with intercepted(at(step, run)):
        merge(path)
    assert ran
    assert_holds(Container(path), objects)
    with Container(path) as container:
        assert sorted(container) == sorted(objects)
        assert container.validate("full").is_good
        container.clean_storage()
    assert not [file.name for file in (path / "index").iterdir() if file.name.startswith("merged-")]
    named = {entry.number for entry in manifest_of(path).segments if entry.number}
    assert {int(file.stem) for file in (path / "index").glob("*.seg")} >= named


def test_commits_of_others_leave_the_tables_of_a_merge_to_it(path: Path) -> None:
    """Else one that takes a minute would never end beside a writer that commits all the time."""
    objects = fill(path)
    before = {segment_name(entry) for entry in manifest_of(path).segments}
    begun: list[str] = []
    hook = at("before they are synced", lambda: insert_much(path, objects))

    def counting(name: str, do: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if name == "open" and "merged-" in str(arguments[0]):
            begun.append(name)
        return hook(name, do, arguments)

    with intercepted(counting):
        merge(path)
    assert len(begun) == 1
    live = {segment_name(entry) for entry in manifest_of(path).segments}
    assert live.isdisjoint(before)
    assert len(live) <= index_merge.MOST_SEGMENTS + 1
    assert_holds(Container(path), objects)


def test_others_commit_while_a_commit_merges_much(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock on commits is free where its files are written: else the insert in between would wait forever."""
    monkeypatch.setattr(segment_files, "MOST_MERGED", 0)
    objects = fill(path)
    theirs: Objects = {}

    def another() -> None:
        theirs.update(insert(path, 1000))

    with intercepted(at("before the files are written", another)):
        for number in range(100, 120):
            objects |= insert(path, number)
            assert len(manifest_of(path).segments) <= index_merge.MOST_SEGMENTS + 1
    assert theirs
    assert_holds(Container(path), objects | theirs)


def test_the_replaced_files_go_at_once_unless_somebody_reads_for_long(path: Path) -> None:
    objects = fill(path)
    merge(path)
    (first,) = (path / "index").glob("*.seg")
    objects |= insert(path, 60)
    with Container(path) as container:
        reader = container.engine.layout.storage.lock(names.READERS_LOCK, shared=True)
        assert reader is not None
        with reader:
            merge(path)
            assert first.exists()
        (second,) = set((path / "index").glob("*.seg")) - {first}
        objects |= insert(path, 61)
        merge(path)
        assert not first.exists()
        assert not second.exists()
    assert_holds(Container(path), objects)


def test_what_a_dead_merge_has_left_goes_and_what_a_live_one_writes_stays(path: Path) -> None:
    objects = fill(path)
    left = path / "index" / "merged-0123456789abcdef-0.new"
    left.write_bytes(b"half a table")
    with Container(path) as container:
        assert container.clean_storage().leftovers == 1
    assert not left.exists()

    def clean() -> None:
        with Container(path) as container:
            assert collect_unfinished(container.engine.layout.storage) == 0
            assert container.clean_storage().leftovers == 0

    left.write_bytes(b"half a table")
    with intercepted(at("before they are synced", clean)):
        merge(path)
    assert not left.exists()
    assert len(manifest_of(path).segments) == 1
    assert_holds(Container(path), objects)


@pytest.mark.parametrize("call", ["open", "unlink"])
def test_an_interrupted_merge_leaves_no_file(path: Path, call: str) -> None:
    """As a file was made, and before its name is removed: `make storm` met the first."""
    objects = fill(path)
    interrupted = False

    def hook(name: str, call_it: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal interrupted
        if interrupted or name != call or "merged-" not in str(arguments[0]):
            return call_it(*arguments)
        interrupted = True
        if call == "open":
            os.close(call_it(*arguments))
        raise KeyboardInterrupt

    with intercepted(hook), pytest.raises(KeyboardInterrupt):
        merge(path)
    assert not list((path / "index").glob("*.new"))
    merge(path)
    assert_holds(Container(path), objects)


def test_tables_of_the_same_names_in_a_container_that_was_set_back_are_not_replaced() -> None:
    due = [SegmentEntry(5, 0, number=7, check=1), SegmentEntry(3, 0, pack_id=2, offset=100, length=50)]
    base = Manifest(9, "", segments=tuple(due))
    synced = [entry._replace(synced=True) for entry in due]
    assert are_live(due, base, base._replace(number=12, segments=(SegmentEntry(1, 0, number=8), *synced)))
    assert not are_live(due, base, base._replace(number=12, segments=(due[0]._replace(check=2), due[1])))
    assert not are_live(due, base, base._replace(number=12, segments=(due[0], due[1]._replace(length=51))))
    assert not are_live(due, base, base._replace(number=8))

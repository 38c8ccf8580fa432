"""An insert beside a delete: one operation is held at a step while another runs whole (docs/concurrency.md).

An insert whose last look at the store comes after a delete's commit stores the object anew, and it stays.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, Durability, Place
from rsdos.maintenance import retain, transfer
from rsdos.model import FRAME_SIZE
from rsdos.storage import posix
from rsdos.stores.v1.store import V1PackStore
from tests.data import key_of, noise
from tests.helpers import assert_holds, native

SMALL, LARGE = noise(700, 1), noise(2 * FRAME_SIZE + 11, 2)
NEW = noise(300, 3)
SIZES = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
PLACES = pytest.mark.parametrize("place", Place)


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store", container_version=request.param)


def once(there: Any, name: str, run: Callable[[], object], *, before: bool = False) -> list[bool]:
    """Let a method run another operation, whole, at its first call; returns a list that is not empty once it has."""
    has_run: list[bool] = []
    real = getattr(there, name)

    def hooked(*args: Any, **settings: Any) -> Any:
        first, has_run[:] = not has_run, [True]
        if first and before:
            run()
        result = real(*args, **settings)
        if first and not before:
            run()
        return result

    setattr(there, name, hooked)
    return has_run


def delete(store: Container, data: bytes) -> None:
    assert Container(store.path).delete([key_of(data)]) == [key_of(data)]


def assert_there(store: Container, *objects: bytes) -> None:
    """For a process that opens the container now, and with nothing wrong."""
    fresh = Container(store.path)
    assert_holds(fresh, {key_of(data): data for data in objects})
    assert fresh.validate("full").is_good


# A delete, and an insert behind its commit (A1).


@SIZES
@PLACES
def test_an_object_inserted_after_the_commit_of_a_delete_stays(store: Container, data: bytes, place: Place) -> None:
    other = Container(store.path)
    key = store.insert(data)
    store.pack_all_loose(clean=False)
    has_run = once(store.engine.packed.maintenance, "delete", lambda: other.insert(data, to=place))
    store.delete([key])
    assert has_run
    assert_there(store, data)


@PLACES
def test_a_packed_object_inserted_loose_after_the_commit_stays(store: Container, place: Place) -> None:
    other = Container(store.path)
    key = store.insert(SMALL, to=Place.PACKED)
    has_run = once(store.engine.packed.maintenance, "delete", lambda: other.insert(SMALL, to=place))
    store.delete([key])
    assert has_run
    assert_there(store, SMALL)


# Garbage collection by a plan, and what came since (A2).


@SIZES
@PLACES
@pytest.mark.parametrize("again", Place)
def test_an_object_deleted_and_inserted_again_after_the_plan_stays(
    store: Container, data: bytes, place: Place, again: Place
) -> None:
    kept = store.insert(NEW)
    key = store.insert(data, to=place)
    if place is Place.LOOSE:
        # A further name keeps the inode's number from being given to the next file.
        os.link(store.engine.layout.loose_file(key), store.path.parent / "further name")
    plan = retain.plan(store.engine, retain.RetainOptions([kept]))
    delete(store, data)
    Container(store.path).insert(data, to=again)
    assert retain.execute(store.engine, plan).deleted == 0
    assert_there(store, NEW, data)


def test_a_plan_removes_a_file_in_each_codec_and_counts_the_object_once(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store", loose_compression="zstd")
    kept, key = store.insert(NEW), store.insert(b"text " * 100)
    store.engine.loose.place(bytes.fromhex(key), [b"text " * 100])
    plan = retain.plan(store.engine, retain.RetainOptions([kept]))
    assert plan.objects == 1
    assert retain.execute(store.engine, plan).deleted == 1
    assert_there(store, NEW)


# A duplicate that a whole delete takes away between the first look and the acknowledgement (A3, A4, A18).


@pytest.mark.parametrize(("there", "before"), [("check_copies", False), ("is_latest", True)])
def test_a_packed_copy_deleted_after_it_was_read_is_stored_in_a_file(
    store: Container, there: str, before: bool
) -> None:
    key = store.insert(SMALL, to=Place.PACKED)
    writer = Container(store.path)
    assert key in writer
    has_run = once(writer.engine.packed, there, lambda: delete(store, SMALL), before=before)
    assert writer.insert(SMALL) == key
    assert has_run
    assert_there(store, SMALL)


@SIZES
@PLACES
@pytest.mark.parametrize("before", [(), (NEW,)], ids=["alone", "behind another"])
@pytest.mark.parametrize("after", [(), (noise(40, 4),)], ids=["", "before another"])
def test_a_duplicate_in_a_pack_deleted_after_the_lookup_is_stored(
    store: Container, data: bytes, place: Place, before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    key = store.insert(data, to=place)
    union = store.engine.objects
    seen: list[bool] = []
    real = union._known

    def look(digests: Any, trust: Any, raws: Any = None) -> Any:
        answers = real(digests, trust, raws=raws)
        if not seen and bytes.fromhex(key) in digests:
            seen.append(True)
            delete(store, data)
        return answers

    union._known = look  # type: ignore[method-assign]
    objects = [*before, data, *after]
    # Nothing can be taken to be there already: a later look would see the delete.
    sources: list[Any] = [io.BytesIO(one) if len(one) > FRAME_SIZE else one for one in objects]
    assert store.insert_many(sources) == [key_of(one) for one in objects]
    assert seen
    assert_there(store, *objects)


@SIZES
@PLACES
@pytest.mark.parametrize("also", [(), (NEW,)], ids=["alone", "with another"])
def test_a_duplicate_in_a_pack_deleted_just_before_the_commit_is_stored(
    store: Container, data: bytes, place: Place, also: tuple[bytes, ...]
) -> None:
    """Behind everything that takes time; where there is nothing to commit, behind the last sync."""
    store.insert(data, to=place)
    union, packed = store.engine.objects, store.engine.packed
    if isinstance(packed, V1PackStore):
        there: tuple[Any, str] = (packed.database, "writing") if also else (packed.database, "find_many")
    else:
        index = native(store.engine).index
        there = (index.commits, "commit") if also else (index, "make_durable")
    has_run: list[bool] = []
    real = union._known

    def look(digests: Any, trust: Any, raws: Any = None) -> Any:
        answers = real(digests, trust, raws=raws)
        if not has_run and any(digest.hex() == key_of(data) for digest in digests):
            has_run.extend(once(*there, lambda: delete(store, data), before=True) or [True])
        return answers

    union._known = look  # type: ignore[method-assign]
    store.insert_many([*also, io.BytesIO(data)])
    assert has_run
    assert_there(store, *also, data)


@SIZES
@PLACES
@pytest.mark.parametrize("durability", Durability)
def test_a_duplicate_of_a_loose_file_deleted_after_the_lookup_is_stored(
    store: Container, data: bytes, place: Place, durability: Durability
) -> None:
    store.insert(data, to=place)
    writer = Container(store.path, durability=durability)
    # A small one is looked at by the short way, which ends with the same two lookups.
    is_short = len(data) <= FRAME_SIZE
    objects = writer.engine.objects
    there: tuple[Any, str] = (
        (objects.loose.publisher, "refuse_another") if is_short else (objects.loose_writer, "_known")
    )
    has_run = once(*there, lambda: delete(store, data))
    assert writer.insert(io.BytesIO(data)) == key_of(data)
    assert has_run
    assert_there(store, data)


@SIZES
@PLACES
def test_a_duplicate_among_many_loose_objects_is_checked_again_at_the_end(
    store: Container, data: bytes, place: Place
) -> None:
    store.insert(data, to=place)
    rest = [noise(50, number) for number in range(300)]

    def sources() -> Iterable[Any]:
        yield io.BytesIO(data)
        yield from rest
        delete(store, data)
        yield NEW

    keys = store.insert_many(sources(), to=Place.LOOSE)
    assert keys == [key_of(one) for one in (data, *rest, NEW)]
    assert_there(store, data, *rest, NEW)


@SIZES
@PLACES
def test_a_loose_duplicate_deleted_while_another_is_stored_is_stored_too(
    store: Container, data: bytes, place: Place
) -> None:
    store.insert_many([NEW, data], to=place)
    insert = store.engine.objects.loose_writer
    has_run = once(insert, "_known", lambda: delete(store, NEW))
    has_run_too = once(insert, "_still_there", lambda: delete(store, data))
    store.insert_many([NEW, data], to=Place.LOOSE)
    assert has_run and has_run_too
    assert_there(store, NEW, data)


@PLACES
def test_a_packed_duplicate_deleted_while_another_is_stored_is_stored_too(store: Container, place: Place) -> None:
    store.insert_many([NEW, SMALL], to=place)
    union = store.engine.objects
    real = union._known
    goes = [NEW, SMALL]

    def look(digests: Any, trust: Any, raws: Any = None) -> Any:
        answers = real(digests, trust, raws=raws)
        if goes:
            delete(store, goes.pop(0))
        return answers

    union._known = look  # type: ignore[method-assign]
    store.insert_many([NEW, SMALL])
    assert not goes
    assert_there(store, NEW, SMALL)


@pytest.mark.parametrize("form", [bytes, io.BytesIO], ids=["bytes", "stream"])
@SIZES
def test_a_new_file_deleted_while_its_directory_is_synced_is_stored_again(
    store: Container, data: bytes, form: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = store.engine.layout.loose_directory(key_of(data))
    real = posix.sync_directory
    has_run: list[bool] = []

    def sync(path: str) -> None:
        real(path)
        if path == directory and not has_run:
            has_run.append(True)
            delete(store, data)

    monkeypatch.setattr(posix, "sync_directory", sync)
    assert store.insert(form(data)) == key_of(data)
    assert has_run
    assert_there(store, data)


def test_an_object_that_is_always_deleted_is_refused_in_the_end(
    store: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.engine.layout.loose_file(key_of(SMALL))
    real = posix.sync_directory

    def sync(directory: str) -> None:
        real(directory)
        if directory == os.path.dirname(path) and os.path.exists(path):
            os.unlink(path)

    monkeypatch.setattr(posix, "sync_directory", sync)
    with pytest.raises(BlockingIOError):
        store.insert(SMALL)


@PLACES
@pytest.mark.parametrize("target_version", [1, 2])
def test_an_object_deleted_after_a_transfer_found_it_is_copied(
    store: Container, place: Place, target_version: int, tmp_path: Path
) -> None:
    objects = (SMALL, LARGE, NEW)
    store.insert_many(objects)
    target = Container.create(tmp_path / "target", container_version=target_version)
    target.insert_many([SMALL, LARGE], to=place)

    def delete_both() -> None:
        Container(target.path).delete([key_of(SMALL), key_of(LARGE)])

    has_run = once(target.engine.packed, "writer", delete_both, before=True)
    plan = transfer.plan(target.engine, store.engine, transfer.TransferOptions())
    told: list[str] = []
    report = transfer.execute(target.engine, plan, tell=lambda theirs, ours: told.extend(ours))
    assert has_run
    assert sorted(told) == sorted(map(key_of, objects))
    assert (report.objects, report.known) == (3, 0)
    assert_there(target, *objects)


# Answers from an open state (A5), and a count while objects move (F10).


@PLACES
def test_that_an_object_is_there_is_an_answer_of_a_second_ago_at_most(store: Container, place: Place) -> None:
    key = store.insert(SMALL, to=place)
    reader = Container(store.path)
    objects, now = reader.engine.objects, [1000.0]
    objects.clock = lambda: now[0]
    assert reader.has(key)
    store.delete([key])
    store.repack(min_dead=0)
    now[0] += 1
    assert not reader.has(key)
    assert store.insert(SMALL, to=place) == key
    assert reader.has(key)
    store.delete([key])
    now[0] += 1
    assert reader.has_many([key]) == [False]
    store.insert(SMALL, to=place)
    assert key in reader
    store.delete([key])
    now[0] += 1
    assert key not in reader
    store.insert(SMALL, to=place)
    assert reader.meta(key).size == len(SMALL)
    store.delete([key])
    now[0] += 1
    with pytest.raises(KeyError):
        reader.meta(key)


@PLACES
def test_the_first_answer_is_not_that_of_an_older_state(store: Container, place: Place) -> None:
    key = store.insert(SMALL, to=place)
    reader = Container(store.path)
    assert reader.extract(key) == SMALL
    store.delete([key])
    store.repack(min_dead=0)
    assert not reader.has(key)


def test_a_file_opened_for_a_check_is_not_checked_again(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store")
    key = store.insert(SMALL, to=Place.PACKED)
    reader = Container(store.path)
    asked = once(reader.engine.objects, "is_latest", lambda: None)
    assert reader.has(key)
    assert not asked


def test_within_a_second_nothing_is_asked(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store")
    key = store.insert(SMALL, to=Place.PACKED)
    reader = Container(store.path)
    objects, now = reader.engine.objects, [1000.0]
    objects.clock = lambda: now[0]
    assert reader.has(key)
    asked = once(objects, "is_latest", lambda: None)
    now[0] += 0.9
    assert reader.has(key)
    assert not asked
    now[0] += 0.2
    assert reader.has(key)
    assert asked


def test_a_count_while_another_thread_packs_is_of_one_moment(store: Container) -> None:
    store.insert_many([b"1", b"2"])
    store.insert_many([b"3", b"4", b"5"], to=Place.LOOSE)
    has_run = once(store.engine.objects, "version", store.pack_all_loose, before=True)
    assert len(store) == 5
    assert has_run

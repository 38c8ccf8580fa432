"""Garbage collection, and deleting by key beside snapshots: the two lives of an object (docs/concurrency.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rsdos import Busy, Container, InvalidOption
from rsdos.engine.publish import newest_refs, read_refs
from rsdos.errors import DamagedObject, DamagedTree
from rsdos.maintenance import delete, forget, gc, retain
from rsdos.model import PackKind, Place
from rsdos.stores import lifetime
from tests.data import key_of, text
from tests.helpers import flip, manifest_of, native
from tests.snapshots.saving import pages_of, save
from tests.snapshots.test_publish import FILES, assert_whole, fresh

NEXT = FILES | {"a.txt": b"next", "new": text(2000, 9)}


def collect(container: Container) -> gc.GcReport:
    return gc.execute(container.engine, gc.plan(container.engine))


def forget_named(container: Container, *names: str) -> forget.ForgetReport:
    engine = container.engine
    return forget.execute(engine, forget.plan(engine, forget.ForgetOptions(names)))


def delete_keys(container: Container, *payloads: bytes) -> delete.DeleteReport:
    engine = container.engine
    return delete.execute(engine, delete.plan(engine, delete.DeleteOptions([key_of(data) for data in payloads])))


def copies_of(container: Container, data: bytes) -> list[PackKind]:
    """The kinds of the packs that have a live copy."""
    index = native(Container(container.path).engine).index
    kinds = {pack.id: pack.kind for pack in index.refresh().manifest.packs}
    return sorted(kinds[record.pack_id] for record in index.find_all(bytes.fromhex(key_of(data))))


def is_there(container: Container, data: bytes) -> bool:
    return Container(container.path).engine.packed.has(key_of(data))


def test_a_container_without_snapshots_has_nothing_to_collect(store: Container) -> None:
    store.insert_many([b"plain"])
    number = manifest_of(store.path).number
    assert collect(store).objects == 0
    assert manifest_of(store.path).number == number


def test_gc_takes_what_no_live_snapshot_reaches_and_leaves_the_rest(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    snapshot = save(store.engine, "flowers", NEXT)
    forget_named(store, "flowers@1")
    plan = gc.plan(store.engine)
    report = gc.execute(store.engine, plan)
    # Of the first version: its changed file; its page, which is the whole tree, and its snapshot.
    assert (report.objects, report.pages) == (plan.objects, plan.pages) == (1, 2)
    assert not is_there(store, FILES["a.txt"])
    assert_whole(store, snapshot, NEXT)
    assert collect(store).objects == collect(store).pages == 0


def test_all_versions_of_all_branches_and_tags_are_live(store: Container) -> None:
    saved = {
        save(store.engine, "flowers", FILES): FILES,
        save(store.engine, "flowers", NEXT): NEXT,
        save(store.engine, "trees", {"t": b"t"}): {"t": b"t"},
    }
    assert collect(store).objects == 0
    for snapshot, files in saved.items():
        assert_whole(store, snapshot, files)


def test_what_was_inserted_by_key_is_never_collected(store: Container) -> None:
    """Attack 11. Whether it was there before the save, or came after it."""
    store.insert_many([FILES["a.txt"]])
    save(store.engine, "flowers", FILES)
    store.insert_many([FILES["sub/b.txt"]])
    store.insert(FILES["empty"])
    store.engine.objects.insert_many([pages_of(FILES)[1][0]])
    forget_named(store, "flowers")
    collect(store)
    assert set(Container(store.path)) == {
        key_of(data) for data in (FILES["a.txt"], FILES["sub/b.txt"], FILES["empty"], pages_of(FILES)[1][0])
    }
    assert not is_there(store, FILES["sub/deep/c.bin"])


def test_a_held_copy_is_no_duplicate_for_an_insert_by_key(store: Container) -> None:
    """Rule 2: also for packing and cleaning, which must not remove a loose file because of it."""
    save(store.engine, "flowers", FILES)
    store.insert(FILES["a.txt"])
    assert len(list(store.engine.loose)) == 1
    store.clean_storage()
    assert len(list(store.engine.loose)) == 1
    store.pack_all_loose()
    assert copies_of(store, FILES["a.txt"]) == [PackKind.PLAIN, PackKind.HELD]
    forget_named(store, "flowers")
    collect(store)
    assert copies_of(store, FILES["a.txt"]) == [PackKind.PLAIN]


def test_a_save_takes_any_packed_copy(store: Container) -> None:
    """Rule 3."""
    store.insert_many([FILES["a.txt"]])
    save(store.engine, "flowers", FILES)
    assert copies_of(store, FILES["a.txt"]) == [PackKind.PLAIN]


# Deleting by key.


def test_what_a_snapshot_needs_stays_readable_after_a_delete_until_gc(store: Container) -> None:
    """Rule 4."""
    store.insert_many([*FILES.values(), b"mine"])
    snapshot = save(store.engine, "flowers", FILES)
    report = delete_keys(store, *FILES.values(), b"mine", b"never there")
    assert (report.deleted, report.missing, report.held) == (len(FILES) + 1, 1, len(FILES))
    assert_whole(store, snapshot, FILES)
    assert {copies_of(store, data)[0] for data in FILES.values()} == {PackKind.HELD}
    assert not is_there(store, b"mine")
    forget_named(store, "flowers")
    collect(store)
    assert not any(is_there(store, data) for data in FILES.values())


def test_what_no_live_snapshot_needs_is_deleted_at_once(store: Container) -> None:
    store.insert_many(FILES.values())
    save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")
    save(store.engine, "trees", {"t": b"t"})
    report = delete_keys(store, *FILES.values())
    assert (report.deleted, report.held) == (len(FILES), 0)
    assert not any(is_there(store, data) for data in FILES.values())


def test_what_is_held_alone_is_neither_deleted_nor_missing(store: Container) -> None:
    snapshot = save(store.engine, "flowers", FILES)
    report = delete_keys(store, FILES["a.txt"])
    assert (report.deleted, report.missing, report.held) == (0, 0, 1)
    assert_whole(store, snapshot, FILES)


def test_retaining_some_objects_keeps_what_snapshots_need(store: Container) -> None:
    """Attack 11, by a list of what to keep."""
    store.insert_many([*FILES.values(), b"kept", b"gone"])
    store.insert(b"loose and gone")
    snapshot = save(store.engine, "flowers", FILES)
    engine = store.engine
    report = retain.execute(engine, retain.plan(engine, retain.RetainOptions([key_of(b"kept")])))
    assert (report.deleted, report.held) == (len(FILES) + 2, len(FILES))
    assert_whole(store, snapshot, FILES)
    assert is_there(store, b"kept")
    assert not is_there(store, b"gone")
    assert {copies_of(store, data)[0] for data in FILES.values()} == {PackKind.HELD}


@pytest.mark.parametrize("step", ["hold", "_delete"])
def test_a_save_that_is_published_during_a_delete_keeps_its_objects(
    store: Container, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save has found plain copies; the delete has marked before the save is published."""
    from rsdos.maintenance.hold import HoldingDelete

    store.insert_many(FILES.values())
    save(store.engine, "trees", {"t": b"t"})
    snapshots: list[str] = []
    real: Callable[..., Any] = getattr(HoldingDelete, step)

    def hooked(self: HoldingDelete, *args: Any) -> Any:
        if step == "_delete" and not snapshots:
            snapshots.append(save(fresh(store), "flowers", FILES))
        result = real(self, *args)
        if not snapshots:
            snapshots.append(save(fresh(store), "flowers", FILES))
        return result

    monkeypatch.setattr(HoldingDelete, step, hooked)
    report = delete_keys(store, *FILES.values())
    assert report.deleted == len(FILES)
    assert_whole(store, snapshots[0], FILES)


def test_a_save_that_ends_after_a_delete_of_what_it_found_stores_it_again(store: Container) -> None:
    store.insert_many(FILES.values())
    save(store.engine, "trees", {"t": b"t"})

    def at(step: str) -> None:
        if step == "4":
            assert delete_keys(Container(store.path), *FILES.values()).held == 0

    assert_whole(store, save(store.engine, "flowers", FILES, at), FILES)


def test_an_object_that_a_snapshot_needs_and_is_damaged_is_not_deleted(store: Container) -> None:
    store.insert_many(FILES.values())
    save(store.engine, "flowers", FILES)
    (copy,) = native(store.engine).index.refresh().find_all(bytes.fromhex(key_of(FILES["sub/deep/c.bin"])))
    flip(Path(store.engine.layout.pack(copy.pack_id)), copy.offset)
    with pytest.raises(DamagedObject, match="forget the snapshot"):
        delete_keys(Container(store.path), FILES["sub/deep/c.bin"])
    assert copies_of(store, FILES["sub/deep/c.bin"]) == [PackKind.PLAIN]


# Gc beside saves.


def test_gc_between_found_and_published(store: Container) -> None:
    """Attack 1: the save has found garbage of a forgotten version, and gc takes it."""
    save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")
    taken: list[int] = []

    def at(step: str) -> None:
        if step == "4":
            taken.append(collect(Container(store.path)).objects)

    snapshot = save(store.engine, "flowers", FILES, at)
    assert taken == [len(FILES)]
    assert_whole(store, snapshot, FILES)


def test_gc_beside_a_save_of_ten_hours_leaves_what_it_has_stored(store: Container) -> None:
    """Attack 2. Nothing of it is stored again."""
    save(store.engine, "trees", {"t": b"t"})
    number: list[int] = []

    def at(step: str) -> None:
        if step == "4":
            report = collect(Container(store.path))
            assert (report.objects, len(report.running)) == (0, 1)
            assert all(is_there(store, data) for data in FILES.values())
            number.append(manifest_of(store.path).number)

    assert_whole(store, save(store.engine, "flowers", FILES, at), FILES)
    assert manifest_of(store.path).number == number[0] + 1


def test_what_a_save_that_failed_has_stored_is_collected(store: Container) -> None:
    """Its lock has gone with it."""

    class Interrupted(Exception):
        pass

    def at(step: str) -> None:
        if step == "4":
            raise Interrupted

    with pytest.raises(Interrupted):
        save(store.engine, "flowers", FILES, at)
    assert collect(store).objects == len(FILES)


def test_gc_without_the_save_lock_costs_a_save_only_time(store: Container) -> None:
    """Somebody has removed the files in ``locks/``."""

    def at(step: str) -> None:
        if step == "4":
            for lock in (store.path / "locks").glob("save-*"):
                lock.unlink()
            assert collect(Container(store.path)).objects == len(FILES)

    assert_whole(store, save(store.engine, "flowers", FILES, at), FILES)


@pytest.mark.parametrize("moment", ["collectable", "collect"])
def test_a_snapshot_that_is_published_during_gc_keeps_its_objects(
    store: Container, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads to what was garbage when gc marked."""
    from rsdos.stores.packed.publisher import PackedPublisher

    snapshot = save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")
    real: Callable[..., Any] = getattr(PackedPublisher, moment)
    runs: list[str] = []

    def hooked(self: PackedPublisher, *args: Any) -> Any:
        if not runs:
            runs.append(save(fresh(store), "again", FILES))
        return real(self, *args)

    monkeypatch.setattr(PackedPublisher, moment, hooked)
    engine = Container(store.path).engine
    newest = newest_refs(engine)
    assert newest.refs.names() == []
    plan = gc.plan(engine) if moment == "collect" else None
    report = gc.execute(engine, plan or gc.plan(engine))
    assert runs
    assert report.objects == 0
    assert_whole(store, runs[0], FILES)
    assert snapshot != runs[0]


def test_what_is_stored_between_the_plan_and_the_run_stays_until_the_next_run(store: Container) -> None:
    """The marks are bits of the index of the plan: it says nothing about later copies."""
    save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")
    engine = Container(store.path).engine
    plan = gc.plan(engine)
    snapshot = save(fresh(store), "trees", NEXT)  # It finds files of the forgotten version.
    fresh(store).objects.insert_many([b"of a save that failed"], to=Place.PACKED, kind=PackKind.HELD)
    report = gc.execute(engine, plan)
    assert report.objects == 1  # The old "a.txt".
    assert_whole(store, snapshot, NEXT)
    assert is_there(store, b"of a save that failed")
    assert collect(Container(store.path)).objects == 1
    assert not is_there(store, b"of a save that failed")


def test_what_another_gc_has_deleted_since_the_plan_is_not_deleted_again(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")
    engine = Container(store.path).engine
    plan = gc.plan(engine)
    assert collect(Container(store.path)).objects == plan.objects == len(FILES)
    snapshot = save(fresh(store), "flowers", FILES)
    forget_named(store, "flowers")  # What is there now, and not needed, are other copies.
    number = manifest_of(store.path).number
    assert gc.execute(engine, plan).objects == 0
    assert manifest_of(store.path).number == number
    assert is_there(store, FILES["a.txt"])
    assert Container(store.path).engine.packed.has(snapshot)


def test_the_newest_documents_stay(store: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.maintenance.marks.KEPT_DOCUMENTS", 3)
    keys = []
    for number in range(6):
        save(store.engine, "flowers", {"a": b"%d" % number})
        keys.append(manifest_of(store.path).refs)
    collect(store)
    there = Container(store.path).engine.packed.contains_many(list(map(bytes.fromhex, keys)))
    assert there == [False] * 3 + [True] * 3


def test_many_objects_go_in_chunks(store: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "CHUNK", 10)
    files = {f"dir/{number}": b"object %d" % number for number in range(95)}
    save(store.engine, "flowers", files)
    forget_named(store, "flowers")
    epoch = manifest_of(store.path).epoch
    assert collect(store).objects == 95
    assert manifest_of(store.path).epoch >= epoch + 10


def test_a_repack_gives_back_what_gc_took_and_loses_nothing(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    snapshot = save(store.engine, "flowers", NEXT)
    forget_named(store, "flowers@1")
    collect(store)
    store.repack(min_dead=0.0)
    assert Container(store.path).status().dead_objects == 0
    assert_whole(store, snapshot, NEXT)
    assert read_refs(fresh(store))[0].find("flowers") == snapshot


# Where it is not known what is live.


def _damage(container: Container, key: str) -> None:
    (copy,) = native(container.engine).index.refresh().find_all(bytes.fromhex(key))
    flip(Path(container.engine.layout.pack(copy.pack_id)), copy.offset + copy.length // 2)


@pytest.mark.parametrize("what", ["document", "snapshot", "page"])
def test_when_it_is_not_known_what_is_live_nothing_is_deleted(store: Container, what: str) -> None:
    """Attack 12."""
    store.insert_many([FILES["a.txt"]])
    snapshot = save(store.engine, "flowers", FILES)
    save(store.engine, "trees", {"t": b"t"})
    forget_named(store, "trees")
    keys = {
        "document": manifest_of(store.path).refs,
        "snapshot": snapshot,
        "page": pages_of(FILES)[0].key.hex(),
    }
    _damage(store, keys[what])
    number = manifest_of(store.path).number
    with pytest.raises(DamagedTree):
        collect(Container(store.path))
    with pytest.raises(DamagedTree):
        delete_keys(Container(store.path), FILES["a.txt"])
    assert manifest_of(store.path).number == number
    assert is_there(store, b"t")


def test_version_1_has_nothing_to_collect(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store", container_version=1)
    with pytest.raises(InvalidOption, match="migrate"):
        gc.plan(container.engine)


def test_one_collection_at_a_time(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    with store.engine.maintenance("optimize"), pytest.raises(Busy):
        collect(Container(store.path))


def test_the_rule_for_running_saves() -> None:
    assert lifetime.collectable(100, [], 1) == 100
    assert lifetime.collectable(100, [{1: 60}, {1: 80}], 1) == 60
    assert lifetime.collectable(100, [{1: 60}, {2: 80}], 1) == 0

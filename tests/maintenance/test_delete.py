"""Delete and garbage collection: what is gone is gone for all, and nothing else is."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from rsdos import Busy, CompressMode, Container, InvalidKey, InvalidOption, ObjectNotFound, Place
from rsdos.index.merge import MOST_SEGMENTS
from rsdos.maintenance import delete, retain
from rsdos.model import FRAME_SIZE
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.store import PackedStore
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, manifest_of

OBJECTS = {key_of(data): data for data in (b"", b"x", text(3000), noise(5000), text(FRAME_SIZE + 5), noise(70))}


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store", container_version=request.param)


def insert_twice(container: Container, objects: list[bytes]) -> None:
    """Store each object in two packs, as two writers do that do not know of each other."""
    encoding = Encoding(CompressMode.NO, container.config.codec)
    with container.engine.packed.writer() as one, Container(container.path).engine.packed.writer() as two:
        for writer in (one, two):
            writer.add_many(objects, encoding)
            writer.commit()


@pytest.mark.parametrize("place", Place)
def test_a_deleted_object_is_gone_for_every_reader(store: Container, place: Place) -> None:
    other = Container(store.path)
    keys = store.insert_many(OBJECTS.values(), to=place)
    assert other.has_many(keys) == [True] * len(keys)
    gone = keys[::2]
    assert store.delete([*gone, ABSENT, *gone]) == gone
    kept = {key: OBJECTS[key] for key in keys[1::2]}
    assert_holds(store, kept)
    fresh = Container(store.path)
    assert_holds(fresh, kept)
    for key in gone:
        with pytest.raises(ObjectNotFound):
            fresh.extract(key)
        with pytest.raises(ObjectNotFound):
            fresh.meta(key)
    assert store.delete(gone) == []
    # What is inserted again is there again.
    assert other.insert_many(OBJECTS.values(), to=place) == keys
    assert_holds(other, OBJECTS)
    assert_holds(Container(store.path), OBJECTS)


def test_both_copies_go(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values(), to=Place.LOOSE)
    store.pack_all_loose(clean=False)
    store.delete(keys[:3])
    assert_holds(Container(store.path), {key: OBJECTS[key] for key in keys[3:]})
    assert len(list(store.engine.loose)) == len(keys) - 3


def test_a_bad_key_deletes_nothing(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    with pytest.raises(InvalidKey):
        store.delete([*keys, "../config.json"])
    assert_holds(store, OBJECTS)


def test_a_report_and_its_plan(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    plan = delete.plan(store.engine, delete.DeleteOptions([*keys[:2], ABSENT]))
    assert (plan.keys, plan.objects) == (3, 2)
    assert_holds(store, OBJECTS)
    report = delete.execute(store.engine, plan)
    assert (report.deleted, report.missing) == (2, 1)


def test_keys_that_can_be_gone_through_only_once_are_refused(store: Container) -> None:
    """The plan would take them all, and the execution find none."""
    keys = store.insert_many(OBJECTS.values())
    with pytest.raises(InvalidOption):
        delete.DeleteOptions(iter(keys))
    store.delete(iter(keys[:2]))
    assert store.has_many(keys)[:3] == [False, False, True]


def test_dead_bytes_are_counted(container: Container) -> None:
    keys = container.insert_many(OBJECTS.values(), compress=CompressMode.NO)
    container.delete(keys[2:4])
    status = container.status()
    assert (status.dead_objects, status.dead_length) == (2, 8000)
    assert status.packed_objects == len(keys) - 2
    manifest = manifest_of(container.path)
    assert sum(pack.live.size for pack in manifest.packs) == sum(len(OBJECTS[key]) for key in [*keys[:2], *keys[4:]])


def test_every_copy_of_a_key_is_killed_and_counted_once(container: Container) -> None:
    insert_twice(container, [b"both", b"more"])
    assert container.status().dead_objects == 2
    assert container.delete([key_of(b"both")]) == [key_of(b"both")]
    assert_holds(Container(container.path), {key_of(b"more"): b"more"})
    assert container.status().dead_objects == 3
    container.insert_many([b"both"])
    assert (container.status().packed_objects, container.status().dead_objects) == (2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_inserts_and_deletes_at_random_against_a_dict(seed: int, store: Container) -> None:
    rng = random.Random(seed)
    data = {key_of(one): one for one in (noise(rng.randrange(200), n) for n in range(60))}
    model: dict[str, bytes] = {}
    for _ in range(60):
        keys = rng.sample(list(data), rng.randrange(1, 12))
        if rng.random() < 0.5:
            assert store.insert_many([data[key] for key in keys], to=rng.choice(list(Place))) == keys
            model |= {key: data[key] for key in keys}
        else:
            assert store.delete(keys) == [key for key in keys if model.pop(key, None) is not None]
        if rng.random() < 0.1:
            store.pack_all_loose()
        if rng.random() < 0.2:
            assert_holds(Container(store.path), model)
    assert_holds(store, model)
    assert store.status().packed_objects + store.status().loose_objects >= len(model)


def test_many_deletes_leave_few_segments_and_the_index_can_be_made_again(container: Container) -> None:
    keys = container.insert_many(b"%d" % number for number in range(2000))
    for at in range(0, 800, 20):
        container.delete(keys[at : at + 20])
    left = {key: b"%d" % number for number, key in enumerate(keys) if number >= 800}
    assert len(manifest_of(container.path).segments) <= MOST_SEGMENTS
    assert_holds(Container(container.path), left)
    for path in (container.path / "index").iterdir():
        path.unlink()
    # From the packs alone: a rebuild does not bring back what was deleted.
    assert_holds(Container(container.path), left)


def test_a_merge_drops_the_dead_and_their_tombstones(container: Container) -> None:
    keys = container.insert_many(b"%d" % number for number in range(3000))
    container.delete(keys[:1000])
    packed = container.engine.packed
    assert isinstance(packed, PackedStore)
    manifest = packed.index.merge(container.engine.durability)
    assert [(segment.count, segment.tombstones) for segment in manifest.segments] == [(2000, 0)]
    assert container.has_many(keys) == [False] * 1000 + [True] * 2000


def test_a_duplicate_deleted_before_the_commit_is_written(store: Container) -> None:
    small, big = noise(500), noise(9000)
    encoding = Encoding(CompressMode.NO, store.config.codec)
    for place in Place:
        keys = store.insert_many([small, big], to=place)
        # Another thing with it, or nothing at all.
        for also in ([], [noise(100, place is Place.LOOSE)]):
            store.insert_many([small, big], to=place)
            objects = Container(store.path).engine.objects
            known = partial(objects.check_copies, durability=store.engine.durability)
            with objects.packed.writer(known) as writer:
                writer.add_many([small, *also, big], encoding)
                assert store.delete(keys) == keys
                writer.commit()
            assert dict(Container(store.path).extract_many(keys)) == {keys[0]: small, keys[1]: big}


def test_a_loose_insert_is_not_answered_with_a_copy_that_was_deleted(store: Container) -> None:
    key = store.insert(b"object", to=Place.PACKED)
    other = Container(store.path)
    assert other.extract(key) == b"object"
    store.delete([key])
    assert other.insert(b"object") == key
    assert Container(store.path).extract(key) == b"object"


def test_a_delete_waits_or_names_the_holder_of_the_lock(store: Container) -> None:
    key = store.insert(b"x")
    with store.engine.maintenance("repack"), pytest.raises(Busy, match=f"repack, process {os.getpid()} on "):
        Container(store.path).delete([key])
    assert key in store


# Garbage collection.


@pytest.mark.parametrize("place", Place)
def test_objects_that_are_not_named_are_deleted(store: Container, place: Place) -> None:
    keys = store.insert_many(OBJECTS.values(), to=place)
    plan = retain.plan(store.engine, retain.RetainOptions([*keys[:2], ABSENT]))
    assert plan.objects == len(keys) - 2
    assert_holds(store, OBJECTS)
    assert retain.execute(store.engine, plan).deleted == len(keys) - 2
    assert_holds(Container(store.path), {key: OBJECTS[key] for key in keys[:2]})


def test_objects_inserted_after_the_start_are_kept(store: Container) -> None:
    before = [*store.insert_many([b"1", b"2"]), *store.insert_many([b"3", b"4"], to=Place.LOOSE)]
    later: dict[str, bytes] = {}

    def keep() -> Iterator[str]:
        for data, place in ((b"5", Place.PACKED), (b"6", Place.LOOSE)):
            later[store.insert(data, to=place)] = data
        yield before[0]

    plan = retain.plan(store.engine, retain.RetainOptions(keep()))
    for data, place in ((b"7", Place.PACKED), (b"8", Place.LOOSE)):
        later[store.insert(data, to=place)] = data
    assert retain.execute(store.engine, plan).deleted == 3
    assert_holds(Container(store.path), {before[0]: b"1"} | later)


def test_an_object_in_both_stores_counts_once(store: Container) -> None:
    keys = store.insert_many([b"1", b"2", b"3"], to=Place.LOOSE)
    store.pack_all_loose(clean=False)
    plan = retain.plan(store.engine, retain.RetainOptions(keys[:1]))
    assert plan.objects == 2
    assert retain.execute(store.engine, plan).deleted == 2
    assert list(store) == keys[:1]


@pytest.mark.parametrize("most", [1, 3])
def test_objects_are_deleted_in_many_chunks_each_once(
    store: Container, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(retain, "CHUNK", most)
    packed = store.insert_many(b"%d" % number for number in range(20))
    loose = store.insert_many([b"loose %d" % number for number in range(20)], to=Place.LOOSE)
    kept = [*packed[::4], *loose[::3], ABSENT]
    plan = retain.plan(store.engine, retain.RetainOptions(kept))
    assert (plan.objects, plan.named) == (40 - len(kept) + 1, len(kept))
    assert retain.execute(store.engine, plan).deleted == plan.objects
    assert sorted(Container(store.path)) == sorted(kept[:-1])


def test_every_copy_of_an_object_that_is_not_named_goes(container: Container) -> None:
    insert_twice(container, [b"both", b"kept"])
    kept = key_of(b"kept")
    plan = retain.plan(container.engine, retain.RetainOptions([kept, kept]))
    assert plan.objects == retain.execute(container.engine, plan).deleted == 1
    assert_holds(Container(container.path), {kept: b"kept"})
    assert container.retain([kept]).deleted == 0


def test_the_length_of_the_list_of_what_to_keep_takes_no_memory(
    store: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    store.insert(b"kept")
    store.insert(b"goes")
    monkeypatch.setattr("rsdos.index.key_marks._TOGETHER", 1 << 12)
    absent = (f"{number:064x}" for number in range(200_000))
    store.retain([key_of(b"kept"), key_of(b"goes")])  # Imports.
    tracemalloc.start()
    try:
        plan = retain.plan(store.engine, retain.RetainOptions(chain(absent, [key_of(b"kept")])))
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
    assert (plan.objects, plan.named) == (1, 200_001)


def test_an_empty_list_deletes_nothing(store: Container) -> None:
    store.insert(b"x")
    with pytest.raises(InvalidOption):
        retain.plan(store.engine, retain.RetainOptions([]))
    assert len(store) == 1

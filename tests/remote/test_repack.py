"""Repacks and deletes of several machines, which no lock keeps apart: what is deleted stays so, and all else stays."""

from __future__ import annotations

import pytest

from rsdos import Container
from rsdos.errors import ObjectNotFound
from rsdos.maintenance import collect, repack
from rsdos.model import PackKind
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.packed.repack import MOST_TRIES
from rsdos.stores.stats import MIN_OVERHEAD
from tests.data import key_of, noise
from tests.protocol.attack import OverNetwork
from tests.remote.machines import DAY, Bucket, before, commit_behind_a_pack, is_whole, newest, packed_of, puts

TARGET = 1 << 16


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    Container.create(bucket, pack_size_target=TARGET).close()
    return bucket


def contents(*numbers: int) -> dict[str, bytes]:
    return {key_of(data): data for data in (noise(1000, number) for number in numbers)}


def insert(bucket: Bucket, *numbers: int) -> dict[str, bytes]:
    objects = contents(*numbers)
    Container(bucket).insert_many(objects.values())
    return objects


def optimized(container: Container) -> repack.RepackReport:
    options = repack.RepackOptions(min_overhead=MIN_OVERHEAD)
    return repack.execute(container.engine, repack.plan(container.engine, options))


def assert_has(bucket: Bucket, objects: dict[str, bytes], deleted: dict[str, bytes] | None = None) -> None:
    container = Container(bucket)
    assert dict(container.extract_many(objects)) == objects
    for key in deleted or ():
        with pytest.raises(ObjectNotFound):
            container.extract(key)
    assert sorted(container) == sorted(objects)
    assert is_whole(bucket)


def test_dead_bytes_go_to_no_new_pack(bucket: Bucket) -> None:
    left, gone = insert(bucket, *range(20)), insert(bucket, *range(20, 40))
    both = insert(bucket, *range(40, 60))
    Container(bucket).delete([*gone, *list(both)[:10]])
    for key in list(both)[:10]:
        gone[key] = both.pop(key)
    report = Container(bucket).repack()
    assert len(report.pack_ids) == 2
    assert_has(bucket, left | both, gone)
    manifest = newest(bucket)
    assert sum(pack.dead_objects for pack in manifest.packs) == 0
    assert manifest.remote is not None
    assert {row.id for row in manifest.remote.retired if row.kind == "pack"} == {*report.pack_ids}
    # What was repacked is there until it is collected.
    assert len(bucket.names("packs")) > len(manifest.packs)


def test_small_packs_become_one(bucket: Bucket) -> None:
    objects: dict[str, bytes] = {}
    for number in range(10):
        objects |= insert(bucket, 2 * number, 2 * number + 1)
    assert len(newest(bucket).packs) == 10
    report = optimized(Container(bucket))
    assert len(report.pack_ids) == 10
    assert [pack.objects for pack in newest(bucket).packs] == [20]
    assert_has(bucket, objects)
    assert not optimized(Container(bucket)).pack_ids


def test_small_packs_of_several_kinds_stay_apart(bucket: Bucket) -> None:
    for number in range(3):
        insert(bucket, number)
        Container(bucket).engine.objects.insert_many([noise(1000, 10 + number)], kind=PackKind.HELD)
    optimized(Container(bucket))
    assert sorted((pack.kind, pack.objects) for pack in newest(bucket).packs) == [
        (PackKind.PLAIN, 3),
        (PackKind.HELD, 3),
    ]
    assert is_whole(bucket)


def test_an_object_in_several_of_the_packs_is_not_lost(bucket: Bucket) -> None:
    """Two machines have stored it at the same time: each of the packs leaves it out for the other, if it may."""
    data = noise(1000, 7)
    other = Container(bucket)
    with before(bucket, puts("packs"), lambda: other.insert_many([data, noise(100, 1)])) as storage:
        Container(storage).insert_many([data, noise(100, 2)])
    assert [pack.objects for pack in newest(bucket).packs] == [2, 2]
    assert optimized(Container(bucket)).pack_ids
    assert_has(bucket, {key_of(data): data, key_of(noise(100, 1)): noise(100, 1), key_of(noise(100, 2)): noise(100, 2)})


def test_what_is_deleted_beside_a_repack_does_not_come_back(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    gone = {key: objects.pop(key) for key in list(objects)[:3]}
    other = Container(bucket)
    with before(bucket, commit_behind_a_pack(), lambda: other.delete(list(gone))) as storage:
        report = Container(storage).repack(min_dead=0.0, compression="zstd")
    assert report.pack_ids
    assert not report.skipped
    assert_has(bucket, objects, gone)


def test_a_delete_and_a_merge_beside_a_repack(bucket: Bucket) -> None:
    """The merge hides in one segment what the delete has written."""
    objects = insert(bucket, *range(10)) | insert(bucket, *range(10, 20))
    gone = {key: objects.pop(key) for key in list(objects)[:3]}

    def delete_and_merge() -> None:
        other = Container(bucket)
        other.delete(list(gone))
        other.merge()

    with before(bucket, commit_behind_a_pack(), delete_and_merge) as storage:
        Container(storage).repack(min_dead=0.0, compression="zstd")
    assert_has(bucket, objects, gone)


def test_a_delete_whose_objects_were_moved_kills_them_where_they_are(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    gone = {key: objects.pop(key) for key in list(objects)[:3]}
    other = Container(bucket)

    def repack_all() -> None:
        assert other.repack(min_dead=0.0, compression="zstd").pack_ids

    with before(bucket, commit_behind_a_pack(), repack_all) as storage:
        assert sorted(Container(storage).delete(list(gone))) == sorted(gone)
    assert_has(bucket, objects, gone)


def test_a_delete_whose_objects_were_moved_and_deleted_has_nothing_to_do(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    gone = {key: objects.pop(key) for key in list(objects)[:3]}
    other = Container(bucket)

    def repack_and_delete() -> None:
        other.repack(min_dead=0.0, compression="zstd")
        other.delete(list(gone))

    with before(bucket, commit_behind_a_pack(), repack_and_delete) as storage:
        Container(storage).delete(list(gone))
    assert_has(bucket, objects, gone)


def test_of_two_repacks_of_a_pack_the_second_drops_its_work(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    other = Container(bucket)
    with before(bucket, commit_behind_a_pack(), lambda: other.repack(min_dead=0.0, compression="zstd")) as storage:
        report = Container(storage).repack(min_dead=0.0, compression="zstd")
    assert report.skipped
    assert not report.pack_ids
    assert len(newest(bucket).packs) == 1
    assert_has(bucket, objects)


def test_a_repack_whose_table_was_merged_and_collected_begins_again(bucket: Bucket) -> None:
    """The machine slept between two blocks of a table, which is too large to be read whole."""
    objects = {key_of(data): data for data in (b"%d" % number for number in range(30_000))}
    Container(bucket).insert_many(objects.values())
    pack_id = newest(bucket).packs.ids[0]
    opened: list[str] = []

    def block_behind_a_pack(call: StorageCall) -> bool:
        if call.verb == "open" and call.name.startswith("packs/"):
            opened.append(call.name)
        return bool(opened) and call.verb == "need" and call.name.startswith("segments/")

    def merge_and_collect() -> None:
        objects.update(insert(bucket, 1))
        [table] = bucket.names("segments")
        Container(bucket).merge()
        bucket.now += 30 * DAY
        collect.execute(Container(bucket).engine, collect.plan(Container(bucket).engine))
        assert not bucket.exists(table)

    with before(OverNetwork(bucket), block_behind_a_pack, merge_and_collect) as storage:
        assert Container(storage).repack(pack_id=pack_id).pack_ids == (pack_id,)
    assert_has(bucket, objects)


def test_two_repacks_that_leave_an_object_out_for_each_other_keep_it(bucket: Bucket) -> None:
    data = noise(1000, 7)
    other = Container(bucket)
    with before(bucket, puts("packs"), lambda: other.insert_many([data, noise(100, 1)])) as storage:
        Container(storage).insert_many([data, noise(100, 2)])
    first, second = (pack.id for pack in newest(bucket).packs)
    with before(bucket, commit_behind_a_pack(), lambda: other.repack(pack_id=first)) as storage:
        report = Container(storage).repack(pack_id=second)
    assert report.pack_ids == (second,)
    assert_has(bucket, {key_of(data): data, key_of(noise(100, 1)): noise(100, 1), key_of(noise(100, 2)): noise(100, 2)})


def test_a_repack_that_deletes_outrun_each_time_is_skipped(bucket: Bucket) -> None:
    objects = insert(bucket, *range(20))
    keys = list(objects)
    other = Container(bucket)
    storage: Bucket | object = bucket
    chosen = [commit_behind_a_pack() for _ in range(MOST_TRIES)]
    for number, commits in enumerate(chosen):
        # Each waits for a put of a pack of its own: the repack's of this attempt.
        storage = before(storage, commits, lambda number=number: other.delete([keys[number]])).__enter__()  # type: ignore[arg-type,misc]
    report = Container(storage).repack(min_dead=0.0, compression="zstd")  # type: ignore[arg-type]
    gone = {key: objects.pop(key) for key in keys[:MOST_TRIES] if key not in list(Container(bucket))}
    assert gone
    assert report.pack_ids or report.skipped
    assert_has(bucket, objects, gone)


def test_an_insert_beside_a_repack_finds_its_duplicates_where_they_are(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    other = Container(bucket)
    more = contents(5, 6, 7, 30)
    with before(bucket, puts("packs"), lambda: other.repack(min_dead=0.0, compression="zstd")) as storage:
        Container(storage).insert_many(more.values())
    assert_has(bucket, objects | more)
    assert sum(pack.objects for pack in newest(bucket).packs) == 11


def test_retain_and_clean_and_optimize_are_as_in_a_directory(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10)) | insert(bucket, *range(10, 20))
    container = Container(bucket)
    kept = dict(list(objects.items())[5:])
    container.retain(kept)
    report = container.optimize()
    assert report.repack is not None
    assert report.collect is not None
    assert container.clean().cleaned == 0
    assert_has(bucket, kept, {key: objects[key] for key in objects if key not in kept})
    assert packed_of(container).index.newest().packs

"""Several packs in one commit of version 3: how many requests, side by side, and what a failure leaves."""

from __future__ import annotations

import threading

import pytest

from rsdos import Container
from rsdos.errors import ObjectNotFound
from rsdos.model import FRAME_SIZE
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.packs import Packing
from rsdos.stores.remote import batch
from rsdos.testing import FaultyStorage, RecordingStorage, WaitingStorage
from tests.data import key_of, noise
from tests.remote.machines import Bucket, is_commit, is_whole, newest, packed_of, puts

TARGET = 1 << 14


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    Container.create(bucket, pack_size_target=TARGET).close()
    return bucket


def contents(count: int, size: int = 1000) -> dict[str, bytes]:
    return {key_of(data): data for data in (noise(size, number) for number in range(count))}


def test_many_packs_are_one_commit_and_one_segment(bucket: Bucket) -> None:
    storage = RecordingStorage(bucket)
    container = Container(storage)
    objects = contents(300)
    assert container.insert_many(objects.values()) == list(objects)
    packs = bucket.names("packs")
    assert len(packs) > 10
    manifest = newest(bucket)
    assert [pack.sealed for pack in manifest.packs] == [True] * len(packs)
    assert [(segment.count, segment.pack_id) for segment in manifest.segments] == [(300, 0)]
    assert len(bucket.names("segments")) == 1
    assert len(list(filter(is_commit, storage.calls))) == 3  # Two reservations of ids: for one pack, then for many.
    assert len(list(filter(puts("packs"), storage.calls))) == len(packs)
    # One for each pack, and a few. (A directory's names are synced, which is no request on object storage.)
    assert len([call for call in storage.calls if call.verb != "sync_names"]) <= len(packs) + 20
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert is_whole(bucket)


def test_objects_that_fill_one_pack_need_no_other_object(bucket: Bucket) -> None:
    objects = contents(5)
    Container(bucket).insert_many(objects.values())
    assert len(bucket.names("packs")) == 1
    assert bucket.names("segments") == []
    assert newest(bucket).segments[0].pack_id
    assert dict(Container(bucket).extract_many(objects)) == objects


def test_commits_come_after_so_many_packs(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_PACKS", 4)
    objects = contents(300)
    Container(bucket).insert_many(objects.values())
    manifest = newest(bucket)
    assert len(manifest.segments) == -(-len(manifest.packs) // 4)
    assert dict(Container(bucket).extract_many(objects)) == objects


def test_commits_come_after_so_many_objects(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_MOST_ENTRIES", 100)
    objects = contents(300)
    Container(bucket).insert_many(objects.values())
    counts = [segment.count for segment in newest(bucket).segments]
    assert sum(counts) == 300
    assert len(counts) > 1
    # Each has the objects of the pack that it ended with, too.
    assert all(100 <= count < 100 + TARGET // 1000 for count in counts[:-1]), counts
    assert dict(Container(bucket).extract_many(objects)) == objects


def test_after_ten_minutes_a_full_pack_is_committed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_SECONDS", 0.0)
    Container(bucket).insert_many(contents(100).values())
    manifest = newest(bucket)
    assert len(manifest.segments) == len(manifest.packs) > 3


def test_a_pack_with_a_large_object_is_committed_by_its_length(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_PACKS", 2 * FRAME_SIZE // TARGET)
    objects = contents(4, 2 * FRAME_SIZE)
    Container(bucket).insert_many(objects.values())
    assert len(newest(bucket).segments) == 4
    assert dict(Container(bucket).extract_many(objects)) == objects


@pytest.mark.parametrize("uploads", [1, 2, 4])
def test_so_many_packs_are_under_way_and_no_more(bucket: Bucket, uploads: int) -> None:
    under_way: list[int] = []
    storage = WaitingStorage(bucket, puts("packs"))
    container = Container(storage)
    packed_of(container).packing = Packing(TARGET, uploads)
    objects = contents(300)
    writer = threading.Thread(target=container.insert_many, args=(list(objects.values()),))
    writer.start()
    while len(under_way) < 18 // uploads:
        under_way.append(len(storage.wait_for(uploads)))
        storage.let_go()
    while writer.is_alive():
        storage.let_go()
        writer.join(0.01)
    assert set(under_way) == {uploads}
    assert dict(Container(bucket).extract_many(objects)) == objects


@pytest.mark.parametrize("uploads", [1, 4])
def test_an_upload_that_fails_fails_the_call_and_what_was_committed_stays(bucket: Bucket, uploads: int) -> None:
    first = contents(10)
    Container(bucket).insert_many(first.values())
    before = newest(bucket)
    uploaded: list[str] = []

    def fault(call: StorageCall) -> Exception | None:
        if puts("packs")(call):
            uploaded.append(call.name)
            return PermissionError(13, "refused", call.name) if len(uploaded) == 7 else None
        return None

    container = Container(FaultyStorage(bucket, fault))
    packed_of(container).packing = Packing(TARGET, uploads)
    objects = contents(300)
    with pytest.raises(OSError, match="refused"):
        container.insert_many(objects.values())
    assert newest(bucket).packs == before.packs
    assert dict(Container(bucket).extract_many(first)) == first
    with pytest.raises(ObjectNotFound):
        Container(bucket).extract(list(objects)[-1])
    # Again, by the same machine.
    assert container.insert_many(objects.values()) == list(objects)
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert is_whole(bucket)


def test_what_is_twice_in_a_call_is_stored_once_however_many_packs_are_between(bucket: Bucket) -> None:
    objects = contents(200)
    values = [*objects.values(), *objects.values()]
    assert Container(bucket).insert_many(values) == [*objects, *objects]
    manifest = newest(bucket)
    assert sum(pack.objects for pack in manifest.packs) == 200
    assert sum(pack.dead_objects for pack in manifest.packs) == 0


def test_what_two_machines_store_at_once_is_counted_once(bucket: Bucket) -> None:
    objects = contents(100)
    one, two = Container(bucket), Container(bucket)
    with packed_of(one).writer() as writer:
        from rsdos.model import CompressMode
        from rsdos.stores.encoding import Encoding

        writer.add_many(list(objects.values()), Encoding(CompressMode.NO, one.engine.packed.compression))
        two.insert_many(objects.values())
        writer.commit()
    assert len(Container(bucket)) == len(objects)
    assert is_whole(bucket)


@pytest.mark.parametrize("size", [1000, 2 * FRAME_SIZE])
def test_a_duplicate_that_is_deleted_before_the_commit_is_stored(bucket: Bucket, size: int) -> None:
    """Another machine deletes between the last lookup of a duplicate and the commit."""
    data = noise(size, 12345)
    key = Container(bucket).insert_many([data])[0]
    other = Container(bucket)
    deleted: list[str] = []

    def fault(call: StorageCall) -> None:
        if is_commit(call) and not deleted:
            deleted.append(key)
            other.delete([key])

    container = Container(FaultyStorage(bucket, fault))
    packed_of(container).index.commits.ids.reserve(20)  # type: ignore[attr-defined]
    deleted.clear()
    keys = container.insert_many([noise(100, 1), data])
    assert deleted
    if size <= FRAME_SIZE:
        assert Container(bucket).extract(key) == data
    assert keys[1] == key
    assert Container(bucket).extract(keys[0]) == noise(100, 1)

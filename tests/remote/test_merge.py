"""Merges of the index of a container of version 3: commits of their own, behind others, which they never undo."""

from __future__ import annotations

import errno

import pytest

from rsdos import Container
from rsdos.index import remote_index
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import key_of, noise
from tests.remote.machines import Bucket, before, is_commit, is_whole, newest, puts


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(remote_index, "MOST_SEGMENTS", 6)
    monkeypatch.setattr(remote_index, "MERGE_COST", 1 << 10)
    monkeypatch.setattr(remote_index, "MOST_UNMERGED", 9)
    bucket = Bucket()
    Container.create(bucket, pack_size_target=1 << 14).close()
    return bucket


def insert(storage: object, *numbers: int) -> dict[str, bytes]:
    objects = {key_of(data): data for data in (noise(1000, number) for number in numbers)}
    Container(storage).insert_many(objects.values())  # type: ignore[arg-type]
    return objects


def assert_has(bucket: Bucket, objects: dict[str, bytes]) -> None:
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert sorted(Container(bucket)) == sorted(objects)
    assert is_whole(bucket)


def test_commits_that_leave_many_segments_merge_the_smallest(bucket: Bucket) -> None:
    objects: dict[str, bytes] = {}
    for number in range(30):
        objects |= insert(bucket, number)
        assert len(newest(bucket).segments) <= 6
    assert_has(bucket, objects)
    gone = list(objects)[::3]
    Container(bucket).delete(gone)
    for key in gone:
        del objects[key]
    for number in range(30, 40):
        objects |= insert(bucket, number)
    assert_has(bucket, objects)


def refusing_segments(call: StorageCall) -> Exception | None:
    return OSError(errno.ENOSPC, "no room", call.name) if puts("segments")(call) else None


def test_a_merge_that_fails_fails_no_commit_until_there_are_too_many(bucket: Bucket) -> None:
    objects: dict[str, bytes] = {}
    container = Container(FaultyStorage(bucket, refusing_segments))
    for number in range(9):
        data = noise(1000, number)
        objects[container.insert_many([data])[0]] = data
    assert len(newest(bucket).segments) == 9
    with pytest.raises(OSError, match="no room"):
        container.insert_many([noise(1000, 100)])
    assert_has(bucket, objects)
    # With room it goes on.
    objects |= insert(bucket, 200)
    assert len(newest(bucket).segments) <= 6
    assert_has(bucket, objects)


def test_of_two_merges_at_once_one_is_dropped(bucket: Bucket) -> None:
    objects: dict[str, bytes] = {}
    for number in range(5):
        objects |= insert(bucket, number)
    other = Container(bucket)
    seen: list[bool] = []

    def commit_of_the_merge(call: StorageCall) -> bool:
        if puts("segments")(call):
            seen.append(True)
        return bool(seen) and is_commit(call)

    with before(bucket, commit_of_the_merge, other.merge) as storage:
        Container(storage).merge()
    assert_has(bucket, objects)
    assert len(newest(bucket).segments) == 1


@pytest.mark.parametrize("other", ["insert", "delete", "repack"])
def test_a_merge_beside_others_loses_nothing_and_brings_nothing_back(bucket: Bucket, other: str) -> None:
    objects = insert(bucket, 0, 1, 2)
    for number in range(3, 6):
        objects |= insert(bucket, number)

    def work() -> None:
        if other == "insert":
            objects.update(insert(bucket, 50))
        elif other == "delete":
            gone = list(objects)[:2]
            Container(bucket).delete(gone)
            for key in gone:
                del objects[key]
        else:
            Container(bucket).repack(min_dead=0.0, compression="zstd")

    with before(bucket, puts("segments"), work) as storage:
        Container(storage).merge()
    assert_has(bucket, objects)

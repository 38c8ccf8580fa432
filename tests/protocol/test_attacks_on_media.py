"""Attacks on the protocol (docs/durability.md): old readers, listings that lie, containers that are replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rsdos import Container
from rsdos.errors import ContainerExists, RsdosError
from rsdos.storage.base import FileInfo
from rsdos.storage.wrapper import StorageCall, StorageWrapper
from tests.data import key_of
from tests.protocol import documents
from tests.protocol.attack import DAY, Bucket, OverNetwork, Stopped, collected, is_whole

OLD = [b"old 1", b"old 2" * 100, b"old 3"]
NEW = [b"new 1", b"new 2" * 50]


def made(bucket: Bucket) -> Container:
    """Make a container with a pack of three objects."""
    container = Container.create(bucket, container_version=3)
    container.insert_many(OLD)
    return container


# 8. A reader with a week-old manifest.


def test_a_reader_with_an_old_manifest_reads_what_was_moved_since() -> None:
    bucket = Bucket()
    made(bucket)
    reader, lister = Container(OverNetwork(bucket)), Container(OverNetwork(bucket))
    assert reader.extract(key_of(OLD[0])) == OLD[0]
    assert lister.extract(key_of(OLD[0])) == OLD[0]
    before = {name for name in bucket.names() if name.startswith("packs/")}
    Container(bucket).delete([key_of(OLD[1])])
    Container(bucket).repack(min_dead=0.0)
    bucket.now += 8 * DAY
    collected(bucket)
    assert not before & bucket.names()
    assert reader.extract(key_of(OLD[2])) == OLD[2]
    assert dict(lister.extract_many([key_of(OLD[0]), key_of(OLD[1])], missing="none")) == {
        key_of(OLD[0]): OLD[0],
        key_of(OLD[1]): None,
    }


def test_what_was_moved_stays_for_readers_for_a_week() -> None:
    bucket = Bucket()
    made(bucket)
    before = {name for name in bucket.names() if name.startswith("packs/")}
    Container(bucket).repack(pack_id=1)
    bucket.now += 6 * DAY
    collected(bucket)
    assert before <= bucket.names()


def test_a_merge_of_tables_that_were_replaced_and_collected_since_does_nothing() -> None:
    bucket = Bucket()
    made(bucket).insert_many(NEW)

    def sleep() -> None:
        Container(bucket).repack("none")
        bucket.now += 8 * DAY
        collected(bucket)

    medium = Stopped(OverNetwork(bucket), lambda call: call.name.startswith("packs/"), sleep)
    Container(medium).engine.packed.maintenance.merge_index()
    assert medium.was_stopped
    assert is_whole(bucket)


# 9. Listings that are old, or in no order.


class _Stale(StorageWrapper):
    """Lists what there was when it was made, and reads what there is."""

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self._known = inner.names()

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return iter([name for name in self.inner.list(directory, after) if f"{directory}/{name}" in self._known][:most])

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        return iter([info for info in self.inner.list_infos(directory, after) if info.name in self._known][:most])


def test_a_listing_that_is_old_costs_requests_and_nothing_else() -> None:
    bucket = Bucket()
    made(bucket)
    stale = _Stale(bucket)
    for at in range(5):
        Container(bucket).insert_many([b"since %d" % at])
    container = Container(stale)
    assert container.extract(key_of(b"since 4")) == b"since 4"
    Container(stale).insert_many(NEW)
    bucket.now += 8 * DAY
    collected(stale)  # type: ignore[arg-type]  # a wrapper of it
    fresh = Container(bucket)
    for data in (*OLD, *NEW, b"since 0", b"since 4"):
        assert fresh.extract(key_of(data)) == data
    assert is_whole(bucket)


class _Unordered(StorageWrapper):
    """Lists oldest first, which is the wrong end of the manifests."""

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self.traits = inner.traits._replace(lists_in_order=False)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return iter(list(self.inner.list(directory))[::-1][:most])

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        return iter(list(self.inner.list_infos(directory))[::-1][:most])


def test_a_listing_in_no_order_does_for_every_operation() -> None:
    bucket = Bucket()
    made(bucket)
    medium = _Unordered(bucket)
    Container(medium).insert_many(NEW)
    Container(medium).delete([key_of(OLD[0])])
    Container(medium).repack(min_dead=0.0)
    bucket.now += 8 * DAY
    collected(medium)  # type: ignore[arg-type]  # a wrapper of it
    container = Container(medium)
    assert sorted(container) == sorted(map(key_of, [*OLD[1:], *NEW]))
    assert [container.extract(key_of(data)) for data in OLD[1:]] == OLD[1:]
    assert is_whole(bucket)


# 10. A container that is wiped, made anew, set back or forked under an open one.


def test_an_open_container_writes_nothing_into_another_that_took_its_place() -> None:
    bucket, other = Bucket(), Bucket()
    container = made(bucket)
    made(other).delete([key_of(OLD[0])])
    bucket._objects = dict(other._objects)
    before = bucket.names()
    with pytest.raises(RsdosError):
        container.insert_many(NEW)
    assert bucket.names() == before
    with pytest.raises(RsdosError):
        container.delete([key_of(OLD[1])])
    assert bucket.names() == before


def test_an_open_container_writes_nothing_into_one_that_was_set_back() -> None:
    bucket = Bucket()
    container = made(bucket)
    kept = dict(bucket._objects)
    container.insert_many(NEW)
    assert container.extract(key_of(NEW[0])) == NEW[0]
    bucket._objects = kept
    before = bucket.names()
    with pytest.raises(RsdosError):
        container.insert_many([b"more"])
    assert {name for name in bucket.names() - before if documents.is_manifest(name)} == set()


def test_an_open_container_writes_nothing_into_a_fork() -> None:
    """Two regions that both take writes: one is read first, then the other."""
    bucket, region = Bucket(), Bucket()
    container = made(bucket)
    region._objects = dict(bucket._objects)
    for at in range(2):
        Container(region).insert_many([b"there %d" % at])
    container.insert_many([b"here"])
    bucket._objects = region._objects
    before = bucket.names()
    with pytest.raises(RsdosError):
        container.insert_many(NEW)
    assert {name for name in bucket.names() - before if documents.is_manifest(name)} == set()


# 21. Two containers under one prefix, and foreign names.


@pytest.mark.parametrize("name", ["config.json", documents.manifest_name(1)])
def test_of_two_that_make_a_container_at_once_one_wins(name: str) -> None:
    bucket = Bucket()

    def is_there(call: StorageCall) -> bool:
        return call.verb == "put_new" and call.name == name

    medium = Stopped(bucket, is_there, lambda: made(bucket))
    with pytest.raises(ContainerExists):
        Container.create(medium, container_version=3)
    assert medium.was_stopped
    assert [Container(bucket).extract(key_of(data)) for data in OLD] == OLD
    assert is_whole(bucket)


class _Dies(BaseException):
    """The machine is gone."""


def test_a_container_whose_making_was_killed_is_made_by_the_next() -> None:
    bucket = Bucket()

    def die() -> None:
        raise _Dies

    with pytest.raises(_Dies):
        Container.create(Stopped(bucket, lambda call: call.name == "config.json" and call.verb == "put_new", die))
    assert documents.manifest_name(1) in bucket.names()
    made(bucket)
    assert [Container(bucket).extract(key_of(data)) for data in OLD] == OLD
    assert is_whole(bucket)


def test_foreign_objects_are_never_touched() -> None:
    bucket = Bucket()
    made(bucket)
    foreign = (
        "packs/notes.txt",
        "packs/0000000001.pack",
        "packs/0000000001-9f2c41d07be8a655.pack.part",
        "segments/0000000001-9F2C41D07BE8A655.seg",
        "manifests/readme",
        "other/thing",
    )
    for name in foreign:
        bucket.put_new(name, b"foreign")
    Container(bucket).insert_many(NEW)
    Container(bucket).delete([key_of(OLD[0])])
    Container(bucket).repack(min_dead=0.0)
    bucket.now += 30 * DAY
    collected(bucket)
    collected(bucket)
    assert [bucket.read(name, 100) for name in foreign] == [b"foreign"] * len(foreign)
    assert [Container(bucket).extract(key_of(data)) for data in (*OLD[1:], *NEW)] == [*OLD[1:], *NEW]

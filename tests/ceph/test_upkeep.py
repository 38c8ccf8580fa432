"""The upkeep of a container on a real Ceph: by its own clock, and beside another machine."""

from __future__ import annotations

import threading

import pytest

from rsdos import Container
from rsdos.errors import DamagedContainer, Expired
from rsdos.maintenance import collect
from rsdos.model import CompressMode
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.remote.collect import Collected, CollectOptions
from tests.ceph.fixtures import S3
from tests.data import key_of, noise

TARGET = 1 << 16


def contents(*numbers: int) -> dict[str, bytes]:
    return {key_of(data): data for data in (noise(3000, number) for number in numbers)}


def opened(s3: S3) -> Container:
    return Container(s3.url, endpoint=s3.endpoint.url)


@pytest.fixture
def container(s3_environment: S3) -> Container:
    return Container.create(s3_environment.url, endpoint=s3_environment.endpoint.url, pack_size_target=TARGET)


def collected(container: Container, grace: float, keep: float) -> Collected:
    return collect.execute(container.engine, collect.plan(container.engine, CollectOptions(grace, keep))).collected


def packs(s3: S3) -> int:
    answer = s3.send("GET", "", query={"list-type": "2", "prefix": "container/packs/"})
    return answer.body.count(b"<Key>")


def test_a_whole_life(container: Container, s3_environment: S3) -> None:
    s3 = s3_environment
    objects = contents(*range(100))
    assert container.insert_many(objects.values()) == list(objects)
    assert packs(s3) > 4
    for number in range(100, 104):
        objects |= contents(number)
        container.insert_many(contents(number).values())
    gone = list(objects)[:60]
    other = opened(s3)
    assert sorted(other.delete(gone)) == sorted(gone)
    left = {key: data for key, data in objects.items() if key not in gone}
    report = container.optimize()
    assert report.repack is not None
    assert report.repack.pack_ids
    assert report.collect is not None
    assert report.collect.collected.objects == 0
    assert dict(opened(s3).extract_many(left)) == left
    # By the clock of the Ceph nothing is old yet; then everything is.
    assert collected(container, 3600, 3600).objects == 0
    before = packs(s3)
    done = collected(other, 0, 0)
    assert done.objects >= len(report.repack.pack_ids)
    assert packs(s3) < before
    for machine in (container, other, opened(s3)):
        assert dict(machine.extract_many(left)) == left
        assert sorted(machine) == sorted(left)
    check = opened(s3).validate("full")
    assert check.is_good
    assert check.objects == len(left)
    assert opened(s3).validate().is_good


def test_a_writer_that_was_overtaken_by_a_collector_gets_expired(container: Container, s3_environment: S3) -> None:
    packed = container.engine.packed
    assert isinstance(packed, PackedStore)
    more = contents(1, 2)
    with pytest.raises(Expired), packed.writer() as writer:
        writer.add_many(list(more.values()), Encoding(CompressMode.NO, packed.compression))
        collected(opened(s3_environment), 0, 0)
        # A second commit, so that the reservation is older than the newest.
        collected(opened(s3_environment), 0, 0)
        writer.commit()
    container.insert_many(more.values())
    assert dict(opened(s3_environment).extract_many(more)) == more


def test_machines_that_insert_delete_repack_and_collect_at_once(container: Container, s3_environment: S3) -> None:
    s3 = s3_environment
    there = contents(*range(60))
    container.insert_many(there.values())
    gone, kept = list(there)[:20], dict(list(there.items())[20:])
    added = contents(*range(200, 260))
    errors: list[BaseException] = []

    def run(work: str) -> None:
        machine = opened(s3)
        try:
            if work == "insert":
                for at in range(0, 60, 10):
                    machine.insert_many(list(added.values())[at : at + 10])
            elif work == "delete":
                for key in gone:
                    machine.delete([key])
            elif work == "repack":
                for _ in range(3):
                    machine.repack(min_dead=0.0, compression="zstd")
            else:
                for _ in range(3):
                    collected(machine, 3600, 0)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in ("insert", "delete", "repack", "collect")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    fresh = opened(s3)
    assert sorted(fresh) == sorted([*kept, *added])
    assert dict(fresh.extract_many([*kept, *added])) == kept | added
    assert fresh.validate("full").is_good


def test_a_damaged_newest_manifest_is_repaired(container: Container, s3_environment: S3) -> None:
    s3 = s3_environment
    objects = contents(*range(50))
    container.insert_many(objects.values())
    answer = s3.send("GET", "", query={"list-type": "2", "prefix": "container/manifests/"})
    newest = answer.body.split(b"<Key>")[1].split(b"</Key>")[0].decode()
    assert s3.send("PUT", newest, b"damaged").status == 200
    with pytest.raises(DamagedContainer):
        opened(s3).insert_many([b"more"])
    assert dict(opened(s3).extract_many(objects)) == objects
    assert opened(s3).repair_index().is_good
    opened(s3).insert_many([b"more"])
    assert dict(opened(s3).extract_many(objects)) == objects
    assert opened(s3).validate("full").is_good

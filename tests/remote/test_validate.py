"""Validating a container of version 3: quickly by one listing, in full by every byte."""

from __future__ import annotations

import pytest

from rsdos import Container
from rsdos.maintenance import collect
from rsdos.maintenance.check.validate import ValidateReport
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import RecordingStorage
from tests.data import key_of, noise
from tests.remote.machines import DAY, Bucket, before


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    Container.create(bucket, pack_size_target=1 << 14).close()
    return bucket


def insert(bucket: Bucket, *numbers: int) -> dict[str, bytes]:
    objects = {key_of(data): data for data in (noise(1000, number) for number in numbers)}
    Container(bucket).insert_many(objects.values())
    return objects


def reasons(report: ValidateReport) -> list[str]:
    return [finding.reason for finding in (*report.files, *report.damaged)]


def replaced(bucket: Bucket, name: str, data: bytes) -> None:
    bucket.remove(name)
    bucket.put_new(name, data)


def test_a_quick_run_reads_no_pack_and_asks_for_one_listing(bucket: Bucket) -> None:
    insert(bucket, *range(200))
    storage = RecordingStorage(bucket)
    report = Container(storage).validate()
    assert report.is_good
    assert report.is_finished
    assert [call.name for call in storage.calls if call.verb == "list_infos"] == ["packs"]
    assert not [call for call in storage.calls if call.name.startswith("packs/")]


def test_a_full_run_reads_every_object(bucket: Bucket) -> None:
    objects = insert(bucket, *range(200))
    report = Container(bucket).validate("full")
    assert report.is_good
    assert report.objects == len(objects)


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_a_missing_pack_is_found_and_named(bucket: Bucket, depth: str) -> None:
    insert(bucket, *range(40))
    name = bucket.names("packs")[1]
    bucket.remove(name)
    report = Container(bucket).validate(depth)
    assert not report.is_good
    assert any("missing" in reason for reason in reasons(report))
    assert any(finding.path.endswith(name.rpartition("/")[2]) for finding in (*report.files, *report.damaged))


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_a_pack_that_is_cut_short_is_found(bucket: Bucket, depth: str) -> None:
    insert(bucket, *range(40))
    name = bucket.names("packs")[1]
    replaced(bucket, name, bucket.read(name, 1 << 20)[:-100])
    assert not Container(bucket).validate(depth).is_good


def test_a_flipped_bit_is_found_by_a_full_run_and_names_the_object(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    (name,) = bucket.names("packs")
    data = bytearray(bucket.read(name, 1 << 20))
    data[4096 + 500] ^= 1
    replaced(bucket, name, bytes(data))
    assert Container(bucket).validate().is_good
    report = Container(bucket).validate("full")
    assert len(report.damaged) == 1
    assert report.damaged[0].key in objects


def test_what_is_retired_or_was_left_by_dead_writers_is_no_damage(bucket: Bucket) -> None:
    objects = insert(bucket, *range(20))
    Container(bucket).delete(list(objects)[:10])
    Container(bucket).repack()
    bucket.put_new("packs/0000000009-0123456789abcdef.pack", b"of a dead writer")
    for depth in ("quick", "full"):
        report = Container(bucket).validate(depth)
        assert report.is_good
        assert not report.leftovers


def test_a_pack_that_is_collected_during_the_run_is_no_damage(bucket: Bucket) -> None:
    insert(bucket, *range(40))

    def repack_and_collect() -> None:
        other = Container(bucket)
        other.repack(min_dead=0.0, compression="zstd")
        bucket.now += 30 * DAY
        collect.execute(other.engine, collect.plan(other.engine))

    for depth, verb in (("quick", "list_infos"), ("full", "open")):

        def chosen(call: StorageCall, verb: str = verb) -> bool:
            return call.verb == verb and call.name.startswith("packs")

        with before(bucket, chosen, repack_and_collect) as storage:
            report = Container(storage).validate(depth)
        assert report.is_good


def test_the_outcome_is_noted_and_shown_by_status(bucket: Bucket) -> None:
    insert(bucket, 1)
    Container(bucket).validate()
    assert Container(bucket).status().validation is not None

"""Repairing the index of version 3, of which a manifest, a segment or a pack is damaged: in doubt more is found."""

from __future__ import annotations

import errno
import os

import pytest

from rsdos import Container
from rsdos.errors import DamagedContainer, InvalidOption, Unavailable
from rsdos.index import table_files
from rsdos.maintenance import collect
from rsdos.model import PackKind
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import READING, StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import key_of, noise
from tests.remote.machines import (
    DAY,
    Bucket,
    KilledStorage,
    before,
    commit_behind_a_pack,
    is_commit,
    is_whole,
    newest,
    nth_change,
)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    Container.create(bucket, pack_size_target=1 << 14).close()
    return bucket


def insert(storage: object, *numbers: int) -> dict[str, bytes]:
    objects = {key_of(data): data for data in (noise(1000, number) for number in numbers)}
    Container(storage).insert_many(objects.values())  # type: ignore[arg-type]
    return objects


def damage(bucket: Bucket, name: str) -> None:
    """Exchange a byte in the middle of an object."""
    data = bytearray(bucket.read(name, 1 << 24))
    data[len(data) // 2] ^= 0xFF
    bucket.remove(name)
    bucket.put_new(name, bytes(data))


def damage_footer(bucket: MemoryStorage, name: str) -> None:
    data = bytearray(bucket.read(name, 1 << 24))
    data[-10] ^= 0xFF
    bucket.remove(name)
    bucket.put_new(name, bytes(data))


def newest_name(bucket: Bucket) -> str:
    return min(bucket.names("manifests"))


def repair(storage: object) -> None:
    assert Container(storage).repair_index().is_good  # type: ignore[arg-type]


def assert_has(bucket: Bucket, objects: dict[str, bytes]) -> None:
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert sorted(Container(bucket)) == sorted(objects)
    assert is_whole(bucket)


def test_without_damage_nothing_is_done(bucket: Bucket) -> None:
    objects = insert(bucket, *range(40))
    was = newest(bucket)
    report = Container(bucket).repair_index()
    assert not report.is_changed
    assert newest(bucket) == was
    assert_has(bucket, objects)


def test_a_damaged_newest_manifest_is_followed_by_one_from_the_packs(bucket: Bucket) -> None:
    objects = insert(bucket, *range(40)) | insert(bucket, *range(40, 80))
    damage(bucket, newest_name(bucket))
    # Readers read from the packs, and writers refuse.
    assert dict(Container(bucket).extract_many(objects)) == objects
    with pytest.raises(DamagedContainer):
        insert(bucket, 100)
    repair(bucket)
    assert_has(bucket, objects)
    assert_has(bucket, objects | insert(bucket, 100))


def test_the_deletes_of_readable_manifests_are_honoured(bucket: Bucket) -> None:
    objects = insert(bucket, *range(40))
    gone = list(objects)[:10]
    Container(bucket).delete(gone)
    Container(bucket).repack()
    for key in gone:
        del objects[key]
    objects |= insert(bucket, 50)
    damage(bucket, newest_name(bucket))
    repair(bucket)
    assert_has(bucket, objects)


def test_the_delete_of_the_damaged_manifest_comes_back_and_nothing_is_lost(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    Container(bucket).delete(list(objects)[:3])
    damage(bucket, newest_name(bucket))
    repair(bucket)
    assert_has(bucket, objects)


def test_tombstones_that_were_never_committed_kill_nothing(bucket: Bucket) -> None:
    """A machine that deletes dies before its commit; the newest manifest is damaged afterwards."""
    objects = insert(bucket, *range(10))
    with pytest.raises(OSError, match="the machine is off"):
        Container(KilledStorage(bucket, commit_behind_a_pack())).delete(list(objects)[:3])
    objects |= insert(bucket, 20)
    damage(bucket, newest_name(bucket))
    repair(bucket)
    assert_has(bucket, objects)


def test_a_repack_that_was_never_committed_brings_nothing_back_twice(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    with pytest.raises(OSError, match="the machine is off"):
        Container(KilledStorage(bucket, commit_behind_a_pack())).repack(min_dead=0.0, compression="zstd")
    objects |= insert(bucket, 20)
    damage(bucket, newest_name(bucket))
    repair(bucket)
    assert_has(bucket, objects)


def test_what_is_dead_is_not_taken_in_since_a_collector_may_be_about_to_remove_it(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    with pytest.raises(OSError, match="the machine is off"):
        insert(KilledStorage(bucket, commit_behind_a_pack()), 30, 31)
    bucket.now += 8 * DAY

    def work() -> None:
        # The collector has decided, and sleeps.
        objects.update(insert(bucket, 40))
        damage(bucket, newest_name(bucket))
        repair(bucket)

    with before(bucket, lambda call: call.verb == "remove", work) as storage:
        engine = Container(storage).engine
        collect.execute(engine, collect.plan(engine))
    assert_has(bucket, objects)


def test_all_manifests_damaged(bucket: Bucket) -> None:
    objects = insert(bucket, *range(20))
    gone = list(objects)[:5]
    Container(bucket).delete(gone)
    for name in bucket.names("manifests"):
        damage(bucket, name)
    repair(bucket)
    for key in gone:
        del objects[key]
    assert_has(bucket, objects)


def test_a_missing_table_of_packs_is_no_loss(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "MOST_CHANGED", 4)
    objects: dict[str, bytes] = {}
    for number in range(12):
        objects |= insert(bucket, number)
    bucket.now += 8 * DAY
    engine = Container(bucket).engine
    collect.execute(engine, collect.plan(engine))
    tables = bucket.names("tables")
    assert len(tables) == len(newest(bucket).packs.tables.entries) > 0
    assert_has(bucket, objects)
    for name in tables:
        bucket.remove(name)
    repair(bucket)
    assert_has(bucket, objects)
    assert_has(bucket, objects | insert(bucket, 50))


def test_a_missing_segment_is_made_again(bucket: Bucket) -> None:
    objects = insert(bucket, *range(60))
    (name,) = bucket.names("segments")
    bucket.remove(name)
    repair(bucket)
    assert_has(bucket, objects)


def test_a_damaged_pack_is_emptied_and_its_lost_objects_are_named(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    (name,) = bucket.names("packs")
    damage_footer(bucket, name)
    container = Container(bucket)
    container.repair_index()
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert is_whole(bucket)


def test_a_footer_is_looked_for_in_large_pieces() -> None:
    """One place at a time was a request for each: 1,040 for this pack of 1 MiB."""
    bucket = MemoryStorage(traits=Bucket().traits._replace(is_remote=True))
    objects = {key_of(data): data for data in (noise(1 << 17, number) for number in range(8))}
    Container.create(bucket).insert_many(objects.values())
    (pack,) = bucket.list("packs")
    damage_footer(bucket, f"packs/{pack}")
    storage = RecordingStorage(bucket)
    with Container(storage) as container:
        assert container.repair_index().packs == 1
    reads = [call for call in storage.calls if call.verb in READING and call.name == f"packs/{pack}"]
    assert 0 < len(reads) < 40
    with Container(bucket) as container:
        assert dict(container.extract_many(objects)) == objects


@pytest.mark.parametrize("harm", ["damaged", "cut", "empty"])
@pytest.mark.parametrize("is_remote", [True, False])
def test_a_pack_that_cannot_be_read_and_that_no_manifest_names_is_told(
    bucket: Bucket, harm: str, is_remote: bool
) -> None:
    """It was left out, and the repair called good: nothing else tells what was in it."""
    bucket.traits = bucket.traits._replace(is_remote=is_remote)
    objects = insert(bucket, *range(5))
    first = bucket.names("packs")
    insert(bucket, 10, 11)
    (last,) = {*bucket.names("packs")} - {*first}
    damage(bucket, newest_name(bucket))
    if harm == "damaged":
        damage_footer(bucket, last)
    else:
        data = bucket.read(last, 1 << 20)
        bucket.remove(last)
        bucket.put_new(last, data[:-1] if harm == "cut" else b"")
    engine = Container(bucket).engine
    assert last in {fault.path for fault in engine.packed.maintenance.index_faults()}
    report = Container(bucket).repair_index()
    assert {fault.path for fault in report.left} == {last}
    assert not report.is_good
    # It is retired, and not removed at once: its bytes may come back.
    engine = Container(bucket).engine
    collect.execute(engine, collect.plan(engine))
    assert last in bucket.names("packs")
    assert_has(bucket, objects)
    assert Container(bucket).repair_index().is_good


def test_no_answer_about_a_pack_that_no_manifest_names_ends_the_repair(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    first = bucket.names("packs")
    objects |= insert(bucket, 10, 11)
    (last,) = {*bucket.names("packs")} - {*first}
    damage(bucket, newest_name(bucket))

    def fault(call: StorageCall) -> Exception | None:
        return Unavailable("here", "no answer") if (call.verb, call.name) == ("open", last) else None

    with pytest.raises(Unavailable):
        Container(FaultyStorage(bucket, fault)).repair_index()
    repair(bucket)
    assert_has(bucket, objects)


def test_a_missing_pack_loses_its_objects_and_no_others(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    more = insert(bucket, *range(10, 15))
    name = bucket.names("packs")[0]
    bucket.remove(name)
    report = Container(bucket).repair_index()
    # The table with their keys was in the pack as well.
    assert len(report.lost) + report.unknown == len(objects)
    assert dict(Container(bucket).extract_many(more)) == more


def test_damaged_objects_are_replaced_from_another_container(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    backup = Container.create(MemoryStorage())
    backup.transfer_from(Container(bucket))
    (name,) = bucket.names("packs")
    data = bytearray(bucket.read(name, 1 << 20))
    data[4096 + 500] ^= 1
    bucket.remove(name)
    bucket.put_new(name, bytes(data))
    with pytest.raises(InvalidOption, match="has no 'files'"):
        Container(bucket).repair_objects([backup], unrepairable="quarantine")
    report = Container(bucket).repair_objects([backup])
    assert len(report.repaired) == 1
    assert report.is_good
    assert_has(bucket, objects)


def test_snapshots_are_kept(bucket: Bucket) -> None:
    container = Container(bucket)
    container.engine.objects.insert_many([noise(1000, 1)], kind=PackKind.HELD)
    damage(bucket, newest_name(bucket))
    repair(bucket)
    assert {pack.kind for pack in newest(bucket).packs} == {PackKind.HELD}


@pytest.mark.parametrize("arrives", [False, True])
def test_a_repair_that_is_killed_at_any_call_is_repeated(bucket: Bucket, arrives: bool) -> None:
    objects = insert(bucket, *range(40))
    damage(bucket, newest_name(bucket))
    saved = {
        name: bucket.read(name, 1 << 24)
        for directory in ("packs", "segments", "manifests")
        for name in bucket.names(directory)
    }
    for at in range(20):
        try:
            Container(KilledStorage(bucket, nth_change(at), arrives=arrives)).repair_index()
        except OSError:
            repair(bucket)
            assert_has(bucket, objects)
        else:
            assert at > 1
            break
        for directory in ("packs", "segments", "manifests"):
            for name in bucket.names(directory):
                bucket.remove(name)
        for name, data in saved.items():
            bucket.put_new(name, data)


@pytest.mark.parametrize("work", ["insert", "repair"])
def test_a_repair_beside_others(bucket: Bucket, work: str) -> None:
    objects = insert(bucket, *range(40))
    damage(bucket, newest_name(bucket))

    def act() -> None:
        repair(bucket)
        if work == "insert":
            objects.update(insert(bucket, 70))

    with before(bucket, is_commit, act) as storage:
        repair(storage)
    assert_has(bucket, objects)


@pytest.mark.parametrize("work", ["insert", "delete"])
def test_what_others_commit_while_a_repair_reads_the_packs_is_kept(bucket: Bucket, work: str) -> None:
    objects = insert(bucket, *range(60))
    (name,) = bucket.names("segments")
    bucket.remove(name)

    def act() -> None:
        if work == "insert":
            objects.update(insert(bucket, 70))
        else:
            (gone, *_) = objects
            del objects[gone]
            Container(bucket).delete([gone])

    # The repair has read all packs when it puts the segment that it made of them.
    with before(bucket, lambda call: call.verb == "put_new" and call.name.startswith("segments/"), act) as storage:
        repair(storage)
    assert_has(bucket, objects)


@pytest.mark.parametrize("verb", ["open", "read"])
def test_packs_that_are_replaced_and_collected_while_faults_are_looked_for_are_no_faults(
    bucket: Bucket, verb: str
) -> None:
    objects = insert(bucket, *range(60))
    (old, *_) = bucket.names("packs")

    def act() -> None:
        (gone, *_) = objects
        del objects[gone]
        with Container(bucket) as container:
            container.delete([gone])
            container.repack(min_dead=0)
        bucket.remove(old)  # As a collector does, some days later.
        if verb == "read":  # An open pack is read from the medium, and not from the memory.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)

    with before(bucket, lambda call: call.verb == verb and call.name == old, act) as storage:
        assert not Container(storage).engine.packed.maintenance.index_faults()
    assert_has(bucket, objects)

"""Collecting what is dead: by the times of the medium alone, killed at every call, beside others of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from rsdos import Container
from rsdos.errors import Expired, InvalidOption
from rsdos.index.manifest import Manifest
from rsdos.maintenance import collect
from rsdos.model import CompressMode
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import CHANGING, StorageCall
from rsdos.stores.encoding import Encoding
from rsdos.stores.remote import dead
from rsdos.stores.remote.collect import Collected, CollectOptions
from rsdos.stores.remote.placed import names_of
from rsdos.testing import RecordingStorage
from tests.data import key_of, noise
from tests.remote.machines import (
    DAY,
    HOUR,
    Bucket,
    KilledStorage,
    before,
    commit_behind_a_pack,
    is_whole,
    newest,
    nth_change,
    packed_of,
)

TARGET = 1 << 14


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


def run(storage: object, **options: float) -> Collected:
    engine = Container(storage).engine  # type: ignore[arg-type]
    return collect.execute(engine, collect.plan(engine, CollectOptions(**options))).collected


def needed(bucket: Bucket) -> set[str]:
    return names_of(newest(bucket))


def stored(bucket: Bucket) -> set[str]:
    return {*bucket.names("packs"), *bucket.names("segments"), *bucket.names("tables")}


def assert_has(bucket: Bucket, objects: dict[str, bytes]) -> None:
    assert needed(bucket) <= stored(bucket)
    assert dict(Container(bucket).extract_many(objects)) == objects
    assert sorted(Container(bucket)) == sorted(objects)
    assert is_whole(bucket)


def repacked(bucket: Bucket) -> dict[str, bytes]:
    """Put a few packs, take one out of use by a repack, and return what lives."""
    objects = insert(bucket, *range(40))
    gone = list(objects)[:20]
    Container(bucket).delete(gone)
    assert Container(bucket).repack().pack_ids
    for key in gone:
        del objects[key]
    return objects


# What goes, and when.


def test_what_was_taken_out_of_use_goes_after_keep(bucket: Bucket) -> None:
    objects = repacked(bucket)
    retired = stored(bucket) - needed(bucket)
    assert retired
    for hours in (0, 1, 6 * 24, 6 * 24 + 23):
        bucket.now = 1_000_000_000.0 + hours * HOUR
        assert run(bucket).objects == 0
    bucket.now = 1_000_000_000.0 + 7 * DAY
    length = bucket.length_of("packs", "segments")
    collected = run(bucket)
    assert collected.objects == len(retired)
    assert collected.retired == len(retired)
    assert collected.length == length - bucket.length_of("packs", "segments")
    assert stored(bucket) == needed(bucket)
    assert_has(bucket, objects)
    assert run(bucket).objects == 0


def killed_insert(bucket: Bucket) -> None:
    """Insert with a machine that dies when it has uploaded a pack, before its commit."""
    with pytest.raises(OSError, match="the machine is off"):
        Container(KilledStorage(bucket, commit_behind_a_pack())).insert_many(contents(100, 101, 102).values())


def test_what_a_dead_writer_left_goes_after_grace(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    before_it = stored(bucket)
    killed_insert(bucket)
    assert len(stored(bucket) - before_it) == 1
    bucket.now += 23 * HOUR
    assert run(bucket).objects == 0
    bucket.now += HOUR
    collected = run(bucket)
    assert collected.objects == 1
    assert collected.reservations >= 1
    assert stored(bucket) == before_it
    assert_has(bucket, objects)


def test_foreign_names_stay(bucket: Bucket) -> None:
    insert(bucket, 1)
    foreign = (
        "packs/README",
        "packs/1-00.pack",
        "packs/0000000001-0123456789ABCDEF.pack",
        "packs/0000000001-0123456789abcdef.seg.bak",
        "segments/notes.txt",
        "probe/0123456789abcdef",
        "other/0000000001-0123456789abcdef.pack",
    )
    for name in foreign:
        bucket.put_new(name, b"foreign")
    bucket.now += 30 * DAY
    run(bucket)
    assert all(bucket.exists(name) for name in foreign)


def test_ids_that_were_never_given_out_stay(bucket: Bucket) -> None:
    """A writer may have them by a commit that a slow collector has not seen."""
    insert(bucket, 1)
    name = f"packs/{newest(bucket).next_pack_id:010d}-0123456789abcdef.pack"
    bucket.put_new(name, b"early")
    bucket.now += 30 * DAY
    run(bucket)
    assert bucket.exists(name)


def test_times_that_are_not_known_make_nothing_old(bucket: Bucket) -> None:
    repacked(bucket)
    bucket.now = 0.0
    for name in bucket.names("manifests"):
        data = bucket.read(name, 1 << 20)
        bucket.remove(name)
        bucket.put_new(name, data)
    assert run(bucket, grace=0, keep=0) == Collected()


def test_no_clock_of_this_machine_is_read(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    objects = repacked(bucket)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    bucket.now += 8 * DAY
    assert run(bucket).objects
    assert_has(bucket, objects)


def test_options_and_versions_that_make_no_sense_are_refused(bucket: Bucket) -> None:
    for options in (CollectOptions(grace=-1), CollectOptions(keep=-1)):
        with pytest.raises(InvalidOption, match="not below 0"):
            collect.plan(Container(bucket).engine, options)
    with pytest.raises(InvalidOption, match="only a container of version 3"):
        collect.plan(Container.create(MemoryStorage()).engine)


# Old manifests.


def test_old_manifests_are_emptied_but_for_the_newest_64(bucket: Bucket) -> None:
    objects = insert(bucket, 0)
    for number in range(1, 100):
        objects |= insert(bucket, number)
    bucket.now += 8 * DAY
    collected = run(bucket)
    newest_number = newest(bucket).number
    sizes = {number: bucket.stat(name).length for number, name in numbered(bucket)}  # type: ignore[union-attr]
    assert len(sizes) == newest_number
    assert collected.emptied == sum(not size for size in sizes.values())
    assert {number for number, size in sizes.items() if size} == set(
        range(newest_number - dead.NEWEST, newest_number + 1)
    )
    assert_has(bucket, objects)
    # The commits of this run have made a few more old.
    assert run(bucket).emptied < 4
    assert_has(bucket, objects)


def numbered(bucket: Bucket) -> Iterator[tuple[int, str]]:
    for name in bucket.names("manifests"):
        yield 10**16 - 1 - int(name.rpartition("/")[2].partition(".")[0]), name


def test_a_machine_whose_newest_manifest_was_emptied_follows(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "NEWEST", 4)
    objects = insert(bucket, 0)
    sleeper = Container(bucket)
    assert len(sleeper) == 1
    for number in range(1, 20):
        objects |= insert(bucket, number)
    bucket.now += 8 * DAY
    run(bucket)
    assert dict(sleeper.extract_many(objects)) == objects
    objects |= contents(50)
    sleeper.insert_many(contents(50).values())
    assert_has(bucket, objects)


# Killed, twice, and beside others.


def calls_of(work: Callable[[object], object], bucket: Bucket) -> list[StorageCall]:
    storage = RecordingStorage(bucket)
    work(storage)
    return [call for call in storage.calls if call.verb in CHANGING]


@contextmanager
def state_of(bucket: Bucket) -> Iterator[None]:
    """Put everything back at the end."""
    saved = {name: (bytes(kept.data), kept.time) for name, kept in bucket._objects.items()}
    now = bucket.now
    yield
    bucket._objects.clear()
    for name, (data, time) in saved.items():
        bucket.now = time
        bucket.put_new(name, data)
    bucket.now = now


@pytest.mark.parametrize("arrives", [False, True])
def test_a_collector_that_is_killed_at_any_call_harms_nothing_and_the_next_ends_its_work(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    monkeypatch.setattr(dead, "NEWEST", 4)
    objects = repacked(bucket)
    killed_insert(bucket)
    bucket.now += 8 * DAY
    with state_of(bucket):
        count = len(calls_of(run, bucket))
    assert count > 8
    for at in range(count):
        with state_of(bucket):
            with suppress(OSError):
                run(KilledStorage(bucket, nth_change(at), arrives=arrives))
            assert_has(bucket, objects)
            # Others run whole now: an insert, and collectors that end the work.
            more = insert(bucket, 200 + at)
            run(bucket)
            assert_has(bucket, objects | more)
            bucket.now += 8 * DAY
            run(bucket)
            assert stored(bucket) == needed(bucket)
            assert_has(bucket, objects | more)


def test_a_collector_that_sleeps_a_month_between_any_two_calls_harms_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it sleeps others insert, delete, repack and collect."""
    monkeypatch.setattr(dead, "NEWEST", 4)
    objects = repacked(bucket)
    bucket.now += 8 * DAY
    with state_of(bucket):
        recording = RecordingStorage(bucket)
        run(recording)
        count = len(recording.calls)
    for at in range(1, count):
        with state_of(bucket):
            expected = dict(objects)

            def live_on(expected: dict[str, bytes] = expected, at: int = at) -> None:
                for number in range(3):
                    expected |= insert(bucket, 300 + 10 * at + number)
                gone = list(expected)[:2]
                Container(bucket).delete(gone)
                Container(bucket).repack(min_dead=0.0, compression="zstd")
                for key in gone:
                    del expected[key]
                bucket.now += 30 * DAY
                run(bucket)

            seen: list[StorageCall] = []

            def chosen(call: StorageCall, seen: list[StorageCall] = seen, at: int = at) -> bool:
                seen.append(call)
                return len(seen) == at + 1

            with before(bucket, chosen, live_on) as storage:
                run(storage)
            assert_has(bucket, expected)


def test_a_writer_that_slept_beyond_grace_gets_expired_and_nothing_of_it_is_seen(bucket: Bucket) -> None:
    objects = insert(bucket, 0)
    sleeper = Container(bucket)
    encoding = Encoding(CompressMode.NO, sleeper.engine.packed.compression)
    more = contents(10, 11)
    with pytest.raises(Expired), packed_of(sleeper).writer() as writer:
        writer.add_many(list(more.values()), encoding)
        bucket.now += 25 * HOUR
        run(bucket)
        writer.commit()
    assert_has(bucket, objects)
    # It runs again, and stores all.
    sleeper.insert_many(more.values())
    assert_has(bucket, objects | more)


@pytest.mark.parametrize("hours", [1, 23])
def test_a_slow_writer_within_grace_is_not_disturbed(bucket: Bucket, hours: int) -> None:
    objects = insert(bucket, 0)
    more = contents(*range(10, 60))

    def sleep_and_collect() -> None:
        bucket.now += hours * HOUR
        run(bucket)
        run(bucket, keep=0.0)

    with before(bucket, commit_behind_a_pack(), sleep_and_collect) as storage:
        Container(storage).insert_many(more.values())
    assert_has(bucket, objects | more)


def test_two_collectors_at_once(bucket: Bucket) -> None:
    objects = repacked(bucket)
    bucket.now += 8 * DAY
    with before(bucket, lambda call: call.verb == "remove", lambda: run(bucket)) as storage:
        run(storage)
    assert stored(bucket) == needed(bucket)
    assert_has(bucket, objects)


def test_a_plan_counts_and_changes_nothing(bucket: Bucket) -> None:
    repacked(bucket)
    was = newest(bucket)
    engine = Container(bucket).engine
    plan = collect.plan(engine)
    assert plan.retired
    assert plan.reservations
    assert newest(bucket) == was


# Readers with old manifests.


def state(container: Container) -> Manifest:
    return packed_of(container).index.state.view.manifest


def test_a_reader_whose_packs_were_collected_finds_its_objects_where_they_are_now(bucket: Bucket) -> None:
    objects = insert(bucket, *range(40))
    readers = [Container(bucket) for _ in range(4)]
    for reader in readers:
        assert len(reader) == 40
    was = state(readers[0]).number
    Container(bucket).repack(min_dead=0.0, compression="zstd")
    bucket.now += 8 * DAY
    assert run(bucket).objects
    one, many, opened, streamed = readers
    key = next(iter(objects))
    assert one.extract(key) == objects[key]
    assert dict(many.extract_many(objects)) == objects
    with opened.open(key) as stream:
        assert stream.read() == objects[key]
    assert dict(streamed.extract_many(list(objects)[::-1])) == objects
    assert state(one).number > was


def test_a_reader_of_a_deleted_object_whose_pack_was_collected_says_that_it_is_gone(bucket: Bucket) -> None:
    objects = insert(bucket, *range(10))
    reader = Container(bucket)
    assert len(reader) == 10
    key = next(iter(objects))
    Container(bucket).delete([key])
    Container(bucket).repack(min_dead=0.0, compression="zstd")
    bucket.now += 8 * DAY
    run(bucket)
    with pytest.raises(KeyError):
        reader.extract(key)


def test_a_pack_that_the_newest_manifest_names_and_that_is_missing_is_damage_and_is_named(bucket: Bucket) -> None:
    objects = insert(bucket, *range(5))
    (name,) = bucket.names("packs")
    bucket.remove(name)
    key = next(iter(objects))
    container = Container(bucket)
    for read in (lambda: container.extract(key), lambda: dict(container.extract_many([key]))):
        with pytest.raises(OSError, match=name.rpartition("/")[2]):
            read()

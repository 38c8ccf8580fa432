"""Attacks on the protocol (docs/durability.md): writers, deletes and collectors that stop at the worst moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from rsdos import Container
from rsdos.errors import Busy, CommitUnknown, Expired
from rsdos.index import reservations
from rsdos.storage import chance
from rsdos.storage.base import Put, PutResult, Storage
from rsdos.storage.wrapper import StorageCall, StorageWrapper
from rsdos.stores.remote import dead
from tests.data import key_of
from tests.protocol import documents
from tests.protocol.attack import DAY, AfterUploads, Bucket, Stopped, collected, is_put_of, is_whole

OLD = [b"old 1", b"old 2" * 100, b"old 3"]
NEW = [b"new 1", b"new 2" * 50]


@pytest.fixture
def bucket() -> Bucket:
    """A container with a pack of three objects."""
    bucket = Bucket()
    Container.create(bucket, container_version=3).insert_many(OLD)
    return bucket


def has(bucket: Bucket, *objects: bytes) -> bool:
    """Return whether a new machine reads all of the objects."""
    container = Container(bucket)
    return [container.extract(key_of(data)) for data in objects] == list(objects)


class _Dies(BaseException):
    """The machine is gone."""


def _die() -> None:
    raise _Dies


def killed_writer(bucket: Bucket, objects: list[bytes]) -> None:
    """Upload packs, and die before the commit."""
    with suppress(_Dies):
        Container(Stopped(bucket, AfterUploads(), _die)).insert_many(objects)


# 1. A zombie writer commits after hours.


def test_a_writer_that_sleeps_past_the_grace_period_is_told_and_stores_anew(bucket: Bucket) -> None:
    def sleep() -> None:
        bucket.now += 2 * DAY
        collected(bucket)

    medium = Stopped(bucket, AfterUploads(), sleep)
    container = Container(medium)
    with pytest.raises(Expired):
        container.insert_many(NEW)
    assert medium.was_stopped
    assert not Container(bucket).has(key_of(NEW[0]))
    # The same program runs it again.
    container.insert_many(NEW)
    assert has(bucket, *OLD, *NEW)
    assert is_whole(bucket)


def test_the_number_of_an_emptied_manifest_is_taken_for_ever(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "NEWEST", 2)
    put: list[str] = []

    def sleep() -> None:
        put.append(bucket.manifests()[-1])
        for at in range(4):
            Container(bucket).insert_many([b"another %d" % at])
        bucket.now += 8 * DAY
        Container(bucket).insert_many([b"the last"])
        collected(bucket)
        collected(bucket)

    container = Container(Stopped(bucket, AfterUploads(), sleep))
    with pytest.raises(Expired):
        container.insert_many(NEW)
    emptied = [name for name in bucket.manifests() if not bucket.read(name, 1 << 24)]
    assert put[0] in emptied
    assert has(bucket, *OLD, b"another 0", b"another 3", b"the last")
    container.insert_many(NEW)
    assert has(bucket, *OLD, *NEW, b"another 0", b"the last")
    assert is_whole(bucket)


# 2. A zombie request lands after the client has given up.


class _NoAnswer(StorageWrapper):
    """Never answers a put of a manifest that comes after uploads, and keeps it."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self._holds = AfterUploads()
        self.sent: list[tuple[str, bytes]] = []

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        if self._holds(StorageCall("put_new", name)):
            self.sent.append((name, bytes(data)))
            return PutResult(Put.UNKNOWN)
        return super().put_new(name, data, still)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each look at the clock take a minute, and no pause any."""
    seconds = [0.0]

    def now() -> float:
        seconds[0] += 60.0
        return seconds[0]

    monkeypatch.setattr(chance, "now", now)
    monkeypatch.setattr(chance, "pause", lambda seconds: None)


@pytest.mark.usefixtures("impatient")
def test_a_put_that_lands_after_its_writer_gave_up_is_a_commit_like_any(bucket: Bucket) -> None:
    medium = _NoAnswer(bucket)
    with pytest.raises(CommitUnknown):
        Container(medium).insert_many(NEW)
    # All tries have one number and the same bytes: there are never two candidates of one commit.
    assert len(medium.sent) > 1
    assert len(set(medium.sent)) == 1
    name, data = medium.sent[0]
    assert bucket.put_new(name, data).outcome is Put.OURS
    assert has(bucket, *OLD, *NEW)
    Container(bucket).insert_many([*NEW, b"more"])
    assert has(bucket, *OLD, *NEW, b"more")
    assert is_whole(bucket)


@pytest.mark.usefixtures("impatient")
def test_a_put_that_lands_too_late_is_refused(bucket: Bucket) -> None:
    medium = _NoAnswer(bucket)
    with pytest.raises(CommitUnknown):
        Container(medium).insert_many(NEW)
    Container(bucket).insert_many([b"another"])
    name, data = medium.sent[0]
    assert bucket.put_new(name, data).outcome is Put.TAKEN
    assert not Container(bucket).has(key_of(NEW[0]))
    Container(bucket).insert_many(NEW)
    assert has(bucket, *OLD, *NEW, b"another")
    assert is_whole(bucket)


# 3. A zombie collector deletes a list made last week.


def test_a_collector_that_sleeps_for_a_week_before_it_removes_harms_nothing(bucket: Bucket) -> None:
    killed_writer(bucket, [b"never committed"])
    bucket.now += 2 * DAY

    def sleep() -> None:
        Container(bucket).insert_many(NEW)
        Container(bucket).delete([key_of(OLD[1])])
        Container(bucket).repack(min_dead=0.0)
        bucket.now += 8 * DAY
        collected(bucket)
        Container(bucket).insert_many([b"of the next week", *OLD[1:2]])

    medium = Stopped(bucket, lambda call: call.verb == "remove", sleep)
    collected(medium)  # type: ignore[arg-type]  # a wrapper of it
    assert medium.was_stopped
    assert has(bucket, *OLD, *NEW, b"of the next week")
    assert is_whole(bucket)


# 4. A collector against a slow uploader.


def test_what_a_slow_writer_has_uploaded_stays_for_the_grace_period(bucket: Bucket) -> None:
    def sleep() -> None:
        bucket.now += 0.9 * DAY
        collected(bucket)

    Container(Stopped(bucket, AfterUploads(), sleep)).insert_many(NEW)
    assert has(bucket, *OLD, *NEW)


def test_what_a_dead_writer_has_uploaded_goes_after_the_grace_period(bucket: Bucket) -> None:
    before = bucket.names()
    killed_writer(bucket, NEW)
    left = {name for name in bucket.names() - before if not documents.is_manifest(name)}
    assert left
    bucket.now += 2 * DAY
    collected(bucket)
    assert not left & bucket.names()
    assert has(bucket, *OLD)


# 5. Clocks that are wrong.


@pytest.mark.parametrize("seconds", [0.0, 4e9])
def test_the_clock_of_the_collector_does_not_count(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    def collect_by_that_clock() -> None:
        monkeypatch.setattr(time, "time", lambda: seconds)
        monkeypatch.setattr(time, "monotonic", lambda: seconds)
        collected(bucket)
        monkeypatch.undo()

    Container(Stopped(bucket, AfterUploads(), collect_by_that_clock)).insert_many(NEW)
    assert has(bucket, *OLD, *NEW)


def test_a_clock_of_the_medium_that_jumps_costs_a_writer_its_work_and_nothing_else(bucket: Bucket) -> None:
    def jump() -> None:
        bucket.now += 3650 * DAY
        collected(bucket)

    with pytest.raises(Expired):
        Container(Stopped(bucket, AfterUploads(), jump)).insert_many(NEW)
    bucket.now -= 3650 * DAY
    collected(bucket)
    assert has(bucket, *OLD)
    Container(Stopped(bucket, AfterUploads(), lambda: collected(bucket))).insert_many(NEW)
    assert has(bucket, *OLD, *NEW)
    assert is_whole(bucket)


# 6. Two repacks of one pack; a repack against a delete, and against an insert.


def test_of_two_repacks_of_a_pack_the_second_drops_its_work(bucket: Bucket) -> None:
    Container(bucket).delete([key_of(OLD[1])])
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).repack(pack_id=1))
    assert Container(medium).repack(pack_id=1).skipped == (1,)
    assert medium.was_stopped
    assert has(bucket, OLD[0], OLD[2])
    assert len(Container(bucket)) == 2
    assert is_whole(bucket)


def test_what_is_deleted_while_it_is_moved_stays_deleted(bucket: Bucket) -> None:
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).delete([key_of(OLD[0])]))
    Container(medium).repack(pack_id=1)
    assert medium.was_stopped
    assert not Container(bucket).has(key_of(OLD[0]))
    assert has(bucket, *OLD[1:])
    assert is_whole(bucket)


def test_what_is_moved_while_it_is_deleted_is_deleted(bucket: Bucket) -> None:
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).repack(pack_id=1))
    Container(medium).delete([key_of(OLD[0])])
    assert medium.was_stopped
    assert not Container(bucket).has(key_of(OLD[0]))
    assert has(bucket, *OLD[1:])
    assert is_whole(bucket)


def test_a_duplicate_that_is_moved_while_it_is_inserted_is_there(bucket: Bucket) -> None:
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).repack(pack_id=1))
    Container(medium).insert_many([*OLD, *NEW])
    assert medium.was_stopped
    assert has(bucket, *OLD, *NEW)
    assert len(Container(bucket)) == len(OLD) + len(NEW)
    assert is_whole(bucket)


# 7. A delete and an insert of the same object.


def test_a_duplicate_that_is_deleted_while_others_are_uploaded_is_stored_after_all(bucket: Bucket) -> None:
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).delete([key_of(OLD[0])]))
    Container(medium).insert_many([OLD[0], *NEW])
    assert medium.was_stopped
    assert has(bucket, *OLD, *NEW)
    assert is_whole(bucket)


def test_a_duplicate_that_an_old_index_has_is_stored_when_it_was_deleted(bucket: Bucket) -> None:
    container = Container(bucket)
    assert container.extract(key_of(OLD[0])) == OLD[0]
    Container(bucket).delete([key_of(OLD[0])])
    container.insert_many([OLD[0]])
    assert has(bucket, *OLD)


# 15. Reservations of writers that died.


def test_a_full_list_of_reservations_refuses_writers_until_some_are_of_the_day_before(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(bucket)
    bucket.now += 2 * DAY
    collected(bucket)
    monkeypatch.setattr(reservations, "MOST_RESERVED", 3)
    for at in range(3):
        killed_writer(bucket, [b"never committed %d" % at])
    with pytest.raises(Busy):
        Container(bucket).insert_many(NEW)
    collected(bucket)
    with pytest.raises(Busy):  # They are young: their writers may be alive.
        Container(bucket).insert_many(NEW)
    bucket.now += 2 * DAY
    Container(bucket).insert_many(NEW)
    assert has(bucket, *OLD, *NEW)


# 16. A task that is tried again beside its zombie, and 23. threads of one writer.


def test_two_attempts_of_one_task_both_succeed_and_one_copy_counts(bucket: Bucket) -> None:
    medium = Stopped(bucket, AfterUploads(), lambda: Container(bucket).insert_many(NEW))
    Container(medium).insert_many(NEW)
    assert medium.was_stopped
    assert has(bucket, *OLD, *NEW)
    assert len(Container(bucket)) == len(OLD) + len(NEW)
    assert len([name for name in bucket.names() if name.startswith("packs/")]) == 3
    Container(bucket).repack(min_dead=0.0)
    assert is_whole(bucket)


def test_threads_of_one_container_never_share_an_id(bucket: Bucket) -> None:
    container = Container(bucket)
    errors: list[BaseException] = []

    def work(at: int) -> None:
        try:
            for one in range(5):
                container.insert_many([b"thread %d, %d" % (at, one)])
        except BaseException as error:  # noqa: BLE001  it is judged
            errors.append(error)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert has(bucket, *OLD, *(b"thread %d, %d" % (at, one) for at in range(4) for one in range(5)))
    packs = [name for name in bucket.names() if name.startswith("packs/")]
    assert len({name.partition("-")[0] for name in packs}) == len(packs) == 21
    assert is_whole(bucket)


# 20. A storm of writers: see `test_protocol`.


def test_who_loses_the_race_for_a_number_again_and_again_commits_in_the_end(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chance, "pause", lambda seconds: None)
    losses = 30

    class Outrun(StorageWrapper):
        """Before each put of a manifest another writer commits."""

        left = losses

        def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
            if is_put_of(documents.MANIFESTS)(StorageCall("put_new", name)) and self.left:
                self.left -= 1
                other.insert_many([b"other %d" % self.left])
            return self.inner.put_new(name, data, still)

    other = Container(bucket)
    medium = Outrun(bucket)
    Container(medium).insert_many(NEW)
    assert medium.left == 0
    assert has(bucket, *OLD, *NEW, *(b"other %d" % at for at in range(losses)))
    assert is_whole(bucket)

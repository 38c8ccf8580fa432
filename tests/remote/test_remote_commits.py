"""Commits of version 3: each numbered step, cut short; answers and races that are lost, manifests that go."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from rsdos import Container, Durability
from rsdos.codecs.sealed import seal, unseal
from rsdos.errors import (
    Busy,
    CommitUnknown,
    DamagedContainer,
    Expired,
    RemoteDiverged,
    RemoteWentBack,
    Unavailable,
    UnsupportedContainer,
)
from rsdos.index import remote_commits, reservations
from rsdos.index.manifest import Manifest
from rsdos.index.remote_chain import MOST_BYTES
from rsdos.index.remote_commits import RemoteCommits
from rsdos.index.remote_state import Reservation
from rsdos.storage import chance
from rsdos.storage.base import Put, Storage
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.remote.placed import placed_manifest
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import key_of
from tests.remote.test_remote_container import POOR, bucket, commits_of


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that only pauses move on: nothing here waits."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += max(seconds, 0.001)

    monkeypatch.setattr(chance, "now", lambda: now[0])
    monkeypatch.setattr(chance, "pause", pause)
    yield now


def opened(storage: Storage) -> RemoteCommits:
    return commits_of(Container(storage))


def note(name: str) -> Callable[[Manifest], Manifest]:
    return lambda newest: newest.with_note(name, 1)


def commit(log: RemoteCommits, name: str) -> int:
    return log.commit(note(name), Durability.FULL).manifest.number


def notes(storage: Storage) -> set[str]:
    return set(opened(storage).newest().notes)


# Step 1: the newest manifest.


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 40])
def test_the_newest_is_found_however_far_one_is_behind(count: int) -> None:
    storage = bucket()
    Container.create(storage)
    recording = RecordingStorage(storage)
    late, log = opened(recording), opened(storage)
    assert late.newest_number() == 1
    for number in range(count):
        commit(log, f"{number}")
    recording.forget()
    assert late.newest_number() == count + 1 == opened(storage).newest_number()
    assert len(recording.calls) <= 8


def test_one_request_finds_that_nothing_was_committed() -> None:
    storage = RecordingStorage(bucket())
    Container.create(storage)
    log = opened(storage)
    log.newest()
    storage.forget()
    log.newest()
    assert [(call.verb, call.name) for call in storage.calls] == [("read_with_version", placed_manifest(2))]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 31])
def test_where_nothing_may_be_listed_the_newest_is_found_by_galloping(count: int) -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    for number in range(count):
        commit(log, f"{number}")
    storage.refuse("list")
    assert opened(storage).newest_number() == count + 1


def test_an_old_listing_does_not_hide_the_newest() -> None:
    """Also one from before the container was made."""
    storage = bucket()
    Container.create(storage)
    commit(opened(storage), "two")
    names = list(storage.list("manifests"))
    for shown in ([], names[-1:]):
        stale = _Stale(storage, shown)
        assert opened(stale).newest_number() == 2
        assert commit(opened(stale), f"{len(shown)}") == len(list(storage.list("manifests")))
        storage.remove(placed_manifest(3))


class _Stale(FaultyStorage):
    """Lists manifests as they once were."""

    def __init__(self, inner: Storage, shown: list[str]) -> None:
        super().__init__(inner, lambda call: None)
        self._shown = shown

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return iter(self._shown) if directory == "manifests" else super().list(directory, after, most)


def test_an_emptied_manifest_says_that_one_is_far_behind() -> None:
    storage = bucket()
    Container.create(storage)
    recording = RecordingStorage(storage)
    late, log = opened(recording), opened(storage)
    late.newest()
    for number in range(10):
        commit(log, f"{number}")
    for number in range(1, 9):
        storage.empty(placed_manifest(number))
    recording.forget()
    assert late.newest_number() == 11
    assert len(recording.calls) <= 4
    with pytest.raises(FileNotFoundError):
        late.read(5)
    assert commit(late, "late") == 12
    storage.refuse("list")
    assert opened(storage).newest_number() == 12


# Steps 3 to 5: the put, and what became of it.


def test_the_loser_of_a_race_makes_its_change_anew() -> None:
    storage = bucket()
    Container.create(storage)
    one, other = opened(storage), opened(storage)
    tries = []

    def change(newest: Manifest) -> Manifest:
        tries.append(newest.number)
        if len(tries) < 8:
            commit(other, f"other {len(tries)}")
        return newest.with_note("mine", 1)

    published = one.commit(change, Durability.FULL)
    assert tries == list(range(1, 9))
    assert set(published.manifest.notes) == {"mine", *(f"other {number}" for number in range(1, 8))}
    assert one.newest() == published.manifest


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_commit_whose_answer_is_lost_is_made_once(stored: bool, times: int) -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    for _ in range(times):
        storage.lose_answer(stored=stored)
    tries = []

    def change(newest: Manifest) -> Manifest:
        tries.append(newest.number)
        return newest.with_note("mine", 1)

    assert log.commit(change, Durability.FULL).manifest.number == 2
    assert tries == [1]
    assert opened(storage).newest_number() == 2
    assert notes(storage) == {"mine"}


def test_of_a_commit_whose_outcome_is_unknown_there_are_never_two_candidates() -> None:
    """The same bytes are put again; and where another has the number by then, the change is made anew."""
    storage = bucket()
    Container.create(storage)
    other = opened(storage)
    put: list[bytes] = []

    class Lossy(FaultyStorage):
        def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> object:  # type: ignore[override]
            put.append(data)
            if len(put) < 3:
                storage.lose_answer(stored=False)
            elif len(put) == 3:
                commit(other, "other")
            return super().put_new(name, data, still)

    tries = []

    def change(newest: Manifest) -> Manifest:
        tries.append(newest.number)
        return newest.with_note(f"mine {len(tries)}", 1)

    log = opened(Lossy(storage, lambda call: None))
    assert log.commit(change, Durability.FULL).manifest.number == 3
    assert tries == [1, 2]
    assert put[0] == put[1] == put[2] != put[3]
    assert notes(storage) == {"other", "mine 2"}


def test_nothing_is_concluded_from_a_manifest_that_others_have_followed() -> None:
    storage = bucket()
    Container.create(storage)
    log, other = opened(storage), opened(storage)
    commit(log, "one")
    commit(other, "two")
    seen: list[int] = []

    def nothing_to_do_before_two(newest: Manifest) -> Manifest:
        seen.append(newest.number)
        return newest.with_note("three", True) if "two" in newest.notes else newest

    assert log.commit(nothing_to_do_before_two, Durability.FULL).manifest.number == 4
    commit(other, "four")

    def refused_before_four(newest: Manifest) -> Manifest:
        seen.append(newest.number)
        if "four" not in newest.notes:
            raise LookupError
        return newest.with_note("five", True)

    assert log.commit(refused_before_four, Durability.FULL).manifest.number == 6
    commit(other, "six")
    # What the known manifest would allow is refused by its successor, and made again of that.
    assert commit(log, "seven") == 8
    assert notes(storage) == {"one", "two", "three", "four", "five", "six", "seven"}
    assert seen == [2, 3, 4, 5]


def test_an_unknown_outcome_at_the_deadline_is_told_and_running_again_is_right() -> None:
    storage = bucket()
    Container.create(storage)

    def lost(call: StorageCall) -> Exception | Put | None:
        if call.verb == "put_new":
            return Put.UNKNOWN
        return OSError(errno.EIO, "no network") if call.name == placed_manifest(2) else None

    faulty = FaultyStorage(storage, lambda call: None)
    log = opened(faulty)
    log.newest()
    tries: list[StorageCall] = []

    def cut(call: StorageCall) -> Exception | Put | None:
        tries.append(call)
        return lost(call) if len(tries) > 1 else None

    faulty.fault = cut
    with pytest.raises(CommitUnknown) as raised:
        commit(log, "mine")
    assert raised.value.number == 2
    faulty.fault = lambda call: None
    assert commit(log, "mine") == 3
    assert notes(storage) == {"mine"}


def test_a_refusal_is_raised_at_once_and_nothing_is_stored() -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    storage.refuse("put_new")
    with pytest.raises(PermissionError):
        commit(log, "mine")
    storage.refuse()
    assert opened(storage).newest_number() == 1


def test_a_refusal_behind_a_lost_answer_does_not_say_that_nothing_is_stored() -> None:
    storage = bucket()
    Container.create(storage)
    puts = []

    def fault(call: StorageCall) -> Exception | Put | None:
        if call.verb == "put_new":
            puts.append(call)
            if len(puts) > 1:
                return PermissionError(errno.EACCES, "refused")
            storage.lose_answer(stored=False)
        return None

    with pytest.raises(CommitUnknown):
        commit(opened(FaultyStorage(storage, fault)), "mine")


def test_a_commit_that_was_emptied_before_its_lost_answer_was_looked_for_is_not_known() -> None:
    """As a machine does that sleeps for a week right after the put."""
    storage = bucket()
    Container.create(storage)
    other = opened(storage)
    asked: list[str] = []

    def fault(call: StorageCall) -> None:
        if call.verb == "put_new" and not asked:
            asked.append("put")
            storage.lose_answer(stored=True)
        elif call.verb == "read_with_version" and asked == ["put"]:
            asked.append("read")
            commit(other, "other")
            storage.empty(placed_manifest(2))

    with pytest.raises(CommitUnknown) as raised:
        commit(opened(FaultyStorage(storage, fault)), "mine")
    assert raised.value.number == 2
    assert notes(storage) == {"mine", "other"}


def test_others_that_are_always_faster_are_told_at_the_deadline(time: list[float]) -> None:
    storage = bucket()
    Container.create(storage)
    other = opened(storage)

    def change(newest: Manifest) -> Manifest:
        commit(other, "other")
        time[0] += 1.0
        return newest.with_note("mine", 1)

    with pytest.raises(Busy, match="others, who committed"):
        opened(storage).commit(change, Durability.FULL)
    assert notes(storage) == {"other"}


def test_a_conflict_that_left_nothing_is_put_again() -> None:
    """Of two requests at once a storage may refuse both (409)."""
    storage = bucket()
    Container.create(storage)
    left = [Put.TAKEN] * 3

    def fault(call: StorageCall) -> Put | None:
        return left.pop() if call.verb == "put_new" and left else None

    assert commit(opened(FaultyStorage(storage, fault)), "mine") == 2


def test_a_change_that_changes_nothing_commits_nothing() -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    assert log.commit(lambda newest: newest, Durability.FULL).manifest == log.newest()
    assert opened(storage).newest_number() == 1


@pytest.mark.parametrize("overtaken", [True, False])
def test_a_change_to_a_manifest_whose_files_are_gone_is_made_anew_if_that_was_overtaken(overtaken: bool) -> None:
    """Found by seed 33135: a repack slept between reading a manifest and opening its tables. These were collected."""
    storage = bucket()
    Container.create(storage)
    slow, fast = opened(storage), opened(storage)
    seen = []

    def change(newest: Manifest) -> Manifest:
        seen.append(newest.number)
        if newest.number == 2:
            if overtaken:
                commit(fast, "three")
            raise FileNotFoundError(errno.ENOENT, "no such object", "segments/1")
        return newest.with_note("slow", 1)

    commit(fast, "two")
    if overtaken:
        assert slow.commit(change, Durability.FULL).manifest.number == 4
        assert seen == [2, 3]
        assert notes(storage) == {"two", "three", "slow"}
    else:
        with pytest.raises(FileNotFoundError):
            slow.commit(change, Durability.FULL)
        assert seen == [2]
        assert notes(storage) == {"two"}


def test_what_a_change_raises_leaves_nothing() -> None:
    storage = bucket()
    Container.create(storage)

    def change(newest: Manifest) -> Manifest:
        raise KeyError("no")

    with pytest.raises(KeyError):
        opened(storage).commit(change, Durability.FULL)
    assert opened(storage).newest_number() == 1


# Uploads.


def test_a_pack_is_put_again_until_it_is_there_and_told_at_the_deadline() -> None:
    storage = bucket()
    Container.create(storage)
    left: list[Exception | Put] = [Put.UNKNOWN, Unavailable("bucket", "no network"), Put.TAKEN, Put.UNKNOWN]

    def fault(call: StorageCall) -> Exception | Put | None:
        if call.verb != "put_new" or not call.name.startswith("packs/") or not left:
            return None
        if left[0] is Put.UNKNOWN:
            storage.lose_answer(stored=len(left) == 1)
            left.pop(0)
            return None
        return left.pop(0)

    (key,) = Container(FaultyStorage(storage, fault)).insert_many([b"bytes"])
    assert not left and Container(storage).extract(key) == b"bytes"

    def never(call: StorageCall) -> Exception | None:
        return Unavailable("bucket", "no network") if call.name.startswith("packs/") else None

    with pytest.raises(Unavailable, match="no network"):
        Container(FaultyStorage(storage, never)).insert_many([b"more"])
    assert not Container(storage).has(key_of(b"more"))


def test_a_refused_upload_is_told_at_once() -> None:
    storage = bucket()
    Container.create(storage)
    calls = []

    def fault(call: StorageCall) -> Exception | None:
        if call.verb == "put_new" and call.name.startswith("packs/"):
            calls.append(call)
            return PermissionError(errno.EACCES, "refused")
        return None

    with pytest.raises(PermissionError):
        Container(FaultyStorage(storage, fault)).insert_many([b"bytes"])
    assert len(calls) == 1


# The chain.


def test_each_commit_names_its_parent_and_the_last_ones() -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    for number in range(20):
        commit(log, f"{number}")
    manifests = [opened(storage).read(number) for number in range(1, 22)]
    commits = [reservations.state_of(manifest).commit for manifest in manifests]
    assert len(set(commits)) == 21
    for before, manifest in pairwise(manifests):
        assert reservations.state_of(manifest).parent == reservations.state_of(before).commit
    history = reservations.state_of(manifests[-1]).history
    assert history == tuple(zip(range(5, 21), commits[4:20], strict=True))


def test_a_container_that_was_set_back_is_not_written() -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    commit(log, "one")
    storage.remove(placed_manifest(2))
    with pytest.raises(RemoteWentBack):
        commit(log, "two")
    assert not storage.exists(placed_manifest(3))


def test_a_container_that_others_continued_from_an_older_state_is_not_written() -> None:
    storage = bucket()
    Container.create(storage)
    log = opened(storage)
    commit(log, "one")
    storage.remove(placed_manifest(2))
    commit(opened(storage), "another")
    commit(opened(storage), "and one more")
    with pytest.raises(RemoteDiverged):
        commit(log, "two")
    assert notes(storage) == {"another", "and one more"}


# Reservations.


def test_ids_that_were_taken_back_cannot_be_committed() -> None:
    storage = bucket()
    container = Container.create(storage)
    container.insert_many([b"before"])
    other = opened(storage)

    class Suspended(FaultyStorage):
        """Is suspended before it puts a pack, and wakes when its reservation has been taken back."""

        def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> object:  # type: ignore[override]
            if name.startswith("packs/"):
                other.commit(lambda newest: reservations.without_reservations(newest, newest.number), Durability.FULL)
            return super().put_new(name, data, still)

    late = Container(Suspended(storage, lambda call: None))
    with pytest.raises(Expired):
        late.insert_many([b"late"])
    assert not Container(storage).has(key_of(b"late"))
    # Run again it works, and an idle process finds out before it writes.
    assert container.insert_many([b"late"]) == [key_of(b"late")]
    assert Container(storage).extract(key_of(b"late")) == b"late"


def test_ids_are_used_up_by_the_commit_that_adds_packs() -> None:
    storage = bucket()
    container = Container.create(storage)
    container.insert_many([b"one"])
    container.insert_many([b"two"])
    newest = opened(storage).newest()
    assert [*newest.pack_ids] == [1, 2]
    (left,) = reservations.state_of(newest).reserved
    assert (left.first, left.end) == (3, 17) and newest.next_pack_id == 17


def test_of_one_reservation_each_id_is_committed_once() -> None:
    """A commit that landed unnoticed cannot land again."""
    storage = bucket()
    container = Container.create(storage)
    container.insert_many([b"one"])
    newest = opened(storage).newest()
    pack = newest.packs[0]
    without = newest.without_pack(pack.id)
    with pytest.raises(Expired):
        reservations.committed_after(without, newest, "0" * 32, commits_of(container).ids.token, lambda kind, id: "")


def test_ids_are_used_up_under_the_token_that_they_were_reserved_under() -> None:
    rows = (Reservation(5, 4, 2, "a" * 16), Reservation(9, 2, 3, "b" * 16))
    assert reservations.take_reserved(rows, {6, 8}, "a" * 16) == (
        Reservation(5, 1, 2, "a" * 16),
        Reservation(7, 1, 2, "a" * 16),
        rows[1],
    )
    for number in (4, 9, 11):
        with pytest.raises(Expired):
            reservations.take_reserved(rows, {number}, "a" * 16)


def test_each_attempt_looks_all_duplicates_up_again() -> None:
    """One that was there at the first attempt, which lost its race, is deleted before the second."""
    storage = bucket()
    keys = Container.create(storage).insert_many([b"one", b"two"])
    raced: list[str] = []

    class Raced(FaultyStorage):
        def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> object:  # type: ignore[override]
            if name.startswith("packs/"):
                raced.append("")
            elif raced == [""]:
                raced.extend(Container(storage).delete(keys))
            return super().put_new(name, data, still)

    late = Container(Raced(storage, lambda call: None))
    assert late.insert_many([b"one", b"two", b"three"])[:2] == keys
    assert set(raced[1:]) >= set(keys)
    assert dict(Container(storage).extract_many(keys)) == {keys[0]: b"one", keys[1]: b"two"}


def test_what_a_commit_takes_out_of_use_is_retired() -> None:
    storage = bucket()
    container = Container.create(storage)
    container.insert_many([b"one"])
    newest = opened(storage).newest()
    (pack,) = newest.packs
    opened(storage).commit(lambda now: now.without_pack(pack.id), Durability.FULL)
    (retired,) = reservations.state_of(opened(storage).newest()).retired
    assert retired == ("pack", pack.id, pack.suffix, newest.number + 1)


def test_too_many_reservations_are_told_and_a_crowd_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MOST_RESERVED", 8)
    monkeypatch.setattr(remote_commits, "CROWDED", 4)
    storage = bucket()
    Container.create(storage)
    for number in range(30):
        Container(storage).insert_many([b"%d" % number])
    assert len(reservations.state_of(opened(storage).newest()).reserved) < 5
    assert len(Container(storage)) == 30
    for _ in range(8 - len(reservations.state_of(opened(storage).newest()).reserved)):
        opened(storage).ids.take()
    with pytest.raises(Busy, match="reservations"):
        opened(storage).ids.take()


def test_a_forked_child_reserves_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = bucket()
    Container.create(storage)
    ids = opened(storage).ids
    first, token = ids.take(), ids.token
    monkeypatch.setattr(ids, "_process", -1)
    assert ids.take() > first + 1 and ids.token != token


# Damage, and later releases.


def test_a_damaged_newest_manifest_stops_writers_and_not_readers() -> None:
    storage = bucket()
    container = Container.create(storage)
    (key,) = container.insert_many([b"bytes"])
    name = placed_manifest(opened(storage).newest_number())
    data = storage.read(name, MOST_BYTES)
    storage.remove(name)
    storage.put_new(name, data[:-1] + bytes([data[-1] ^ 1]))
    late = Container(storage)
    assert late.extract(key) == b"bytes"
    with pytest.raises(DamagedContainer):
        late.insert_many([b"more"])
    readable = opened(storage).readable()
    assert readable and readable.number == opened(storage).newest_number() - 1


def test_a_manifest_of_a_later_release_is_not_taken_for_damage() -> None:
    storage = bucket()
    container = Container.create(storage)
    container.insert_many([b"bytes"])
    name = placed_manifest(opened(storage).newest_number())
    members = decode_document(unseal(storage.read(name, MOST_BYTES), MOST_BYTES))
    storage.remove(name)
    storage.put_new(name, seal(encode_document({**members, "manifest_version": 99})))
    with pytest.raises(UnsupportedContainer, match="later release"):
        opened(storage).newest()


def test_a_manifest_that_decodes_to_too_much_is_refused() -> None:
    storage = bucket()
    Container.create(storage)
    storage.put_new(placed_manifest(2), seal(bytes(MOST_BYTES + 1)))
    with pytest.raises(DamagedContainer, match="a document of"):
        opened(storage).newest()


# Stopped between any two requests.


def _insert(container: Container) -> None:
    container.insert_many([b"more", bytes(10_000)])


def _insert_many(container: Container) -> None:
    container.insert_many([b"more", *(b"%d" % number for number in range(5000))])


def _insert_what_is_there(container: Container) -> None:
    container.insert_many([b"a", b"more"])


def _delete(container: Container) -> None:
    container.delete([key_of(b"a")])


def _make(container: Container) -> None:
    Container.create(container._storage)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["killed before", "killed behind", "failed once"])
@pytest.mark.parametrize("do", [_insert, _insert_many, _insert_what_is_there, _delete])
def test_a_call_that_is_stopped_at_any_request_loses_nothing(do: Callable[[Container], None], how: str) -> None:
    """Each request of an operation is the last one of its process, or fails once; another operation runs whole then."""
    for number in range(1000):
        inner = bucket()
        kept = Container.create(inner).insert_many([b"a", b"b", b"c"])
        Container(inner).delete([kept[1]])
        stop = _Stop(inner, number, how)
        acknowledged = False
        try:
            do(Container(stop))
            acknowledged = True
        except (_Killed, OSError):
            pass
        after = Container(inner)
        assert after.extract(kept[2]) == b"c"
        assert not after.has(kept[1])
        if do is not _delete:
            assert after.extract(kept[0]) == b"a"
        if acknowledged and do is not _delete:
            assert after.extract(key_of(b"more")) == b"more"
        assert after.insert_many([b"whole"]) == [key_of(b"whole")]
        do(after)
        last = Container(inner)
        assert last.has(key_of(b"whole")) and last.has(key_of(b"more")) is (do is not _delete)
        report = last.validate("full")
        assert not (report.damaged or report.damaged_files)
        if stop.left >= 0:
            assert number > 5 and acknowledged
            return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("how", ["killed before", "killed behind", "failed once"])
def test_making_a_container_that_is_stopped_at_any_request_can_be_gone_on_with(how: str) -> None:
    for number in range(1000):
        inner = bucket()
        stop = _Stop(inner, number, how)
        made = False
        try:
            Container.create(stop)
            made = True
        except (_Killed, OSError):
            pass
        if not inner.exists("config.json"):
            assert not made
            Container.create(inner)
        assert Container(inner).insert_many([b"a"]) == [key_of(b"a")]
        if stop.left >= 0:
            assert made
            return
    raise AssertionError("it never ended")


class _Killed(BaseException):
    """The process is dead: nothing of it makes a request any more."""


class _Stop(FaultyStorage):
    """Lets so many requests pass. The next one is not made, or is made and never answered, or fails once."""

    def __init__(self, inner: Storage, passing: int, how: str) -> None:
        super().__init__(inner, lambda call: None)
        self.left = passing
        self._how = how

    def call(self, call: StorageCall, do: Callable[[], object]) -> object:  # type: ignore[override]
        self.left -= 1
        if self.left == -1 and self._how == "failed once":
            raise OSError(errno.EIO, "it fails")
        if self.left == -1 and self._how == "killed behind":
            do()
        if self.left < 0 and self._how != "failed once":
            raise _Killed
        return do()


def test_the_steps_of_a_commit_are_those_of_the_document(tmp_path: Path) -> None:
    """Each number in the code: what is stopped before it leaves nothing, and behind it the whole commit."""
    storage = RecordingStorage(MemoryStorage("bucket", POOR))
    container = Container.create(storage)
    container.insert_many([b"one"])
    storage.forget()
    container.insert_many([b"two"])
    verbs = [(call.verb, call.name.partition("/")[0]) for call in storage.calls]
    changing = [call for call in verbs if call[0] == "put_new"]
    # 2. The pack comes before 4., the manifest; 1. in between it is asked whether the newest one is still there.
    assert changing == [("put_new", "packs"), ("put_new", "manifests")]
    between = verbs[verbs.index(changing[0]) : verbs.index(changing[1])]
    assert ("stat", "manifests") in between and ("read_with_version", "manifests") not in between

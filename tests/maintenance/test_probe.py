"""The probe tells a storage that keeps its promises from one that breaks one of them, whatever the storage claims."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path
from typing import TypeVar

import pytest

from rsdos.maintenance.doctor.diagnosis import Verdict
from rsdos.maintenance.probe.probing import ProbeOptions, execute, plan
from rsdos.maintenance.probe.report import Create, ProbeReport
from rsdos.maintenance.probe.verdicts import judge
from rsdos.storage.base import FileInfo, Put, PutResult, Storage
from rsdos.storage.local import LocalStorage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall, StorageWrapper
from rsdos.testing import FaultyStorage, RecordingStorage

_T = TypeVar("_T")
QUICK = ProbeOptions(threads=8, races=3, size=1 << 16)


def probe(storage: Storage) -> ProbeReport:
    return execute(storage, plan(QUICK))


def faults(report: ProbeReport) -> list[str]:
    """The names of the answers that say that something fails."""
    return [answer.name for answer in judge(report) if answer.verdict is Verdict.FAULT]


def objects(storage: MemoryStorage) -> list[str]:
    return sorted(storage._objects)


class Refusing(FaultyStorage):
    """Refuses some verbs, as a policy of a bucket does."""

    def __init__(self, *verbs: str, kind: int = errno.EACCES) -> None:
        super().__init__(
            MemoryStorage(), lambda call: OSError(kind, f"no {call.verb}", call.name) if call.verb in verbs else None
        )


class Overwriting(StorageWrapper):
    """Ignores the condition of a put, and says that it is stored."""

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        self.inner.remove(name)
        return self.inner.put_new(name, data)


class TellingLies(StorageWrapper):
    """Says of every put that it is stored, and keeps the first."""

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        return PutResult(Put.OURS, self.inner.put_new(name, data).version)


class Racy(StorageWrapper):
    """Refuses a name that is taken for a while, and not one that is just being taken."""

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        outcome = self.inner.put_new(name, data)
        is_racing = outcome.outcome is Put.TAKEN and self.inner.read(name, 100).startswith(b"writer")
        return PutResult(Put.OURS) if is_racing else outcome


class Stale(StorageWrapper):
    """Answers a first read of an object with "missing"."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())
        self._read: set[str] = set()

    def read(self, name: str, most: int) -> bytes:
        if name not in self._read:
            self._read.add(name)
            raise FileNotFoundError(errno.ENOENT, "not yet", name)
        return super().read(name, most)


class Unordered(StorageWrapper):
    """Lists in the other order, and all names always."""

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return reversed(list(self.inner.list(directory)))


class Late(StorageWrapper):
    """Does not list the newest name."""

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return iter(list(self.inner.list(directory, after, most))[:-1])


class Told(StorageWrapper):
    """Tells times and ETags."""

    def __init__(self, ahead: float, etag: str) -> None:
        super().__init__(MemoryStorage())
        self._told = {"time": time.time() + ahead, "etag": etag}

    def stat(self, name: str) -> FileInfo | None:
        info = self.inner.stat(name)
        return info and info._replace(**self._told)  # type: ignore[arg-type]


def test_a_storage_that_keeps_its_promises_is_good(tmp_path: Path) -> None:
    for storage in (MemoryStorage(), LocalStorage(str(tmp_path))):
        report = probe(storage)
        assert report.create is Create.EXCLUSIVE and report.many_writers
        assert report.most_winners == 1
        assert report.reads_back and report.empties and report.tells_missing and report.deletes
        assert report.listing is not None and all(
            (report.listing.at_once, report.listing.in_order, report.listing.after)
        )
        assert report.refused == () and report.leftovers == ()
        assert report.speed.upload > 0 < report.speed.download
        assert faults(report) == []
        assert json.loads(json.dumps(report.asdict()))["many_writers"]


def test_nothing_is_left_and_nothing_else_is_touched() -> None:
    inner = MemoryStorage()
    inner.put_new("packs/theirs", b"1")
    storage = RecordingStorage(inner)
    made = plan(QUICK)
    execute(storage, made)
    assert objects(inner) == ["packs/theirs"]
    assert {call.name.split("/")[0] for call in storage.calls} == {"probe"}
    requests = [call for call in storage.calls if call.verb not in ("make_directory", "open")]
    assert len(requests) <= made.requests


def test_two_probes_use_different_names() -> None:
    assert plan(QUICK).directory != plan(QUICK).directory


@pytest.mark.parametrize("broken", [Overwriting, TellingLies, Racy])
def test_a_name_that_is_given_twice_is_a_fault(broken: type[StorageWrapper]) -> None:
    report = probe(broken(MemoryStorage()))
    assert report.create is Create.OVERWRITES and not report.many_writers
    assert faults(report) == ["create"]


def test_a_storage_that_refuses_the_condition_is_told() -> None:
    report = probe(Refusing("put_new", kind=errno.ENOTSUP))
    assert report.create is Create.UNSUPPORTED and not report.many_writers
    assert faults(report) == ["create"]
    assert "another store" in judge(report)[0].advice


def test_lost_answers_are_counted_and_no_fault() -> None:
    inner = MemoryStorage()
    for at in range(20):
        inner.lose_answer(stored=bool(at % 2))
    report = probe(inner)
    assert report.create is Create.EXCLUSIVE
    assert report.unknown > 0
    assert objects(inner) == []


def test_an_object_that_is_not_read_at_once_is_a_fault() -> None:
    report = probe(Stale())
    assert report.reads_back is False and not report.many_writers
    assert "read" in faults(report)


def test_listings_out_of_order_or_late_are_told_and_no_fault() -> None:
    unordered, late = probe(Unordered(MemoryStorage())), probe(Late(MemoryStorage()))
    assert unordered.listing is not None and late.listing is not None
    assert (unordered.listing.at_once, unordered.listing.in_order, unordered.listing.after) == (True, False, False)
    assert not late.listing.at_once and late.listing.in_order
    assert faults(unordered) == faults(late) == []


@pytest.mark.parametrize(
    ("verb", "missing"), [("remove", "s3:DeleteObject"), ("empty", "s3:PutObject without condition")]
)
def test_credentials_that_may_not_maintain_are_told_the_missing_action(verb: str, missing: str) -> None:
    report = probe(Refusing(verb))
    assert report.many_writers
    assert len(report.refused) == 1 and f"no {verb}" in report.refused[0]
    (answer,) = (answer for answer in judge(report) if answer.name == "maintain")
    assert answer.message.endswith(f"missing {missing}")
    assert bool(report.leftovers) is (verb == "remove")


def test_credentials_that_may_only_read_are_told_so() -> None:
    report = probe(Refusing("put_new", "remove", "empty"))
    assert report.create is Create.FORBIDDEN and report.deletes is None
    assert report.leftovers == ()
    assert [answer.verdict for answer in judge(report)] == [Verdict.WARNING] * 2


def test_credentials_that_may_not_list_are_told_so() -> None:
    def fault(call: StorageCall) -> Exception | None:
        is_refused = call.verb == "list" or (call.verb == "stat" and call.name.endswith("/missing"))
        return OSError(errno.EACCES, "s3:ListBucket", call.name) if is_refused else None

    report = probe(FaultyStorage(MemoryStorage(), fault))
    assert report.tells_missing is False and report.listing is None
    assert "missing" in [answer.name for answer in judge(report)]


def test_a_storage_that_fails_in_the_middle_is_cleaned_and_the_error_raised() -> None:
    inner = MemoryStorage()

    def fault(call: StorageCall) -> Exception | None:
        return OSError(errno.EIO, "broken") if call.verb == "list" else None

    with pytest.raises(OSError, match="broken"):
        probe(FaultyStorage(inner, fault))
    assert objects(inner) == []


@pytest.mark.parametrize("ahead", [-4000.0, 4000.0])
def test_a_clock_that_is_off_is_told(ahead: float) -> None:
    report = probe(Told(ahead, ""))
    assert report.clock_offset is not None and report.clock_offset * ahead > 0
    (answer,) = (answer for answer in judge(report) if answer.name == "clock")
    assert ("ahead of" if ahead > 0 else "behind") in answer.message


def test_the_etag_is_compared_with_the_md5() -> None:
    right = md5(b"clock", usedforsecurity=False).hexdigest()
    etags = {"": None, f'"{right}"': True, right.upper(): True, "0" * 32: False}
    assert {etag: probe(Told(0.0, etag)).etag_is_md5 for etag in etags} == etags

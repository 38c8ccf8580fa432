"""A push to a container of version 3 that ends at any request, and pushes of several machines at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from rsdos import CompressMode, Container
from rsdos.index.reservations import without_reservations
from rsdos.maintenance.remotes import connect
from rsdos.model import Durability
from rsdos.progress import Silence
from rsdos.storage.base import Storage
from rsdos.storage.url import open_storage
from rsdos.storage.wrapper import StorageCall, StorageWrapper
from tests.data import noise, text
from tests.helpers import native
from tests.remotes.opening import again, is_whole
from tests.snapshots.saving import save

_T = TypeVar("_T")


class Stopped(BaseException):
    """The process is gone: no request is made any more."""


class Stopping(StorageWrapper):
    """A storage whose client ends before the request number ``last``, or behind it if ``is_made``."""

    def __init__(self, inner: Storage, last: int, is_made: bool) -> None:
        super().__init__(inner)
        self.made = 0
        self._last = last
        self._is_made = is_made

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        self.made += 1
        if self.made == self._last and self._is_made:
            do()
        if self.made >= self._last:
            raise Stopped
        return do()


def push_and_stop(here: Container, last: int, is_made: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Push until a request. Return whether the push got to its end before."""
    with monkeypatch.context() as patch:
        patch.setattr(connect, "open_storage", lambda *given: Stopping(open_storage(*given), last, is_made))
        try:
            here.remotes.push(pack_size=50_000)
        except Stopped:
            return False
    return True


@pytest.mark.parametrize("is_made", [False, True], ids=["before", "behind"])
def test_a_push_that_ends_at_any_request_is_continued_by_the_next(
    here: Container, tmp_path: Path, is_made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.insert_many([noise(20_000, seed) for seed in range(8)], compress=CompressMode.NO)
    here.insert_many([text(3000, seed) for seed in range(20)])
    here.insert(b"loose")
    save(here.engine, "flowers", {"a.txt": b"a", "b.bin": noise(2000, 99)})
    last = 0
    ended = False
    while not ended:
        last += 1
        url = f"memory://{tmp_path.name}-{last}"
        there = Container.create(open_storage(url), container_version=3)
        here.remotes.add("origin", url)
        ended = push_and_stop(here, last, is_made, monkeypatch)
        assert is_whole(there)
        if ended:
            break
        report = here.remotes.push()
        assert not report.damaged and not report.missing
        assert is_whole(there)
        assert here.remotes.compare().is_same, last
        here.remotes.remove("origin")
    assert last > 20


def test_two_machines_push_to_one_remote_at_the_same_time(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    there = Container.create(open_storage(url), container_version=3)
    machines = [Container.create(tmp_path / f"machine-{number}") for number in range(3)]
    shared = [noise(5000, seed) for seed in range(20)]
    for number, machine in enumerate(machines):
        machine.insert_many([*shared, *(noise(3000, 1000 * (number + 1) + seed) for seed in range(30))])
        save(machine.engine, f"branch-{number}", {"a": b"%d" % number})
        machine.remotes.add("origin", url)
    with ThreadPoolExecutor(len(machines)) as threads:
        reports = list(threads.map(lambda machine: machine.remotes.push(pack_size=40_000), machines))
    assert not any(report.damaged or report.missing for report in reports)
    assert is_whole(there)
    for machine in machines:
        compared = machine.remotes.compare()
        assert not compared.only_here.objects
        assert not compared.names_here
        assert compared.there == 20 + 3 * 30


def test_machines_that_share_a_container_push_a_part_of_it_each(here: Container, tmp_path: Path) -> None:
    """What ADR 39 says to do in place of a push by an executor."""
    url = f"memory://{tmp_path.name}"
    there = Container.create(open_storage(url), container_version=3)
    here.remotes.add("origin", url)
    here.insert_many([noise(3000, seed) for seed in range(100)])
    save(here.engine, "flowers", {"a": b"a flower"})

    def push(prefix: str) -> int:
        with Container(here.path) as machine:
            return machine.remotes.push(prefix=prefix, pack_size=40_000).objects

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(push, "0123456789abcdef")) == 100
    assert here.remotes.compare().names_here
    assert here.remotes.push().known == 100
    assert here.remotes.compare().is_same
    assert is_whole(there)


class Collecting(Silence):
    """Takes all reservations back when the first objects were copied, as a collector does after the grace period."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self.times = 0

    def advance(self, amount: int) -> None:
        if not self.times:
            index = native(again(self._container).engine).index
            index.commit(lambda newest: without_reservations(newest, newest.number), Durability.FULL)
        self.times += 1


def test_a_push_whose_reservation_was_taken_back_begins_again_and_ends(here: Container, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    there = Container.create(open_storage(url), container_version=3)
    here.remotes.add("origin", url)
    here.insert_many([noise(3000, seed) for seed in range(20)])
    collecting = Collecting(there)
    here.remotes.push(progress=collecting)
    assert collecting.times > 1
    assert here.remotes.compare().is_same
    assert is_whole(there)

"""Every verb of a container on Ceph, under every fault of the way to it: nothing is lost, and nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue

import pytest

from rsdos import Busy, CommitUnknown, Container, Expired, Unavailable
from tests.ceph.fixtures import Proxied
from tests.ceph.proxy import FAULTS, Fault, Kind, Request, first, seeded
from tests.ceph.test_killed import assert_nothing_lost
from tests.ceph.writer import Writer, batch, wait_for
from tests.data import key_of

OLD = {key_of(data): data for data in batch("old", 0)}
NEW = {key_of(data): data for data in batch("new", 1)}
AGAIN = (Unavailable, CommitUnknown, Expired, Busy)
"""What a user is told to run again."""


def persist(url: str, do: Callable[[Container], object]) -> None:
    """Run an operation as often as it says, each time on a container that was opened anew."""
    while True:
        try:
            with Container(url) as container:
                do(container)
            return
        except AGAIN:
            pass


def insert(container: Container) -> None:
    assert container.insert_many(NEW.values()) == list(NEW)


def extract(container: Container) -> None:
    assert dict(container.extract_many(OLD)) == OLD


def delete(container: Container) -> None:
    container.delete(list(OLD)[:3])


AFTER: dict[Callable[[Container], None], dict[str, bytes]] = {
    extract: OLD,
    insert: OLD | NEW,
    delete: dict(list((OLD | NEW).items())[3:]),
}
"""What the container holds after each operation, one after another."""


def is_sent(method: str) -> Callable[[Request], bool]:
    return lambda request: request.method == method


@pytest.fixture
def url(proxied: Proxied) -> str:
    """A container behind the proxy, which does nothing yet."""
    with Container.create(proxied.s3.url) as container:
        container.insert_many(OLD.values())
    return proxied.s3.url


def assert_holds_through(url: str, objects: dict[str, bytes]) -> None:
    with Container(url) as container:
        assert set(container) == set(objects)
        assert dict(container.extract_many(objects)) == objects
        report = container.validate(depth="full")
        assert (report.damaged, report.files) == ((), ())


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind.name}-{fault.value}")
def test_each_operation_ends_right_under_each_fault(proxied: Proxied, url: str, fault: Fault, method: str) -> None:
    for do, held in AFTER.items():
        # What was changed on its way is read once more, and then told as damage.
        times = 1 if fault.kind is Kind.FLIP_DOWN else 2
        proxied.proxy.fault = first(times, fault, is_sent(method))
        persist(url, do)
        proxied.proxy.fault = None
        proxied.proxy.deliver_late()
        assert_holds_through(url, held)


@pytest.mark.parametrize("at", range(8))
def test_a_bit_that_flips_in_any_answer_changes_nothing(proxied: Proxied, url: str, at: int) -> None:
    """In the answer with this number, of those that bring an object."""
    seen: list[Request] = []

    def nth(request: Request) -> Fault | None:
        if request.method != "GET" or request.name == "":
            return None
        seen.append(request)
        return Fault(Kind.FLIP_DOWN) if len(seen) == at + 1 else None

    proxied.proxy.fault = nth
    for key, data in OLD.items():
        with Container(url) as container:
            assert container.extract(key) == data
    assert len(seen) > at


def test_a_storm_of_lost_races_ends(proxied: Proxied, url: str) -> None:
    """412 without a manifest that took the number: the same bytes are put again until the number is taken."""
    proxied.proxy.fault = first(
        5, Fault(Kind.ANSWER, 412), lambda request: request.method == "PUT" and "/manifests/" in f"/{request.name}"
    )
    persist(url, insert)
    assert_holds_through(url, OLD | NEW)


def test_writers_behind_a_bad_line_lose_nothing(proxied: Proxied, url: str) -> None:
    faults = [fault for fault in FAULTS if fault.kind is not Kind.FLIP_DOWN]  # That is told as damage.
    proxied.proxy.fault = seeded(20, 0.15, faults)
    stored: SimpleQueue[Writer] = SimpleQueue()
    writers = [Writer(url, f"writer-{at}", proxied.s3.environment, stored) for at in range(3)]
    try:
        wait_for(stored, 12)
        codes = [writer.stop() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    proxied.proxy.fault = None
    proxied.proxy.deliver_late()
    assert codes == [0] * len(writers)
    assert_nothing_lost(url, writers)

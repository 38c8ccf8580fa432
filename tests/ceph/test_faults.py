"""Every verb of a container on Ceph, under every fault of the way to it: nothing is lost, and nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import pytest

from rsdos import Busy, CommitUnknown, Container, Expired, Unavailable
from rsdos.storage import opendal
from tests.ceph.fixtures import Proxied
from tests.ceph.proxy import FAULTS, Fault, Kind, Request, Rule, first, seeded
from tests.ceph.test_killed import assert_nothing_lost
from tests.ceph.verbs import NEW, OLD, VERBS, Machine
from tests.ceph.writer import Writer, wait_for

AGAIN = (Unavailable, CommitUnknown, Expired, Busy)
"""What a user is told to run again."""

STORM = 8
"""Puts, one after another, that are refused: four times as many as in the other tests."""

READS, WRITES = ("GET", "HEAD"), ("PUT", "DELETE")


def persist(machine: Machine, do: Callable[[Machine], object]) -> None:
    """Do a verb as often as it says, each time on containers that were opened anew."""
    while True:
        try:
            do(machine)
            return
        except AGAIN:
            pass


@pytest.fixture
def machine(proxied: Proxied, tmp_path: Path) -> Machine:
    """A container behind the proxy, which does nothing yet."""
    with Container.create(proxied.s3.url) as container:
        container.insert_many(OLD.values())
    return Machine(proxied.s3.url, proxied.direct, tmp_path)


def assert_holds_through(url: str, objects: dict[str, bytes]) -> None:
    with Container(url) as container:
        assert set(container) & (OLD | NEW).keys() == objects.keys()
        assert dict(container.extract_many(objects)) == objects
        report = container.validate(depth="full")
        assert (report.damaged, report.files) == ((), ())


def is_sent(*methods: str) -> Callable[[Request], bool]:
    return lambda request: request.method in methods


def through(fault: Fault) -> Rule:
    """Return a rule: every write gets the fault twice, one after another, and each fourth read gets it, up to six.

    The client gives up at once when a read is answered with 409: without that limit it would begin again forever. Of
    bits that flip in answers it is one: some verbs tell others as damage (see `tests/remote/test_flipped_bits.py`).
    """
    reads, writes = count(), count()
    most = 1 if fault.kind is Kind.FLIP_DOWN else 24

    def rule(request: Request) -> Fault | None:
        if request.method in WRITES:
            return fault if next(writes) % 3 < 2 else None
        at = next(reads)
        return fault if at % 4 == 0 and at < most else None

    return rule


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind.name}-{fault.value}")
@pytest.mark.parametrize("name", VERBS)
def test_each_verb_ends_right_under_each_fault(proxied: Proxied, machine: Machine, name: str, fault: Fault) -> None:
    verb = VERBS[name]
    verb.prepare(machine)
    proxied.proxy.fault = through(fault)
    persist(machine, verb.do)
    proxied.proxy.fault = None
    proxied.proxy.deliver_late()
    hit = {request.method in WRITES for request, done in proxied.proxy.seen if done}
    if name == "validate":
        assert False in hit  # Its note is given up where a look before it is refused.
    else:
        assert hit == {False, verb.writes}
    assert_holds_through(machine.url, verb.held)
    verb.check(machine)


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_ends_although_requests_are_never_answered(
    proxied: Proxied, machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write and the second read; the client gives up after a second, and not after a minute."""
    monkeypatch.setattr(opendal, "SHORTEST_TIMEOUT", 1.0)
    verb = VERBS[name]
    verb.prepare(machine)
    write, read = (first(1, Fault(Kind.STALL), is_sent(*methods)) for methods in (WRITES, READS))
    proxied.proxy.fault = lambda request: write(request) or read(request)
    persist(machine, verb.do)
    proxied.proxy.fault = None
    assert_holds_through(machine.url, verb.held)
    verb.check(machine)


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.writes])
def test_each_verb_outlives_a_storm_of_lost_races(proxied: Proxied, machine: Machine, name: str, status: int) -> None:
    """412 without a manifest that took the number: the same bytes are put again until the number is taken."""
    verb = VERBS[name]
    verb.prepare(machine)
    proxied.proxy.fault = first(STORM, Fault(Kind.ANSWER, status), is_sent("PUT"))
    persist(machine, verb.do)
    assert sum(done is not None for _, done in proxied.proxy.seen) == STORM
    assert_holds_through(machine.url, verb.held)
    verb.check(machine)


@pytest.mark.parametrize("at", range(8))
def test_a_bit_that_flips_in_any_answer_changes_nothing(proxied: Proxied, machine: Machine, at: int) -> None:
    """In the answer with this number, of those that bring an object."""
    seen: list[Request] = []

    def nth(request: Request) -> Fault | None:
        if request.method != "GET" or request.name == "":
            return None
        seen.append(request)
        return Fault(Kind.FLIP_DOWN) if len(seen) == at + 1 else None

    proxied.proxy.fault = nth
    for key, data in OLD.items():
        with machine.there() as container:
            assert container.extract(key) == data
    assert len(seen) > at


def test_writers_behind_a_bad_line_lose_nothing(proxied: Proxied, machine: Machine) -> None:
    faults = [fault for fault in FAULTS if fault.kind is not Kind.FLIP_DOWN]  # That is told as damage.
    proxied.proxy.fault = seeded(20, 0.15, faults)
    stored: SimpleQueue[Writer] = SimpleQueue()
    writers = [Writer(machine.url, f"writer-{at}", proxied.s3.environment, stored) for at in range(3)]
    try:
        wait_for(stored, 12)
        codes = [writer.stop() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    proxied.proxy.fault = None
    proxied.proxy.deliver_late()
    assert codes == [0] * len(writers)
    assert_nothing_lost(machine.url, writers)

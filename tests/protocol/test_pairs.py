"""Every operation stopped before each of its requests, while another runs there; or killed there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from rsdos import Container
from rsdos.errors import Busy, Expired
from rsdos.maintenance import collect, merge
from rsdos.model import FRAME_SIZE
from tests.data import key_of
from tests.protocol.bucket import Bucket
from tests.protocol.client import Medium
from tests.protocol.judge import Judge
from tests.protocol.machines import COLLECT
from tests.protocol.scheduler import Killed
from tests.protocol.weather import KEEP

_KEPT, _BOTH, _GONE, _NEW = b"kept", b"both " * 30, b"gone", b"new"
_LARGE = b"large" * (FRAME_SIZE // 4)
"""Of more than a frame: it is written to a pack before its key is known."""


class _Stopping(Medium):
    """A machine's medium, that is stopped before its n-th request."""

    def __init__(self, bucket: Bucket, left: int, does: Callable[[], None]) -> None:
        super().__init__(bucket, "simulated:the first")
        self.left = left
        self._does = does
        self.is_dead = False
        """Whether it is stopped for good: what happens there has raised."""

    def _ask(self, verb: str, name: str) -> None:
        self.left -= 1
        if self.left == -1 or self.is_dead:
            self.is_dead = True
            self._does()
            self.is_dead = False

    def _change(self, verb, name, do, unknown):  # type: ignore[no-untyped-def]
        self._ask(verb, name)
        return do()


def _insert(container: Container) -> None:
    container.insert_many([_NEW, _BOTH])


def _insert_large(container: Container) -> None:
    container.insert_many([_NEW, _LARGE])


def _delete_large(container: Container) -> None:
    container.delete([key_of(_LARGE)])


def _delete(container: Container) -> None:
    container.delete([key_of(_BOTH), key_of(_GONE)])


def _repack(container: Container) -> None:
    """All packs, although nothing in them is dead."""
    container.repack("none")


def _merge(container: Container) -> None:
    merge.execute(container.engine, merge.plan(container.engine))


def _collect(container: Container) -> None:
    collect.execute(container.engine, collect.plan(container.engine, COLLECT))


def _sleep_and_collect(container: Container) -> None:
    """After so long that what the first has reserved is taken back."""
    medium = container.engine.layout.storage
    while not isinstance(medium, Medium):
        medium = medium.inner  # type: ignore[attr-defined]  # a wrapper
    medium.bucket.clock += 2 * KEEP
    _collect(container)


def _replace_and_collect(container: Container) -> None:
    """All packs go: what the first has open is gone, and not only dead."""
    container.repack("none")
    _merge(container)
    _sleep_and_collect(container)


def _read(container: Container) -> None:
    assert container.extract(key_of(_KEPT)) == _KEPT
    found = dict(container.extract_many([key_of(_KEPT), key_of(_BOTH)], missing="none"))
    assert found[key_of(_KEPT)] == _KEPT
    assert key_of(_KEPT) in set(container)


_ACTS = {
    "insert": _insert,
    "delete": _delete,
    "repack": _repack,
    "merge": _merge,
    "collect": _collect,
    "sleep and collect": _sleep_and_collect,
    "replace and collect": _replace_and_collect,
}

_FIRST = ("insert", "delete", "repack", "merge", "collect")

_LARGE_ACTS = {"insert large": _insert_large, "delete large": _delete_large, "read": _read}

_KEYS = {
    "insert": [_NEW, _BOTH],
    "delete": [_BOTH, _GONE],
    "insert large": [_NEW, _LARGE],
    "delete large": [_LARGE],
}


class _World:
    """A container with two packs, and a judge of what is done to it."""

    def __init__(self, *more: bytes) -> None:
        self.bucket = Bucket(1_700_000_000.0)
        self.judge = judge = Judge(self.bucket)
        with Container.create(Medium(self.bucket), container_version=3) as container:
            judge.setting_up = True
            container.insert_many([_KEPT, _BOTH, *more])
            container.insert_many([_GONE])
            judge.setting_up = False

    def run(self, kind: str, medium: Medium) -> None:
        """Do an operation, and judge what it says. Once more if the machine slept for too long."""
        keys = [bytes.fromhex(key_of(data)) for data in _KEYS.get(kind, [])]
        medium.sender = operation = self.judge.begin(medium.root, kind.partition(" ")[0], keys)
        container = Container(medium)
        for is_last in (False, True):
            try:
                (_ACTS | _LARGE_ACTS)[kind](container)
                break
            except Expired:
                assert not is_last
            except Busy:
                assert kind == "merge"  # Another has done it.
                break
        if kind == "insert large":
            # Its last lookup may come before the commit, as that of each but the last large object of a call does.
            operation.landed.clear()
        if operation.kind == "insert":
            self.judge.stored(operation)
        if operation.kind == "delete":
            self.judge.deleted(operation)

    def alone(self, kind: str) -> None:
        """Do an operation while nobody else does anything."""
        self.run(kind, Medium(self.bucket, f"simulated:another, {kind}"))

    def faults(self) -> list[str]:
        """Return what is wrong, now and when all that is dead was collected."""
        judge = self.judge
        with Container(Medium(self.bucket)) as container:
            if {bytes.fromhex(key) for key in container} != judge.live[judge.newest]:
                judge.wrong.append("not found: what is listed is not what is there")
            if container.extract(key_of(_KEPT)) != _KEPT:
                judge.wrong.append("wrong bytes")
            report = container.validate("full")
            if not report.is_good:
                judge.wrong.append(f"validate: {report}")
        self.alone("sleep and collect")
        judge.collected()
        return judge.wrong


@pytest.mark.parametrize("other", _ACTS)
@pytest.mark.parametrize("first", [*_FIRST, "read"])
def test_an_operation_that_is_stopped_anywhere_while_another_runs(first: str, other: str) -> None:
    for stop in range(1000):
        world = _World()
        medium = _Stopping(world.bucket, stop, partial(world.alone, other))
        world.run(first, medium)
        faults = world.faults()
        assert not faults, f"{first} stopped before request {stop} for {other}: {faults}"
        if medium.left >= 0:
            assert stop > 3
            return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("other", ["delete large", "repack", "insert large", "sleep and collect"])
@pytest.mark.parametrize("first", ["insert large", "delete large"])
def test_so_it_is_with_objects_of_more_than_a_frame(first: str, other: str) -> None:
    for stop in range(1000):
        world = _World(_LARGE)
        medium = _Stopping(world.bucket, stop, partial(world.alone, other))
        world.run(first, medium)
        faults = world.faults()
        assert not faults, f"{first} stopped before request {stop} for {other}: {faults}"
        if medium.left >= 0:
            return
    raise AssertionError("it never ended")


@pytest.mark.parametrize("other", ["insert", "delete", "repack"])
@pytest.mark.parametrize("first", _FIRST)
def test_an_operation_that_is_killed_anywhere_is_done_by_the_next_machine(first: str, other: str) -> None:
    def die() -> None:
        raise Killed

    for stop in range(1000):
        world = _World()
        medium = _Stopping(world.bucket, stop, die)
        with suppress(Killed):
            world.run(first, medium)
        world.alone(other)
        world.alone(first)
        faults = world.faults()
        assert not faults, f"{first} killed before request {stop}, then {other}: {faults}"
        if medium.left >= 0:
            return
    raise AssertionError("it never ended")

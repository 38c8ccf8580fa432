"""An outage that begins in the middle of an operation and lasts is told as one: nothing is missing or damaged by it.

It is one of everything, or one that only the bytes of packs meet: behind a proxy that cuts long answers, for example.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rsdos import Container, Refused, Unavailable
from rsdos.model import FRAME_SIZE
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import key_of, noise

REMOTE = MemoryStorage().traits._replace(appends=False, locks=False, is_remote=True)
ROWS = [b"row %d: the same words are in all of them, and a number: %d" % (at, at) for at in range(2000)]
LARGE = noise(FRAME_SIZE + 1000, 1)
DEAD = b"it was deleted"
KEYS = [key_of(data) for data in (*ROWS[:20], LARGE)]


def is_any(call: StorageCall) -> bool:
    return True


def is_of_packs(call: StorageCall) -> bool:
    return call.name.startswith("packs/") and call.verb not in ("stat", "version", "exists")


@pytest.fixture(scope="module")
def storage() -> FaultyStorage:
    """A container with a dictionary, a large object and dead bytes; without names, which are read at the end."""
    storage = FaultyStorage(MemoryStorage(traits=REMOTE), lambda call: None)
    with Container.create(storage, compression="zstd") as container:
        container.insert_many(ROWS)
    with Container(storage) as container:
        container.insert_many([LARGE, DEAD])
        container.delete([key_of(DEAD)])
    return storage


def outcomes(
    storage: FaultyStorage, do: Callable[[Container], bool], told: Exception, is_met: Callable[[StorageCall], bool]
) -> tuple[list[bool], int]:
    """Do it with an outage from each call on. Return what ``do`` has said, and how often ``told`` was raised."""
    said: list[bool] = []
    raised = 0
    left = -1
    while left < 0:
        left = raised + len(said)

        def fault(call: StorageCall) -> Exception | None:
            nonlocal left
            left -= is_met(call)
            return told if left < 0 and is_met(call) else None

        storage.fault = fault
        try:
            with Container(storage) as container:
                said.append(do(container))
        except type(told):
            raised += 1
    return said, raised


@pytest.mark.parametrize("is_met", [is_any, is_of_packs])
@pytest.mark.parametrize("told", [Unavailable("here", "no answer"), Refused("here", "a policy")], ids=type)
@pytest.mark.parametrize(
    "do",
    [
        lambda container: container.validate("quick").is_good,
        lambda container: container.validate("full").is_good,
        lambda container: container.has_many([*KEYS, key_of(DEAD)]) == [True] * len(KEYS) + [False],
        lambda container: len(set(container)) > len(ROWS),
        lambda container: {key for key, _ in container.extract_many(KEYS)} == set(KEYS),
        lambda container: not container.repack().damaged,
    ],
    ids=["validate", "validate full", "has", "list", "extract", "repack"],
)
def test_an_outage_is_told_and_never_taken_for_damage(
    storage: FaultyStorage, do: Callable[[Container], bool], told: Exception, is_met: Callable[[StorageCall], bool]
) -> None:
    """`validate` told each pack as damaged that it could not open any more."""
    said, raised = outcomes(storage, do, told, is_met)
    assert all(said)
    assert raised or is_met is is_of_packs

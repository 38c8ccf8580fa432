"""Writers on object storage, each insert a commit: how fast they are, and whether all is there once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Semaphore
from typing import NamedTuple

from rsdos import Busy, CommitUnknown, Container, Expired, Unavailable
from tests.patience import HANG

WRITERS = 16

_AGAIN = (Unavailable, CommitUnknown, Expired, Busy)
"""What a user is told to run again."""


class Race(NamedTuple):
    """What came of it. ``again``: inserts that failed, and were done again; ``rate``: inserts a second.

    ``lost``: objects that were acknowledged and are not there; ``twice``: objects that are in packs and are a second
    copy, or one that nobody stored.
    """

    rate: float
    again: int
    lost: int
    twice: int


class _Part(NamedTuple):
    url: str
    endpoint: str
    writer: int
    commits: int


class Written(NamedTuple):
    """What one writer has stored, from ``begin`` to ``end``, and how often it did an insert again."""

    keys: list[str]
    begin: float
    end: float
    again: int


Wait = Callable[[int], None]
"""Waits until so many more inserts of any writers are acknowledged."""


def write(
    url: str, endpoint: str, commits: int, during: Callable[[Wait], None] | None = None, writers: int = WRITERS
) -> list[Written]:
    """Have writers insert so many objects each into a container, by ``endpoint``. ``during`` runs beside them."""
    context = get_context("spawn")
    barrier, stored = context.Barrier(writers), context.Semaphore(0)

    def wait(count: int) -> None:
        for _ in range(count):
            assert stored.acquire(timeout=HANG), "no writer goes on"

    with ProcessPoolExecutor(writers, context, _meet, (barrier, stored)) as pool:
        futures = [pool.submit(_write, _Part(url, endpoint, writer, commits)) for writer in range(writers)]
        if during:
            during(wait)
        return [future.result() for future in futures]


def outcome(url: str, written: Sequence[Written]) -> Race:
    """Look at a container that held nothing before, by the endpoint of the environment: every object is verified."""
    keys = {key for part in written for key in part.keys}
    with Container(url) as container:
        there = {key for key, _ in container.extract_many(keys, missing="skip")}
        appended = sum(pack.objects for pack in container.inspect_packed().packs)
    seconds = max(part.end for part in written) - min(part.begin for part in written)
    again = sum(part.again for part in written)
    return Race(len(keys) / seconds, again, len(keys - there), appended - len(there))


_shared: list[tuple[Barrier, Semaphore]] = []


def _meet(barrier: Barrier, stored: Semaphore) -> None:
    _shared.append((barrier, stored))


def _write(part: _Part) -> Written:
    """Be one of the writers."""
    barrier, stored = _shared[0]
    barrier.wait()  # All begin at the same time, with the imports behind them.
    objects = (b"%d of %d" % (number, part.writer) for number in range(part.commits))
    return insert_each(partial(Container, part.url, endpoint=part.endpoint), objects, stored.release)


def insert_each(connect: Callable[[], Container], objects: Iterable[bytes], note: Callable[[], object]) -> Written:
    """Insert one object after another, each with its commit, as often as it takes. Call ``note`` after each."""
    keys: list[str] = []
    again = 0
    container = connect()
    begin = time.time()
    for data in objects:
        while True:
            try:
                keys += container.insert_many([data])
                break
            except _AGAIN:
                again += 1
                container.close()
                container = connect()
        note()
    end = time.time()
    container.close()
    return Written(keys, begin, end, again)

"""The questions of a probe: each uses a storage, under names of its own, and returns what happened."""

from __future__ import annotations

import errno
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from random import Random
from typing import NamedTuple

from rsdos.maintenance.probe.report import ListingAnswers, Speed
from rsdos.storage.base import FileInfo, Put, Storage

UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)
"""The errors of a put whose condition the storage does not know."""
LISTED = 7
"""The names of the listing's question."""
SMALL = 16
"""The small objects of each measurement of latency, of which the median counts."""


class Names:
    """Gives out names below one directory, and knows which were used. Any thread."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.used: list[str] = []

    def new(self) -> str:
        """Return a name that was never used."""
        name = f"{self.directory}/{len(self.used):04d}-{os.urandom(4).hex()}"
        self.used.append(name)
        return name


class Race(NamedTuple):
    """The outcome of several puts of one name."""

    winners: int
    """The puts that were acknowledged."""
    unknown: int
    """The puts whose answer was lost."""
    is_read: bool
    """The object was read at once, or no put was acknowledged."""
    is_kept: bool
    """Whether the bytes that were read are those of the winner or, without a winner, of a put whose answer was lost."""

    @property
    def has_one_winner(self) -> bool:
        """Whether the name was given once at most, and to the put that was told so."""
        return self.winners <= 1 and self.winners + self.unknown > 0 and self.is_kept


def create(storage: Storage, names: Names) -> Race:
    """Put an object, and twice another one of its name. Raise OSError, with `UNSUPPORTED` if nothing can be put."""
    name, texts = names.new(), [b"first", b"second", b"third"]
    return _race(storage, name, texts, [storage.put_new(name, text).outcome for text in texts])


def race(storage: Storage, name: str, threads: int) -> Race:
    """Let threads put different bytes under one name, all at the same moment. Raise OSError."""
    start = threading.Barrier(threads)

    def put(data: bytes) -> Put:
        start.wait()
        try:
            return storage.put_new(name, data).outcome
        except ConnectionError:
            return Put.UNKNOWN

    texts = [b"writer %d" % at for at in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return _race(storage, name, texts, list(pool.map(put, texts)))


def _race(storage: Storage, name: str, texts: list[bytes], outcomes: list[Put]) -> Race:
    winners = outcomes.count(Put.OURS)
    counted = Put.OURS if winners else Put.UNKNOWN
    may_be = [text for text, outcome in zip(texts, outcomes, strict=True) if outcome is counted]
    try:
        kept = storage.read(name, 100)
    except FileNotFoundError:
        return Race(winners, outcomes.count(Put.UNKNOWN), not winners, True)
    return Race(winners, outcomes.count(Put.UNKNOWN), True, kept in may_be)


def reads_back(storage: Storage, name: str, data: bytes) -> bool:
    """Return whether a new object is read at once, whole and by ranges. Raise OSError."""
    try:
        if storage.read(name, len(data)) != data:
            return False
        file = storage.open(name)
        try:
            spans = ((0, 1), (len(data) // 3, len(data) // 3), (len(data) - 1, 1))
            return file.size() == len(data) and all(
                file.read(offset, length) == data[offset : offset + length] for offset, length in spans
            )
        finally:
            file.close()
    except FileNotFoundError:
        return False


def empties(storage: Storage, name: str) -> bool:
    """Return whether an object that was overwritten with nothing is read so at once. Raise OSError."""
    storage.empty(name)
    return storage.read(name, 100) == b""


def tells_missing(storage: Storage, names: Names) -> bool:
    """Return whether a missing name is told from a forbidden one. Raise OSError."""
    try:
        return storage.stat(f"{names.directory}/missing") is None
    except PermissionError:
        return False


def listing(storage: Storage, names: Names) -> ListingAnswers:
    """Put some names, not in order, and list them. Raise OSError."""
    directory = f"{names.directory}/list"
    storage.make_directory(directory)
    expected = [f"{at:04d}" for at in range(LISTED)]
    for name in Random(0).sample(expected, LISTED):
        names.used.append(f"{directory}/{name}")
        storage.put_new(names.used[-1], b"")
    found = list(storage.list(directory))
    part = list(storage.list(directory, after=expected[1], most=3))
    return ListingAnswers(sorted(found) == expected, found == sorted(found), part == expected[2:5])


class Told(NamedTuple):
    """The metadata that a storage returns of an object that was just put."""

    info: FileInfo | None = None
    clock_offset: float | None = None
    """Seconds by which the storage's clock is ahead of ours; None if it tells no times."""


CLOCK = b"clock"


def put_and_ask(storage: Storage, names: Names) -> Told:
    """Put an object. Return the metadata that the storage returns. Raise OSError."""
    name, before = names.new(), time.time()
    storage.put_new(name, CLOCK)
    after = time.time()
    info = storage.stat(name)
    if info is None:
        return Told()
    offset = None
    if info.time:
        # Between both moments there is no difference; the storage may tell whole seconds, rounded down.
        offset = info.time - before if info.time < before - 1 else max(info.time - after, 0.0)
    return Told(info, offset)


def etag_is_md5(info: FileInfo | None, data: bytes) -> bool | None:
    """Return whether the ETag of an object is the MD5 of its bytes; None without an ETag."""
    if info is None or not info.etag:
        return None
    return info.etag.strip('"').lower() == md5(data, usedforsecurity=False).hexdigest()


def speed(storage: Storage, names: Names, size: int) -> Speed:
    """Measure one connection: medians of small requests, and one large object of ``size`` bytes."""
    small = [names.new() for _ in range(SMALL)]
    data, large = os.urandom(size), names.new()
    put = statistics.median(_each(lambda name: storage.put_new(name, b"small"), small))
    get = statistics.median(_each(lambda name: storage.read(name, 100), small))
    lists = statistics.median(_each(lambda _: list(storage.list(names.directory, most=1)), small[:4]))
    up = next(_each(lambda name: storage.put_new(name, data), [large]))
    down = next(_each(lambda name: storage.read(name, size), [large]))
    return Speed(put, get, lists, size / up, size / down)


def _each(do: Callable[[str], object], names: list[str]) -> Iterator[float]:
    """Yield the seconds of each call."""
    for name in names:
        begun = time.perf_counter()
        do(name)
        yield max(time.perf_counter() - begun, 1e-9)


def remove_all(storage: Storage, names: list[str]) -> tuple[list[str], PermissionError | None]:
    """Remove objects. Return the names that are still there, and the refusal, if it was one."""
    left: list[str] = []
    refusal = None
    for name in names:
        try:
            storage.remove(name)
        except PermissionError as error:
            left.append(name)
            refusal = error
        except OSError:
            left.append(name)
    return left, refusal

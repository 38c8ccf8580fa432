"""Reads many ranges of packs, with as many requests under way at once as the medium needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rsdos.index.runs import ReadRange
from rsdos.storage.opened import RandomAccess
from rsdos.stores.packs import GAP, WINDOW

if TYPE_CHECKING:
    from rsdos.codecs.workers import Job, Workers

_T = TypeVar("_T")
_R = TypeVar("_R")

IN_FLIGHT = 16
"""Requests that threads have under way at once."""

_QUEUED = 2 * IN_FLIGHT
"""Requests that are under way, wait for a thread, or are done before their turn: a slow request stops no thread."""

MOST_SPAN = 8 << 20
"""The most bytes of one request to a remote: more would not be faster, and a lost answer costs at most this."""

_MOST_RUNS = 256
"""The most ranges that are asked for together: more than any disk reads at a time."""

_MOST_OBJECTS = 2048
"""The most objects of ranges that are asked for together: a few MiB of neighbours are read fast enough."""

PART = 1 << 20
"""Bytes of a long range that one thread reads in a call."""

_TIMED_EACH = 8
"""One of so many reads is timed."""

WAIT = 0.0005
"""Seconds: a read that takes longer has waited for a medium. Starting the threads takes as long as two such reads."""

_BYTES_PER_SECOND = 1 << 30
"""The least bytes per second of a read from memory."""


class Reach(NamedTuple):
    """How far one bulk read reaches. All are bytes."""

    gap: int
    """Between two wanted ranges of one request, at most."""
    window: int
    """Of a pack in which the ranges of one request begin."""
    held: int
    """Under way, and read but not used yet, where threads read."""


LOCAL = Reach(GAP, WINDOW, 8 << 20)
"""For packs on this machine. A remote has that of its `rsdos.stores.packed.pace.Pace`."""


def span_of(run: ReadRange) -> int:
    """Return the bytes from the first to the last wanted one."""
    return run.offset[-1] + run.length[-1] - run.offset[0]


def in_batches(runs: Iterator[ReadRange]) -> Iterator[list[ReadRange]]:
    """Yield the same ranges in order, in lists of those that are asked for together."""
    batch: list[ReadRange] = []
    objects = 0
    for run in runs:
        batch.append(run)
        objects += len(run.positions)
        if objects >= _MOST_OBJECTS or len(batch) >= _MOST_RUNS:
            yield batch
            batch, objects = [], 0
    if batch:
        yield batch


def under_way(
    do: Callable[[_T], _R], items: Iterable[_T], length_of: Callable[[_T], int], held: int
) -> Iterator[tuple[_T, _R | None]]:
    """Yield each item in order with the result of ``do`` for it, while threads do the next items.

    Of an item that has no bytes by ``length_of`` nothing is done, and None comes with it. Items whose bytes together
    are at most ``held`` are begun before their turn, or one that is larger. Raise the error of an item at its turn.
    """
    # Most programs never get here.
    from rsdos.codecs.cores import most_waiting
    from rsdos.codecs.workers import Workers

    ahead: deque[tuple[_T, Job[_R] | None, int]] = deque()
    total = 0
    with Workers(most_waiting(IN_FLIGHT)) as workers:
        for item in items:
            length = length_of(item)
            while ahead and (total + length > held or len(ahead) >= _QUEUED):
                before, job, done = ahead.popleft()
                yield before, job.result() if job else None
                total -= done
            total += length
            if length:
                workers.start(len(ahead) + 1)
            ahead.append((item, _begun(workers, do, item) if length else None, length))
        while ahead:
            before, job, _ = ahead.popleft()
            yield before, job.result() if job else None


def read_parts(
    file: RandomAccess, offset: int, length: int, part: int = PART, held: int = 2 * IN_FLIGHT * PART
) -> Iterator[bytes]:
    """Yield the bytes of one long range in parts, which threads read ahead. Raise what the reads raise."""

    def read(start: int) -> bytes:
        return file.read(offset + start, min(part, length - start))

    starts = range(0, length, part)
    for _, data in under_way(read, starts, lambda start: min(part, length - start), held):
        assert data is not None
        yield data


class InSequence:
    """The bytes of one long range, which are mostly fetched one after another. One thread."""

    def __init__(self, parts: Iterator[bytes], read: Callable[[int, int], bytes]) -> None:
        """``parts`` are the bytes in order. ``read`` reads what is fetched from anywhere else."""
        self._parts = parts
        self._read = read
        self._part = b""
        self._used = 0
        self._at = 0
        """Where in the range the next bytes of the parts are."""

    def fetch(self, offset: int, length: int) -> bytes:
        """Return bytes of the range. Raise what the reads raise."""
        if offset != self._at:
            return self._read(offset, length)
        self._at += length
        pieces = []
        while length > len(self._part) - self._used:
            pieces.append(self._part[self._used :])
            length -= len(pieces[-1])
            self._part, self._used = next(self._parts), 0
        pieces.append(self._part[self._used : self._used + length])
        self._used += length
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]


class ReadAhead:
    """Reads ranges in order, and asks for the next ones early. One thread.

    - Ranges in the system's cache are read one by one: that costs nothing more.
    - If the medium says that it is not, the system is told of all ranges of a batch. 4,000 objects of 1 KB from all
      over a pack of 100 MB: 240 ms without, 60 with.
    - If the medium does not know, and a range had to be waited for, threads read those behind it (ADR 20).
    - Of a remote threads read all ranges, and each request is counted (ADR 37).
    """

    clock: Callable[[], float] = staticmethod(perf_counter)
    """Seconds."""

    def __init__(
        self,
        open_pack: Callable[[int], RandomAccess],
        read: Callable[[ReadRange], list[bytes] | None],
        count: Callable[[int, float], object] | None = None,
        held: int = LOCAL.held,
    ) -> None:
        """``open_pack`` opens a pack. ``read`` returns the bytes of a range; any thread. What it raises is raised.

        ``count``, of a remote, gets the bytes and the seconds of each request. ``held``: see `Reach`.
        """
        self._open_pack = open_pack
        self._read = read
        self._count = count
        self._held = held

    def read(self, runs: Iterator[ReadRange]) -> Iterator[tuple[ReadRange, list[bytes] | None]]:
        """Yield each range with what ``read`` returns; with None if it is a framed object, which is not read."""
        if self._count is not None:
            yield from under_way(partial(self._counted, self._count), runs, _length_of, self._held)
            return
        read = self._read
        for batch in in_batches(runs):
            is_cached = self._is_cached(batch)
            if is_cached is None:
                yield from self._read_and_time(batch)
                continue
            if not is_cached:
                self._ask_for(batch)
            for run in batch:
                yield run, None if run.flags else read(run)

    def _is_cached(self, runs: Sequence[ReadRange]) -> bool | None:
        """Return whether a sample is in the system's cache; None if that is not known."""
        if len(runs) < 2:
            return True
        answers: list[bool | None] = []
        with suppress(OSError):  # Reading the range reports it.
            for run in (runs[0], runs[len(runs) // 2], runs[-1]):
                answers.append(self._open_pack(run.pack_id).is_cached(run.offset[-1]))
        return False if False in answers else None if None in answers else True

    def _ask_for(self, runs: Sequence[ReadRange]) -> None:
        with suppress(OSError):  # Reading the range reports it.
            for run in runs:
                self._open_pack(run.pack_id).will_need(run.offset[0], span_of(run))

    def _read_and_time(self, batch: Sequence[ReadRange]) -> Iterator[tuple[ReadRange, list[bytes] | None]]:
        """Read a batch one by one. After a read that had to wait, read the others with threads."""
        read = self._read
        for at, run in enumerate(batch):
            if run.flags:
                yield run, None
            elif at % _TIMED_EACH:
                yield run, read(run)
            else:
                begin = self.clock()
                stored = read(run)
                waits = self.clock() - begin > WAIT + span_of(run) / _BYTES_PER_SECOND
                yield run, stored
                if waits:
                    yield from under_way(read, batch[at + 1 :], _length_of, self._held)
                    return

    def _counted(self, count: Callable[[int, float], object], run: ReadRange) -> list[bytes] | None:
        begin = self.clock()
        stored = self._read(run)
        if stored is not None:
            count(span_of(run), self.clock() - begin)
        return stored


def _length_of(run: ReadRange) -> int:
    """Return the bytes to read of a range: a framed object is not read with others."""
    return 0 if run.flags else max(span_of(run), 1)


def _begun(workers: Workers, do: Callable[[_T], _R], item: _T) -> Job[_R]:
    return workers.submit(partial(do, item))

"""Reads many ranges of packs, with as many requests under way at once as the medium needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import perf_counter

from rsdos.index.snapshot import ReadRange
from rsdos.storage.base import RandomAccess

IN_FLIGHT = 16
"""Requests that threads have under way at once."""

_MOST_RUNS = 256
"""Ranges that are asked for together, more than any disk reads at a time, ..."""

_MOST_OBJECTS = 2048
"""... unless they have more objects than this: a few MiB of neighbours come fast enough."""

_MOST_BYTES = 8 << 20
"""Bytes that threads read together: they are in memory until they are used."""

_PART = 1 << 20
"""Bytes of a long range that one thread reads in a call."""

_TIMED_EACH = 8
"""Of so many reads one is timed."""

WAIT = 0.0005
"""Seconds: a read that takes longer waited for a medium. To start the threads takes as long as two such reads."""

_BYTES_PER_SECOND = 1 << 30
"""What a read from memory has at least."""


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


def at_once(runs: Sequence[ReadRange], first: int) -> list[int]:
    """Return the positions of the ranges from ``first`` on that threads read together, framed objects left out."""
    chosen: list[int] = []
    length = 0
    for at in range(first, len(runs)):
        if not runs[at].flags:
            length += span_of(runs[at])
            if chosen and length > _MOST_BYTES:
                break
            chosen.append(at)
    return chosen


def with_threads(read: Callable[[int], None], those: Sequence[int]) -> None:
    """Call ``read`` for each, with many calls under way at once. Raise the first error after all have ended."""
    # Most programs never get here.
    from rsdos.codecs.cores import most_waiting
    from rsdos.codecs.workers import Threads

    with Threads(most_waiting(IN_FLIGHT)) as threads:
        threads.each(read, those)


def read_parts(file: RandomAccess, offset: int, length: int) -> bytes:
    """Read one long range with threads, each a part of it. Raise what the reads raise."""
    starts = range(0, length, _PART)
    parts = [b""] * len(starts)

    def read(at: int) -> None:
        parts[at] = file.read(offset + starts[at], min(_PART, length - starts[at]))

    with_threads(read, range(len(starts)))
    return b"".join(parts)


class ReadAhead:
    """Reads ranges in order, and asks for those behind early. One thread.

    - What is in the system's cache is read one by one: that costs nothing more.
    - If the medium says that it is not, the system is told of all ranges of a batch. 4,000 objects of 1 KB from all
      over a pack of 100 MB: 240 ms without, 60 with.
    - If the medium does not know, and a range had to be waited for, threads read those behind it (ADR 20).
    """

    clock: Callable[[], float] = staticmethod(perf_counter)
    """Seconds."""

    def __init__(
        self, open_pack: Callable[[int], RandomAccess], read: Callable[[ReadRange], list[bytes] | None]
    ) -> None:
        """``open_pack`` opens a pack. ``read`` returns the bytes of a range, and raises no OSError; any thread."""
        self._open_pack = open_pack
        self._read = read

    def read(self, runs: Iterator[ReadRange]) -> Iterator[tuple[ReadRange, list[bytes] | None]]:
        """Yield each range with what ``read`` returns; with None if it is a framed object, which is not read."""
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
        """Read a batch one by one; once a read had to be waited for, those behind it with threads."""
        read = self._read
        waits = False
        done: dict[int, list[bytes] | None] = {}
        for at, run in enumerate(batch):
            if run.flags:
                yield run, None
            elif waits:
                if at not in done:
                    done = self._read_all(batch, at)
                yield run, done.pop(at)
            elif at % _TIMED_EACH:
                yield run, read(run)
            else:
                begin = self.clock()
                stored = read(run)
                waits = self.clock() - begin > WAIT + span_of(run) / _BYTES_PER_SECOND
                yield run, stored

    def _read_all(self, batch: Sequence[ReadRange], first: int) -> dict[int, list[bytes] | None]:
        done: dict[int, list[bytes] | None] = {}

        def read(at: int) -> None:
            done[at] = self._read(batch[at])

        with_threads(read, at_once(batch, first))
        return done

"""Store files in workers: processes that each write a pack of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rsdos.engine.workers import WorkerProcesses, wait_for
from rsdos.ingest.files import ChunkResult, StoredAs, store_files
from rsdos.ingest.walk import FileSource, Stream

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rsdos.engine.engine import Engine

_MOST_NAMES = 1024
"""Names that a worker gets at a time: at 10 us a file it asks every 10 ms, and waits for 0.1."""

_SLOW = 0.1
"""Seconds. A worker that needs more time for its names gets half as many the next time, so that large files are
handed out one by one."""

_MORE = "more"
"""The message of a worker: send the next names."""


class WorkerPool:
    """Some processes that store files in one container. A context manager; one thread. See `WorkerProcesses`."""

    def __init__(self, engine: Engine, form: StoredAs, jobs: int) -> None:
        """Start at most ``jobs`` workers when the block begins; fewer, or none, where the system allows no more."""
        self._engine = engine
        self._form = form
        self._workers = WorkerProcesses(engine, jobs, partial(_serve, form=self._form))

    @property
    def shortage(self) -> str:
        """See `WorkerProcesses.shortage`."""
        return self._workers.shortage

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    def store(self, sources: Iterable[FileSource], tell: Callable[[int], None]) -> Iterator[ChunkResult]:
        """Do `store_files` with all workers, once. Yield chunks in the order in which they are done.

        This process stores the streams, and everything if no worker could be started. Raise the error of a worker,
        and `WorkerDied`.
        """
        if not self._workers.pipes:
            yield from store_files(self._engine, sources, self._form, tell)
            return
        yield from self._hand_out(iter(sources), tell)

    def _hand_out(self, rest: Iterator[FileSource], tell: Callable[[int], None]) -> Iterator[ChunkResult]:
        """Give names to each worker that asks, until all have ended."""
        workers = self._workers
        portions = {pipe: Portion() for pipe in workers.pipes}
        while workers.pipes:
            for pipe in wait_for(workers.pipes):
                message = workers.receive(pipe)
                if message == _MORE:
                    names, streams = _portion(rest, portions[pipe].size())
                    workers.send(pipe, names)
                    if streams:
                        yield from store_files(self._engine, streams, self._form, tell)
                elif isinstance(message, ChunkResult):
                    yield message
                elif isinstance(message, int):
                    tell(message)


def _portion(rest: Iterator[FileSource], size: int) -> tuple[list[str], list[Stream]]:
    """Take the next names (none only at the end), and the streams among them."""
    names: list[str] = []
    streams: list[Stream] = []
    while not names and (some := list(islice(rest, size))):
        names += [source for source in some if isinstance(source, str)]
        if len(names) < len(some):
            streams += [source for source in some if isinstance(source, Stream)]
    return names, streams


class Portion:
    """How many names one worker gets the next time it asks."""

    def __init__(self) -> None:
        self._size = 8
        self._asked = monotonic()

    def size(self) -> int:
        """Return the number of names. It grows while the worker is quick, and shrinks when it is slow."""
        now = monotonic()
        slow, self._asked = now - self._asked > _SLOW, now
        self._size = max(self._size // 2, 1) if slow else min(self._size * 2, _MOST_NAMES)
        return self._size


def _serve(engine: Engine, pipe: Connection, form: StoredAs) -> None:
    """Work: ask for names, store the files and report them, until there are no more names or the pipe is closed."""

    def names() -> Iterator[str]:
        # One portion at a time, and never while a chunk is sent, so that the two ends never wait for each other.
        while True:
            pipe.send(_MORE)
            some = pipe.recv()
            if not some:
                return
            yield from some

    read = _Tally(pipe)
    for chunk in store_files(engine, names(), form, read.add):
        pipe.send(chunk)


class _Tally:
    """Reports how many bytes were read, ten times a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._size = 0
        self._said = monotonic()

    def add(self, size: int) -> None:
        self._size += size
        now = monotonic()
        if now - self._said > _SLOW:
            self._pipe.send(self._size)
            self._size, self._said = 0, now

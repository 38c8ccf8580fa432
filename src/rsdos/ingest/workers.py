"""Store files in workers: processes that each write a pack of their own."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from rsdos.errors import RsdosError, WorkerDied
from rsdos.ingest.files import ChunkResult, store_files
from rsdos.ingest.walk import FileSource, Stream
from rsdos.model import CompressMode, Place

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from rsdos.engine.engine import Engine

_MOST_NAMES = 1024
"""Names that a worker gets at a time: at 10 us a file it asks every 10 ms, and waits for 0.1."""

_SLOW = 0.1
"""Seconds. A worker that needed more time for its names gets half as many the next time, so that large files are
shared out one by one."""

_MORE = "more"
"""A worker's word for: send the next names. A worker that has ended its work sends None."""

_TOO_MANY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of a system that allows no more processes, or no more memory or descriptors for them."""

MOST_JOBS = 4
"""Processes that are used by default, at most. More of them wait for the disk and for each other's commits."""

_Form: TypeAlias = tuple[Place, CompressMode]
_Message: TypeAlias = ChunkResult | str | int | Exception | None


def default_jobs() -> int:
    """Return how many processes to use on this machine."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_JOBS)


class WorkerPool:
    """Some processes that store files in one container. A context manager; one thread.

    A worker depends on its end of a pipe: it ends when this process ends, however that happens.
    """

    shortage = ""
    """Says why fewer workers were started than asked for; "" if that is not so."""

    def __init__(self, engine: Engine, place: Place, compress: CompressMode, jobs: int) -> None:
        """Start at most ``jobs`` workers when the block begins; fewer, or none, where the system allows no more."""
        self._engine = engine
        self._form = place, compress
        self._jobs = jobs
        self._workers: dict[Connection, Portion] = {}
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        try:
            while len(self._workers) < self._jobs:
                pipe, process = _start(self._engine.opener(), self._form, list(self._workers))
                self._workers[pipe] = Portion()
                self._processes.append(process)
        except OSError as error:
            if error.errno not in _TOO_MANY:
                self._close()
                raise
            self.shortage = f"{len(self._workers)} of {self._jobs} workers could be started: {error.strerror}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Let the workers end, and wait for it: one that has no pipe any more ends with the part that it reads."""
        for worker in self._workers:
            worker.close()
        for process in self._processes:
            process.join()  # Only then the system knows how much memory it took.
            process.close()
        self._processes.clear()

    def store(self, sources: Iterable[FileSource], tell: Callable[[int], None]) -> Iterator[ChunkResult]:
        """Do `store_files` with all workers, once. Yield chunks in the order in which they are done.

        This process stores the streams, and everything if no worker could be started. Raise the error of a worker,
        and `WorkerDied`.
        """
        if not self._workers:
            yield from store_files(self._engine, sources, *self._form, tell)
            return
        yield from self._hand_out(iter(sources), tell)

    def _hand_out(self, rest: Iterator[FileSource], tell: Callable[[int], None]) -> Iterator[ChunkResult]:
        """Give names to each worker that asks, until all have ended."""
        from multiprocessing.connection import wait

        workers = self._workers
        while workers:
            ready = wait(list(workers))
            for worker in [worker for worker in workers if worker in ready]:
                message = _message(worker)
                if message == _MORE:
                    names, streams = _portion(rest, workers[worker].size())
                    worker.send(names)
                    if streams:
                        yield from store_files(self._engine, streams, *self._form, tell)
                elif isinstance(message, ChunkResult):
                    yield message
                elif isinstance(message, int):
                    tell(message)
                else:
                    del workers[worker]
                    worker.close()


def _portion(rest: Iterator[FileSource], size: int) -> tuple[list[str], list[Stream]]:
    """Take the next names, none only at the end, and the streams among them."""
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
        """Return that number. It grows while the worker is quick, and shrinks when it is slow."""
        now = monotonic()
        slow, self._asked = now - self._asked > _SLOW, now
        self._size = max(self._size // 2, 1) if slow else min(self._size * 2, _MOST_NAMES)
        return self._size


def _start(opener: Callable[[], Engine], form: _Form, others: list[Connection]) -> tuple[Connection, BaseProcess]:
    """Start a worker; return this process's end of its pipe, and the process. ``others`` are the pipes so far."""
    import multiprocessing
    import threading

    # A fork starts in 2 ms instead of 150, because it has imported everything already. But it would inherit the locks
    # of other threads, so there must be no other thread, not even one of numpy.
    forks = sys.platform == "linux" and threading.active_count() == 1 and "numpy" not in sys.modules
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    inherited = [mine, *others] if forks else []
    process = context.Process(target=_serve, args=(theirs, inherited, opener, form), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def _message(worker: Connection) -> _Message:
    """Return the next message of a worker. Raise its error, or `WorkerDied`."""
    try:
        message: _Message = worker.recv()
    except (EOFError, ConnectionResetError):
        raise WorkerDied("a worker has died") from None
    if isinstance(message, Exception):
        raise message
    return message


def _serve(pipe: Connection, inherited: Sequence[Connection], opener: Callable[[], Engine], form: _Form) -> None:
    """Work: ask for names, store the files and report them, until there are no more names or the pipe is closed."""
    import signal

    for end in inherited:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that this one works for.

    def names() -> Iterator[str]:
        # One portion at a time, and never while a chunk is sent, so that the two ends never wait for each other.
        while True:
            pipe.send(_MORE)
            some = pipe.recv()
            if not some:
                return
            yield from some

    read = _Tally(pipe)
    try:
        try:
            with closing(opener()) as engine:
                for chunk in store_files(engine, names(), *form, read.add):
                    pipe.send(chunk)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # The process that this one works for has ended, or has failed.
        except Exception as error:  # noqa: BLE001  the other process raises it
            pipe.send(_portable(error))
        pipe.send(None)
    except (BrokenPipeError, ConnectionResetError):
        return


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process. Classes of other packages may not survive a pickle."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        error = MemoryError("a worker has no memory left: fewer jobs take less")
    elif not isinstance(error, RsdosError) and type(error).__module__ != "builtins":
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.__cause__ = error.__context__ = error.__traceback__ = None
    error.add_note(f"In a worker:\n{trace}")
    return error


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

"""Storing files in workers: processes that each write a pack of their own."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

import click

from rsdos.cli.add_chunk import AddOptions, ChunkResult, store_files
from rsdos.cli.process import reason_of
from rsdos.cli.render import echo_error
from rsdos.errors import RsdosError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from rsdos.cli.session import Session

_MOST_NAMES = 1024
"""Names that a worker gets at a time: at 10 us a file it asks every 10 ms, and waits for 0.1."""

_SLOW = 0.1
"""Seconds: a worker that needed more for the names it got gets half as many the next time, so that large files are
shared out one by one."""

_MORE = "more"
"""A worker's word for: the next names, please. When it has no more to say it says None."""

_TOO_MANY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""What the system says when there may be no more processes, or no more memory or descriptors for them."""

MOST_JOBS = 4
"""Processes that are used unasked. More of them wait for the disk and for each other's commits."""


def default_jobs() -> int:
    """How many processes this machine has use for."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_JOBS)


def store_in_workers(
    session: Session, paths: Iterable[str], how: AddOptions, jobs: int, tell: Callable[[int], None]
) -> Iterator[ChunkResult]:
    """`store_files` by ``jobs`` processes; chunks come in the order in which they are done.

    Where the system allows fewer, by fewer; where it allows none, by this one. A worker has nothing but its end of a
    pipe: it ends when this process does, however that happens.
    """
    rest = iter(paths)
    workers: dict[Connection, Portion] = {}
    processes: list[BaseProcess] = []
    try:
        while len(workers) < jobs:
            try:
                pipe, process = _start(session, how, list(workers))
            except OSError as error:
                if error.errno not in _TOO_MANY:
                    raise
                echo_error(f"rsdos: note: {len(workers)} of {jobs} workers could be started: {error.strerror}")
                break
            workers[pipe] = Portion()
            processes.append(process)
        if workers:
            yield from _hand_out(rest, workers, tell)
        else:
            with closing(session.container()) as container:
                yield from store_files(container, rest, how, tell)
        for process in processes:
            process.join()  # Nobody knows before what memory it took.
    finally:
        for worker in workers:
            worker.close()


def _hand_out(
    rest: Iterator[str], workers: dict[Connection, Portion], tell: Callable[[int], None]
) -> Iterator[ChunkResult]:
    """Give names to whichever worker asks, until all have ended."""
    from multiprocessing.connection import wait

    while workers:
        ready = wait(list(workers))
        for worker in [worker for worker in workers if worker in ready]:
            message = _message(worker)
            if message == _MORE:
                worker.send(list(islice(rest, workers[worker].size())))
            elif isinstance(message, ChunkResult):
                yield message
            elif isinstance(message, int):
                tell(message)
            else:
                del workers[worker]
                worker.close()


class Portion:
    """How many names one worker gets the next time it asks."""

    def __init__(self) -> None:
        self._size = 8
        self._asked = monotonic()

    def size(self) -> int:
        now = monotonic()
        slow, self._asked = now - self._asked > _SLOW, now
        self._size = max(self._size // 2, 1) if slow else min(self._size * 2, _MOST_NAMES)
        return self._size


def _start(session: Session, how: AddOptions, others: list[Connection]) -> tuple[Connection, BaseProcess]:
    """A new worker: this process's end of its pipe, and itself; ``others`` are the pipes of those that are there."""
    import multiprocessing
    import threading

    # A fork is there at once, and has imported what this process has: 2 ms and not 150. It would inherit the locks of
    # other threads: there must be none, those of numpy included.
    forks = sys.platform == "linux" and threading.active_count() == 1 and "numpy" not in sys.modules
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    inherited = [mine, *others] if forks else []
    process = context.Process(target=_serve, args=(theirs, inherited, session, how), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def _message(worker: Connection) -> ChunkResult | str | int | None:
    """What a worker says. Raises what it failed with."""
    try:
        message = worker.recv()
    except (EOFError, ConnectionResetError):
        raise click.ClickException("a worker has died") from None
    if isinstance(message, ChunkResult) and message.failed:
        raise click.ClickException(message.failed)
    assert message is None or isinstance(message, (ChunkResult, str, int))
    return message


def _serve(pipe: Connection, inherited: list[Connection], session: Session, how: AddOptions) -> None:
    """A worker: ask for names, store them, and say so, until there are no more or nobody answers."""
    import signal

    for end in inherited:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Whoever it was sent to is the process that this one works for.

    def names() -> Iterator[str]:
        # One portion at a time, and never while a chunk is sent: neither end can wait for the other then.
        while True:
            pipe.send(_MORE)
            some = pipe.recv()
            if not some:
                return
            yield from some

    read = _Tally(pipe)
    with closing(session.container()) as container:
        try:
            try:
                for chunk in store_files(container, names(), how, read.add):
                    pipe.send(chunk)
            except RsdosError as error:
                pipe.send(_failed(str(error)))
            except OSError as error:
                pipe.send(_failed(reason_of(error)))
            except MemoryError:
                pipe.send(_failed("a worker has no memory left (--jobs 1 takes less)"))
            except Exception as error:  # noqa: BLE001  in one line, and not as a traceback of another process
                pipe.send(_failed(f"{type(error).__name__}: {error} (a bug in rsdos)"))
            pipe.send(None)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


class _Tally:
    """Says how many bytes were read, when they are many or it was not said for a while."""

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


def _failed(reason: str) -> ChunkResult:
    return ChunkResult(0, 0, [], [], reason)

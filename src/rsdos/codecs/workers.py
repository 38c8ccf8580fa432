"""Threads that help the one that reads and writes: with the frames of a large object, or with many small objects."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

from rsdos.errors import WriterPoisoned

_T = TypeVar("_T")


class Job(Generic[_T]):
    """A piece of work, and what came of it."""

    __slots__ = ("_done", "_error", "_process", "_result", "_work")

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work: Callable[[], _T] | None = work
        self._result: _T
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Do it. Never raises: `result` does."""
        work, self._work = self._work, None
        assert work is not None, "a job is done once"
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001  whoever waits for the result gets it
            self._error = error
        finally:
            self._done.release()

    def wait(self) -> None:
        """Wait until it is done. Raises `WriterPoisoned` in a forked child, which has not the threads that do it."""
        if self._process != os.getpid() and self._done.locked():
            raise WriterPoisoned("this call was begun by the process that this one was forked from")
        with self._done:
            pass

    def result(self) -> _T:
        """`wait` for it; returns what it returned, or raises what it raised."""
        self.wait()
        with self._done:
            if self._error is not None:
                raise self._error
            return self._result


class _End:
    """Tells threads to end, by `now` or with the last reference: one call into C, so that no interrupt prevents it."""

    __slots__ = ("__del__", "now")

    now: Callable[[], object]
    """Tell them. Idempotent."""
    __del__: Callable[[], object]

    def __init__(self, jobs: SimpleQueue[Callable[[], None] | None], most: int) -> None:
        self.now = self.__del__ = partial(deque, map(jobs.put, repeat(None, most)), 0)


class Workers:
    """Some threads, and jobs for them, begun in the order given; a context manager, for the thread that made it.

    There are no threads before `start`, and none after the block: what is submitted meanwhile, or where the system
    has no threads to give, is done by the caller at once. They belong to one call that is on its way, so that a fork,
    which does not take them along, finds nothing that waits for them but that.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._end: _End | None = None
        """There as soon as threads are."""
        self._threads: list[threading.Thread] = []
        self._ended: list[bool] = []
        """Not empty: what is submitted still is not begun."""
        self._process = os.getpid()

    def __len__(self) -> int:
        """How many threads there are now."""
        return len(self._threads)

    def start(self, count: int | None = None) -> None:
        """Have at least so many threads from now on, or all there may be."""
        if self._process != os.getpid():
            # Those of the parent are not here.
            self._process, self._threads, self._jobs = os.getpid(), [], SimpleQueue()
            self._end = None
        self._end = self._end or _End(self._jobs, self._most)
        while len(self._threads) < min(self._most if count is None else count, self._most):
            if sys.is_finalizing():
                return  # One that starts now would never get a turn.
            # Daemons: an interpreter that ends does not wait for an object that is never finished.
            thread = threading.Thread(target=_run, args=(self._jobs, self._ended), daemon=True, name="rsdos-worker")
            # Listed first: an interrupt while it starts must not leave one that nobody tells to end.
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError:
                # The process has as many as it may have, or is about to end.
                self._threads.remove(thread)
                return

    def submit(self, work: Callable[[], _T]) -> Job[_T]:
        """Have this done."""
        job = Job(work)
        if self._threads and self._process == os.getpid():
            self._jobs.put(job.run)
        else:
            job.run()
        return job

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threads, self._threads = self._threads, []
        self._ended.append(True)
        if self._end:
            self._end.now()
        for thread in threads:
            with suppress(RuntimeError):  # It was interrupted before it had started, and ends by itself if it does.
                thread.join()


def _run(jobs: SimpleQueue[Callable[[], None] | None], ended: list[bool]) -> None:
    """A thread. It has no reference to its `Workers`: with the last of these it is told to end."""
    while (run := jobs.get()) and not ended:
        run()
        del run  # Waiting for the next one it would keep the frame of this one.


def in_shares(work: Callable[[slice], list[_T]], count: int, threads: int) -> list[_T]:
    """What ``work`` makes of ``count`` items, in order: ``threads`` equal shares at once, the first by the caller.

    None is empty: there are no more of them than items. The work should spend its time without Python's lock. Where it
    raises, this does, when no thread is at it any more.
    """
    threads = min(threads, count)
    shares = [slice(count * at // threads, count * (at + 1) // threads) for at in range(threads)]
    with Workers(threads - 1) as workers:
        workers.start()
        others = [workers.submit(partial(work, share)) for share in shares[1:]]
        done = work(shares[0])
        for job in others:
            done += job.result()
        return done


class Threads:
    """A context manager; the threads are made at the first use that is worth it, and gone at the end of the block.

    Where there are none to be had (a limit of the system, an interpreter that ends), the calling thread does it all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._workers: Workers | None = None

    def each(self, do: Callable[[_T], object], those: Sequence[_T]) -> None:
        """Do something with each. Raises what the first that fails does, when no thread is at it any more."""
        shares = min(self._most, len(those))
        if shares < 2:
            for one in those:
                do(one)
            return

        def do_all(some: Iterable[_T]) -> None:
            for one in some:
                do(one)

        workers = self._workers = self._workers or Workers(self._most)
        workers.start(shares)
        # A share for each thread, and not one by one: handing one over takes 20 us.
        running: list[Job[None]] = []
        try:
            for at in range(shares):
                running.append(workers.submit(partial(do_all, those[at::shares])))
            for job in running:
                job.wait()
        finally:
            for job in running:
                job.wait()  # After an interrupt too: what they work on is closed then.
        for job in running:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers:
            self._workers.__exit__(kind, error, trace)

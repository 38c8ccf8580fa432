"""Threads that help the calling thread, with the frames of a large object or with many small objects."""

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
    """A piece of work, and its result."""

    __slots__ = ("_done", "_error", "_process", "_result", "_work")

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work: Callable[[], _T] | None = work
        self._result: _T
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Do the work. Never raise: `result` does."""
        work, self._work = self._work, None
        assert work is not None, "a job is done once"
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001  `result` raises it
            self._error = error
        finally:
            self._done.release()

    def wait(self) -> None:
        """Wait until the work is done. Raise `WriterPoisoned` in a forked child, which does not have the threads."""
        if self._process != os.getpid() and self._done.locked():
            raise WriterPoisoned("the parent process of this fork began this call")
        with self._done:
            pass

    def result(self) -> _T:
        """Wait for the work. Return its result, or raise its error."""
        self.wait()
        with self._done:
            if self._error is not None:
                raise self._error
            return self._result


class _End:
    """Ends threads, by `now` or when the last reference goes: by one call into C, which no interrupt can split."""

    __slots__ = ("__del__", "now")

    now: Callable[[], object]
    """End the threads. Idempotent."""
    __del__: Callable[[], object]

    def __init__(self, jobs: SimpleQueue[Callable[[], None] | None], most: int) -> None:
        self.now = self.__del__ = partial(deque, map(jobs.put, repeat(None, most)), 0)


class Workers:
    """Threads, and jobs that they begin in order. A context manager, for the thread that made it.

    There are no threads before `start` and after the block, or if the system refuses to start one: the caller then does
    a submitted job at once. The threads belong to one running call. A fork does not copy them, and in the child only
    that call can wait for them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._end: _End | None = None
        """Set when the first thread is started."""
        self._threads: list[threading.Thread] = []
        self._ended: list[bool] = []
        """Not empty: no further job is begun."""
        self._process = os.getpid()

    def __len__(self) -> int:
        """Return the number of threads."""
        return len(self._threads)

    def start(self, count: int | None = None) -> None:
        """Start threads until there are ``count`` of them, or as many as allowed (None)."""
        if self._process != os.getpid():
            # A forked child does not have the threads of its parent.
            self._process, self._threads, self._jobs = os.getpid(), [], SimpleQueue()
            self._end = None
        self._end = self._end or _End(self._jobs, self._most)
        while len(self._threads) < min(self._most if count is None else count, self._most):
            if sys.is_finalizing():
                return  # A thread that starts now would never run.
            # Daemon threads: the interpreter does not wait at exit for an object that is never finished.
            thread = threading.Thread(
                target=_run_jobs, args=(self._jobs, self._ended), daemon=True, name="rsdos-worker"
            )
            # Append first: an interrupt during the start must not leave a thread that is never ended.
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError:
                # The process has reached its limit of threads, or is ending.
                self._threads.remove(thread)
                return

    def submit(self, work: Callable[[], _T]) -> Job[_T]:
        """Submit work. Return its job."""
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
            with suppress(RuntimeError):  # Its start was interrupted; if it runs nevertheless, it ends by itself.
                thread.join()


def _run_jobs(jobs: SimpleQueue[Callable[[], None] | None], ended: list[bool]) -> None:
    """Run jobs in a thread. It holds no reference to its `Workers`, whose end therefore ends the thread."""
    while (run := jobs.get()) and not ended:
        run()
        del run  # Otherwise it would keep its frame while the thread waits for the next job.


def in_shares(work: Callable[[slice], list[_T]], count: int, threads: int) -> list[_T]:
    """Do ``work`` on ``count`` items in equal shares, one for each thread. Return the results in order.

    The calling thread does the first share. There are at most as many threads as items. The work should release
    Python's lock. An error of the work is raised after all threads have ended.
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
    """A context manager with threads that start at the first use that needs them, and end with the block.

    If none can be started (a limit of the system, an interpreter that ends), the calling thread does all work.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._workers: Workers | None = None

    def each(self, do: Callable[[_T], object], those: Sequence[_T]) -> None:
        """Call ``do`` for each item. Raise the first error after all threads have ended."""
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
        # One share for each thread: handing over a single item takes 20 us.
        running: list[Job[None]] = []
        try:
            for at in range(shares):
                running.append(workers.submit(partial(do_all, those[at::shares])))
            for job in running:
                job.wait()
        finally:
            for job in running:
                job.wait()  # After an interrupt too: the caller closes the files that they use.
        for job in running:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers:
            self._workers.__exit__(kind, error, trace)

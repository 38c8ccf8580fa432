"""Work that is done elsewhere: by any `concurrent.futures.Executor`, on this machine or on many.

The work is a function of a module and picklable arguments; where it is done, an engine of that process is opened for
the same container. A part of the work that is lost with its process is the executor's to repeat, or the caller's: all
work that is handed out may be done twice.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar, cast

from rsdos.engine.workers import Jobs, default_jobs, portable
from rsdos.errors import WorkerDied

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

_Part = TypeVar("_Part")
_Done = TypeVar("_Done")

AHEAD = 32
"""Parts that are handed out and not done yet: so many workers can be busy at once."""

_KEPT = 4
"""Containers that a worker keeps open."""


@contextmanager
def executor_of(jobs: Jobs) -> Iterator[Executor]:
    """Yield the executor; or one of so many new processes, which end with the block."""
    if isinstance(jobs, Executor):
        yield jobs
        return
    context = get_context("spawn")  # A fork would inherit the locks of other threads.
    with ProcessPoolExecutor(jobs or default_jobs(), context) as executor:
        yield executor


class HandedOut:
    """Hands parts of some work on one container to an executor. One thread."""

    def __init__(self, executor: Executor, engine: Engine) -> None:
        self._executor = executor
        self._opener = pickle.dumps(engine.opener())

    def submit(self, do: Callable[[Engine, _Part], _Done], part: _Part) -> Future[_Done]:
        """Hand out one part. ``do`` can be pickled."""
        try:
            return self._executor.submit(_do, self._opener, do, part)
        except BrokenExecutor as error:
            raise _died(error) from error

    def as_done(self, do: Callable[[Engine, _Part], _Done], parts: Iterable[_Part]) -> Iterator[_Done]:
        """Yield what ``do`` makes of each part, as soon as it is done.

        Raise what ``do`` raises, and `WorkerDied`. What was begun then, or when the iteration is given up, continues.
        """
        running: set[Future[_Done]] = set()
        rest = iter(parts)
        try:
            while True:
                while len(running) < AHEAD and (part := next(rest, None)) is not None:
                    running.add(self.submit(do, part))
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.remove(future)
                    yield result_of(future)
        finally:
            for future in running:
                future.cancel()


def result_of(future: Future[_Done]) -> _Done:
    """Return the result of a part, or raise its error. Raise `WorkerDied`."""
    try:
        return future.result()
    except BrokenExecutor as error:
        raise _died(error) from error


def _died(error: BrokenExecutor) -> WorkerDied:
    return WorkerDied(f"a worker has died: {error}")


def _do(opener: bytes, do: Callable[[Engine, _Part], _Done], part: _Part) -> _Done:
    """Do one part. This runs in a worker."""
    engine = _opened(opener)
    try:
        return do(engine, part)
    except Exception as error:  # noqa: BLE001  classes of other packages may not survive the way back
        failure = portable(error)
    finally:
        engine.rest()
        if not engine.is_same():
            _opened.cache_clear()
    # Not in the handler: the error there, which may have more to tell than is meant for others, would go with it.
    raise failure


@lru_cache(_KEPT)
def _opened(opener: bytes) -> Engine:
    """Return the engine of this process for a container."""
    return cast("Callable[[], Engine]", pickle.loads(opener))()

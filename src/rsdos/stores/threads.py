"""System calls that wait, made by a few threads at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from rsdos.codecs import Job, Workers

_T = TypeVar("_T")


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

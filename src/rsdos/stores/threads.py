"""System calls that wait, made by a few threads at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_T = TypeVar("_T")


class Threads:
    """A context manager; the threads are made at the first use that is worth it, and gone at the end of the block."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    def each(self, do: Callable[[_T], object], those: Sequence[_T]) -> None:
        """Do something with each. Raises what the first that fails does, when no thread is at it any more."""

        def do_all(some: Iterable[_T]) -> None:
            for one in some:
                do(one)

        shares = min(self._most, len(those))
        if shares < 2:
            do_all(those)
            return
        from concurrent.futures import ThreadPoolExecutor, wait

        self._pool = self._pool or ThreadPoolExecutor(self._most)
        # A share for each thread, and not one by one: handing one over takes 20 us.
        running = [self._pool.submit(do_all, those[at::shares]) for at in range(shares)]
        try:
            wait(running)
        finally:
            wait(running)  # After an interrupt too: what they work on is closed then.
        for future in running:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown()

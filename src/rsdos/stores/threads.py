"""System calls that wait, made by a few threads at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def together(do: Callable[[_T], None], those: Sequence[_T], threads: int) -> None:
    """Do something with each. Raises what the first that fails does, when no thread is at it any more."""

    def do_all(some: Iterable[_T]) -> None:
        for one in some:
            do(one)

    threads = min(threads, len(those))
    if threads < 2:
        do_all(those)
        return
    from concurrent.futures import ThreadPoolExecutor

    # A share for each thread, and not one by one: handing one over takes 20 us.
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(do_all, (those[at::threads] for at in range(threads))):
            pass

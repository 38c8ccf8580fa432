"""Progress of a long operation, and the time that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from rsdos.protocols import Progress


class Silence:
    """A `Progress` that ignores every call."""

    def start(self, description: str, total: int | None, unit: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass

    def finish(self) -> None:
        pass


SILENCE: Final[Progress] = Silence()


def by_files(progress: Progress) -> Callable[[int, int], None]:
    """Return how files and their raw bytes are reported: both to a `FileProgress`, only the bytes to another one."""
    both: Callable[[int, int], None] | None = getattr(progress, "advance_files", None)
    return both or (lambda files, size: progress.advance(size))


@contextmanager
def step(progress: Progress, description: str, total: int | None, unit: str) -> Iterator[None]:
    """Show a step of an operation for the length of a block; see `Progress.start`. It is finished in any case."""
    progress.start(description, total, unit)
    try:
        yield
    finally:
        progress.finish()


class Stopwatch:
    """Measures how long an operation takes, from the moment when this is made."""

    def __init__(self) -> None:
        self._begun = monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since then."""
        return monotonic() - self._begun

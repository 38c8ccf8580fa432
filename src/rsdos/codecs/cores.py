"""How many threads may help the one that reads and writes."""

import os

from rsdos.errors import InvalidOption

_MOST = 4
"""Threads unless more are asked for: four compress, at zstd 1, what one thread reads, hashes and writes meanwhile."""

_LIMIT = 64

_WORTH = 1 << 18
"""Raw bytes of small objects from which on a second thread pays: starting it takes 0.1 ms, as long as 60 KB of zstd."""

_threads: int | None = None


def set_threads(count: int | None) -> None:
    """How many threads may help in this process with much that is compressed, or with one object larger than 4 MiB.

    0: none, all is done by the thread that asks for it. None, as it is at first: as many as there are processors for
    this process, at most 4, and none where there is one only. They compress and decompress with zstd, and hash a large
    object that is compressed otherwise or not at all; they are started for one call and are gone when it returns. There
    are fewer where they would need more memory than one object may (64 MiB): three at zstd 9, one at 19. Raises
    `InvalidOption`.
    """
    global _threads  # noqa: PLW0603  processors are the process's, whatever containers it has open
    if count is not None and (type(count) is not int or not 0 <= count <= _LIMIT):
        raise InvalidOption(f"threads is a whole number from 0 to {_LIMIT}, or None, not {count!r:.40}")
    _threads = count


def threads() -> int:
    """How many threads may help."""
    if _threads is not None:
        return _threads
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none.
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(count, _MOST) if count > 1 else 0


def threads_for(size: int) -> int:
    """The threads that do ``size`` raw bytes of small objects in one call, while the caller waits: 1 for a little."""
    return max(threads(), 1) if size >= _WORTH else 1

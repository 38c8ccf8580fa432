"""The number of threads that may help the calling thread."""

import os

from rsdos.errors import InvalidOption

_MOST = 4
"""Threads by default at most: at zstd 1, four compress as fast as one thread reads, hashes and writes."""

_LIMIT = 64

_WORTH = 1 << 18
"""Raw bytes of small objects from which on a second thread pays: starting it takes as long as 60 KB of zstd."""

_threads: int | None = None


def set_threads(count: int | None) -> None:
    """Set the number of threads that may help a call in this process.

    They help with many compressed objects, and with one object larger than 4 MiB: they compress and decompress with
    zstd, and hash a large object of another codec. They are started for one call, and have ended when it returns. Fewer
    are started if they would need more than 64 MiB for one object: three at zstd 9, one at 19. If a medium lets a call
    for many objects wait, up to 16 read at once, on any number of processors, unless ``count`` is less.

    Args:
        count: 0 for none: the calling thread does all work. None, the default, for the number of processors of this
            process, at most 4, and none on a single processor.

    Raises:
        InvalidOption: the count is not a whole number from 0 to 64.
    """
    global _threads  # noqa: PLW0603  processors are the process's, whatever containers it has open
    if count is not None and (type(count) is not int or not 0 <= count <= _LIMIT):
        raise InvalidOption(f"threads is a whole number from 0 to {_LIMIT}, or None, not {count!r:.40}")
    _threads = count


def threads() -> int:
    """Return the number of threads that may help."""
    if _threads is not None:
        return _threads
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none.
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(count, _MOST) if count > 1 else 0


def most_waiting(count: int) -> int:
    """Return how many threads may wait for a medium at once: ``count``, whatever the processors, or what was set."""
    return count if _threads is None else min(count, max(_threads, 1))


def threads_for(size: int) -> int:
    """Return the number of threads for ``size`` raw bytes of small objects in one call: 1 for a few bytes."""
    return max(threads(), 1) if size >= _WORTH else 1

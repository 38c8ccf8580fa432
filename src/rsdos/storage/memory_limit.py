"""How much memory this process may use: for files that are better not held in memory whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

_CGROUPS = "/sys/fs/cgroup"


@cache
def memory_limit() -> int:
    """Return the bytes of memory of this machine, or of the limit of the group of processes (cgroup) if that is less.

    Batch systems and containers set such limits; pages of files count. What is asked once is remembered.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 1 << 62
    return min([memory, *_limits()])


def _limits() -> Iterator[int]:
    """Yield the limits of the groups that this process is in, of cgroups of both versions."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield from _limits_above(_CGROUPS, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_above(f"{_CGROUPS}/memory", group, "memory.limit_in_bytes")


def _limits_above(root: str, group: str, name: str) -> Iterator[int]:
    """Yield the limits of a group and of all that it is in."""
    steps = group.strip("/").split("/")
    for count in range(len(steps), -1, -1):
        text = _read("/".join([root, *steps[:count], name])).strip()
        if text.isdecimal():
            yield int(text)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(1 << 16)
    except OSError:
        return ""

"""Special files: FIFOs, sockets and devices. No snapshot has one."""

from __future__ import annotations

MOST_NAMED = 10
"""The most that are named: of a /dev that somebody saves there are hundreds."""


class SpecialFiles:
    """The special files that were passed over so far, counted, and the first of them."""

    def __init__(self) -> None:
        self.number = 0
        self._first: list[bytes] = []

    def add(self, path: bytes) -> None:
        """Count one. ``path`` is the path below the directory, or in the archive."""
        self.number += 1
        if len(self._first) < MOST_NAMED:
            self._first.append(path)

    @property
    def first(self) -> tuple[bytes, ...]:
        """The paths of the first, `MOST_NAMED` at most."""
        return tuple(self._first)

"""The ids that a process has reserved, and gives to its packs, segment files and pack tables."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from rsdos.errors import Busy
from rsdos.index import reservations
from rsdos.index.manifest import Manifest, Published
from rsdos.model import Durability
from rsdos.storage import chance

RESERVED_AT_ONCE = 16
"""The least number of ids that a writer reserves by one commit."""


class Reserving(Protocol):
    """Commits reservations."""

    @property
    def known(self) -> Manifest | None:
        """The newest manifest that was read or made here, if any was. No request."""

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Published:
        """Publish what ``change`` makes of the newest manifest, and return it."""


class Ids:
    """The ids that are reserved for this object, which gives each id out once. Any number of threads.

    In a forked child the object starts without ids: the parent still gives out its own.
    """

    def __init__(self, commits: Reserving) -> None:
        self._commits = commits
        self.make_room: Callable[[], None] = lambda: None
        """Drops reservations of dead writers, where the list of them is full."""
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._giving = threading.RLock()
        self._free: list[range] = []
        self._token = chance.token(128)

    def _lock(self) -> threading.RLock:
        """Return the lock on the ids. After a fork make a new one: a thread of the parent may hold the old one."""
        if self._process != os.getpid():
            self._begin()
        return self._giving

    @property
    def token(self) -> str:
        """The token that names the reservations."""
        if self._process != os.getpid():
            self._begin()
        return self._token

    def take(self) -> int:
        """Return an id that no other process has or gets. Commit a reservation if none is left."""
        return self.take_run(1)

    def take_run(self, count: int) -> int:
        """Return the first of ``count`` ids that follow one another. Commit a reservation if there are none."""
        with self._lock():
            token = self._token
            self._forget_expired()
            if not any(len(free) >= count for free in self._free):
                self._reserve(max(count, RESERVED_AT_ONCE), token)
            at, free = next((at, free) for at, free in enumerate(self._free) if len(free) >= count)
            self._free[at : at + 1] = [free[count:]] if len(free) > count else []
            return free[0]

    def reserve(self, count: int) -> None:
        """Commit a reservation if fewer than ``count`` ids are left."""
        with self._lock():
            token = self._token
            self._forget_expired()
            if sum(map(len, self._free)) < count:
                self._reserve(count, token)

    def drop(self) -> None:
        """Forget all reserved ids: the reservation was taken back."""
        with self._lock():
            self._free = []

    def give_up(self) -> Sequence[range]:
        """Return the ids that were reserved and not given out, and forget them."""
        with self._lock():
            free, self._free = self._free, []
        return free

    def _forget_expired(self) -> None:
        """Forget ids that were taken back, by the newest known manifest: a process may have done nothing for days."""
        if self._free and (newest := self._commits.known):
            rows = reservations.reserved_under(newest, self._token)
            self._free = [free for free in self._free if any(row.has(free) for row in rows)]

    def _reserve(self, count: int, token: str) -> None:
        def change(newest: Manifest) -> Manifest:
            return reservations.reserve(newest, count, token)

        try:
            manifest = self._commits.commit(change, Durability.FULL).manifest
        except Busy:
            if (known := self._commits.known) is None or not reservations.is_full(known):
                raise
            self.make_room()
            manifest = self._commits.commit(change, Durability.FULL).manifest
        row = reservations.reserved_under(manifest, token)[-1]
        self._free.append(range(row.first, row.end))

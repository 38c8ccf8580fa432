"""The simulated medium: whole objects under names, and a clock of its own. It does what it is asked at once.

What goes wrong between a machine and the bucket is `tests.protocol.client`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rsdos.storage.base import Put, PutResult


class Kept(NamedTuple):
    """An object. ``time`` is the bucket's, in seconds."""

    data: bytes
    time: float
    version: int


class Change(NamedTuple):
    """A change that the bucket has made; ``sender`` is the operation that asked for it, however long ago."""

    verb: str
    name: str
    sender: object


class Bucket:
    """Objects, and everything that was ever done to them. One thread at a time."""

    def __init__(self, began: float) -> None:
        self.clock = began
        self.objects: dict[str, Kept] = {}
        self.changes = 0
        self.watch: Callable[[Change], None] = lambda change: None
        """Is told of each change, after it."""
        self.stored: dict[str, bytes] = {}
        """What was ever put under each name."""
        self._seen: dict[str, list[tuple[int, bool]]] = {}
        """When each name came and went, in changes, for listings that are late."""

    def put_new(self, name: str, data: bytes, sender: object) -> PutResult:
        """Store an object unless its name is taken."""
        if name in self.objects:
            return PutResult(Put.TAKEN)
        self.stored.setdefault(name, data)
        self._keep(name, data)
        self._note("put_new", name, sender)
        return PutResult(Put.OURS, (self.objects[name].version,))

    def empty(self, name: str, sender: object) -> None:
        """Drop the bytes of an object. Raise FileNotFoundError."""
        self.get(name)
        self._keep(name, b"")
        self._note("empty", name, sender)

    def remove(self, name: str, sender: object) -> bool:
        """Remove an object; return whether it was there."""
        if self.objects.pop(name, None) is None:
            return False
        self._note("remove", name, sender)
        return True

    def get(self, name: str) -> Kept:
        """Return an object. Raise FileNotFoundError."""
        kept = self.objects.get(name)
        if kept is None:
            raise FileNotFoundError(2, "no such object", name)
        return kept

    def names(self, directory: str, after: str, most: int | None, late: int = 0) -> Iterator[str]:
        """Yield the names in a directory as they were ``late`` changes ago."""
        prefix = f"{directory}/"
        then = self.changes - late
        found = sorted(
            name.removeprefix(prefix) for name in self._seen if name.startswith(prefix) and self._was_there(name, then)
        )
        yield from [name for name in found if "/" not in name and name > after][:most]

    def _was_there(self, name: str, then: int) -> bool:
        if then >= self.changes:
            return name in self.objects
        was = False
        for at, there in self._seen[name]:
            if at > then:
                break
            was = there
        return was

    def _keep(self, name: str, data: bytes) -> None:
        self.objects[name] = Kept(data, self.clock, self.changes + 1)

    def _note(self, verb: str, name: str, sender: object) -> None:
        self.changes += 1
        self._seen.setdefault(name, []).append((self.changes, verb != "remove"))
        self.watch(Change(verb, name, sender))

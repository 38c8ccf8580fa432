"""What the tests of attacks share: a medium that can be stopped at a request, and a clock that they set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rsdos import Container
from rsdos.maintenance import collect
from rsdos.storage.base import Storage, Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import READING, StorageCall, StorageWrapper
from rsdos.stores.remote.collect import CollectOptions
from tests.protocol import documents

_T = TypeVar("_T")

DAY = 86_400.0
BEGAN = 1_700_000_000.0
"""Seconds, of the medium's clock."""


class Bucket(MemoryStorage):
    """A medium behind a network, whose clock a test sets."""

    def __init__(self) -> None:
        super().__init__("bucket", Traits("memory"))
        self.now = BEGAN
        self.clock = lambda: self.now

    def manifests(self) -> list[str]:
        """Return the names of the manifests, oldest first."""
        return [f"{documents.MANIFESTS}/{name}" for name in sorted(self.list(documents.MANIFESTS), reverse=True)]

    def names(self) -> set[str]:
        """Return the names of all objects."""
        return set(self._objects)


class OverNetwork(StorageWrapper):
    """A medium whose objects cannot be read any more once they were removed, although they are open."""

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        if call.verb in READING and not self.inner.exists(call.name):
            raise FileNotFoundError(2, "no such object", self.path(call.name))
        return do()


class Stopped(StorageWrapper):
    """What one machine has of a medium: it is stopped before some request, once, and ``does`` happens there."""

    def __init__(self, inner: Storage, stops: Callable[[StorageCall], bool], does: Callable[[], object]) -> None:
        super().__init__(inner)
        self._stops = stops
        self._does: Callable[[], object] | None = does

    @property
    def was_stopped(self) -> bool:
        """Whether it happened."""
        return self._does is None

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        if self._does is not None and self._stops(call):
            does, self._does = self._does, None
            does()
        return do()


def is_put_of(directory: str) -> Callable[[StorageCall], bool]:
    """Return whether a request puts an object in a directory."""
    return lambda call: call.verb == "put_new" and call.name.startswith(f"{directory}/")


class AfterUploads:
    """Is true of the put of a manifest once so many packs were put: that is the last commit of an operation."""

    def __init__(self, packs: int = 1) -> None:
        self._left = packs

    def __call__(self, call: StorageCall) -> bool:
        if is_put_of("packs")(call):
            self._left -= 1
        return self._left <= 0 and is_put_of(documents.MANIFESTS)(call)


def collected(bucket: Bucket) -> None:
    """Collect what is dead, by a machine of its own."""
    engine = Container(bucket).engine
    collect.execute(engine, collect.plan(engine, CollectOptions()))


def is_whole(bucket: Bucket) -> bool:
    """Return whether a full validation finds nothing."""
    return Container(bucket).validate("full").is_good

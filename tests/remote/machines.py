"""A bucket in memory, and machines that use it: each has a storage of its own, and no locks that another sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rsdos import Container
from rsdos.index.manifest import Manifest
from rsdos.storage.base import Storage, Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import CHANGING, StorageCall, StorageWrapper
from rsdos.stores.packed.store import PackedStore
from rsdos.testing import FaultyStorage

_T = TypeVar("_T")

HOUR = 3600.0
DAY = 24 * HOUR


class Bucket(MemoryStorage):
    """A medium that cannot append or lock, with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0
        super().__init__("bucket", Traits("memory"), lambda: self.now)

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory."""
        return [f"{directory}/{name}" for name in self.list(directory)]

    def length_of(self, *directories: str) -> int:
        """Return the bytes of all objects in some directories."""
        infos = (self.stat(name) for directory in directories for name in self.names(directory))
        return sum(info.length for info in infos if info)


def packed_of(container: Container) -> PackedStore:
    """Return the packed store of a container."""
    packed = container.engine.packed
    assert isinstance(packed, PackedStore)
    return packed


def newest(storage: Storage) -> Manifest:
    """Return the newest manifest, as a machine that has just come sees it."""
    return packed_of(Container(storage)).index.newest()


def is_whole(storage: Storage) -> bool:
    """Return whether a full validation by another machine finds nothing wrong."""
    report = Container(storage).validate("full")
    return report.is_finished and not (report.damaged or report.damaged_files)


def is_commit(call: StorageCall) -> bool:
    """Return whether a call puts a manifest."""
    return call.verb == "put_new" and call.name.startswith("manifests/")


def puts(directory: str) -> Callable[[StorageCall], bool]:
    """Return what tells the puts of objects in a directory."""
    return lambda call: call.verb in ("put_new", "put_stream") and call.name.startswith(f"{directory}/")


def commit_behind_a_pack() -> Callable[[StorageCall], bool]:
    """Return what tells commits that come after the put of a pack: those of inserts, deletes and repacks."""
    seen: list[bool] = []

    def chosen(call: StorageCall) -> bool:
        if puts("packs")(call):
            seen.append(True)
        return bool(seen) and is_commit(call)

    return chosen


def nth_change(at: int) -> Callable[[StorageCall], bool]:
    """Return what tells the call number ``at``, from 0, of those that change anything."""
    seen: list[StorageCall] = []

    def chosen(call: StorageCall) -> bool:
        if call.verb in CHANGING:
            seen.append(call)
        return len(seen) == at + 1

    return chosen


class KilledStorage(StorageWrapper):
    """The way to a medium of a machine that dies at a call, which may arrive nevertheless. No later one does."""

    def __init__(self, inner: Storage, chosen: Callable[[StorageCall], bool], *, arrives: bool = False) -> None:
        super().__init__(inner)
        self._chosen = chosen
        self._arrives = arrives
        self._is_dead = False
        self._calling = threading.Lock()

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        with self._calling:
            if not self._is_dead and not self._chosen(call):
                return do()
            if not self._is_dead and self._arrives:
                do()
            self._is_dead = True
            raise ConnectionError("the machine is off")


@contextmanager
def before(
    storage: Storage, chosen: Callable[[StorageCall], bool], do: Callable[[], object]
) -> Iterator[FaultyStorage]:
    """Yield a storage on which something else runs whole before the first call that is ``chosen``.

    It must have run when the block ends.
    """
    done: list[bool] = []

    def fault(call: StorageCall) -> None:
        if not done and chosen(call):
            done.append(True)
            do()

    yield FaultyStorage(storage, fault)
    assert done, "the call that was waited for never came"

"""Objects that were read from a remote, kept in packs on this machine: in a cache, or in a lazy clone.

The near packs, those on this machine, are the packs of an ordinary container of version 2. So many processes share
them, and a process may be killed at any time. The caller of a keeper has compared each object with its hash. Small
objects are gathered and committed together. If a process is killed before, they are read from the remote again.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Protocol

from rsdos.errors import DamagedContainer, DamagedObject, RsdosError, log_warning
from rsdos.model import BytesLike, CompressMode, Copy, Durability, PackKind, Trust
from rsdos.storage.base import Storage
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.evict import evict, old_packs
from rsdos.stores.packed.store import PackedStore

_MOST_GATHERED = 8 << 20
"""Bytes of small objects that wait to be committed."""

_MOST_OBJECTS = 1 << 12
"""Small objects that wait to be committed: the commit of this many takes 10 ms."""

_MOST_UNFINISHED = 4
"""Keepers of a process that may have gathered objects: each has up to 8 MiB of them."""

PACKS = 16
"""A cache has about this many packs. When it is full, the oldest is removed: a sixteenth of the budget."""


class Keeper:
    """See the module. Any number of threads. A failure of the near packs is a warning in the log, never an error."""

    def __init__(self, near: PackedStore, budget: int | None = None) -> None:
        """``budget``: stored bytes beyond which the oldest packs are removed; None: no pack is ever removed."""
        self._near = near
        self._budget = budget
        self._encoding = Encoding(CompressMode.AUTO, near.compression)
        self._gathered: dict[bytes, tuple[bytes, PackKind]] = {}
        self._committed: dict[bytes, tuple[bytes, PackKind]] = {}
        """The objects that another thread is committing now."""
        self._length = 0
        self._changing = threading.RLock()
        self._committing = threading.RLock()
        self._has_failed = False
        self._old = old_packs(near.context, budget) if budget is not None else frozenset[int]()
        """The oldest quarter of the packs, once the cache is nearly full: objects that are read there are kept anew."""

    # Reading.

    def read(self, digest: bytes) -> bytes | None:
        """Return an object, or None."""
        gathered = self._gathered.get(digest) or self._committed.get(digest)
        if gathered:
            return gathered[0]
        try:
            data = self._near.read(digest)
            if data is not None and self._old:
                self._renew(digest, data)
        except (RsdosError, OSError) as error:
            self._warn("read", error)
            return None
        return data

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """Yield the positions and the bytes of the objects that are here, as `rsdos.stores.base.Store.read_lists`."""
        rest = []
        for at, digest in enumerate(digests):
            gathered = self._gathered.get(digest) or self._committed.get(digest)
            if gathered:
                yield (at,), (gathered[0],)
            else:
                rest.append(at)
        try:
            for positions, payloads in self._near.read_lists([digests[at] for at in rest], self._or_none):
                if self._old:
                    for at, data in zip(positions, payloads, strict=True):
                        self._renew(digests[rest[at]], data)
                yield [rest[at] for at in positions], payloads
        except (RsdosError, OSError) as error:
            self._warn("read", error)

    def _or_none(self, digest: bytes) -> bytes | None:
        try:
            return self._near.read(digest)
        except (DamagedObject, DamagedContainer):
            return None

    def has(self, digest: bytes) -> bool:
        """Return whether there is a copy, which may be damaged."""
        try:
            return self._near.may_have(digest)
        except (RsdosError, OSError):
            return False

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        """Return the parts of an object, or None. They raise `DamagedObject`."""
        return self._near.frames(digest)

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        """Return a stream of an object, or None. Raise `DamagedObject`."""
        return self._near.stream(digest)

    # Keeping.

    def takes(self, size: int) -> bool:
        """Return whether an object of this size is kept."""
        return not self._has_failed and (self._budget is None or size <= self._budget // PACKS)

    def keep(self, digest: bytes, data: bytes, kind: PackKind = PackKind.PLAIN) -> None:
        """Keep an object whose bytes were compared with its hash."""
        if not self.takes(len(data)):
            return
        with self._changing:
            if digest not in self._gathered:
                self._gathered[digest] = data, kind
                self._length += len(data)
            is_full = self._length >= _MOST_GATHERED or len(self._gathered) >= _MOST_OBJECTS
        if is_full:
            self.commit()
        elif id(self) not in _unfinished:
            _finish_later(self)

    def keep_parts(self, digest: bytes, parts: Iterable[BytesLike], size: int, kind: PackKind) -> bool:
        """Keep a large object. Return whether it is here now. Raise what ``parts`` raise."""
        if not self.takes(size):
            return False
        watched = _Watched(parts)
        try:
            with self._committing, self._near.writer(_none_known, Durability.RELAXED, Trust.INDEX, kind) as writer:
                writer.add_parts(watched, self._encoding)
                writer.commit()
            self._end_commit()
        except (RsdosError, OSError) as error:
            if watched.has_failed:
                raise
            self._fail(error)
            return False
        return True

    def commit(self) -> None:
        """Commit the gathered objects."""
        _unfinished.pop(id(self), None)
        with self._committing:
            with self._changing:
                objects, self._gathered, self._length = self._gathered, {}, 0
                self._committed = objects
            try:
                if objects and not self._has_failed:
                    self._write(objects)
                    self._end_commit()
            except (RsdosError, OSError) as error:
                self._fail(error)
            finally:
                self._committed = {}

    def _write(self, objects: dict[bytes, tuple[bytes, PackKind]]) -> None:
        for kind in {kind for _, kind in objects.values()}:
            payloads = {digest: data for digest, (data, own) in objects.items() if own is kind}
            with self._near.writer(_none_known, Durability.RELAXED, Trust.INDEX, kind) as writer:
                digests = list(payloads)
                at = writer.unknown(digests)
                writer.append_payloads([digests[i] for i in at], [payloads[digests[i]] for i in at], self._encoding)
                writer.commit()

    def _renew(self, digest: bytes, data: bytes) -> None:
        meta = self._near.describe(digest)
        if meta and meta.extent and meta.extent.pack_id in self._old:
            self.keep(digest, data)

    def _end_commit(self) -> None:
        if self._budget is not None:
            evict(self._near.context, self._budget)
            self._old = old_packs(self._near.context, self._budget)

    def close(self) -> None:
        """Commit the gathered objects, and close the near packs. The next use opens them again."""
        self.commit()
        self._near.let_go()

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        self._warn("written", error)

    def _warn(self, done: str, error: Exception) -> None:
        log_warning("objects of the remote cannot be %s on this machine, and are read again: %s", done, error)


_unfinished: dict[int, Keeper] = {}
"""The keepers that have gathered objects, by ``id``. A command drops its container without closing it."""


def _finish_later(keeper: Keeper) -> None:
    """Commit the objects of a keeper when the process ends, or when there are many such keepers."""
    _finish_in_worker(os.getpid())
    _unfinished[id(keeper)] = keeper
    for oldest in list(_unfinished.values())[:-_MOST_UNFINISHED]:
        oldest.commit()


def _finish_all() -> None:
    for keeper in list(_unfinished.values()):
        keeper.commit()


@cache
def _finish_in_worker(process: int) -> None:
    """Commit at the end of a worker of multiprocessing, too: a forked one does not call what `atexit` has."""
    made = sys.modules.get("multiprocessing.process")
    if made and made.parent_process():
        from multiprocessing.util import Finalize

        Finalize(None, _finish_all, exitpriority=0)


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_unfinished.clear)


class Keeping(Protocol):
    """The place on this machine where objects and index files of a remote are kept."""

    def index_files(self, container_id: str) -> Storage:
        """Return the storage of the remote's index files."""

    def keeper(self, container_id: str) -> Keeper | None:
        """Return the keeper of the remote's objects; None to keep none. Raise what opening a container raises."""


class _Watched:
    """The parts of an object. Remembers whether reading them raised an error."""

    def __init__(self, parts: Iterable[BytesLike]) -> None:
        self._parts = iter(parts)
        self.has_failed = False

    def __iter__(self) -> Iterator[BytesLike]:
        return self

    def __next__(self) -> BytesLike:
        try:
            return next(self._parts)
        except StopIteration:
            raise
        except BaseException:
            self.has_failed = True
            raise


def _none_known(digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None) -> Sequence[Copy]:
    """Write every object. If it is there already, it is in the oldest packs, or two threads have read it."""
    return [Copy.MISSING] * len(digests)

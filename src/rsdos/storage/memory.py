"""The memory of this process as a storage: for tests, and for objects that need no disk.

A test can let it lose the answer of a put, and refuse verbs, as a medium behind a network does.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice

from rsdos.errors import Busy, DamagedContainer
from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, Put, PutResult, Storage, Traits, Version, check_name, unsupported
from rsdos.storage.process_locks import ProcessLock, ProcessLocks

_numbers = count(1)
"""Gives each object of this process a number of its own."""


class _Object:
    """The bytes of one object. They outlive its name while a reader or writer has it open."""

    __slots__ = ("changes", "data", "number", "time", "writer")

    def __init__(self, now: float, data: BytesLike = b"") -> None:
        self.data = bytearray(data)
        self.number = next(_numbers)
        self.changes = 0
        self.time = now
        self.writer: int | None = None
        """The process of its writer, if it has one."""

    @property
    def version(self) -> Version:
        return self.number, self.changes, len(self.data)

    def change(self, now: float) -> None:
        """Count a change of the bytes."""
        self.changes += 1
        self.time = now


class MemoryView:
    """A range of an object, copied: see `rsdos.storage.base.View`."""

    keeps_open = False

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)

    def need(self, start: int, end: int) -> None:
        """Do nothing: all bytes are there."""

    def will_need(self, start: int, end: int) -> None:
        """Do nothing: all bytes are there."""

    def copy(self, start: int, end: int) -> bytes:
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        """Do nothing: nobody else has the bytes."""


class MemoryFile:
    """An open object: see `rsdos.storage.base.RandomAccess`."""

    def __init__(self, path: str, kept: _Object) -> None:
        self.path = path
        self._object = kept
        self.version = kept.version
        self.is_open = True

    def size(self) -> int:
        return len(self._object.data)

    def read(self, offset: int, length: int) -> bytes:
        if not self.is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        size = self.size()
        if offset + length > size:
            raise DamagedContainer(self.path, f"cut short: it has {size} bytes", offset)
        return bytes(self._object.data[offset : offset + length])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        buffer[:] = self.read(offset, len(buffer))
        return len(buffer)

    def view(self, offset: int, length: int) -> MemoryView:
        return MemoryView(self.read(offset, length))

    def is_cached(self, offset: int) -> bool:
        return True

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        self.is_open = False


class MemoryAppendFile:
    """An object that one writer holds exclusively: see `rsdos.storage.base.AppendFile`."""

    def __init__(self, storage: MemoryStorage, name: str, kept: _Object) -> None:
        self._storage = storage
        self._name = name
        self._object = kept
        self._process = kept.writer = os.getpid()

    @property
    def is_open(self) -> bool:
        return self._process == os.getpid()

    def size(self) -> int:
        return len(self._object.data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._object.data[offset : offset + length])

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        self._storage.admit("write", self._name)
        if each:
            each(buffers)
        data = self._object.data
        data.extend(bytes(max(offset - len(data), 0)))
        parts = b"".join(buffers)
        data[offset : offset + len(parts)] = parts
        self._object.change(self._storage.clock())
        return len(parts)

    def cut(self, length: int) -> None:
        self._storage.admit("cut", self._name)
        data = self._object.data
        data.extend(bytes(max(length - len(data), 0)))
        del data[length:]
        self._object.change(self._storage.clock())

    def sync(self) -> None:
        self._storage.admit("sync", self._name)

    def remove(self) -> None:
        self._storage.remove(self._name)

    def end(self) -> None:
        if self.is_open:
            self._object.writer = None
            self._process = 0

    def __del__(self) -> None:
        self.end()


class MemoryStorage(Storage):
    """Objects in the memory of this process, and gone with it. Any number of threads; a forked child has a copy."""

    traits = Traits("memory", appends=True, locks=True)

    def __init__(self, name: str = "store", traits: Traits = traits, clock: Callable[[], float] = time.time) -> None:
        """Make an empty storage. ``name`` is for messages.

        Fewer ``traits`` show how a store works without the others. ``clock`` is the medium's, see `FileInfo.time`; a
        test may also set the attribute.
        """
        self.root = f"memory:{name}"
        self.traits = traits
        self.clock = clock
        self._objects: dict[str, _Object] = {}
        self._locks = ProcessLocks()
        self._swapping = threading.RLock()
        self._refused: frozenset[str] = frozenset()
        self._lost: deque[bool] = deque()

    # As a medium behind a network.

    def refuse(self, *verbs: str) -> None:
        """From now on raise PermissionError for these verbs, and for no others."""
        self._refused = frozenset(verbs)

    def lose_answer(self, *, stored: bool) -> None:
        """Answer `Put.UNKNOWN` to the next put, whose bytes are ``stored`` or not. Further calls are for later puts."""
        self._lost.append(stored)

    def admit(self, verb: str, name: str) -> str:
        """Return the name. Raise ValueError for a string that is no name, and PermissionError for a refused verb."""
        check_name(name)
        if verb in self._refused:
            raise PermissionError(errno.EACCES, f"{verb} is refused", f"{self.root}/{name}")
        return name

    # Reading.

    def _get(self, name: str) -> _Object:
        kept = self._objects.get(name)
        if kept is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{name}")
        return kept

    def open(self, name: str, length: int | None = None) -> MemoryFile:
        return MemoryFile(self.path(name), self._get(self.admit("open", name)))

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        prefix = f"{self.admit('list', directory)}/"
        known = {*list(self._objects), *list(self._locks.notes)}  # A lock that has a note has a name.
        below = (name.removeprefix(prefix) for name in known if name.startswith(prefix))
        return islice(sorted(name for name in below if "/" not in name and name > after), most)

    def stat(self, name: str) -> FileInfo | None:
        kept = self._objects.get(self.admit("stat", name))
        if kept is None:
            return None
        return FileInfo(name, len(kept.data), kept.version, time=kept.time)

    # Writing.

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        self.admit("put_new", name)
        if still is not None and not still():
            return PutResult(Put.TAKEN)
        is_lost = bool(self._lost)
        is_stored = not is_lost or self._lost.popleft()
        with self._swapping:
            is_taken = name in self._objects
            if is_stored and not is_taken:
                self._objects[name] = _Object(self.clock(), data)
        if is_lost:
            return PutResult(Put.UNKNOWN)
        return PutResult(Put.TAKEN) if is_taken else PutResult(Put.OURS, self._get(name).version)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        self.admit("put_stream", name)
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError(f"{self.path(name)}: {len(data)} bytes came of {length}")
        self._add(name, data)

    def _add(self, name: str, data: bytes = b"") -> _Object:
        with self._swapping:
            if name in self._objects:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path(name))
            return self._objects.setdefault(name, _Object(self.clock(), data))

    def empty(self, name: str) -> None:
        with self._swapping:
            self._get(self.admit("empty", name))
            self._objects[name] = _Object(self.clock())

    def remove(self, name: str) -> bool:
        return self._objects.pop(self.admit("remove", name), None) is not None

    def link(self, name: str, new: str) -> bool:
        if not self.traits.appends:
            raise unsupported(self, "link")
        kept = self._get(self.admit("link", name))
        with self._swapping:
            return self._objects.setdefault(new, kept) is kept

    # Verbs that not every medium has.

    def sync(self, name: str) -> None:
        self._get(self.admit("sync", name))

    def sync_names(self, directory: str) -> None:
        self.admit("sync_names", directory)

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> MemoryAppendFile:
        if not self.traits.appends:
            raise unsupported(self, "append")
        self.admit("append", name)
        with self._swapping:
            if (left := self._objects.get(name)) and left.writer == os.getpid():
                raise Busy(self.path(name), "a writer")
            if new:
                if left and still is not None:
                    held = MemoryAppendFile(self, name, left)
                    try:
                        if not still():
                            raise Busy(self.path(name), "a writer")
                    finally:
                        held.end()
                self._objects.pop(name, None)
                self._add(name)
            return MemoryAppendFile(self, name, self._get(name))

    def create(self, name: str) -> MemoryAppendFile:
        if not self.traits.appends:
            raise unsupported(self, "append")
        return MemoryAppendFile(self, name, self._add(self.admit("create", name)))

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> ProcessLock | None:
        if not self.traits.locks:
            raise unsupported(self, "lock")
        return self._locks.take(self.admit("lock", name), shared, wait)

    def holder(self, name: str) -> str:
        return self._locks.holders.get(name, "")

    def read_note(self, name: str, most: int) -> bytes:
        return self._locks.notes.get(name, b"")[:most]

"""A storage around another one, which passes every call on: for recording, for faults, for caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from rsdos.model import BytesLike
from rsdos.storage.base import AppendFile, FileInfo, HeldLock, PutResult, RandomAccess, Storage, Traits, Version

_T = TypeVar("_T")


class StorageCall(NamedTuple):
    """One call of a storage: the verb, and the name that it was called with."""

    verb: str
    name: str


CHANGING = frozenset(
    ("put_new", "put_stream", "empty", "remove", "append", "create", "write", "cut", "sync", "sync_names")
)
"""The verbs that change stored objects, or make them durable."""


class StorageWrapper(Storage):
    """Passes every verb on. A subclass overrides `call`, which makes all calls, those of open writers too.

    Files that are open for reading are the inner storage's own.
    """

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        self.root = inner.root
        self.traits: Traits = inner.traits

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        """Make one call, by calling ``do``."""
        return do()

    def path(self, name: str) -> str:
        return self.inner.path(name)

    def open(self, name: str) -> RandomAccess:
        return self.call(StorageCall("open", name), lambda: self.inner.open(name))

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return self.call(StorageCall("list", directory), lambda: self.inner.list(directory, after, most))

    def stat(self, name: str) -> FileInfo | None:
        return self.call(StorageCall("stat", name), lambda: self.inner.stat(name))

    def version(self, name: str) -> Version | None:
        return self.call(StorageCall("version", name), lambda: self.inner.version(name))

    def exists(self, name: str) -> bool:
        return self.call(StorageCall("exists", name), lambda: self.inner.exists(name))

    def may_add(self, directory: str) -> bool:
        return self.inner.may_add(directory)

    def make_directory(self, directory: str) -> None:
        self.call(StorageCall("make_directory", directory), lambda: self.inner.make_directory(directory))

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        return self.call(StorageCall("put_new", name), lambda: self.inner.put_new(name, data, still))

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        self.call(StorageCall("put_stream", name), lambda: self.inner.put_stream(name, parts, length))

    def empty(self, name: str) -> None:
        self.call(StorageCall("empty", name), lambda: self.inner.empty(name))

    def remove(self, name: str) -> bool:
        return self.call(StorageCall("remove", name), lambda: self.inner.remove(name))

    def sync(self, name: str) -> None:
        self.call(StorageCall("sync", name), lambda: self.inner.sync(name))

    def sync_names(self, directory: str) -> None:
        self.call(StorageCall("sync_names", directory), lambda: self.inner.sync_names(directory))

    def append(self, name: str, *, new: bool) -> AppendFile:
        file = self.call(StorageCall("append", name), lambda: self.inner.append(name, new=new))
        return _WrappedFile(self, name, file)

    def create(self, name: str) -> AppendFile:
        file = self.call(StorageCall("create", name), lambda: self.inner.create(name))
        return _WrappedFile(self, name, file)

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> HeldLock | None:
        return self.call(StorageCall("lock", name), lambda: self.inner.lock(name, shared=shared, wait=wait))

    def holder(self, name: str) -> str:
        return self.inner.holder(name)

    def read_note(self, name: str, most: int) -> bytes:
        return self.call(StorageCall("read_note", name), lambda: self.inner.read_note(name, most))


class _WrappedFile:
    """An object open for appending, whose writes, cuts and syncs go through the wrapper's `call`."""

    def __init__(self, outer: StorageWrapper, name: str, file: AppendFile) -> None:
        self._outer = outer
        self._name = name
        self._file = file
        self.size = file.size
        self.read = file.read
        self.end = file.end

    @property
    def is_open(self) -> bool:
        return self._file.is_open

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        do = self._file.write
        return self._outer.call(StorageCall("write", self._name), lambda: do(offset, buffers, lengths, each))

    def cut(self, length: int) -> None:
        self._outer.call(StorageCall("cut", self._name), lambda: self._file.cut(length))

    def sync(self) -> None:
        self._outer.call(StorageCall("sync", self._name), self._file.sync)

    def remove(self) -> None:
        self._outer.call(StorageCall("remove", self._name), self._file.remove)

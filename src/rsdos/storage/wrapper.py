"""A storage around another one, which passes every call on: for recording, for faults, for caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, PutResult, Storage, Traits, Version
from rsdos.storage.opened import AppendFile, HeldLock, RandomAccess, View

_T = TypeVar("_T")


class StorageCall(NamedTuple):
    """One call of a storage, or of an open object: the verb, and the name of the object or directory."""

    verb: str
    name: str
    offset: int = 0
    """Of the range that is asked of an object open for reading; 0 for every other verb."""
    length: int = 0
    """Bytes of that range."""


CHANGING = frozenset(
    ("put_new", "put_stream", "empty", "remove", "link", "append", "create", "write", "cut", "sync", "sync_names")
)
"""The verbs that change stored objects, or make them durable."""

READING = frozenset(("read", "read_into", "view", "need", "will_need"))
"""The verbs of an object that is open for reading; ``need`` is that of its `View`. Each names a range."""


class StorageWrapper(Storage):
    """Passes every verb on. A subclass overrides `call`, which makes all calls, those of open objects too.

    ``size`` and ``is_cached`` of an open object are no calls: they ask for no bytes.
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

    def read(self, name: str, most: int) -> bytes:
        # Recorded as what most media make of it: "read" is the verb of open objects, with a range.
        return self.call(StorageCall("read_with_version", name), lambda: self.inner.read(name, most))

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        return self.call(StorageCall("read_with_version", name), lambda: self.inner.read_with_version(name, most))

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        file = self.call(StorageCall("open", name), lambda: self.inner.open(name, length))
        return _WrappedReader(self, name, file)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return self.call(StorageCall("list", directory), lambda: self.inner.list(directory, after, most))

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        call = StorageCall("list_infos", directory)
        return self.call(call, lambda: self.inner.list_infos(directory, after, most))

    def stat(self, name: str) -> FileInfo | None:
        return self.call(StorageCall("stat", name), lambda: self.inner.stat(name))

    def version(self, name: str) -> Version | None:
        return self.call(StorageCall("version", name), lambda: self.inner.version(name))

    def exists(self, name: str) -> bool:
        return self.call(StorageCall("exists", name), lambda: self.inner.exists(name))

    def is_prompt(self) -> bool:
        return self.inner.is_prompt()

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

    def link(self, name: str, new: str) -> bool:
        return self.call(StorageCall("link", new), lambda: self.inner.link(name, new))

    def sync(self, name: str) -> None:
        self.call(StorageCall("sync", name), lambda: self.inner.sync(name))

    def sync_names(self, directory: str) -> None:
        self.call(StorageCall("sync_names", directory), lambda: self.inner.sync_names(directory))

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> AppendFile:
        file = self.call(StorageCall("append", name), lambda: self.inner.append(name, new=new, still=still))
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

    def drop_copy(self, name: str) -> bool:
        return self.inner.drop_copy(name)

    def close(self) -> None:
        self.inner.close()


class _WrappedReader:
    """An object open for reading, whose reads and hints go through the wrapper's `call`."""

    def __init__(self, outer: StorageWrapper, name: str, file: RandomAccess) -> None:
        self._outer = outer
        self._name = name
        self._file = file
        self.path = file.path
        self.size = file.size
        self.is_cached = file.is_cached
        self.close = file.close

    @property
    def version(self) -> Version:
        return self._file.version

    @property
    def is_open(self) -> bool:
        return self._file.is_open

    def read(self, offset: int, length: int) -> bytes:
        call = StorageCall("read", self._name, offset, length)
        return self._outer.call(call, lambda: self._file.read(offset, length))

    def read_into(self, offset: int, buffer: memoryview) -> int:
        call = StorageCall("read_into", self._name, offset, len(buffer))
        return self._outer.call(call, lambda: self._file.read_into(offset, buffer))

    def view(self, offset: int, length: int) -> View:
        call = StorageCall("view", self._name, offset, length)
        return _WrappedView(
            self._outer, self._name, offset, self._outer.call(call, lambda: self._file.view(offset, length))
        )

    def will_need(self, offset: int, length: int) -> None:
        call = StorageCall("will_need", self._name, offset, length)
        self._outer.call(call, lambda: self._file.will_need(offset, length))


class _WrappedView:
    """A range of an object as a buffer; what is needed of it goes through the wrapper's `call`."""

    def __init__(self, outer: StorageWrapper, name: str, offset: int, view: View) -> None:
        self._outer = outer
        self._name = name
        self._offset = offset
        self._view = view
        self.data = view.data
        self.keeps_open = view.keeps_open

    def need(self, start: int, end: int) -> None:
        call = StorageCall("need", self._name, self._offset + start, end - start)
        self._outer.call(call, lambda: self._view.need(start, end))

    def will_need(self, start: int, end: int) -> None:
        call = StorageCall("will_need", self._name, self._offset + start, end - start)
        self._outer.call(call, lambda: self._view.will_need(start, end))

    def copy(self, start: int, end: int) -> bytes:
        call = StorageCall("need", self._name, self._offset + start, end - start)
        return self._outer.call(call, lambda: self._view.copy(start, end))

    def let_go(self, start: int, end: int) -> None:
        self._view.let_go(start, end)


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

"""A storage around another one that counts requests and bytes, by the classes that providers charge for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from rsdos.model import BytesLike
from rsdos.storage.base import PutResult, Storage, Version
from rsdos.storage.opened import RandomAccess
from rsdos.storage.wrapper import StorageCall, StorageWrapper

_T = TypeVar("_T")

_CLASSES = {
    "read_with_version": "get",
    "stat": "get",
    "version": "get",
    "exists": "get",
    "read": "get",
    "read_into": "get",
    "need": "get",
    "view": "get",
    "list": "list",
    "list_infos": "list",
    "put_new": "put",
    "put_stream": "put",
    "empty": "put",
    "remove": "delete",
}
"""The class of the request that a verb makes; other verbs make none."""

PART = 8 << 20
"""Bytes of a part of an object that is sent in parts."""


class Requests(NamedTuple):
    """Numbers of requests by class, and the bytes that they have ``sent`` and ``received``.

    A ``get`` also stands for a question for the length of an object. A call that lists counts once, and a retry by the
    client is not counted.
    """

    put: int = 0
    get: int = 0
    list: int = 0
    delete: int = 0
    sent: int = 0
    received: int = 0

    @property
    def total(self) -> int:
        """All requests."""
        return self.put + self.get + self.list + self.delete


class CountingStorage(StorageWrapper):
    """Passes every verb on, and counts. Any number of threads."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.requests = Requests()
        self._lock = threading.Lock()

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        kind = _CLASSES.get(call.verb)
        # A file is mapped as a whole. Behind a network it is fetched as far as it is needed.
        if kind and call.verb != ("view" if self.traits.is_remote else "need"):
            self._count(kind, received=call.length)
        return do()

    def _count(self, kind: str, number: int = 1, sent: int = 0, received: int = 0) -> None:
        with self._lock:
            before = self.requests
            counted = before._replace(sent=before.sent + sent, received=before.received + received)
            self.requests = counted._replace(**{kind: getattr(before, kind) + number})

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        if length is None:
            self._count("get")
        return super().open(name, length)

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        data, version = super().read_with_version(name, most)
        self._count("get", 0, received=len(data))
        return data, version

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        self._count("put", 0, sent=len(data))
        return super().put_new(name, data, still)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        # One request for each part, one before them and one behind; the call itself counts one.
        self._count("put", -(-length // PART) + 1, sent=length)
        super().put_stream(name, parts, length)

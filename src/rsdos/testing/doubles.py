"""Storages around another one: one that fails, and one that writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from rsdos.storage.base import Put, PutResult, Storage
from rsdos.storage.wrapper import StorageCall, StorageWrapper

_T = TypeVar("_T")

Fault = Exception | Put | None
"""What becomes of a call: an exception is raised instead of it; `Put.UNKNOWN` is the answer to a put that was made;
`Put.TAKEN` that to one that was not; None: it is made."""


class FaultyStorage(StorageWrapper):
    """Fails where ``fault`` says so, which is asked about each call, in turn."""

    def __init__(self, inner: Storage, fault: Callable[[StorageCall], Fault]) -> None:
        super().__init__(inner)
        self.fault = fault

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        fault = self.fault(call)
        if isinstance(fault, Exception):
            raise fault
        if fault is Put.UNKNOWN:
            do()
        return do() if fault is None else cast(_T, PutResult(fault))


class RecordingStorage(StorageWrapper):
    """Writes down each call, in `calls`, before it is made."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: list[StorageCall] = []

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        self.calls.append(call)
        return do()

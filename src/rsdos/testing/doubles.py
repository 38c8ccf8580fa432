"""Storages around another one: one that fails, and one that records its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from rsdos.storage.base import Put, PutResult, Storage
from rsdos.storage.wrapper import StorageCall, StorageWrapper

_T = TypeVar("_T")

Fault = Exception | Put | None
"""The fault of one call. An exception is raised instead of the call. `Put.UNKNOWN`: the put is made, and its answer is
lost. `Put.TAKEN`: the put is not made, and this is the answer. None: no fault."""


class FaultyStorage(StorageWrapper):
    """Fails as ``fault`` says, which is called before each call."""

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
    """Records each call in `calls`, before it is made."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: list[StorageCall] = []

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        self.calls.append(call)
        return do()

"""Storages around another one: one that fails, one that records its calls, one that lets them wait."""

from __future__ import annotations

import threading
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
    """Records each call in `calls`, before it is made, and how many were under way at once. Any number of threads."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: list[StorageCall] = []
        self.most_at_once = 0
        """The most calls that were under way at the same time."""
        self._under_way = 0
        self._counting = threading.Lock()

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        with self._counting:
            self.calls.append(call)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            return do()
        finally:
            with self._counting:
                self._under_way -= 1

    def forget(self) -> None:
        """Begin anew: forget what was recorded."""
        with self._counting:
            self.calls = []
            self.most_at_once = self._under_way


class WaitingStorage(StorageWrapper):
    """Holds back the calls that ``is_held`` chooses until `let_go`, so that a test sees which come together.

    Any number of threads: of those that call, and of those that wait for calls.
    """

    def __init__(self, inner: Storage, is_held: Callable[[StorageCall], bool]) -> None:
        super().__init__(inner)
        self._is_held = is_held
        self._held: list[StorageCall] = []
        self._changed = threading.Condition()

    def call(self, call: StorageCall, do: Callable[[], _T]) -> _T:
        with self._changed:
            if self._is_held(call):
                held = self._held
                held.append(call)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._held is not held)
        return do()

    def wait_for(self, count: int, most_seconds: float | None = None) -> list[StorageCall]:
        """Wait until so many calls are held back at the same time, and return them in the order in which they came.

        Raise TimeoutError after ``most_seconds``, if given.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._held) >= count, most_seconds):
                raise TimeoutError(f"{len(self._held)} calls are held back, and not {count}: {self._held}")
            return list(self._held)

    def let_go(self) -> None:
        """Let the calls that are held back go on. Later ones are held back again if ``is_held`` says so."""
        with self._changed:
            self._held = []
            self._changed.notify_all()

"""Locks between the threads of one process, for a storage whose medium has none that others could see."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

from rsdos.errors import Busy

_OWN_THREAD = "this thread itself, which would wait forever"


class ProcessLock:
    """A held lock: see `rsdos.storage.base.HeldLock`."""

    def __init__(self, held: ProcessLocks, name: str, shared: bool) -> None:
        self._locks = held
        self.name = name
        self.shared = shared
        self.thread = threading.get_ident()
        self._process = os.getpid()

    @property
    def is_held(self) -> bool:
        return self._process == os.getpid()

    def describe(self, holder: str) -> None:
        self._locks.holders[self.name] = holder

    def write_note(self, data: bytes) -> None:
        self._locks.notes[self.name] = data

    def is_in_place(self) -> bool:
        return True

    def release(self) -> None:
        if self.is_held:
            self._process = 0
            self._locks.give_back(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


class ProcessLocks:
    """The locks of one storage, of all threads. In a forked child the locks of the parent do not count."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.notes: dict[str, bytes] = {}
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        # Reentrant: a finalizer may take it in the thread that holds it.
        self._changed = threading.Condition(threading.RLock())
        self._held: dict[str, list[int]] = {}
        self._known: dict[int, tuple[int, bool]] = {}
        """The thread of each held lock, by ``id``, and whether the lock is shared."""

    def take(self, name: str, shared: bool, wait: bool) -> ProcessLock | None:
        if self._process != os.getpid():
            self._begin()
        with self._changed:
            while others := [self._known[at] for at in self._held.get(name, ()) if not (shared and self._known[at][1])]:
                if not wait:
                    return None
                if any(thread == threading.get_ident() for thread, _ in others):
                    raise Busy(name, _OWN_THREAD)
                self._changed.wait()
            lock = ProcessLock(self, name, shared)
            self._held.setdefault(name, []).append(id(lock))
            self._known[id(lock)] = lock.thread, shared
            return lock

    def give_back(self, lock: ProcessLock) -> None:
        with self._changed:
            if id(lock) in self._known:
                del self._known[id(lock)]
                self._held[lock.name].remove(id(lock))
                self._changed.notify_all()

"""Requests to a medium that run side by side: uploads of packs, removals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class InFlight:
    """Runs calls in threads, at most ``most`` at a time; a context manager. One thread adds and waits.

    What a call holds is held by at most ``most`` calls: `add` waits for a place before it takes another. The first
    error is raised by the next `add`, or by `wait`; calls that are under way come to their ends. When the block ends,
    in whatever way, none is under way any more. With ``most`` 1 the thread that adds makes the calls.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = threading.Semaphore(most)
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def add(self, do: Callable[[], object]) -> None:
        """Begin a call, as soon as there is a place. Raise the error of an earlier one."""
        if self._most == 1:
            do()
            return
        self._places.acquire()
        thread = threading.Thread(target=self._run, args=(do,), name="rsdos-request", daemon=True)
        try:
            if self._error is not None:
                self.wait()
            thread.start()
        except BaseException:
            self._places.release()
            raise
        self._threads = [*(other for other in self._threads if other.is_alive()), thread]

    def _run(self, do: Callable[[], object]) -> None:
        try:
            do()
        except BaseException as error:  # noqa: BLE001  it is raised by the thread that waits
            self._error = self._error or error
        finally:
            self._places.release()

    def wait(self) -> None:
        """Wait for all calls. Raise the first error, once."""
        self._join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait()
        else:
            self._join()

"""Two threads share a Container while a third program commits: one is stopped at every line of the stores in turn."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import rsdos
from rsdos import Container
from tests.data import key_of, noise
from tests.helpers import ABSENT

_OURS = os.path.join(os.path.dirname(rsdos.__file__), "stores", "")
"""Where what threads share is kept, but for the index, of which `tests.interleave.threads` plays all lines."""
_OBJECTS = [noise(2000, seed) for seed in range(8)]
"""Each fills a pack."""


class _Stopped:
    """A thread that is stopped at the n-th line of the stores that it comes to, loops and comprehensions counted."""

    def __init__(self, work: Callable[[], object], number: int) -> None:
        self._left = number
        self._work = work
        self._go = threading.Event()
        self._is_at_rest = threading.Event()
        self.is_stopped = False
        self.raised: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._is_at_rest.wait()

    def _run(self) -> None:
        sys.settrace(self._trace)
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  the test says what it may be
            self.raised.append(error)
        finally:
            sys.settrace(None)
            self._is_at_rest.set()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.is_stopped = True
                self._is_at_rest.set()
                self._go.wait()
        return self._trace

    def go_on(self) -> None:
        self._go.set()
        self._thread.join()


@pytest.mark.parametrize("version", [1, 2])
def test_a_refresh_beside_a_thread_that_opens_packs(tmp_path: Path, version: int) -> None:
    """Before: "dictionary changed size during iteration" (F4)."""
    path = tmp_path / "container"
    with Container.create(path, container_version=version, pack_size_target=1000) as container:
        container.insert_many(_OBJECTS)
    for number in count():  # At 0 it is not stopped, and imports what a stopped one would keep the lock of.
        shared = Container(path)
        for data in _OBJECTS[:4]:
            assert shared.extract(key_of(data)) == data  # Its pack is open now.
        with Container(path, durability="relaxed") as other:
            other.insert_many([noise(2000, 100 + number)])
        stopped = _Stopped(lambda shared=shared: shared.has(ABSENT), number)  # type: ignore[misc]
        for data in _OBJECTS[4:]:
            assert shared.extract(key_of(data)) == data
        stopped.go_on()
        shared.close()
        assert not stopped.raised, f"stopped at line {number}: {stopped.raised[0]!r}"
        if number and not stopped.is_stopped:
            assert number > 20, "it never came to where packs are let go of"
            return

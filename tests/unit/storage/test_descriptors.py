"""Descriptors that belong to objects."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rsdos import WriterPoisoned
from rsdos.maintenance.backup.rsync import running
from rsdos.storage.descriptors import Descriptor, Opened, Working, opening
from tests.helpers import descriptors


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(b"bytes")
    return str(tmp_path / "file")


def test_it_is_closed_behind_the_block_and_has_no_number_then(path: str) -> None:
    gc.collect()  # Of the tests before this one.
    before = descriptors()
    with Descriptor(file := opening(path, os.O_RDONLY)) as fd:
        assert os.read(fd, 5) == b"bytes"
    assert list(file) == []
    opened = Opened(opening(path, os.O_RDONLY))
    opened.close()
    opened.close()
    opened.close()
    assert opened.fd == -1
    assert descriptors() == before


def test_it_is_closed_with_the_last_reference(path: str) -> None:
    gc.collect()  # Of the tests before this one.
    before = descriptors()
    Opened(opening(path, os.O_RDONLY))
    with pytest.raises(FileNotFoundError):
        Opened(opening(path + "absent", os.O_RDONLY))
    assert descriptors() == before


class Writer:
    """Somebody who uses a file when he goes, in one cycle with it."""

    def __init__(self, path: str, said: list[int]) -> None:
        self.file = Opened(opening(path, os.O_RDONLY))
        self.said = said
        self.itself = self

    def __del__(self) -> None:
        self.said.append(self.file.fd)


def test_a_number_is_never_kept_beyond_the_file_in_a_cycle_of_garbage(path: str) -> None:
    """Whether the file went first is the collector's choice: if so, its number is not another's."""
    gc.collect()  # Of the tests before this one.
    before = descriptors()
    said: list[int] = []
    for _ in range(5):
        Writer(path, said)
    gc.collect()
    assert len(said) == 5
    assert descriptors() == before


def at_every_step(work: Callable[[], object]) -> int:
    """Run it again and again, interrupted at the next step each time, until it is through; returns how often.

    The handler of a signal runs where Python looks for one: behind a call of C, at the beginning of a function, and at
    the end of a turn of a loop. A signal that comes while a line is at work is handled at the next such place.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    steps = 0
    try:
        while True:
            left = steps

            def trace(frame: FrameType, event: str, _: Any) -> Any:
                nonlocal left
                frame.f_trace_opcodes = True
                if event == "opcode":
                    left -= 1
                    if left == 0:
                        sys.settrace(None)
                        frame.f_trace = None
                        signal.raise_signal(signal.SIGUSR1)
                return trace

            steps += 1
            left = steps
            sys.settrace(trace)
            try:
                work()
            except KeyboardInterrupt:
                continue
            finally:
                sys.settrace(None)
            if left > 0:
                return steps
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_interrupts_while_programs_are_started_leak_nothing() -> None:
    """A timer interrupts each start at some moment, as users do: `subprocess` itself cannot stand that."""
    gc.collect()  # Of the tests before this one.
    before = descriptors()
    chance = random.Random(1)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 5e-3))
                with running(["true"]):
                    signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
    gc.collect()
    assert descriptors() == before


def test_an_interrupt_at_any_step_leaks_nothing(path: str) -> None:
    gc.collect()  # Of the tests before this one.
    before = descriptors()

    def block() -> None:
        with Descriptor(opening(path, os.O_RDONLY)) as fd:
            os.read(fd, 1)

    assert at_every_step(block) > 10
    gc.collect()
    assert descriptors() == before


def test_a_forked_child_has_nothing_of_what_its_parent_writes(path: str) -> None:
    writing, reading = Working(opening(path, os.O_RDWR)), Opened(opening(path, os.O_RDONLY))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert os.read(reading.fd, 5) == b"bytes"
            assert writing.fd == -1
            writing.refuse_closed(path)
        except WriterPoisoned:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert os.pwrite(writing.fd, b"BYTES", 0) == 5
    assert Path(path).read_bytes() == b"BYTES"

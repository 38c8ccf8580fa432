"""Signals that wait while something is done that an interrupt would leave half done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from signal import Signals

SignalMask: TypeAlias = "set[int | Signals]"
"""Signals that wait until they are let through."""


@contextmanager
def uninterrupted() -> Iterator[SignalMask]:
    """Let all signals of this thread wait; yield those that wait already.

    The handlers run as the block ends. With other threads in the process, which may get a signal, they may run before.
    """
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

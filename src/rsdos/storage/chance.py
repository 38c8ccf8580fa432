"""Where the protocol of version 3 gets its random numbers, its time and its pauses: tests replace them here.

Call the functions through this module.
"""

from __future__ import annotations

import os
import random
import time


def token(bits: int) -> str:
    """Return so many random bits as hex digits, from the system: no two processes get the same."""
    return os.urandom(bits // 8).hex()


def fraction() -> float:
    """Return a number from 0 to below 1, by which a pause differs from that of others."""
    return random.random()


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def now() -> float:
    """Return the seconds of a clock that is never set back. Only differences of it mean anything."""
    return time.monotonic()

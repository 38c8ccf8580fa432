"""A limit of bytes per second."""

from __future__ import annotations

import time
from collections.abc import Callable

from rsdos.errors import InvalidOption

MOST_SECONDS = 5
"""The most seconds that a pack may take at the limit: another program waits no longer, and a retry repeats no more."""


class TokenBucket:
    """Lets ``rate`` bytes a second through, on average. One thread.

    After a pause it lets at most one second's bytes through at once.
    """

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        if rate < 1:
            raise InvalidOption(f"a limit of bytes per second is 1 or more, not {rate}")
        self.rate = rate
        self._clock = clock or time.monotonic
        self._sleep = sleep or time.sleep
        self._tokens = float(rate)
        self._filled = self._clock()

    def take(self, length: int) -> None:
        """Wait until so many bytes may be sent. Bytes beyond one second's are a debt, which the next call waits for."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled) * self.rate, float(self.rate))
        self._filled = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self.rate)
            self._filled = self._clock()
            self._tokens = 0.0
        self._tokens -= length

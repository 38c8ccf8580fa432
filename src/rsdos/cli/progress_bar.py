"""Progress on standard error, if it is a terminal, of steps that take longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rsdos.figures import figure, human
from rsdos.standard import STATUS_LINE

_QUIET_SECONDS = 1.0
_REDRAW_SECONDS = 0.1
_WIDTH = 24


class Bar:
    """A `rsdos.protocols.FileProgress`, and a context manager that removes the line at the end.

    The bar is one line, redrawn by `advance`, without a thread. Output to the same terminal replaces it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._wanted = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._begun = self._drawn = time.monotonic()
        self._done = self._files = 0
        self._description = self._unit = ""
        self._total: int | None = None

    def start(self, description: str, total: int | None, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._begun, self._done, self._files = time.monotonic(), 0, 0

    def advance_files(self, files: int, size: int) -> None:
        self._files += files
        self.advance(size)

    def advance(self, amount: int) -> None:
        self._done += amount
        if not self._wanted:
            return
        now = time.monotonic()
        if now - self._begun > _QUIET_SECONDS and now - self._drawn > _REDRAW_SECONDS:
            self._drawn = now
            STATUS_LINE.show(self._text(now - self._begun))

    def _text(self, seconds: float) -> str:
        done, rate = self._done, self._done / seconds
        parts = [self._description]
        if self._total:
            share = min(done / self._total, 1.0)
            parts.append(f"[{'#' * int(share * _WIDTH):{_WIDTH}}] {share:4.0%}")
        parts.append(self._amount(done) + (f" of {self._amount(self._total)}" if self._total else f" {self._unit}"))
        if self._files:
            parts.append(f"{figure(round(self._files / seconds))} files/s")
        parts.append(f"{self._amount(int(rate))}/s")
        if self._total and rate:
            left = int(max(self._total - done, 0) / rate)
            parts.append(f"{left // 60}:{left % 60:02} left")
        return "  ".join(parts)

    def _amount(self, number: int) -> str:
        return human(number) if self._unit == "bytes" else figure(number)

    def finish(self) -> None:
        STATUS_LINE.hide()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

"""The progress callback of a caller that wants none."""

from __future__ import annotations

from typing import Final

from rsdos.protocols import Progress


class Silence:
    """A `Progress` that ignores every call."""

    def start(self, description: str, total: int | None, unit: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass

    def finish(self) -> None:
        pass


SILENCE: Final[Progress] = Silence()

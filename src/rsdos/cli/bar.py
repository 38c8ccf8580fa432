"""A progress bar: on a terminal only, and only for what lasts longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn, TaskID

_QUIET_SECONDS = 1.0


class Bar:
    """A `rsdos.interfaces.Progress` on stderr; a context manager that takes it away again."""

    def __init__(self, *, prints: bool = False) -> None:
        """``prints``: stdout is written to meanwhile. If that is a terminal as well, there is no bar between."""
        self._wanted = sys.stderr is not None and sys.stderr.isatty() and not (prints and sys.stdout.isatty())
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None
        self._begun = time.monotonic()
        self._done = 0
        self._description = self._unit = ""
        self._total: int | None = None

    def start(self, description: str, total: int | None, unit: str) -> None:
        self._description, self._total, self._unit = f"{description} ({unit})", total, unit
        self._begun, self._done = time.monotonic(), 0

    def advance(self, amount: int) -> None:
        self._done += amount
        if not self._wanted:
            return
        if self._progress is None and time.monotonic() - self._begun > _QUIET_SECONDS:
            self._show()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done)

    def _show(self) -> None:
        from rich import progress as rich
        from rich.console import Console

        self._progress = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.DownloadColumn() if self._unit == "bytes" else rich.MofNCompleteColumn(),
            rich.TransferSpeedColumn() if self._unit == "bytes" else _rate_column(),
            rich.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )
        self._task = self._progress.add_task(self._description, total=self._total)
        self._progress.start()

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.0f}/s")

    return Rate()

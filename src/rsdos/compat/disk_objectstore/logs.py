"""Our log records under the name that users of disk-objectstore configure."""

from __future__ import annotations

import logging


class _Forward(logging.Handler):
    """Hands records to another logger, if that wants their level."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)


def forward(source: logging.Logger, target: logging.Logger) -> None:
    """Let ``target`` have the records of ``source``, in place of the root logger."""
    source.addHandler(_Forward(target))
    source.propagate = False

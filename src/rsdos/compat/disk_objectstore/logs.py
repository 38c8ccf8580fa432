"""Passes the log records of rsdos to the logger that users of disk-objectstore configure."""

from __future__ import annotations

import logging


class _Forward(logging.Handler):
    """Passes records to another logger, if it is enabled for their level."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)


def forward(source: logging.Logger, target: logging.Logger) -> None:
    """Send the records of ``source`` to ``target`` instead of the root logger."""
    source.addHandler(_Forward(target))
    source.propagate = False

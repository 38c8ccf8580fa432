"""How long dictionaries take in an insert of this rsdos: the training alone, and with the judging of samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from rsdos.codecs import training
from rsdos.codecs.dictionary import Dictionary, KnownDictionaries

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(slots=True)
class TrainingTime:
    """Seconds: ``training`` in zstd's trainer, ``choosing`` in all that decides on dictionaries, training and all."""

    training: float = 0.0
    choosing: float = 0.0


@contextmanager
def timed_training() -> Iterator[TrainingTime]:
    """Measure what is trained while the block lasts, by this process."""
    time_of = TrainingTime()

    class Timed(training.Chooser):
        def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
            begun = time.perf_counter()
            chosen = super().choose(payloads, level, known)
            time_of.choosing += time.perf_counter() - begun
            return chosen

    def note(seconds: float) -> None:
        time_of.training += seconds

    with patch.object(training, "Chooser", Timed), patch.object(training, "_trained", _timed(training._trained, note)):
        yield time_of


def _timed(do: Callable[_P, _R], note: Callable[[float], None]) -> Callable[_P, _R]:
    @wraps(do)
    def timed(*arguments: _P.args, **named: _P.kwargs) -> _R:
        begun = time.perf_counter()
        try:
            return do(*arguments, **named)
        finally:
            note(time.perf_counter() - begun)

    return timed

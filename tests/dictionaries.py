"""Dictionaries for tests: records that have much in common, and choosers that always use one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import zstandard

from rsdos.codecs.dictionary import Dictionary, KnownDictionaries
from rsdos.stores.packed.context import PackedContext


def records(count: int, seed: int = 0) -> list[bytes]:
    """Return small JSON documents, the same for the same seed; no two have the same bytes."""
    chance = random.Random(f"records {seed}")
    kinds = ["process.calculation", "process.workflow", "data.structure", "data.array"]
    return [
        json.dumps(
            {
                "uuid": f"{seed:04d}-{number:08d}-{chance.getrandbits(32):08x}",
                "node_type": f"{chance.choice(kinds)}.{chance.choice('abcdef')}",
                "label": f"run {chance.randrange(1000)} of series {seed}",
                "attributes": {"energy": chance.random(), "converged": chance.random() < 0.9},
            }
        ).encode()
        for number in range(count)
    ]


@cache
def trained(seed: int = 0, length: int = 2048) -> Dictionary:
    """Return a dictionary for the records of a seed."""
    return Dictionary(zstandard.train_dictionary(length, list(records(1000, seed))).as_bytes())


class Always:
    """A chooser that goes through some dictionaries in turn, whatever is to be compressed."""

    def __init__(self, *dictionaries: Dictionary | None) -> None:
        self._dictionaries = dictionaries
        self.asked: list[Sequence[bytes]] = []

    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
        self.asked.append(payloads)
        return self._dictionaries[(len(self.asked) - 1) % len(self._dictionaries)]

    def choose_anew(
        self, payloads: Sequence[bytes], lengths: Sequence[int], level: int, known: KnownDictionaries
    ) -> Dictionary | None:
        return None


class Reusing(Always):
    """A chooser that prefers what the pack has, and then what other packs have."""

    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
        chosen = super().choose(payloads, level, known)
        return next(known.here(), None) or next(known.elsewhere(), None) or chosen


@contextmanager
def using(*dictionaries: Dictionary | None) -> Iterator[Always]:
    """Let everything that is compressed with zstd in this block be compressed with these in turn."""
    chooser = Always(*(dictionaries or (trained(),)))
    with chosen_by(chooser):
        yield chooser


@contextmanager
def training_soon() -> Iterator[None]:
    """Let a writer train a second dictionary after 400 objects: they earn what 16,000 do. It is the real chooser."""
    with patch("rsdos.codecs.training._OBJECT", 200.0):
        yield


@contextmanager
def training_on_few() -> Iterator[None]:
    """Let nine objects that have much in common be enough to train on. Chooser and trainer are the real ones."""
    few: dict[str, Any] = {"_LEAST_SIZE": 0, "_JUDGES": 2, "_JUDGED": 1, "_COST": 0.0, "_SEGMENT": 50}
    with patch.multiple("rsdos.codecs.training", **few):
        yield


@contextmanager
def chosen_by(chooser: Always) -> Iterator[None]:
    """Let a chooser decide in this block."""
    with patch.object(PackedContext, "new_chooser", staticmethod(lambda: chooser)):
        yield

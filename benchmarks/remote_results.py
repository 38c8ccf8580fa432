"""How much `benchmarks.remote` takes on, and what it has measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Level:
    """How much of all: ``files``, of which the peers, which make an object of each, get a part.

    ``more_files`` are pushed once more (0: none); each of 16 writers makes ``commits``; ``entries`` are in the index
    of the lookups.
    """

    files: int
    more_files: int
    commits: int
    entries: int


LEVELS = {
    "tiny": Level(300, 500, 2, 200_000),
    "small": Level(5_000, 0, 5, 1_000_000),
    "full": Level(100_000, 0, 50, 10_000_000),
    "large": Level(100_000, 600_000, 200, 10_000_000),
}


@dataclass(slots=True)
class RemoteResults:
    """All figures of one run, by their names, and why some are missing."""

    level: str
    machine: dict[str, str]
    files: int
    figures: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_remote(path: Path) -> RemoteResults:
    """What a run has written."""
    return RemoteResults(**json.loads(path.read_text()))

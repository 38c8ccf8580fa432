"""What a run of `benchmarks.cold` has found."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cold_index import Row
from benchmarks.cold_media import Media
from benchmarks.cold_sides import SideFigures


@dataclass(slots=True)
class ColdResults:
    """All figures of one run. ``count`` objects were in each of the sides; ``missing`` says why some are not there."""

    machine: dict[str, str]
    count: int
    drops_all: bool
    """Whether all caches were dropped; else the pages of the files alone."""
    media: Media = field(default_factory=dict)
    index: dict[str, Row] = field(default_factory=dict)
    sides: dict[str, SideFigures] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_cold(path: Path) -> ColdResults:
    """Return what a run has written."""
    return ColdResults(**json.loads(path.read_text()))

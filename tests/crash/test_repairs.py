"""Repairs that are killed: of what could not be read, nothing is dropped in silence, and the next run does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import run_python

_MAIN = "import sys; from tests.crash.repairs import main; main(*sys.argv[1:])"


@pytest.mark.parametrize("version", [1, 2])
def test_repair_of_objects_killed_before_each_call(version: int, in_memory: Path) -> None:
    assert int(run_python(_MAIN, in_memory, version)) > 40

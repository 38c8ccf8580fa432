"""Repairs that are killed: of what could not be read, nothing is dropped in silence, and the next run does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import run_python


@pytest.mark.parametrize("version", [1, 2])
def test_repair_of_objects_killed_before_each_call(version: int, tmp_path: Path) -> None:
    assert (
        int(run_python("import sys; from tests.crash.repairs import main; main(*sys.argv[1:])", tmp_path, version)) > 40
    )

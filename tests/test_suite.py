"""The suite itself: it holds on a slow machine, and says all that is wrong in one run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]


def test_no_example_fails_for_the_time_it_takes() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_stage_that_fails_does_not_hide_the_next() -> None:
    stages = ["STAGES=no-such-stage help", "BESIDE="]  # Under a `make test` with others, its own come down to here.
    done = subprocess.run(["make", "--no-print-directory", "test", *stages], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    *_, last = done.stdout.splitlines()
    assert "make bench" in done.stdout and last == "== stages: no-such-stage help; failed: no-such-stage"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_stage_beside_the_others_is_told_as_well() -> None:
    stages = ["STAGES=help", "BESIDE=help no-such-stage"]
    done = subprocess.run(["make", "--no-print-directory", "test", *stages], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    lines = done.stdout.splitlines()
    assert sum(line.startswith("  make lint ") for line in lines) == 2
    assert "== stages: help no-such-stage; failed: no-such-stage" in lines
    assert lines[-1] == "== stages: help help no-such-stage; failed: no-such-stage"

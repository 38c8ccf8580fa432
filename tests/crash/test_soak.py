"""Twenty seconds of the long mixed run; `make soak` takes as long as one likes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import ROOT, child_environment
from tests.patience import HANG


@pytest.mark.parametrize(("version", "minutes"), [(2, 0.25), (1, 0.1)])
def test_nothing_is_lost_wrong_or_stuck(version: int, minutes: float) -> None:
    command = [sys.executable, "-m", "tests.crash.soak", "--minutes", str(minutes), "--version", str(version)]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), capture_output=True, text=True, timeout=2 * HANG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 wrong" in done.stdout

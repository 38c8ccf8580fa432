"""A bounded share of the storm; `make storm` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.helpers import ROOT


def test_interrupts_leave_nothing_open_and_nothing_held() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.storm.storm", "--steps", "50"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = re.fullmatch(r"(\d+) operations, (\d+) interrupted, (\d+) by Ctrl-C, \d+ looks of others\n", done.stdout)
    assert said and int(said[1]) == 150 and int(said[2]) > int(said[3]) > 0, done.stdout

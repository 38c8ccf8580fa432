"""A share of the fuzzer of a stranger's containers; `make hostile` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import fuzz

CASES = 12
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_no_command_reaches_outside_waits_or_needs_more_than_its_limits(tmp_path: Path, share: int) -> None:
    report = fuzz.Report()
    fuzz.run(tmp_path, CASES, share, report)
    assert report.faults == []
    assert report.cases == CASES

"""A share of the fuzzer of a stranger's containers; `make hostile` does more."""

from __future__ import annotations

import pytest

from tests.hostile.limits import fuzz

CASES = 12
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_no_command_reaches_outside_waits_or_needs_more_than_its_limits(share: int) -> None:
    assert fuzz("fuzz", "--cases", CASES, "--seed", share).startswith(f"{CASES} cases")

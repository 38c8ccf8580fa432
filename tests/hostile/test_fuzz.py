"""A share of the fuzzer of a stranger's containers; `make hostile` does more."""

from __future__ import annotations

import pytest

from tests.hostile.limits import fuzz

CASES = 12
SHARES = 4
LINES = 8


@pytest.mark.parametrize("share", range(SHARES))
def test_no_command_reaches_outside_waits_or_needs_more_than_its_limits(share: int) -> None:
    assert fuzz("fuzz", "--cases", CASES, "--seed", share, "--lines", LINES).startswith(f"{CASES} cases")


def test_the_commands_of_the_fuzzer_work_where_nobody_has_changed_anything() -> None:
    """A line that fails everywhere, such as one with a misspelt command, would try nothing."""
    assert fuzz("fuzz", "--unchanged").endswith("; 0 faults\n")

"""Which versions are kept: by restic's rules, and never without the newest and the tagged ones."""

from __future__ import annotations

import pytest

from rsdos.errors import InvalidOption
from rsdos.trees.policy import DAY, Policy, apply_policy, parse_within
from rsdos.trees.refs import Branch, Version

TIMES = [
    "2025-12-31T23:00:00Z",  # Wednesday, week 1 of 2026
    "2026-01-01T01:00:00Z",
    "2026-01-04T23:59:59Z",  # Sunday
    "2026-01-05T00:00:00Z",  # Monday, week 2
    "2026-01-05T23:59:59Z",
    "2026-02-10T12:00:00Z",
    "2026-02-10T13:00:00Z",
]
BRANCH = Branch(8, tuple(Version(number, f"{number:064x}", time) for number, time in enumerate(TIMES, 1)))


def kept(policy: Policy, *tagged: int) -> dict[int, tuple[str, ...]]:
    found = apply_policy(BRANCH, policy, {f"{number:064x}" for number in tagged})
    assert [one.version.number for one in found] == [7, 6, 5, 4, 3, 2, 1]
    return {one.version.number: one.reasons for one in found if one.reasons}


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (Policy(), [7]),
        (Policy(last=1), [7]),
        (Policy(last=3), [7, 6, 5]),
        (Policy(last=99), [7, 6, 5, 4, 3, 2, 1]),
        (Policy(daily=2), [7, 5]),
        (Policy(daily=99), [7, 5, 3, 2, 1]),
        (Policy(weekly=2), [7, 5]),
        (Policy(weekly=3), [7, 5, 3]),
        (Policy(monthly=2), [7, 5]),
        (Policy(monthly=9), [7, 5, 1]),
        (Policy(within=3600), [7, 6]),
        (Policy(within=0), [7]),
        (Policy(within=400 * DAY), [7, 6, 5, 4, 3, 2, 1]),
        (Policy(last=2, monthly=9), [7, 6, 5, 1]),
    ],
)
def test_a_policy_keeps(policy: Policy, numbers: list[int]) -> None:
    assert list(kept(policy)) == numbers


def test_reasons_are_named() -> None:
    found = kept(Policy(last=1, daily=2, weekly=1, monthly=1, within=1), 2)
    assert found == {7: ("newest", "last", "daily", "weekly", "monthly", "within"), 5: ("daily",), 2: ("tag",)}


def test_a_branch_without_versions_keeps_none() -> None:
    assert apply_policy(Branch(3, ()), Policy(last=1, within=5), set()) == []


def test_a_policy_that_says_nothing_is_false() -> None:
    assert not Policy()
    assert Policy(last=1) and Policy(within=0)
    for wrong in ({"last": -1}, {"within": -1}):
        with pytest.raises(InvalidOption):
            Policy(**wrong)


def test_lengths_of_time() -> None:
    assert parse_within("90d") == 90 * DAY
    assert parse_within("1y6m2w3d12h") == (365 + 180 + 14 + 3) * DAY + 43_200
    for wrong in ("", "90", "d", "-1d", "1d1y", "1.5d", "90 d", "9" * 10 + "d"):
        with pytest.raises(InvalidOption):
            parse_within(wrong)

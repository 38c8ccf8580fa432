"""Which versions of a branch are kept: restic's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from rsdos.errors import InvalidOption
from rsdos.trees.documents import parse_time
from rsdos.trees.refs import Branch, Version

DAY = 86_400
_UNITS = {"y": 365 * DAY, "m": 30 * DAY, "w": 7 * DAY, "d": DAY, "h": 3600}


@dataclass(frozen=True, slots=True)
class Policy:
    """What `forget` keeps. A version that any of the rules names is kept; all times are UTC.

    ``daily``, ``weekly`` and ``monthly``: of so many days, weeks (from Monday) and months that have versions, the
    newest version. Raise `InvalidOption` for negative numbers.
    """

    last: int = 0
    """So many of the newest versions."""
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    within: int | None = None
    """All versions of the so many seconds before the newest one: not before now, so that no clock can forget."""

    def __post_init__(self) -> None:
        if min(self.last, self.daily, self.weekly, self.monthly, self.within or 0) < 0:
            raise InvalidOption("a policy keeps a number of versions that is not negative")

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly)) or self.within is not None


class Kept(NamedTuple):
    """A version, and why it is kept; without reasons it is to be forgotten."""

    version: Version
    reasons: tuple[str, ...]


def parse_within(text: str) -> int:
    """Return the seconds of ``90d`` or ``1y6m2w3d12h``; a year has 365 days, a month 30. Raise `InvalidOption`."""
    if not re.fullmatch(r"(\d{1,9}y)?(\d{1,9}m)?(\d{1,9}w)?(\d{1,9}d)?(\d{1,9}h)?", text) or not text:
        raise InvalidOption(f"{text!r:.40} is no length of time such as 90d or 1y6m")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([ymwdh])", text))


def _day(version: Version) -> object:
    return version.time[:10]


def _week(version: Version) -> object:
    return date.fromisoformat(version.time[:10]).isocalendar()[:2]


def _month(version: Version) -> object:
    return version.time[:7]


def apply_policy(branch: Branch, policy: Policy, tagged: Collection[str]) -> list[Kept]:
    """Return each version of a branch, the newest first, and why it is kept.

    The newest one and those whose snapshot is ``tagged`` are kept whatever the policy says.
    """
    versions = branch.versions[::-1]
    reasons: list[list[str]] = [["tag"] if version.snapshot in tagged else [] for version in versions]
    for some in reasons[:1]:
        some.insert(0, "newest")
    for some in reasons[: policy.last]:
        some.append("last")
    rules: list[tuple[str, int, Callable[[Version], object]]] = [
        ("daily", policy.daily, _day),
        ("weekly", policy.weekly, _week),
        ("monthly", policy.monthly, _month),
    ]
    for name, most, period in rules:
        seen: set[object] = set()
        for version, some in zip(versions, reasons, strict=True):
            if len(seen) < most and period(version) not in seen:
                seen.add(period(version))
                some.append(name)
    if policy.within is not None and versions:
        oldest = parse_time(versions[0].time) - policy.within
        for version, some in zip(versions, reasons, strict=True):
            if parse_time(version.time) >= oldest:
                some.append("within")
    return [Kept(version, tuple(some)) for version, some in zip(versions, reasons, strict=True)]

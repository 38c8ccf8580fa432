"""What is known to fail, by the name of its entry in issue 14, or by what it does: a list that has to get shorter.

What is listed and fails no more fails `tests.interleave.test_interleave`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.interleave.child import Ending


class Fault(NamedTuple):
    """``kinds`` of fault that are seen wherever one of ``acts`` is among those beside one another.

    ``shown``: for each version that has it, acts that show it, and how many seeds that takes at most.
    """

    entry: str
    acts: frozenset[str]
    kinds: frozenset[str]
    shown: dict[int, tuple[str, int]]
    ending: Ending = Ending.WHOLE


_LOST = frozenset({"lost", "unlisted"})
_ANY = _LOST | {"error", "broken", "validate", "unseen", "ghost", "count", "unreadable", "undead", "stuck", "wrong"}

KNOWN: tuple[Fault, ...] = ()


def known(acts: Sequence[str]) -> frozenset[str]:
    """The kinds of fault that acts beside one another are known to show."""
    kinds: frozenset[str] = frozenset()
    for fault in KNOWN:
        if fault.acts & set(acts):
            kinds |= fault.kinds
    return kinds

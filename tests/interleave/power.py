"""The disk states that a power loss leaves behind calls of several actors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.crash import shim
from tests.crash.power import ways
from tests.crash.replay import Replay, Tree, digest
from tests.crash.shim import Kind
from tests.interleave.schedule import Step

_POINTS = 3
"""Calls of a schedule behind which power is lost, by chance, beside the last one and each acknowledgement."""


def losses(
    template: Path, root: Path, trace: Path, steps: Sequence[Step], seed: int
) -> Iterator[tuple[str, Sequence[Step], Tree]]:
    """For each distinct state: where and how power was lost, the steps up to there, and what is left.

    ``trace`` is what was recorded of the calls, ``steps`` what was played: what was said is in both, in one order.
    """
    said = [at for at, step in enumerate(steps) if step.kind is Kind.MARK]
    calls = list(shim.calls(trace))
    chance = random.Random(f"power {seed}")
    points = {chance.randrange(len(calls)) for _ in range(_POINTS)} | {len(calls) - 1}
    points |= {at for at, call in enumerate(calls) if call.kind is Kind.MARK and call.path.split()[0] in _PROMISES}
    replay = Replay(template, root)
    marks = 0
    seen: set[tuple[str, int]] = set()
    for at, call in enumerate(calls):
        if call.kind is Kind.MARK:
            marks += 1
        else:
            replay.play(call)
        if at not in points:
            continue
        for how, choose, content in ways(f"{seed} {at}", 1):
            tree = replay.leave(choose, content)
            state = digest(tree), marks
            if state not in seen:
                seen.add(state)
                # Nothing said behind this one: what was done since is of calls that nobody was told of.
                until = said[marks] if marks < len(said) else len(steps)
                name = call.path.replace(f"{root}/", "")
                yield f"power lost behind call {at}, {call.kind.name.lower()} {name}; {how}", steps[:until], tree


_PROMISES = ("stored", "relaxed", "removed")

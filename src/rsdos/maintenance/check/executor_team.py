"""Doing the parts of a check with the caller's executor, in its processes on one machine or on many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rsdos.engine.executors import AHEAD, HandedOut, result_of
from rsdos.errors import DamagedContainer
from rsdos.stores.findings import Checked, Depth, Part, Sample
from rsdos.stores.loose.check import LoosePart

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.stores.findings import PacksCheck
    from rsdos.stores.loose.check import LooseCheck

_Of = TypeVar("_Of")


class ExecutorTeam:
    """Checks a container with an executor; see `rsdos.maintenance.check.team.Team`. One thread."""

    def __init__(self, executor: Executor, engine: Engine, depth: Depth, share: float, check: PacksCheck) -> None:
        self._handed_out = HandedOut(executor, engine)
        self._do = partial(_check, depth=depth, share=share, moment=check.moment)

    def steps(
        self, steps: Iterator[tuple[_Of, Checked | Part]], check: PacksCheck | LooseCheck
    ) -> Iterator[tuple[_Of, Checked]]:
        """Yield all steps in their order, with those of the parts in their places. Raise what a worker raises."""
        queue: deque[tuple[_Of, Checked | Part, Future[list[Checked] | None] | None]] = deque()
        try:
            while True:
                while len(queue) < AHEAD and (following := next(steps, None)) is not None:
                    of, step = following
                    is_handed_out = isinstance(step, Part) and not step.in_turn
                    queue.append((of, step, self._handed_out.submit(self._do, step) if is_handed_out else None))
                if not queue:
                    return
                of, step, future = queue.popleft()
                if isinstance(step, Checked):
                    yield of, step
                    continue
                done = result_of(future) if future is not None else None
                for checked in check.part(step) if done is None else done:
                    yield of, checked
        finally:
            for _, _, future in queue:
                if future is not None:
                    future.cancel()


def _check(engine: Engine, part: Part, depth: Depth, share: float, moment: object) -> list[Checked] | None:
    """Do one part. Return None if the index of that moment cannot be opened any more. This runs in a worker."""
    sample = Sample(share)
    if isinstance(part, LoosePart):
        return list(engine.loose.check(depth, sample).part(part))
    try:
        packs = engine.packed.maintenance.check(depth, sample, moment)
    except (FileNotFoundError, DamagedContainer):
        return None  # Sixteen commits have run since: the segments of that moment are gone.
    return list(packs.part(part))

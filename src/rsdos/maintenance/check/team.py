"""Doing the parts of a check: in this process, or in workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rsdos.engine.workers import WorkerProcesses, wait_for
from rsdos.errors import DamagedContainer
from rsdos.stores.findings import Checked, Depth, Part, Sample

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rsdos.engine.engine import Engine
    from rsdos.stores.findings import PacksCheck
    from rsdos.stores.loose.check import LooseCheck

_MORE = "more"
"""The message of a worker that asks for the next part. It has sent all steps of the part before."""

_AHEAD = 4
"""Parts for each worker that may be begun and done before the first of them is done."""

_Of = TypeVar("_Of")


def workers_for(engine: Engine, jobs: int, depth: Depth, share: float) -> WorkerProcesses:
    """Return the workers of a `Team` that does a check in ``jobs`` processes; one needs none."""
    return WorkerProcesses(engine, jobs if jobs > 1 else 0, partial(_serve, depth=depth, share=share))


class Team:
    """This process and some workers, which check the same container. One thread."""

    def __init__(self, workers: WorkerProcesses, check: PacksCheck) -> None:
        """Let the workers make checks of the same moment. Those that cannot do so any more end."""
        self._workers = workers
        self._idle: list[Connection] = []
        for pipe in workers.pipes:
            workers.send(pipe, check.moment)

    def steps(
        self, steps: Iterator[tuple[_Of, Checked | Part]], check: PacksCheck | LooseCheck
    ) -> Iterator[tuple[_Of, Checked]]:
        """Yield all steps in their order, with those of the parts in their places.

        Raise what a worker raises, and `WorkerDied`.
        """
        if self._workers.pipes:
            yield from self._share_out(steps, check.part)
        # Without workers, or after all have ended because they could not open the index of that moment.
        for of, step in steps:
            for checked in (step,) if isinstance(step, Checked) else check.part(step):
                yield of, checked

    def _share_out(
        self, steps: Iterator[tuple[_Of, Checked | Part]], do: Callable[[Part], Iterator[Checked]]
    ) -> Iterator[tuple[_Of, Checked]]:
        """Give a part to each worker that asks, until there are no more parts or no more workers."""
        queue: deque[tuple[_Of, _Doing]] = deque()
        working: dict[Connection, _Doing] = {}
        is_over = False
        while not is_over or queue:
            while not is_over and self._idle and len(queue) < _AHEAD * len(self._workers.pipes):
                of, step = next(steps, (None, None))
                if of is None or step is None:
                    is_over = True
                    break
                doing = _Doing(step)
                queue.append((of, doing))
                if isinstance(step, Part) and not step.in_turn:
                    pipe = self._idle.pop()
                    self._workers.send(pipe, step)
                    working[pipe] = doing
            while queue:
                of, doing = queue[0]
                for checked in doing.take(do):
                    yield of, checked
                if not doing.is_done:
                    break
                queue.popleft()
            if not queue and not self._workers.pipes:
                return
            if queue or not self._idle:
                self._listen(working)

    def _listen(self, working: dict[Connection, _Doing]) -> None:
        for pipe in wait_for([pipe for pipe in self._workers.pipes if pipe not in self._idle]):
            message = self._workers.receive(pipe)
            if isinstance(message, Checked):
                working[pipe].steps.append(message)
            elif message == _MORE:
                self._idle.append(pipe)
                if done := working.pop(pipe, None):
                    done.is_done = True


class _Doing:
    """A step, or a part together with the steps of it that a worker has sent."""

    def __init__(self, step: Checked | Part) -> None:
        self.steps: deque[Checked] = deque()
        self.is_done = False
        self._own: Part | None = None
        if isinstance(step, Checked):
            self.steps.append(step)
            self.is_done = True
        elif step.in_turn:
            self._own = step

    def take(self, do: Callable[[Part], Iterator[Checked]]) -> Iterator[Checked]:
        """Yield the steps that are there, each once. Everything before has been yielded."""
        if self._own is not None:
            yield from do(self._own)
            self.is_done = True
        while self.steps:
            yield self.steps.popleft()


def _serve(engine: Engine, pipe: Connection, depth: Depth, share: float) -> None:
    """Work: do the parts of a check, until the pipe is closed."""
    from rsdos.stores.loose.check import LoosePart

    moment = pipe.recv()
    sample = Sample(share)
    try:
        packs = engine.packed.maintenance.check(depth, sample, moment)
    except (FileNotFoundError, DamagedContainer):
        return  # Sixteen commits have run since: the segments of that moment are gone.
    loose = engine.loose.check(depth, sample)
    while True:
        pipe.send(_MORE)
        part = pipe.recv()
        for checked in loose.part(part) if isinstance(part, LoosePart) else packs.part(part):
            pipe.send(checked)

"""Every interleaving of some actors: all states that can be reached, each looked at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

DONE = "done"


class Wrong(AssertionError):
    """The rule does not hold."""


class State(NamedTuple):
    """Where an actor is, and what it remembers."""

    at: str
    memory: Hashable = None


class Begun(Protocol):
    """One operation."""

    @property
    def name(self) -> str: ...

    def begin(self) -> State: ...


_World = TypeVar("_World", bound=Hashable)
_Actor = TypeVar("_Actor", bound=Begun)
Next: TypeAlias = tuple[State, _World] | None
"""What an actor is after a step, and the world; None while it waits."""
States: TypeAlias = tuple[State, ...]


def search(
    world: _World,
    actors: Sequence[_Actor],
    steps: Callable[[_Actor, State, _World], Iterable[tuple[str, Next[_World]]]],
    judge: Callable[[_World], None] = lambda world: None,
    judge_end: Callable[[_World], None] = lambda world: None,
    reduced: Callable[[_World, States], tuple[_World, States]] = lambda world, states: (world, states),
    is_alone: Callable[[_Actor, State], bool] = lambda actor, state: False,
) -> int:
    """Try all orders of the steps of some actors; return how many states there are.

    ``steps`` gives what may become of an actor, each with what is said of it. ``judge`` raises `Wrong` for a world that
    breaks a promise, ``judge_end`` for one in which all are done and that breaks one. ``reduced`` forgets what nobody
    asks for any more, so that states become one. Where ``is_alone`` an actor's step concerns no other, and is done at
    once: whichever of the others' steps came in between, it would be the same. Raise `Wrong` with the steps that lead
    there, also where somebody waits forever.
    """
    first = world, tuple(actor.begin() for actor in actors)
    came_from: dict[tuple[_World, States], tuple[tuple[_World, States], str] | None] = {first: None}
    todo = [first]
    while todo:
        node = todo.pop()
        now, states = node
        try:
            is_stuck = True
            for at, actor in _choices(actors, states, is_alone):
                for said, after in steps(actor, states[at], now):
                    if after is None:
                        continue
                    is_stuck = False
                    changed = *states[:at], after[0], *states[at + 1 :]
                    fresh = reduced(after[1], changed)
                    if fresh not in came_from:
                        came_from[fresh] = node, f"  {actor.name}: {states[at].at} {states[at].memory}{said}"
                        todo.append(fresh)
            judge(now)
            if is_stuck and any(state.at != DONE for state in states):
                raise Wrong("somebody waits forever")
            if is_stuck:
                judge_end(now)
        except Wrong as error:
            steps_to = []
            while link := came_from[node]:
                node, step = link
                steps_to.append(step)
            raise Wrong("\n".join([str(error), f"  {node[0]}", *reversed(steps_to)])) from None
    return len(came_from)


def _choices(
    actors: Sequence[_Actor], states: States, is_alone: Callable[[_Actor, State], bool]
) -> Sequence[tuple[int, _Actor]]:
    """Those that may go on: all that are not done, or one whose step concerns no other."""
    left = [(at, actor) for at, actor in enumerate(actors) if states[at].at != DONE]
    return next(([choice] for choice in left if is_alone(choice[1], states[choice[0]])), left)

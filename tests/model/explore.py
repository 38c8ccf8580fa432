"""Every interleaving of inserts, deletes and the rest, by their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.model.actors import KINDS, Actor
from tests.model.search import Next, State, States, Wrong, search
from tests.model.world import World


def explore(world: World, kinds: Sequence[str]) -> int:
    """Try all orders of the steps of operations of these kinds; return how many states there are.

    Raise `Wrong` when one of them breaks the rule, with the steps that lead there.
    """

    def reduced(world: World, states: States) -> World:
        """Forget which inserts have begun, once all plans are made."""
        if not any(kind == "retain" and state.at == "plan" for kind, state in zip(kinds, states, strict=True)):
            world = world._replace(begun=frozenset())
        return world

    actors = [KINDS[kind](f"{kind} {number}") for number, kind in enumerate(kinds)]
    return search(world, actors, _steps, judge_end=_judge, reduced=reduced)


def _steps(actor: Actor, state: State, world: World) -> Iterator[tuple[str, Next[World]]]:
    yield "", actor.step(state, world)


def _judge(world: World) -> None:
    if world.claims and not world.is_there:
        inserts = sorted(claim.insert for claim in world.claims)
        raise Wrong(f"acknowledged, and gone: {inserts}")

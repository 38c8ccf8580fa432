"""Every interleaving of some operations: all states that can be reached, each looked at once."""

from __future__ import annotations

from collections.abc import Sequence

from tests.model.actors import DONE, KINDS, Actor, State, Wrong
from tests.model.world import World

Node = tuple[World, tuple[State, ...]]


def explore(world: World, kinds: Sequence[str]) -> int:
    """Try all orders of the steps of operations of these kinds; returns how many states there are.

    Raises `Wrong` when one of them breaks the rule, with the steps that lead there.
    """
    actors = [KINDS[kind](f"{kind} {number}") for number, kind in enumerate(kinds)]
    first: Node = (world, tuple(actor.begin() for actor in actors))
    came_from: dict[Node, tuple[Node, str] | None] = {first: None}
    todo = [first]
    while todo:
        node = todo.pop()
        world, states = node
        stuck = True
        for at, actor in enumerate(actors):
            if states[at].at == DONE:
                continue
            try:
                after = actor.step(states[at], world)
            except Wrong as error:
                raise Wrong(f"{error}\n{_path(came_from, node)}\n{_step(actor, states[at])}") from None
            if after is None:
                continue
            stuck = False
            state, changed = after
            fresh = _reduced(changed, (*states[:at], state, *states[at + 1 :]), kinds)
            if fresh not in came_from:
                came_from[fresh] = (node, _step(actor, states[at]))
                todo.append(fresh)
        if stuck:
            _judge(world, states, came_from, node)
    return len(came_from)


def _reduced(world: World, states: tuple[State, ...], kinds: Sequence[str]) -> Node:
    """The same, without what nobody will ask for: who has begun, once all plans are made."""
    if not any(kind == "retain" and state.at == "plan" for kind, state in zip(kinds, states, strict=True)):
        world = world._replace(begun=frozenset())
    return world, states


def _judge(world: World, states: tuple[State, ...], came_from: dict[Node, tuple[Node, str] | None], node: Node) -> None:
    if any(state.at != DONE for state in states):
        raise Wrong(f"somebody waits for ever\n{_path(came_from, node)}")
    if world.claims and not world.is_there:
        inserts = sorted(claim.insert for claim in world.claims)
        raise Wrong(f"acknowledged, and gone: {inserts}\n{_path(came_from, node)}")


def _step(actor: Actor, state: State) -> str:
    return f"  {actor.name}: {state.at} {state.memory}"


def _path(came_from: dict[Node, tuple[Node, str] | None], node: Node) -> str:
    steps = []
    while link := came_from[node]:
        node, step = link
        steps.append(step)
    return "\n".join([f"  {node[0]}", *reversed(steps)])

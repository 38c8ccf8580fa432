"""Every interleaving of inserts, deletes and the rest, by their keys.

Three reductions leave every order of the steps that depend on one another (`_Reduced`, `Actor.is_alone`): of three
actors a third of the states is left, of four a sixth.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from tests.model.actors import Actor, Lean, Plan
from tests.model.kinds import KINDS
from tests.model.search import DONE, Next, State, States, Wrong, search
from tests.model.world import ActivePack, World


def kept(world: World) -> None:
    """Raise `Wrong` for what is gone at the end."""
    if world.claims and not world.is_there:
        inserts = sorted(claim.insert for claim in world.claims)
        raise Wrong(f"acknowledged, and gone: {inserts}")


def explore(world: World, kinds: Sequence[str], judge_end: Callable[[World], None] = kept) -> int:
    """Try all orders of the steps of operations of these kinds; return how many states there are.

    Raise `Wrong` when one of them breaks the rule, with the steps that lead there.
    """
    return search(world, _actors(kinds), _steps, judge_end=judge_end, reduced=_Reduced(kinds), is_alone=_is_alone)


def explore_plainly(world: World, kinds: Sequence[str]) -> int:
    """Do the same without any reduction: the control."""
    return search(world, _actors(kinds), _steps, judge_end=kept)


def _actors(kinds: Sequence[str]) -> list[Actor]:
    return [KINDS[kind](f"{kind} {number}") for number, kind in enumerate(kinds)]


class _Reduced:
    """Makes one state of those that differ by nothing that anybody asks for."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._plans = [at for at, kind in enumerate(kinds) if kind == "retain"]

    def __call__(self, world: World, states: States) -> tuple[World, States]:
        plans = {states[at].at for at in self._plans}
        if "plan" not in plans:
            world = world._replace(begun=frozenset())
        if plans <= {DONE}:
            # Which insert has claimed what, and at which try, is asked by plans alone.
            world = world._replace(claims=frozenset({_SOME} if world.claims else ()))
            states = tuple(_first_try(state) for state in states)
        return _renumbered(world, states)


_SOME = ActivePack("an insert", 0)


def _first_try(state: State) -> State:
    lean = state.memory
    return state._replace(memory=lean._replace(tried=0)) if isinstance(lean, Lean) and lean.tried else state


def _renumbered(world: World, states: States) -> tuple[World, States]:
    """With the numbers of those copies alone that somebody knows of, in their order."""
    known = {0, world.loose, *world.packed, *(claim.copy for claim in world.claims)}
    for state in states:
        known.update(_numbers(state.memory))
    if len(known) == world.made + 1:
        return world, states
    rank = {number: at for at, number in enumerate(sorted(known))}
    world = world._replace(
        loose=rank[world.loose],
        packed=frozenset(rank[copy] for copy in world.packed),
        bad=frozenset(rank[copy] for copy in world.bad & known),
        made=len(known) - 1,
        claims=frozenset(claim._replace(copy=rank[claim.copy]) for claim in world.claims),
    )
    return world, tuple(state._replace(memory=_ranked(state.memory, rank)) for state in states)


def _numbers(memory: Hashable) -> Iterator[int]:
    """The numbers of copies in what an actor remembers."""
    if isinstance(memory, Lean):
        yield memory.copy
    elif isinstance(memory, Plan):
        yield from (memory.file, memory.looked, *memory.packed)
    elif isinstance(memory, (frozenset, tuple)):
        for part in memory:
            yield from _numbers(part)
    elif type(memory) is int:
        yield memory


def _ranked(memory: Hashable, rank: Mapping[int, int]) -> Hashable:
    if isinstance(memory, (Lean, Plan)):
        return memory.renumbered(rank)
    if isinstance(memory, frozenset):
        return frozenset(_ranked(part, rank) for part in memory)
    if isinstance(memory, tuple):
        return tuple(_ranked(part, rank) for part in memory)
    return rank[memory] if type(memory) is int else memory


def _is_alone(actor: Actor, state: State) -> bool:
    return actor.is_alone(state)


def _steps(actor: Actor, state: State, world: World) -> Iterator[tuple[str, Next[World]]]:
    yield "", actor.step(state, world)

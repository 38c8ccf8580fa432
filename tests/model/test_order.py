"""The model of an insert beside a delete: every interleaving of up to five operations, by the rules of the stores.

Each rule has a mutant, in which it is patched away: the model has to fail then, or it would not see what it is for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from itertools import combinations, combinations_with_replacement
from typing import Any

import pytest

from rsdos.maintenance.repair import objects
from rsdos.model import Place
from rsdos.stores import order
from rsdos.stores.order import Step
from tests.model import actors
from tests.model.explore import explore, explore_plainly
from tests.model.kinds import KINDS
from tests.model.run import WORLDS, groups, play
from tests.model.search import DONE, State, Wrong
from tests.model.upkeep import Migrate, Repair
from tests.model.world import World

FIVES = (
    ("in both", ("insert loose", "delete", "retain", "pack", "ask")),
    ("in both", ("insert loose", "insert packed", "delete", "retain", "pack")),
    ("absent", ("insert loose", "insert packed", "delete", "clean", "repack")),
    ("in both", ("insert loose", "insert packed", "delete", "clean", "repack")),
    ("in both", ("insert packed", "delete", "retain", "clean", "repack")),
    ("in both", ("insert packed", "transfer", "delete", "migrate", "repack")),
    ("loose, damaged", ("insert loose", "delete", "repair", "pack", "migrate")),
    ("in both, the packed one is damaged", ("insert packed", "transfer", "delete", "clean", "repair")),
)


def try_all(worlds: Iterable[str], together: int) -> None:
    """Every so many operations, the same kind more than once too."""
    for world in worlds:
        for kinds in combinations_with_replacement(KINDS, together):
            explore(WORLDS[world], kinds)


def test_any_two_operations_at_once_keep_the_rule() -> None:
    try_all(WORLDS, 2)


@pytest.mark.parametrize("world", ["absent", "loose", "in both"])
def test_any_three_operations_at_once_keep_the_rule(world: str) -> None:
    try_all([world], 3)


@pytest.mark.parametrize("part", range(4))
def test_any_four_different_operations_at_once_keep_the_rule(part: int) -> None:
    """In one world, and without "ask", which changes nothing: `make model` has all, in all worlds."""
    fours = list(combinations([kind for kind in KINDS if kind != "ask"], 4))
    assert sum(explore(WORLDS["in both"], kinds) for kinds in fours[part::4]) > 10_000


@pytest.mark.parametrize(("world", "kinds"), FIVES)
def test_five_operations_at_once_keep_the_rule(world: str, kinds: tuple[str, ...]) -> None:
    assert explore(WORLDS[world], kinds) > 1000


def test_a_group_that_is_played_by_itself_gives_the_states_and_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make model` prints is of these."""
    group = "loose", ("insert loose", "delete")
    assert group in set(groups(2)) and len(set(groups(2))) == len(list(groups(2)))
    assert play(group) == (explore(WORLDS["loose"], group[1]), "")
    monkeypatch.setattr(order, "lost", lambda duplicates, there: [])
    assert "acknowledged, and gone" in play(group)[1]


def nothing_revived(world: World) -> None:
    if world.revived:
        raise Wrong(f"nobody has inserted it since it was deleted: {sorted(world.revived)}")


@pytest.mark.parametrize("world", [name for name, world in WORLDS.items() if world.bad])
def test_a_repair_brings_nothing_back_that_was_deleted(world: str) -> None:
    for other in KINDS:
        explore(WORLDS[world], ("repair", other), nothing_revived)


MUTANTS: dict[str, tuple[object, str, Any]] = {
    "a delete commits its tombstones before the loose files go": (order, "DELETE_ORDER", (Place.PACKED, Place.LOOSE)),
    "an insert looks, and syncs then": (order, "SETTLE_ORDER", (Step.LOOK, Step.SYNC, Step.STORE)),
    "an insert does not look again": (order, "SETTLE_ORDER", (Step.SYNC, Step.STORE)),
    "a loose file that is leant on is believed to stay": (order, "is_still_there", lambda leant_on, now: True),
    "a plan removes whatever has the name": (order, "may_remove", lambda planned, now: True),
    "a plan removes whatever is packed": (order, "may_bury", lambda planned, now: True),
    "what is lost is not stored anew": (order, "lost", lambda duplicates, there: []),
    "a loose file goes whether the packed copy is good or not": (
        order,
        "removable",
        lambda digests, is_packed: list(digests),
    ),
    "a newer state is never asked for": (order, "is_due", lambda asked, now: False),
    "a repair believes its plan": (objects, "_is_gone", lambda kinds, loose, needed: False),
    "a repair appends nothing": (objects, "_lacking", lambda kinds, loose, needed: set()),
    "a repair keeps the good file that it has moved away": (
        Repair,
        "put_back",
        staticmethod(lambda moved, world: world),
    ),
    "a migration does not look under the lock of the index": (
        Migrate,
        "may_change",
        staticmethod(lambda seen, now: True),
    ),
    "an index is written to that is not the container's any more": (actors, "is_refused", lambda opened, now: False),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_without_one_of_the_rules_the_model_fails(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTANTS[rule])
    with pytest.raises(Wrong):
        try_all(WORLDS, 2)
        try_all(["in both"], 3)


@pytest.mark.parametrize("other", ["delete", "retain"])
def test_a_transfer_needs_its_last_look(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`order.lost` is asked first for what to copy: only what is asked behind the commit is left out here."""

    real = actors.Transfer.go_on

    def first_alone(self: actors.Transfer, at: str, lean: actors.Lean, world: World) -> Any:
        if at.startswith("last") and not (world.packed or world.loose):
            return State(DONE), self._claim(lean, world)
        return real(self, at, lean, world)

    explore(WORLDS["in both"], ("transfer", other))
    monkeypatch.setattr(actors.Transfer, "go_on", first_alone)
    with pytest.raises(Wrong):
        explore(WORLDS["in both"], ("transfer", other))


@pytest.mark.parametrize("rule", MUTANTS)
def test_what_is_left_out_of_all_orders_hides_nothing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair that fails where all states are told apart and all orders tried fails in `explore` as well."""
    monkeypatch.setattr(*MUTANTS[rule])
    for world in WORLDS.values():
        for kinds in combinations_with_replacement(KINDS, 2):
            assert _fails(explore, world, kinds) == _fails(explore_plainly, world, kinds), kinds


def _fails(explored: Any, world: World, kinds: tuple[str, ...]) -> bool:
    try:
        explored(world, kinds)
    except Wrong:
        return True
    return False


def test_every_rule_has_a_mutant() -> None:
    rules = {name for name, value in vars(order).items() if _is_rule(name, value)}
    assert rules == {name for where, name, _ in MUTANTS.values() if where is order}


def _is_rule(name: str, value: object) -> bool:
    return name.endswith("_ORDER") or (inspect.isfunction(value) and value.__module__ == order.__name__)

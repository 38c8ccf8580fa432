"""The model of an insert beside a delete: every interleaving of up to five operations, by the rules of the stores.

Each rule has a mutant, in which it is patched away: the model has to fail then, or it would not see what it is for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from itertools import combinations_with_replacement
from typing import Any

import pytest

from rsdos.model import Place
from rsdos.stores import order
from rsdos.stores.order import Step
from tests.model.actors import KINDS
from tests.model.explore import explore
from tests.model.search import Wrong
from tests.model.world import World

WORLDS = {
    "absent": World(),
    "loose": World(loose=1, made=1),
    "packed": World(packed=frozenset({1}), made=1),
    "in both": World(loose=1, packed=frozenset({2}), made=2),
    "loose, damaged": World(loose=1, bad=frozenset({1}), made=1),
    "in both, the packed one is damaged": World(loose=1, packed=frozenset({2}), bad=frozenset({2}), made=2),
}

FIVES = (
    ("in both", ("insert loose", "delete", "retain", "pack", "ask")),
    ("in both", ("insert loose", "insert packed", "delete", "retain", "pack")),
    ("absent", ("insert loose", "insert packed", "delete", "clean", "repack")),
    ("in both", ("insert loose", "insert packed", "delete", "clean", "repack")),
    ("in both", ("insert packed", "delete", "retain", "clean", "repack")),
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


@pytest.mark.parametrize(("world", "kinds"), FIVES)
def test_five_operations_at_once_keep_the_rule(world: str, kinds: tuple[str, ...]) -> None:
    assert explore(WORLDS[world], kinds) > 1000


MUTANTS: dict[str, tuple[str, Any]] = {
    "a delete commits its tombstones before the loose files go": ("DELETE_ORDER", (Place.PACKED, Place.LOOSE)),
    "an insert looks, and syncs then": ("SETTLE_ORDER", (Step.LOOK, Step.SYNC, Step.STORE)),
    "an insert does not look again": ("SETTLE_ORDER", (Step.SYNC, Step.STORE)),
    "a loose file that is leant on is believed to stay": ("is_still_there", lambda leant_on, now: True),
    "a plan removes whatever has the name": ("may_remove", lambda planned, now: True),
    "a plan removes whatever is packed": ("may_bury", lambda planned, now: True),
    "what is lost is not stored anew": ("lost", lambda duplicates, there: []),
    "a loose file goes whether the packed copy is good or not": ("removable", lambda digests, is_packed: list(digests)),
    "a newer state is never asked for": ("is_due", lambda asked, now: False),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_without_one_of_the_rules_the_model_fails(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, mutant = MUTANTS[rule]
    monkeypatch.setattr(order, name, mutant)
    with pytest.raises(Wrong):
        try_all(WORLDS, 2)
        try_all(["in both"], 3)


def test_every_rule_has_a_mutant() -> None:
    rules = {name for name, value in vars(order).items() if _is_rule(name, value)}
    assert rules == {name for name, _ in MUTANTS.values()}


def _is_rule(name: str, value: object) -> bool:
    return name.endswith("_ORDER") or (inspect.isfunction(value) and value.__module__ == order.__name__)

"""The model of snapshots beside deletes: every interleaving of up to five operations, by the rules of `lifetime`.

Each rule has a mutant, in which it is patched away: the model has to fail then, or it would not see what it is for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from itertools import combinations_with_replacement
from typing import Any

import pytest

from rsdos.model import PackKind
from rsdos.stores import lifetime
from tests.model import lives
from tests.model.lives import KINDS, Place, World, explore
from tests.model.search import State, Wrong

_HELD = Place(1, PackKind.HELD)
_PLAIN = Place(1, PackKind.PLAIN)
_SAVED = World(made=1, document=1, versions=frozenset({"old"}), promised=frozenset({"old"}), epoch=1)

WORLDS = {
    "empty": World(),
    "never saved, loose": World(loose=True, claims=frozenset({"user"})),
    "never saved, plain": World(copies=frozenset({_PLAIN}), made=1, claims=frozenset({"user"})),
    "saved": _SAVED._replace(copies=frozenset({_HELD})),
    "saved, and inserted by key": _SAVED._replace(copies=frozenset({_PLAIN}), claims=frozenset({"user"})),
    "garbage": World(copies=frozenset({_HELD}), made=1, document=1, epoch=1),
    "garbage, and loose": World(
        copies=frozenset({_HELD}), made=1, document=1, epoch=1, loose=True, claims=frozenset({"user"})
    ),
    "in both": _SAVED._replace(copies=frozenset({_HELD, Place(2, PackKind.PLAIN)}), made=2, claims=frozenset({"user"})),
}

FIVES = (
    ("saved", ("save", "forget", "gc", "delete", "insert packed")),
    ("saved, and inserted by key", ("save", "forget", "delete", "gc", "repack")),
    ("garbage, and loose", ("save", "insert packed", "clean", "gc", "delete")),
    ("never saved, plain", ("save", "delete", "insert loose", "gc", "clean")),
)
"""None of them is killed: that is seen with fewer operations."""


def try_all(worlds: Iterable[str], together: int, mortal: tuple[str, ...] = tuple(KINDS)) -> None:
    """Every so many operations, the same kind more than once too."""
    for world in worlds:
        for kinds in combinations_with_replacement(KINDS, together):
            explore(WORLDS[world], kinds, mortal)


def test_any_two_operations_at_once_keep_the_rule() -> None:
    try_all(WORLDS, 2)


def test_any_three_operations_at_once_keep_the_rule() -> None:
    try_all(WORLDS, 3)


@pytest.mark.parametrize("world", ["saved", "saved, and inserted by key"])
def test_any_four_operations_at_once_keep_the_rule(world: str) -> None:
    try_all([world], 4, mortal=())


@pytest.mark.parametrize(("world", "kinds"), FIVES)
def test_five_operations_at_once_keep_the_rule(world: str, kinds: tuple[str, ...]) -> None:
    assert explore(WORLDS[world], kinds, mortal=()) > 500


_ANY = (PackKind.PLAIN, PackKind.HELD)

MUTANTS: dict[str, tuple[object, str, Any]] = {
    "gc takes plain copies too": (lifetime, "COLLECTED_KINDS", _ANY),
    "a delete by key takes held copies too": (lifetime, "DELETED_KINDS", _ANY),
    "the first save does not begin to count": (lifetime, "begun", lambda epoch: epoch),
    "who publishes compares nothing": (lifetime, "may_publish", lambda remembered, newest: True),
    "who publishes does not compare the refs": (
        lifetime,
        "may_publish",
        lambda remembered, newest: remembered.epoch == newest.epoch,
    ),
    "who publishes does not compare the epoch": (
        lifetime,
        "may_publish",
        lambda remembered, newest: remembered.refs == newest.refs,
    ),
    "who deletes does not compare the refs": (lifetime, "may_delete", lambda marked, newest: True),
    "a delete does not count": (lifetime, "after_delete", lambda epoch: epoch),
    "a running save protects nothing": (lifetime, "collectable", lambda length, saves, pack_id: length),
    "a delete holds nothing": (lifetime, "to_hold", lambda reached, held: []),
    "a save takes a loose file for a copy": (lifetime, "takes_loose", lambda kind: True),
    "an insert by key takes a held copy for its own": (PackKind, "stand_ins", _ANY),
    "after a delete a save does not look again": (
        lives.Publisher,
        "_retry",
        lambda self, saving, world: State("make", saving._replace(epoch=world.epoch)),
    ),
}
"""What is patched, its name, and what is put in its place."""

PROGRESS = {"a running save protects nothing"}
"""The save lock alone protects no promise: without it a save stores again what gc has taken. See below."""


@pytest.mark.parametrize("rule", sorted(MUTANTS.keys() - PROGRESS))
def test_without_one_of_the_rules_the_model_fails(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MUTANTS[rule])
    with pytest.raises(Wrong):
        try_all(WORLDS, 2)
        try_all(WORLDS, 3)


def test_a_save_that_is_protected_stores_an_object_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two collections beside a save: what it has stored is there when it publishes, and is not stored again."""
    stored = []

    def step(self: lives.Save, at: str, memory: object, world: World, program: Any = lives.Save.step) -> Any:
        if at == "store":
            stored.append(world.made)
        return program(self, at, memory, world)

    monkeypatch.setattr(lives.Save, "step", step)
    explore(WORLDS["empty"], ("save", "gc", "gc"), mortal=())
    assert set(stored) == {0}
    monkeypatch.setattr(*MUTANTS["a running save protects nothing"])
    explore(WORLDS["empty"], ("save", "gc", "gc"), mortal=())
    assert set(stored) > {0}


def test_every_rule_has_a_mutant() -> None:
    rules = {name for name, value in vars(lifetime).items() if _is_rule(name, value)}
    assert rules == {name for where, name, _ in MUTANTS.values() if where is lifetime}


def _is_rule(name: str, value: object) -> bool:
    return name.endswith("_KINDS") or (inspect.isfunction(value) and value.__module__ == lifetime.__name__)

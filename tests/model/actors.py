"""The operations of the model, as steps that nothing interrupts. Their rules are those of `rsdos.stores.order`.

An actor's own state is a tuple: where it is in its program, and what it remembers. `step` gives what comes next, or
nothing while it waits for the maintenance lock. Programs are made from the tables of `order`, and decisions by the
functions there: a rule that is patched away is patched away here as in the stores. `tests.model.upkeep` has those that
clean up, move and repair, `tests.model.kinds` has all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rsdos.model import Place
from rsdos.stores import order
from rsdos.stores.order import Step
from tests.model.search import DONE, State, Wrong
from tests.model.world import World, file_of

DIGEST = b"object"


@dataclass(frozen=True)
class Actor(ABC):
    """One operation."""

    name: str
    kind: ClassVar[str]

    @abstractmethod
    def begin(self) -> State: ...

    @abstractmethod
    def step(self, state: State, world: World) -> tuple[State, World] | None:
        """What comes next; None while it waits."""

    def is_alone(self, state: State) -> bool:
        """Whether the step that comes next neither asks for nor changes what another actor changes or asks for."""
        return state.at == "free"

    def _take(self, world: World) -> World | None:
        return None if world.maintainer else world._replace(maintainer=self.name)


def free(world: World) -> World:
    return world._replace(maintainer="")


class Lean(NamedTuple):
    """What an insert remembers: the copy it leans on (0: none), where that is, if it is gone, and which try it is.

    ``version`` is that of the index that it has open.
    """

    copy: int = 0
    place: Place = Place.LOOSE
    is_lost: bool = False
    tried: int = 0
    version: int = 0

    def renumbered(self, rank: Mapping[int, int]) -> Lean:
        return self._replace(copy=rank[self.copy])

    def on(self, copy: int, place: Place) -> Lean:
        return self._replace(copy=copy, place=place, is_lost=False)

    def again(self) -> Lean:
        return Lean(tried=self.tried + 1, version=self.version)


def _is_there(lean: Lean, world: World) -> bool:
    if lean.place is Place.LOOSE:
        return order.is_still_there(file_of(lean.copy), world.file)
    return bool(world.packed)


def is_refused(opened: int, now: int) -> bool:
    """Whether the index that was opened is not the container's any more: a migration has come in between."""
    return opened not in (0, now)


def _lost(lean: Lean, world: World) -> bool:
    return bool(order.lost([DIGEST], {DIGEST} if _is_there(lean, world) else ()))


class Insert(Actor):
    """What both have in common: a claim is of one try, and a try begins with a first look."""

    def _begun(self, lean: Lean, world: World) -> World:
        return world._replace(begun=world.begun | {self._try(lean)})

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        lean = state.memory
        assert isinstance(lean, Lean)
        if self._asks_index(state.at, lean) and is_refused(lean.version, world.version):
            return State(DONE), world  # It is told so, and nothing is promised.
        if not lean.version:
            lean = lean._replace(version=world.version)
        return self.go_on(state.at, lean, world)

    @abstractmethod
    def go_on(self, at: str, lean: Lean, world: World) -> tuple[State, World]:
        """The step at a place in its program."""

    def _asks_index(self, at: str, lean: Lean) -> bool:
        return lean.place is Place.PACKED or at in ("look packed", "commit")

    def _store(self, lean: Lean, world: World) -> tuple[Lean, World]:
        """Append a packed copy, and commit it: to the index that was opened, whether it is the container's or not."""
        if lean.version != world.version:
            return lean.on(world.made + 1, Place.PACKED), world._replace(made=world.made + 1)
        return lean.on(world.made + 1, Place.PACKED), world.packed_anew()

    def _try(self, lean: Lean) -> str:
        return f"{self.name}, try {lean.tried}"

    def _claim(self, lean: Lean, world: World) -> World:
        copy = lean.copy
        if lean.place is Place.PACKED and copy not in world.packed:
            copy = min(world.packed, default=copy)  # Moved by a repack.
        return world.claimed(self._try(lean), copy)


class InsertLoose(Insert):
    """To a file of its own, under full durability."""

    kind = "insert loose"

    def begin(self) -> State:
        return State("look loose", Lean())

    def is_alone(self, state: State) -> bool:
        at = state.at.partition("settle ")[2]
        return bool(at) and not self._looks(int(at)) and not self._claims(int(at))

    def _asks_index(self, at: str, lean: Lean) -> bool:
        settle = at.partition("settle ")[2]
        return at == "look packed" or (bool(settle) and self._looks(int(settle)) and lean.place is Place.PACKED)

    @staticmethod
    def _looks(at: int) -> bool:
        return order.SETTLE_ORDER[at] is Step.LOOK

    @staticmethod
    def _claims(at: int) -> bool:
        """Whether the claim is made behind a step: nothing is left then that takes time."""
        return order.SETTLE_ORDER[at] is not Step.STORE and order.SETTLE_ORDER[at + 1] is Step.STORE

    def go_on(self, at: str, lean: Lean, world: World) -> tuple[State, World]:
        if at == "look loose":
            world = self._begun(lean, world)
            if world.has_good_loose:
                return State("settle 0", lean.on(world.loose, Place.LOOSE)), world
            return State("look packed", lean), world
        if at == "look packed":
            if good := world.packed - world.bad:
                return State("settle 0", lean.on(min(good), Place.PACKED)), world
            return State("name", lean), world
        if at == "name":
            world = world.named()
            return State("settle 0", lean.on(world.loose, Place.LOOSE)), world
        return self._settle(int(at.removeprefix("settle ")), lean, world)

    def _settle(self, at: int, lean: Lean, world: World) -> tuple[State, World]:
        """One step of `SETTLE_ORDER`."""
        step = order.SETTLE_ORDER[at]
        if step is Step.STORE:
            return (State("look loose", lean.again()) if lean.is_lost else State(DONE)), world
        if step is Step.LOOK:
            lean = lean._replace(is_lost=_lost(lean, world))
        if self._claims(at) and not lean.is_lost:
            world = self._claim(lean, world)
        return State(f"settle {at + 1}", lean), world


class InsertPacked(Insert):
    """To a pack: the last look is within the commit, and behind it for what is loose."""

    kind = "insert packed"

    def begin(self) -> State:
        return State("look packed", Lean())

    def go_on(self, at: str, lean: Lean, world: World) -> tuple[State, World]:
        if at in ("look packed", "look loose"):
            return self._look(at, lean, world)
        if at == "commit":
            return self._commit(lean, world)
        if _lost(lean, world):
            return State("look packed", lean.again()), world
        return State(DONE), self._claim(lean, world)

    def _look(self, at: str, lean: Lean, world: World) -> tuple[State, World]:
        if at == "look packed":
            world = self._begun(lean, world)
            if good := world.packed - world.bad:
                return State("commit", lean.on(min(good), Place.PACKED)), world
            return State("look loose", lean), world
        if world.has_good_loose:
            lean = lean.on(world.loose, Place.LOOSE)
        return State("commit", lean), world

    def _commit(self, lean: Lean, world: World) -> tuple[State, World]:
        if not lean.copy or (lean.place is Place.PACKED and _lost(lean, world)):
            lean, world = self._store(lean, world)
            return State(DONE), self._claim(lean, world)
        if lean.place is Place.PACKED:
            return State(DONE), self._claim(lean, world)
        return State("last look", lean), world


class Transfer(Insert):
    """Transfer the object from another container to this one, by what the index says: no copy that is there is read."""

    kind = "transfer"

    def begin(self) -> State:
        return State("look packed", Lean())

    def go_on(self, at: str, lean: Lean, world: World) -> tuple[State, World]:
        if at == "look packed":
            world = self._begun(lean, world)
            lean = lean.on(min(world.packed, default=0), Place.PACKED)
            return State("last packed" if self._knows(lean) else "look loose", lean), world
        if at == "look loose":
            lean = lean.on(world.loose, Place.LOOSE)
            return State("last packed" if self._knows(lean) else "commit", lean), world
        if at == "commit":
            lean, world = self._store(lean, world)
            return State(DONE), self._claim(lean, world)
        # The last look, behind the commit of what others have stored of the same batch.
        found = world.packed if at == "last packed" else frozenset({world.loose} - {0})
        if at == "last packed" and not found:
            return State("last loose", lean), world
        if order.lost([DIGEST], {DIGEST} if found else ()):
            return State("look packed", lean.again()), world
        # What is damaged is taken for what it is said to be: then nothing is promised.
        place = Place.PACKED if at == "last packed" else Place.LOOSE
        is_good = bool(found - world.bad)
        return State(DONE), self._claim(lean.on(min(found - world.bad), place), world) if is_good else world

    @staticmethod
    def _knows(lean: Lean) -> bool:
        """Whether it is not copied."""
        return not order.lost([DIGEST], {DIGEST} if lean.copy else ())

    def _asks_index(self, at: str, lean: Lean) -> bool:
        return at in ("look packed", "commit", "last packed")


class Delete(Actor):
    kind = "delete"

    def begin(self) -> State:
        return State("lock")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("0 look", taken.made), taken)
        number, what = state.at.split()
        place = order.DELETE_ORDER[int(number)]
        begun = state.memory if isinstance(state.memory, int) else 0
        if place is Place.LOOSE:
            # The commit is this one only where nothing packed is to follow, or went before.
            is_commit = not world.packed and number == "0"
            world = world._replace(loose=0, claims=frozenset() if is_commit else world.claims)
        elif what == "look":
            return State(f"{number} bury", (begun, world.packed)), world
        else:
            assert isinstance(state.memory, tuple)
            begun, seen = state.memory
            killed = frozenset(copy for copy in seen if order.may_bury(None, copy))
            world = world._replace(packed=world.packed - killed, claims=frozenset() if seen else world.claims)
        if number == "0":
            return State("1 look", begun), world
        if max([world.loose, *world.packed]) <= begun and world.is_there:
            raise Wrong(f"{self.name} has returned, and nobody has inserted the object since it began: it is there")
        return State(DONE), free(world)


class Plan(NamedTuple):
    """What a garbage collection remembers, and which file had the name when it looked."""

    file: int
    packed: frozenset[int]
    begun: frozenset[str]
    looked: int = 0

    def renumbered(self, rank: Mapping[int, int]) -> Plan:
        packed = frozenset(rank[copy] for copy in self.packed)
        return self._replace(file=rank[self.file], packed=packed, looked=rank[self.looked])


class Retain(Actor):
    """Garbage collection by a plan; the object is not on the list of what to keep."""

    kind = "retain"

    def begin(self) -> State:
        return State("plan")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "plan":
            return State("lock", Plan(world.loose, world.packed, world.begun)), world
        plan = state.memory
        assert isinstance(plan, Plan)
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("look", plan), taken)
        if state.at == "look":
            may = bool(plan.file and world.loose) and order.may_remove(file_of(plan.file), world.file)
            return State("remove" if may else "bury", plan._replace(looked=world.loose)), world
        if state.at == "remove":
            # What an insert has put in the place of the planned file since the look is answered as well: the object was
            # there at the plan (docs/concurrency.md). What this look should have told apart is not.
            window = range(plan.looked + 1, world.loose + 1)
            return State("bury", plan), world._replace(loose=0).answered(plan.begun, frozenset({plan.file, *window}))
        killed = frozenset(copy for copy in world.packed if order.may_bury(plan.packed, copy))
        planned = plan.packed | {plan.file}
        return State(DONE), free(world._replace(packed=world.packed - killed).answered(plan.begun, planned))


class Ask(Actor):
    """Open the container, and ask a second later whether the object is there."""

    kind = "ask"

    def begin(self) -> State:
        return State("open")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "open":
            return State("wait", world.packed), world
        if state.at == "wait":
            return State("ask", (state.memory, world.is_there)), world
        assert isinstance(state.memory, tuple)
        packed, was_there = state.memory
        if order.is_due(0.0, order.MOST_AGE):
            packed = world.packed
        if (packed or world.loose) and not was_there and not (world.packed or world.loose):
            raise Wrong("an answer is older than a second")
        return State(DONE), world

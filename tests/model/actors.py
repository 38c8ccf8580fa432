"""The operations of the model, as steps that nothing interrupts. Their rules are those of `rsdos.stores.order`.

An actor's own state is a tuple: where it is in its program, and what it remembers. `step` gives what comes next, or
nothing while it waits for the maintenance lock. Programs are made from the tables of `order`, and decisions by the
functions there: a rule that is patched away is patched away here as in the stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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

    def _take(self, world: World) -> World | None:
        return None if world.maintainer else world._replace(maintainer=self.name)


def _free(world: World) -> World:
    return world._replace(maintainer="")


class Lean(NamedTuple):
    """What an insert remembers: the copy it leans on (0: none), where that is, if it is gone, and which try it is."""

    copy: int = 0
    place: Place = Place.LOOSE
    is_lost: bool = False
    tried: int = 0

    def on(self, copy: int, place: Place) -> Lean:
        return self._replace(copy=copy, place=place, is_lost=False)

    def again(self) -> Lean:
        return Lean(tried=self.tried + 1)


def _is_there(lean: Lean, world: World) -> bool:
    if lean.place is Place.LOOSE:
        return order.is_still_there(file_of(lean.copy), world.file)
    return bool(world.packed)


def _lost(lean: Lean, world: World) -> bool:
    return bool(order.lost([DIGEST], {DIGEST} if _is_there(lean, world) else ()))


class Insert(Actor):
    """What both have in common: a claim is of one try, and a try begins with a first look."""

    def _begun(self, lean: Lean, world: World) -> World:
        return world._replace(begun=world.begun | {self._try(lean)})

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

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        lean = state.memory
        assert isinstance(lean, Lean)
        if state.at == "look loose":
            world = self._begun(lean, world)
            if world.has_good_loose:
                return State("settle 0", lean.on(world.loose, Place.LOOSE)), world
            return State("look packed", lean), world
        if state.at == "look packed":
            if good := world.packed - world.bad:
                return State("settle 0", lean.on(min(good), Place.PACKED)), world
            return State("name", lean), world
        if state.at == "name":
            world = world.named()
            return State("settle 0", lean.on(world.loose, Place.LOOSE)), world
        return self._settle(int(state.at.removeprefix("settle ")), lean, world)

    def _settle(self, at: int, lean: Lean, world: World) -> tuple[State, World]:
        """One step of `SETTLE_ORDER`; the claim is made when nothing is left that takes time."""
        step = order.SETTLE_ORDER[at]
        if step is Step.STORE:
            return (State("look loose", lean.again()) if lean.is_lost else State(DONE)), world
        if step is Step.LOOK:
            lean = lean._replace(is_lost=_lost(lean, world))
        if order.SETTLE_ORDER[at + 1] is Step.STORE and not lean.is_lost:
            world = self._claim(lean, world)
        return State(f"settle {at + 1}", lean), world


class InsertPacked(Insert):
    """To a pack: the last look is within the commit, and behind it for what is loose."""

    kind = "insert packed"

    def begin(self) -> State:
        return State("look packed", Lean())

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        lean = state.memory
        assert isinstance(lean, Lean)
        if state.at in ("look packed", "look loose"):
            return self._look(state.at, lean, world)
        if state.at == "commit":
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
            world = world.packed_anew()
            return State(DONE), self._claim(lean.on(world.made, Place.PACKED), world)
        if lean.place is Place.PACKED:
            return State(DONE), self._claim(lean, world)
        return State("last look", lean), world


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
        return State(DONE), _free(world)


class Plan(NamedTuple):
    """What a garbage collection remembers, and which file had the name when it looked."""

    file: int
    packed: frozenset[int]
    begun: frozenset[str]
    looked: int = 0


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
        return State(DONE), _free(world._replace(packed=world.packed - killed).answered(plan.begun, planned))


class Pack(Actor):
    """Pack, and remove the loose file."""

    kind = "pack"
    reads_loose: ClassVar[bool] = True

    def begin(self) -> State:
        return State("lock")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("look"), taken)
        if state.at == "look":
            if not world.loose:
                return State(DONE), _free(world)
            has = bool(world.packed - world.bad)
            return State("check" if has or not (self.reads_loose and world.has_good_loose) else "commit"), world
        if state.at == "commit":
            return State("check"), world.packed_anew()
        if state.at == "check":
            is_good = bool(world.packed - world.bad)
            return State("remove" if order.removable([DIGEST], [is_good]) else "free"), world
        if state.at == "remove":
            return State("free"), world._replace(loose=0)
        return State(DONE), _free(world)


class Clean(Pack):
    kind = "clean"
    reads_loose = False


class Repack(Actor):
    """The copies go to another pack."""

    kind = "repack"

    def begin(self) -> State:
        return State("lock")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("read"), taken)
        if state.at == "read":
            return State("commit", world.packed), world
        assert isinstance(state.memory, frozenset)
        moved = state.memory & world.packed
        if moved:
            fresh = world.packed_anew()
            packed = fresh.packed - moved
            # Who leant on what was moved leans on the new copy, unless a plan has the old one: what was moved stays.
            world = fresh._replace(packed=packed)
        return State(DONE), _free(world)


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


KINDS: dict[str, type[Actor]] = {
    kind.kind: kind for kind in (InsertLoose, InsertPacked, Delete, Retain, Pack, Clean, Repack, Ask)
}

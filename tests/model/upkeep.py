"""The operations of the model that clean up, move and repair, in uninterrupted steps: see `tests.model.actors`.

What is lacking is asked of the repair itself. The rules of a migration and of the quarantine have no tables yet: they
are methods here, and have mutants of their own.
"""

from __future__ import annotations

from typing import ClassVar

from rsdos.maintenance.repair import objects
from rsdos.model import Copy, PackKind
from rsdos.stores import order
from rsdos.stores.findings import CopyKinds
from tests.model.actors import DIGEST, Actor, free
from tests.model.search import DONE, State
from tests.model.world import World


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
                return State(DONE), free(world)
            has = bool(world.packed - world.bad)
            return State("check" if has or not (self.reads_loose and world.has_good_loose) else "commit"), world
        if state.at == "commit":
            return State("check"), world.packed_anew()
        if state.at == "check":
            is_good = bool(world.packed - world.bad)
            return State("remove" if order.removable([DIGEST], [is_good]) else "free"), world
        if state.at == "remove":
            # An insert that has found the file relies on the packed copy from now on, which a plan may have: what was
            # found is not protected from it (docs/concurrency.md).
            kept = min(world.packed - world.bad, default=0)
            claims = (claim._replace(copy=kept) if claim.copy == world.loose else claim for claim in world.claims)
            return State("free"), world._replace(loose=0, claims=frozenset(claims))
        return State(DONE), free(world)


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
        return State(DONE), free(world)


class Migrate(Actor):
    """In place, to the other version: the copies get rows there, then nothing else has been committed, and it is that.

    Loose files are in the same place in both.
    """

    kind = "migrate"

    def begin(self) -> State:
        return State("lock")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("view"), taken)
        if state.at == "view":
            return State("move" if world.packed else "change", world.packed), world
        seen = state.memory
        assert isinstance(seen, frozenset)
        if state.at == "move":
            # Damaged copies are left behind: their bytes are in quarantine.
            kept = seen - world.bad
            fresh = world.packed_anew()._replace(packed=world.packed - seen | {world.made + 1}) if kept else world
            return State("change", fresh.packed - (world.packed - seen) if kept else frozenset()), fresh
        if not self.may_change(seen, world.packed - world.bad):
            return State("view"), world
        return State(DONE), free(world)._replace(packed=world.packed & seen, version=3 - world.version)

    @staticmethod
    def may_change(seen: frozenset[int], now: frozenset[int]) -> bool:
        """Whether the index has, under its lock, no more than has got a row: the last step may follow."""
        return now <= seen


class Repair(Actor):
    """Replace damaged copies by a good one of another container."""

    kind = "repair"
    has_source: ClassVar[bool] = True

    def begin(self) -> State:
        return State("plan")

    def step(self, state: State, world: World) -> tuple[State, World] | None:
        if state.at == "plan":
            is_damaged = bool(world.bad & {world.loose, *world.packed})
            return State("lock" if is_damaged else DONE), world._replace(begun=world.begun | {self.name})
        if state.at == "lock":
            taken = self._take(world)
            return taken and (State("look loose"), taken)
        if state.at == "look loose":
            loose = Copy.GOOD if world.has_good_loose else Copy.DAMAGED if world.loose else Copy.MISSING
            return State("look packed", loose), world
        if state.at == "look packed":
            assert isinstance(state.memory, Copy)
            kinds = CopyKinds(self._kinds(world.packed), self._kinds(world.packed - world.bad))
            return self._begun(kinds, state.memory, world)
        if state.at == "append" and not self.has_source and not world.is_there:
            return State("clear"), world._replace(packed=world.packed - world.bad)
        if state.at == "append":
            revived = world.revived | ({self.name} if not world.loose and not world.packed else set())
            return State("drop", state.memory), world.packed_anew()._replace(revived=revived)
        if state.at == "drop":
            stays = world.packed - world.bad
            is_last = not stays and state.memory is not Copy.GOOD
            return State("clear"), world if is_last else world._replace(packed=stays)
        return self._clear(state, world)

    @staticmethod
    def _begun(kinds: CopyKinds, loose: Copy, world: World) -> tuple[State, World]:
        if objects._is_gone(kinds, loose, PackKind.PLAIN):
            return State(DONE), free(world)
        lacks = objects._lacking(kinds, loose, PackKind.PLAIN)
        return State("append" if lacks else "drop", loose), world

    def _clear(self, state: State, world: World) -> tuple[State, World]:
        """The loose file is read, moved away if it is damaged, read again, and moved back if it is another by now."""
        if state.at == "clear":
            return State("move away" if world.loose in world.bad else "end"), world
        if state.at == "move away":
            moved = world.loose
            return State("put back" if moved else "end", moved), world._replace(loose=0)
        if state.at == "put back":
            assert isinstance(state.memory, int)
            return State("end"), self.put_back(state.memory, world)
        copy = world.loose if world.has_good_loose else min(world.packed - world.bad, default=0)
        return State(DONE), free(world.claimed(self.name, copy) if copy or self.has_source else world)

    @staticmethod
    def put_back(moved: int, world: World) -> World:
        """A good file gets its name back, unless another has it by now."""
        return world._replace(loose=moved) if moved not in world.bad and not world.loose else world

    @staticmethod
    def _kinds(copies: frozenset[int]) -> frozenset[PackKind]:
        return frozenset({PackKind.PLAIN} if copies else ())


class Quarantine(Repair):
    """Without another container: what has no good copy here goes to quarantine."""

    kind = "repair, to quarantine"
    has_source = False

"""The operations of the model of snapshots, as steps that nothing interrupts. Their rules are those of `lifetime`.

One object of one container, which users insert and delete by key, and which every snapshot needs. What is true of it is
true of a page, which is never inserted by key. An actor's own state is a tuple: where it is in its program, and what it
remembers. At each of its steps it may also be killed: its locks are free then, and what it has committed stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rsdos.model import PackKind
from rsdos.stores import lifetime
from rsdos.stores.lifetime import Live
from tests.model.search import DONE, Next, State, Wrong, search

OBJECT = "object"
PACK = 1


class Place(NamedTuple):
    """A packed copy. Its number is also where it ends in its pack: later copies are behind earlier ones."""

    number: int
    kind: PackKind


class World(NamedTuple):
    """What all actors share.

    ``loose``: whether there is a loose file. ``copies``: the living packed copies. ``made``: how many there have been.
    ``document``: the number of the newest refs document; ``versions``: what it names. ``promised``: what savers
    have acknowledged and nobody has forgotten. ``locks``: the save locks, each with the length that its note says.
    ``claims``: inserts by key that were acknowledged and not answered by a delete.
    """

    loose: bool = False
    copies: frozenset[Place] = frozenset()
    made: int = 0
    document: int = 0
    versions: frozenset[str] = frozenset()
    promised: frozenset[str] = frozenset()
    epoch: int = 0
    locks: frozenset[tuple[str, int]] = frozenset()
    maintainer: str = ""
    claims: frozenset[str] = frozenset()

    @property
    def live(self) -> Live:
        return Live(str(self.document), self.epoch)

    def of(self, kinds: tuple[PackKind, ...]) -> frozenset[Place]:
        return frozenset(copy for copy in self.copies if copy.kind in kinds)

    def packed(self, kind: PackKind) -> World:
        """With one more copy."""
        return self._replace(copies=self.copies | {Place(self.made + 1, kind)}, made=self.made + 1)

    def without(self, copies: frozenset[Place]) -> World:
        """After a commit that deletes."""
        return self._replace(copies=self.copies - copies, epoch=lifetime.after_delete(self.epoch))

    def published(self, versions: frozenset[str]) -> World:
        return self._replace(versions=versions, document=self.document + 1)

    def unlocked(self, name: str) -> World:
        """After the end or the death of an actor."""
        maintainer = "" if self.maintainer == name else self.maintainer
        locks = frozenset(lock for lock in self.locks if lock[0] != name)
        return self._replace(maintainer=maintainer, locks=locks)

    def judge(self) -> None:
        """Raise `Wrong` where a promise is broken: it has to hold at every moment."""
        if self.versions and not self.copies:
            raise Wrong(f"{sorted(self.versions)} dangle: the object is in no pack")
        if self.claims and not self.loose and not self.of((PackKind.PLAIN,)):
            raise Wrong(f"inserted by key, and gone: {sorted(self.claims)}")
        if lost := self.promised - self.versions:
            raise Wrong(f"published, forgotten by nobody, and gone: {sorted(lost)}")


@dataclass(frozen=True)
class Actor(ABC):
    """One operation."""

    name: str
    kind: ClassVar[str]
    first: ClassVar[str]

    def begin(self) -> State:
        return State(self.first)

    @abstractmethod
    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        """What comes next; None while it waits."""

    def _take(self, world: World) -> World | None:
        return None if world.maintainer else world._replace(maintainer=self.name)

    def _end(self, world: World) -> tuple[State, World]:
        return State(DONE), world.unlocked(self.name)


class Saving(NamedTuple):
    """What a save remembers: the epoch, and the refs that it has made its own from."""

    epoch: int = 0
    refs: str = ""
    versions: frozenset[str] = frozenset()

    def made_from(self, world: World) -> Saving:
        """With the newest refs: the next ones are made from these."""
        return self._replace(refs=world.live.refs, versions=world.versions)


class Publisher(Actor):
    """What all have in common that publish: `rsdos.engine.publish`."""

    def _publish(self, saving: Saving, world: World, versions: frozenset[str]) -> tuple[State, World] | None:
        """The next world; None where another epoch or other refs were found."""
        if not lifetime.may_publish(Live(saving.refs, saving.epoch), world.live):
            return None
        return State("end"), world.published(versions)

    def _retry(self, saving: Saving, world: World) -> State:
        """Where to go on when `_publish` found other refs or another epoch."""
        if world.epoch != saving.epoch:
            return State("look", saving._replace(epoch=world.epoch))
        return State("make", saving)


class Save(Publisher):
    """Save a directory to a branch of its own."""

    kind = "save"
    first = "1 lock"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        saving = memory if isinstance(memory, Saving) else Saving()
        if at == "1 lock":
            return State("1 note"), world._replace(locks=world.locks | {(self.name, 0)})
        if at == "1 note":
            locks = world.unlocked(self.name).locks | {(self.name, world.made)}
            world = world._replace(locks=locks, epoch=lifetime.begun(world.epoch))
            return State("look", Saving(world.epoch)), world
        if at == "look":
            packed = world.of(PackKind.HELD.stand_ins)
            is_there = packed or (world.loose and lifetime.takes_loose(PackKind.HELD))
            return State("make" if is_there else "store", saving), world
        if at == "store":
            return State("make", saving), world.packed(PackKind.HELD)
        if at == "make":
            return State("6 commit", saving.made_from(world)), world
        if at == "6 commit":
            done = self._publish(saving, world, saving.versions | {self.name})
            if done is None:
                return self._retry(saving, world), world
            return done[0], done[1]._replace(promised=done[1].promised | {self.name})
        return self._end(world)


class Forget(Publisher):
    """Forget all versions that there are."""

    kind = "forget"
    first = "read"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "read":
            return State("make", Saving(world.epoch)), world
        assert isinstance(memory, Saving)
        if at in ("make", "look"):
            return State("commit", memory.made_from(world)), world
        if at == "commit":
            done = self._publish(memory, world, frozenset())
            if done is None:
                return self._retry(memory, world), world
            return self._end(done[1]._replace(promised=done[1].promised - memory.versions))
        return self._end(world)


class Undo(Publisher):
    """Bring back a version of which the objects may be gone, unless they are."""

    kind = "undo"
    first = "read"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "read":
            world = world._replace(epoch=lifetime.begun(world.epoch))
            return State("look", Saving(world.epoch)), world
        assert isinstance(memory, Saving)
        if at == "look":
            # A version whose objects are gone is refused.
            return (State("make", memory), world) if world.copies else self._end(world)
        if at == "make":
            return State("commit", memory.made_from(world)), world
        if at == "commit":
            done = self._publish(memory, world, memory.versions | {self.name})
            if done is None:
                return self._retry(memory, world), world
            return self._end(done[1]._replace(promised=done[1].promised | {self.name}))
        return self._end(world)


class Collect(Actor):
    """Garbage collection of what snapshots hold."""

    kind = "gc"
    first = "plan"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "plan":
            return State("lock", world.of(lifetime.COLLECTED_KINDS)), world
        if at == "lock":
            taken = self._take(world)
            return taken and (State("1 refs", memory), taken)
        if at == "1 refs":
            return State("3 locks", (world.live.refs, world.versions, memory)), world
        assert isinstance(memory, tuple)
        refs, versions, copies = memory
        if at == "3 locks":
            if versions:  # It is marked.
                return self._end(world)
            length = lifetime.collectable(world.made, [{PACK: length} for _, length in world.locks], PACK)
            free = frozenset(copy for copy in copies if copy.number <= length)
            return State("4 commit", (refs, versions, free)), world
        if not lifetime.may_delete(refs, world.live.refs):
            left = frozenset() if world.versions else copies
            return State("4 commit", (world.live.refs, world.versions, left)), world
        there = copies & world.copies
        return self._end(world.without(there) if there else world)


class Delete(Actor):
    """Delete the object by key."""

    kind = "delete"
    first = "lock"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "lock":
            taken = self._take(world)
            return taken and (State("mark"), taken)
        if at == "mark":
            return State("hold", (world.live.refs, world.versions)), world
        assert isinstance(memory, tuple)
        if at == "hold":
            held = [OBJECT] if world.of((PackKind.HELD,)) else []
            hold = lifetime.to_hold([OBJECT] if memory[1] and world.copies else [], held)
            return State("unlink", memory), world.packed(PackKind.HELD) if hold else world
        if at == "unlink":
            answered = frozenset[str]() if not world.of((PackKind.PLAIN,)) else world.claims
            return State("commit", memory), world._replace(loose=False, claims=answered)
        copies = world.of(lifetime.DELETED_KINDS)
        if copies and not lifetime.may_delete(memory[0], world.live.refs):
            return State("hold", (world.live.refs, world.versions)), world
        if copies:
            # A loose file that came since the unlink is that of an insert that came later, and stays.
            world = world.without(copies)._replace(claims=frozenset() if not world.loose else world.claims)
        return self._end(world)


class InsertLoose(Actor):
    """Insert the object by key, to a file of its own."""

    kind = "insert loose"
    first = "look"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        # One step: tests/model/test_order.py is about inserts beside deletes.
        is_there = world.loose or bool(world.of(PackKind.PLAIN.stand_ins))
        return self._end(world._replace(loose=world.loose or not is_there, claims=world.claims | {self.name}))


class InsertPacked(Actor):
    """Insert the object by key, to a pack."""

    kind = "insert packed"
    first = "look"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        is_there = bool(world.of(PackKind.PLAIN.stand_ins)) or (world.loose and lifetime.takes_loose(PackKind.PLAIN))
        world = world if is_there else world.packed(PackKind.PLAIN)
        return self._end(world._replace(claims=world.claims | {self.name}))


class Clean(Actor):
    """Remove the loose file that has a packed copy."""

    kind = "clean"
    first = "lock"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "lock":
            taken = self._take(world)
            return taken and (State("look"), taken)
        if at == "look":
            return (State("unlink"), world) if world.of(PackKind.PLAIN.stand_ins) else self._end(world)
        return self._end(world._replace(loose=False))


class Repack(Actor):
    """Write the living copies of each kind to another pack of the kind."""

    kind = "repack"
    first = "lock"

    def step(self, at: str, memory: Hashable, world: World) -> tuple[State, World] | None:
        if at == "lock":
            taken = self._take(world)
            return taken and (State("read"), taken)
        if at == "read":
            return State("commit", world.copies), world
        assert isinstance(memory, frozenset)
        moved = memory & world.copies
        kept = {min(copy.kind for copy in moved)} if moved else set()  # Rule 1: of a key one copy counts.
        for kind in kept:
            world = world.packed(kind)
        return self._end(world._replace(copies=world.copies - moved))


KINDS: dict[str, type[Actor]] = {
    kind.kind: kind for kind in (Save, Forget, Undo, Collect, Delete, InsertLoose, InsertPacked, Clean, Repack)
}


def explore(world: World, kinds: tuple[str, ...], mortal: tuple[str, ...] = tuple(KINDS)) -> int:
    """Try all orders of the steps of operations of these kinds; return how many states there are.

    Those that are ``mortal`` are also killed at each step. Raise `Wrong` where a promise is broken, with the steps that
    lead there.
    """

    def steps(actor: Actor, state: State, world: World) -> Iterator[tuple[str, Next[World]]]:
        yield "", actor.step(*state, world)
        if actor.kind in mortal and state.at != actor.first:
            yield " and dies", (State(DONE), world.unlocked(actor.name))

    actors = [KINDS[kind](f"{kind} {number}") for number, kind in enumerate(kinds)]
    return search(world, actors, steps, judge=World.judge)

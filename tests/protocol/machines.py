"""The machines of a run, and what each does: the real operations, on a container of its own over the bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from unittest.mock import patch

from rsdos import Container
from rsdos.errors import Busy, CommitUnknown, Expired, Unavailable
from rsdos.maintenance import collect, merge
from rsdos.maintenance.repair import index as repair_index
from rsdos.stores.findings import Finding
from rsdos.stores.remote.collect import CollectOptions
from rsdos.stores.remote.rebuild import RemoteRebuild
from tests.protocol.client import Client
from tests.protocol.judge import Judge, Operation
from tests.protocol.scheduler import Actor, Killed, Scheduler
from tests.protocol.weather import GRACE, KEEP

DATA = {sha256(data).digest(): data for data in (b"object %d " % at * (at + 1) for at in range(9))}
"""The objects, by their digests. All writers store the same ones."""

_REFUSALS = (Unavailable, CommitUnknown, Expired, Busy)
"""Errors that say "again". Nothing was acknowledged then."""

COLLECT = CollectOptions(grace=GRACE, keep=KEEP)


class Machine:
    """One machine: it has its container open for a while, is killed, and begins again."""

    def __init__(self, scheduler: Scheduler, judge: Judge, actor: Actor) -> None:
        self.chance = scheduler.chance
        self.judge = judge
        self._scheduler = scheduler
        self._actor = actor
        self._begin()

    def _begin(self) -> None:
        self.client = Client(self._scheduler, self._actor)
        self.container = Container(self.client)
        self.opened = self.judge.newest
        """The newest manifest when the container was made."""

    def some(self, most: int) -> list[bytes]:
        """Return some digests."""
        return self.chance.sample(list(DATA), self.chance.randint(1, most))

    @contextmanager
    def doing(self, kind: str, keys: Iterable[bytes] = ()) -> Iterator[Operation]:
        """Do one operation. What is refused or killed ends it, and only what no user should see is wrong."""
        if self.chance.random() < 0.4:
            self._begin()
        operation = self.client.sender = self.judge.begin(self._actor.name, kind, keys)
        try:
            yield operation
        except _REFUSALS as error:
            self._scheduler.trace.append(f"{operation}: {type(error).__name__}: {error}")
        except Killed:
            if self._scheduler.has_failed:
                raise
            self._actor.is_doomed = False
            self._scheduler.trace.append(f"{operation}: killed")
            self._begin()
        except Exception as error:  # noqa: BLE001  it is judged
            self.judge.raised(operation, error)
            self._begin()


def insert(machine: Machine) -> None:
    """Store some objects, in one call."""
    keys = machine.some(4)
    with machine.doing("insert", keys) as operation:
        machine.container.insert_many([DATA[key] for key in keys], trust=machine.chance.choice(("verify", "index")))
        machine.judge.stored(operation)


def delete(machine: Machine) -> None:
    """Delete some objects."""
    keys = machine.some(3)
    with machine.doing("delete", keys) as operation:
        machine.container.delete([key.hex() for key in keys])
        machine.judge.deleted(operation)


def repack(machine: Machine) -> None:
    """Write packs anew, or merge the index."""
    with machine.doing("repack"):
        if machine.chance.random() < 0.2:
            merge.execute(machine.container.engine, merge.plan(machine.container.engine))
        else:
            machine.container.repack(machine.chance.choice(("keep", "keep", "none")), min_dead=0.0)


def collect_dead(machine: Machine) -> None:
    """Take back what dead writers left."""
    with machine.doing("collect"):
        collect.execute(machine.container.engine, collect.plan(machine.container.engine, COLLECT))


def empty_manifests(machine: Machine) -> None:
    """Empty manifests, also such as others may have been about to make."""
    with machine.doing("empty"):
        options = CollectOptions(grace=GRACE, keep=GRACE / 50)
        collector = machine.container.engine.packed.collector(options)
        collector.empty_manifests(collector.old_since(collector.tell_time()))


def repair(machine: Machine) -> None:
    """Make the index anew from the packs, as if a fault had been found in it."""
    fault = Finding("index", "it is simulated")
    # There is one such machine, so that nobody else takes the fault away or brings it back.
    with machine.doing("repair"), patch.object(RemoteRebuild, "_pack_faults", lambda *_: iter((fault,))):
        repair_index.execute(machine.container.engine, repair_index.RepairIndexPlan())


def read(machine: Machine) -> None:
    """Read all objects, by an index that may be old."""
    with machine.doing("read") as operation:
        answers = dict.fromkeys(DATA, False)
        keys = [key.hex() for key in DATA]
        for key, data in machine.container.extract_many(keys, missing="none"):
            digest = bytes.fromhex(key)
            answers[digest] = data is not None
            assert data is None or data == DATA[digest], f"wrong bytes of {key}"
        machine.judge.read(operation, answers, machine.opened)


_Work = Callable[[Machine], None]

CREW: Sequence[tuple[str, int, int, _Work]] = (
    ("writer", 5, 3, insert),
    ("deleter", 2, 3, delete),
    ("repacker", 2, 3, repack),
    ("collector", 2, 3, collect_dead),
    ("emptier", 1, 4, empty_manifests),
    ("repairer", 1, 2, repair),
    ("reader", 1, 5, read),
)
"""The kinds of machines, how many there are of each, how many operations each does, and which."""


def crew(scheduler: Scheduler, judge: Judge) -> list[Actor]:
    """Return the actors of a run."""
    return [
        Actor(f"{kind} {number}", _life(scheduler, judge, times, work))
        for kind, count, times, work in CREW
        for number in range(count)
    ]


def _life(scheduler: Scheduler, judge: Judge, times: int, work: _Work) -> Callable[[Actor], None]:
    def live(actor: Actor) -> None:
        machine = Machine(scheduler, judge, actor)
        for _ in range(times):
            work(machine)

    return live

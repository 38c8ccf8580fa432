"""Processes of which one at a time is at work, from call to call, in an order that a seed or a sweep decides.

In a process that was started with the shim and has one thread, because it forks. Each actor is a process of its own
behind a gate (`tests.crash.shim`): it says which call it is about to make, and makes it when it is let go on.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.crash import shim
from tests.crash.shim import Kind

MOST_STEPS = 20_000
"""Of all actors together: more, and something goes in circles. The longest schedule takes a tenth."""

_MOST_TRIES = 3_000
"""Times that an actor that waits tries again while no other makes a step: SQLite gives up a lock after some 600."""

_NAP = 8
"""Steps that others make while an actor sleeps: so many the first time, twice as many the second, and so on. SQLite
gives up a log that is never free after a hundred naps, of ten seconds together."""

_MESSAGE = 1 << 13
_SLEEP = "sleep"
_RAISES = "raises "
_DONE = b"\0"
"""Of no `Kind`: the act has come to its end, and its process waits for another."""

Act = Callable[[Path, Callable[[str], None]], None]
"""Does something below a directory, and says what it was told; each thing said is a step as well."""


class Step(NamedTuple):
    """A call that an actor was let make, or what it has said (`Kind.MARK`). Paths are relative to the directory."""

    actor: int
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{'ABCDEFGH'[self.actor]}  {self.kind.name.lower():8} {self.text}"


class Next(NamedTuple):
    """What an actor is about to do, and how many steps it has made."""

    kind: Kind
    steps: int


class Order(Protocol):
    """Decides which actor goes on."""

    def choose(self, ready: Mapping[int, Next]) -> int:
        """One of those that are ready."""


class Priorities:
    """The highest priority goes on; at a few steps, by chance, the actor that is at work gets the lowest.

    Few changes find most: an error that needs n of them at their steps is met with a chance of 1 in steps^n (Burckhardt
    et al., "A randomized scheduler with probabilistic guarantees of finding bugs", 2010). So for every second seed only
    those steps count at which the state changes, and locks, and what is said: a third of all.
    """

    def __init__(self, seed: str, actors: int, steps: int, kinds: frozenset[Kind]) -> None:
        """``steps``: how many of those ``kinds`` all actors make together, about."""
        chance = random.Random(seed)
        self._order = list(range(actors))
        chance.shuffle(self._order)
        self._kinds = kinds
        self._changes = {chance.randrange(max(steps, 1)) for _ in range(chance.choice((1, 1, 2, 2, 3, 4)))}
        self._at = 0

    def choose(self, ready: Mapping[int, Next]) -> int:
        chosen = next(actor for actor in self._order if actor in ready)
        if ready[chosen].kind in self._kinds:
            self._at += 1
            if self._at - 1 in self._changes:
                self._order.remove(chosen)
                self._order.append(chosen)
                chosen = next(actor for actor in self._order if actor in ready)
        return chosen


class Chance:
    """The actor that is at work goes on for a few steps, then another."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._last = 0
        self._likely = self._chance.choice((0.05, 0.2, 0.5))

    def choose(self, ready: Mapping[int, Next]) -> int:
        if self._last not in ready or self._chance.random() < self._likely:
            self._last = self._chance.choice(list(ready))
        return self._last


class Stopped:
    """Each actor stops at a step of its own, and the next begins; when all have stopped, each goes on to its end.

    With two and ``(n, None)``: the first is stopped at its n-th call, the other runs whole, the first goes on. With
    ``(n, m)``: the first is stopped, the other is stopped at its m-th call, the first goes on and ends, the other does.
    The gate stands for SIGSTOP: an actor waits in it before its call of the C library, as one that is stopped does.
    """

    def __init__(self, stops: Sequence[int | None]) -> None:
        self._stops = list(stops)

    def choose(self, ready: Mapping[int, Next]) -> int:
        for actor, following in ready.items():
            stop = self._stops[actor]
            if stop is None or following.steps < stop:
                return actor
        # All have come to their stops, or wait for one that has.
        chosen = min(ready)
        self._stops[chosen] = None
        return chosen


MATTERS = frozenset(Kind) - shim.LOOKS
"""All but looks."""


def order_of(seed: int, name: str, actors: int, steps: int, changes: int) -> Order:
    """The order that a seed stands for. ``changes``: how many of the ``steps`` of all actors are none of looks."""
    text = f"{name} {seed}"
    match seed % 4:
        case 0 | 2:
            return Priorities(text, actors, changes, MATTERS)
        case 1:
            return Priorities(text, actors, steps, frozenset(Kind))
        case _:
            return Chance(text)


@dataclass
class Played:
    """What was done, step by step, and how each actor ended."""

    trace: list[Step] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    """What an actor raised, if it did: the classes of it, outermost first, then its text."""
    stuck: str = ""
    killed: int | None = None

    def text(self, *, looks: bool = False) -> str:
        """The trace to be read: without looks, unless they are wanted."""
        steps = [f"{at:5} {step}" for at, step in enumerate(self.trace) if looks or step.kind not in shim.LOOKS]
        return "\n".join(
            [*steps, *(f"      {'ABCDEFGH'[actor]}  raises {text}" for actor, text in self.errors.items())]
        )


class Process(NamedTuple):
    """One that performs an act after the other."""

    number: int
    gate: socket.socket


class Cast:
    """Processes that perform acts in one schedule after another, each of what its name says.

    They know what their parent knew when it forked them. To fork two anew for each schedule took 40 of 128 ms.
    """

    def __init__(self, act_of: Callable[[str], Act]) -> None:
        self._act_of = act_of
        self._processes: list[Process] = []
        self._idle: list[Process] = []

    def begin(self, name: str, path: Path) -> Process:
        """Let a process begin an act."""
        process = self._idle.pop() if self._idle else self._fork()
        process.gate.send(json.dumps([name, str(path)]).encode())
        return process

    def give_back(self, process: Process) -> None:
        """Keep a process that has come to the end of its act."""
        self._idle.append(process)

    def kill(self, process: Process) -> None:
        """Kill a process; one that is dead is no error."""
        self._processes.remove(process)
        process.gate.close()
        os.kill(process.number, signal.SIGKILL)
        os.waitpid(process.number, 0)

    def close(self) -> None:
        """End all processes."""
        for process in list(self._processes):
            self.kill(process)
        self._idle.clear()

    def _fork(self) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = os.fork()
        if number == 0:
            for gate in (ours, *(process.gate for process in self._processes)):
                gate.close()  # Each of them ends with the parent.
            self._attend(theirs)
        theirs.close()
        process = Process(number, ours)
        self._processes.append(process)
        return process

    def _attend(self, gate: socket.socket) -> None:
        try:
            gc.disable()  # It would come at another step each time.
            while message := gate.recv(_MESSAGE):
                name, path = json.loads(message)
                _perform(self._act_of(name), Path(path), gate)
                gate.send(_DONE)
        finally:
            os._exit(0)


class _Actor:
    def __init__(self, number: int, name: str, path: Path, cast: Cast) -> None:
        self.number = number
        self._prefix = f"{path}/".encode()
        self._cast = cast
        self._process = cast.begin(name, path)
        self.waits = False
        """Whether it cannot go on, or would sleep."""
        self.is_done = False
        self.tries = 0
        self.naps = 0
        self.rest = 0
        """Steps that others make yet while it sleeps."""
        self.steps = 0
        self.kind, self.what = Kind.MARK, ""
        self.listen()

    def listen(self) -> None:
        """Wait for its next call."""
        message = self._process.gate.recv(_MESSAGE)
        if not message:
            self.kill()  # It has died already.
            return
        if message == _DONE:
            self.is_done = True
            self._cast.give_back(self._process)
            return
        self.kind = Kind(message[0])
        self.what = message[1:].removeprefix(self._prefix).decode(errors="replace")
        self.waits = self.kind is Kind.WAIT
        if self.waits and self.what == _SLEEP:
            self.naps += 1
            self.rest = _NAP * self.naps

    def pass_time(self) -> None:
        """Another has made a step."""
        self.tries = 0
        if self.waits and self.what == _SLEEP:
            self.rest -= 1
            self.waits = self.rest > 0

    def go_on(self) -> None:
        self._process.gate.send(b"g")
        self.listen()

    def kill(self) -> None:
        self.is_done = True
        self._cast.kill(self._process)


def raised(error: BaseException) -> str:
    """The classes of an error, outermost first, its text, and where it comes from."""
    kinds = ",".join(kind.__name__ for kind in type(error).__mro__[:-3])
    frames = traceback.extract_tb(error.__traceback__)[:-5:-1]
    return f"{kinds}: {error} ({' < '.join(f'{Path(frame.filename).stem}:{frame.lineno}' for frame in frames)})"


def _perform(act: Act, path: Path, gate: socket.socket) -> None:
    shim.gate(gate.fileno())
    try:
        act(path, shim.mark)
    except BaseException as error:  # noqa: BLE001  it is said
        shim.mark(f"{_RAISES}{raised(error)}"[: _MESSAGE - 2])
    gc.collect()  # What was dropped gives back its locks in its own schedule.
    shim.gate(-1)


def play(
    cast: Cast, names: Sequence[str], path: Path, order: Order, kill: tuple[int, int] | None = None, trace: int = -1
) -> Played:
    """Let actors go on in an order until all have ended.

    ``kill``: an actor, and the step, from 0, before which it dies. ``trace``: see `shim.arm`.
    """
    played = Played()
    shim.arm(path, shim.Mode.COUNT, kinds=frozenset(), trace=trace)
    actors: list[_Actor] = []
    try:
        for number, name in enumerate(names):
            actors.append(_Actor(number, name, path, cast))
        _play(actors, order, kill, played)
    finally:
        shim.disarm()
        for actor in actors:
            if not actor.is_done:
                with suppress(OSError):
                    actor.kill()
    return played


def _play(actors: list[_Actor], order: Order, kill: tuple[int, int] | None, played: Played) -> None:
    while alive := [actor for actor in actors if not actor.is_done]:
        ready = {actor.number: Next(actor.kind, actor.steps) for actor in alive if not actor.waits}
        if not ready:
            # Those that sleep go on in turn, until one of them gets on or gives up.
            sleeper = min(alive, key=lambda actor: actor.tries)
            sleeper.tries += 1
            if sleeper.tries > _MOST_TRIES or all(actor.tries > 3 and actor.what != _SLEEP for actor in alive):
                played.stuck = "; ".join(f"{'ABCDEFGH'[actor.number]} waits for {actor.what}" for actor in alive)
                return
            sleeper.go_on()
            continue
        actor = actors[order.choose(ready)]
        if kill == (actor.number, actor.steps):
            actor.kill()
            played.killed = actor.number
            _wake(alive)
            continue
        kind, what = actor.kind, actor.what
        if kind is Kind.MARK and what.startswith(_RAISES):
            played.errors[actor.number] = what.removeprefix(_RAISES)
        played.trace.append(Step(actor.number, kind, what))
        actor.steps += 1
        if len(played.trace) > MOST_STEPS:
            played.stuck = f"after {MOST_STEPS} steps"
            return
        actor.go_on()
        for other in alive:
            if other is not actor:
                other.pass_time()
        if kind is Kind.UNLOCK or actor.is_done:
            _wake(alive)


def _wake(actors: Sequence[_Actor]) -> None:
    """A lock may be free: an actor that waits for one tries it again when its turn comes."""
    for actor in actors:
        actor.waits = actor.waits and actor.what == _SLEEP

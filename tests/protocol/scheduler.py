"""Actors of which one at a time is at work, from request to request, in an order that a seed decides.

Each actor is a thread. The one at work has the baton; at each request it hands it to the one that is chosen.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.protocol.bucket import Bucket
from tests.protocol.weather import GRACE, Weather

MOST_STEPS = 20_000
"""Of all actors together: more, and something goes in circles. The longest run takes a fifth."""

_SLEEPS = (0.05, 0.5, 1.2, 1.2, 4.5)
"""How long an actor sleeps, in grace periods: the last is longer than old manifests are kept."""


class Killed(BaseException):
    """The machine is gone: nothing that it does from here on reaches the bucket."""


class Over(BaseException):
    """The run ends here: something was found wrong, or goes in circles."""


@dataclass(eq=False)
class Actor:
    """A machine."""

    name: str
    work: Callable[[Actor], None]
    wakes: float = 0.0
    is_doomed: bool = False
    """Whether its next request kills it."""
    baton: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.baton.acquire()


class Scheduler:
    """Steps actors. ``late`` requests are delivered between their steps."""

    def __init__(self, bucket: Bucket, weather: Weather, chance: random.Random) -> None:
        self.bucket = bucket
        self.weather = weather
        self.chance = chance
        self.steps = 0
        self.trace: list[str] = []
        self._alive: list[Actor] = []
        self._order: list[Actor] = []
        self._late: list[Callable[[], object]] = []
        self._done = threading.Lock()
        self._failed: BaseException | None = None
        self.is_wrong: Callable[[], bool] = lambda: False
        """Whether the run may end."""

    def run(self, actors: list[Actor]) -> None:
        """Run all actors to their ends. Raise what one of them raises."""
        self._alive = list(actors)
        self._order = list(actors)
        self.chance.shuffle(self._order)
        self._done.acquire()
        threads = [threading.Thread(target=self._live, args=(actor,), name=actor.name) for actor in actors]
        for thread in threads:
            thread.start()
        self._choose(None).baton.release()
        self._done.acquire()
        for actor in self._alive:  # After a failure.
            actor.is_doomed = True
            actor.baton.release()
        for thread in threads:
            thread.join()
        if self._failed is not None:
            raise self._failed

    @property
    def has_failed(self) -> bool:
        """Whether the run is over, and all actors end."""
        return self._failed is not None

    def _live(self, actor: Actor) -> None:
        actor.baton.acquire()
        try:
            if self._failed is None:
                actor.work(actor)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised by `run`
            if self._failed is None:
                self._failed = error
                self._alive.remove(actor)
                self._done.release()
                return
        if self._failed is None:
            self._alive.remove(actor)
            if self._alive:
                self._choose(None).baton.release()
            else:
                self._done.release()

    def step(self, actor: Actor, text: str) -> None:
        """Let others go on before a request of this actor. Raise `Killed` when it does not live to make it."""
        if self._failed is not None:
            raise Killed
        self.steps += 1
        if self.steps > MOST_STEPS or self.is_wrong():
            raise Over
        chance, weather = self.chance, self.weather
        bucket = self.bucket
        bucket.clock += chance.random() * weather.pace
        luck = chance.random()
        if luck < weather.sleep:
            actor.wakes = bucket.clock + chance.choice(_SLEEPS) * GRACE
        elif luck < weather.sleep + weather.kill:
            actor.is_doomed = True
        elif luck < weather.sleep + weather.kill + weather.night:
            bucket.clock += chance.random() * 1.5 * GRACE
        if self._late and chance.random() < weather.delivery:
            self.deliver_one()
        chosen = self._choose(actor)
        if chosen is not actor:
            chosen.baton.release()
            actor.baton.acquire()
        if actor.is_doomed or self._failed is not None:
            raise Killed
        self.trace.append(f"{actor.name}: {text}")

    def later(self, request: Callable[[], object]) -> None:
        """Deliver a request some time."""
        self._late.append(request)

    def deliver_one(self) -> bool:
        """Deliver one of the late requests; return whether there was one."""
        if not self._late:
            return False
        request = self._late.pop(self.chance.randrange(len(self._late)))
        self.trace.append("a late request is delivered")
        request()
        return True

    def _choose(self, current: Actor | None) -> Actor:
        """Return the actor that goes on, among those that are awake."""
        bucket, chance = self.bucket, self.chance
        alive = self._alive
        bucket.clock = max(bucket.clock, min(actor.wakes for actor in alive))
        if self.weather.by_priority:
            # Few changes find most, see `tests.interleave.schedule`.
            if chance.random() < self.weather.switch and current in self._order:
                self._order.remove(current)
                self._order.append(current)
            return next(actor for actor in self._order if actor in alive and actor.wakes <= bucket.clock)
        if current is not None and current.wakes <= bucket.clock and chance.random() > self.weather.switch:
            return current
        return chance.choice([actor for actor in alive if actor.wakes <= bucket.clock])

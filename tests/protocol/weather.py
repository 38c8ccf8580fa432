"""What goes wrong in a run, and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass

GRACE = 86_400.0
"""Seconds after which a reservation is taken back."""

KEEP = 3 * GRACE
"""Seconds for which what is out of use stays. Shorter than by default, in grace periods, so that runs are short."""


@dataclass(frozen=True)
class Weather:
    """Chances per step or request, unless something else is said."""

    lost: float
    """A put, or a removal, is made, and its answer does not come."""
    never: float
    """It never arrives."""
    late: float
    """It arrives when the one who sent it has given up."""
    twice: float
    """It arrives, and later once more."""
    unreadable: float
    """A read or a listing fails."""
    stale: int
    """Listings are up to so many changes old."""
    sleep: float
    kill: float
    night: float
    """All sleep, for up to one and a half grace periods."""
    delivery: float
    """One of the late requests is delivered."""
    pace: float
    """The most seconds that a step takes."""
    switch: float
    """Another actor goes on."""
    by_priority: bool
    """The actor of the highest priority goes on; at a switch the one at work gets the lowest. Else any one does."""


CALM = Weather(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, pace=1.0, switch=1.0, by_priority=False)
"""Nothing goes wrong, and the machines take turns at every request."""


def weather_of(chance: random.Random) -> Weather:
    """Return the weather of a run."""
    rough = chance.choice((0.0, 0.01, 0.03))
    by_priority = chance.random() < 0.4
    return Weather(
        lost=rough,
        never=rough / 2,
        late=chance.choice((0.0, rough, 2 * rough)),
        twice=rough / 2,
        unreadable=rough / 20,
        stale=chance.choice((0, 0, 0, 5, 30)),
        sleep=chance.choice((0.0, 0.005, 0.015)),
        kill=chance.choice((0.0, 0.001, 0.004)),
        night=chance.choice((0.0, 0.004, 0.01)),
        delivery=chance.choice((0.01, 0.1)),
        pace=chance.choice((GRACE / 2000, GRACE / 300)),
        switch=chance.choice((0.005, 0.02, 0.05)) if by_priority else chance.choice((0.1, 0.4, 1.0)),
        by_priority=by_priority,
    )

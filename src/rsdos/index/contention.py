"""How long a commit on object storage waits after it lost a race: the longer, the more often others commit."""

from __future__ import annotations

_LONGEST_PAUSE = 5.0
"""Seconds."""

_SHORTEST_ATTEMPT = 0.016
"""Seconds. A medium may answer within a tick of the clock."""

_WIDTH = 16.0
"""Attempts that fit into the longest pause for each rival. With 8, sixteen writers lose three races a commit, with 16
one, with 32 half of one. Two writers wait the longer, the more it is."""

_MOST_LOSSES = 4
"""Losses that make a pause shorter. With more, all old commits run into one another."""


class Contention:
    """What one process sees of the commits of others. Threads may share it: they only make a pause less exact.

    A pause that doubles with each lost race lets the last winner win again, since it waits least. So the pause follows
    what all see alike, the rate of commits, and gets shorter with each lost race (ADR 49).
    """

    def __init__(self) -> None:
        self._number = 0
        self._seen = 0.0
        self._rate = 0.0
        """Commits of others in a second, when that was last looked at."""

    def see(self, number: int, now: float) -> None:
        """Note the number of the newest manifest and the time, in seconds, at which it was read."""
        if self._number and now > self._seen:
            self._rate = (number - self._number) / (now - self._seen)
        self._number, self._seen = number, now

    def win(self, number: int, now: float) -> None:
        """Note the number of a manifest of our own."""
        self._number, self._seen = number, now

    def longest_pause(self, began: float, now: float, losses: int) -> float:
        """Return the most seconds to wait after an attempt that ``began`` and was lost; ``losses`` counts it as well.

        A process that had not looked for long lost because of that, and hardly waits.
        """
        attempt = max(now - began, _SHORTEST_ATTEMPT)
        freshness = attempt / max(now - self._seen, attempt)
        rivals = max(self._rate * attempt, 1.0) * freshness
        return min(_WIDTH * attempt * rivals / (1 + min(losses, _MOST_LOSSES)), _LONGEST_PAUSE)

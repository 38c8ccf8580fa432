"""What the container of millions must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scale import ScaleResults


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """A line of the table; the figure must be at most ``bound``, or at least."""

    title: str
    read: Callable[[ScaleResults], float | None]
    bound: float
    unit: str
    at_least: bool = False

    def is_reached(self, figure: float) -> bool:
        """Whether the figure is good enough."""
        return figure >= self.bound if self.at_least else figure <= self.bound

    def text(self, figure: float | None) -> str:
        """What was measured, and what it must be."""
        shown = "not measured" if figure is None else f"{figure:.3g} {self.unit}"
        return f"{shown} ({'≥' if self.at_least else '≤'} {self.bound:g})"


def _last(name: str) -> Callable[[ScaleResults], float | None]:
    return lambda results: results.figure(name)


def _last_to_first(name: str) -> Callable[[ScaleResults], float | None]:
    def read(results: ScaleResults) -> float | None:
        first, last = results.figure(name, 0), results.figure(name)
        return last / first if first and last else None

    return read


def _most(results: ScaleResults) -> float | None:
    found = [step.figure for step in results.steps if step.name.endswith("-memory")]
    return max(found, default=None)


SCALE_TARGETS = (
    ScaleTarget("list all keys, 10 M", _last("list"), 10, "s"),
    ScaleTarget("the same, anonymous memory", _last("list-memory"), 100, "MiB"),
    ScaleTarget("status of the packed side at 10 M", _last("status"), 50, "ms"),
    ScaleTarget("the same, times that at 1 M", _last_to_first("status"), 1.5, "×"),
    ScaleTarget("index at 10 M, merged, an object", _last("index"), 70, "B"),
    ScaleTarget("insert rate up to 10 M, times that up to 1 M", _last_to_first("insert"), 0.5, "×", at_least=True),
    ScaleTarget("peak anonymous memory at 10 M, any step", _most, 256, "MiB"),
)

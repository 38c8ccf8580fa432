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


def _at(name: str, objects: int) -> Callable[[ScaleResults], float | None]:
    return lambda results: results.figure(name, objects)


def _quotient(
    over: Callable[[ScaleResults], float | None], under: Callable[[ScaleResults], float | None]
) -> Callable[[ScaleResults], float | None]:
    def read(results: ScaleResults) -> float | None:
        one, other = over(results), under(results)
        return one / other if one and other else None

    return read


def _each(name: str, objects: int) -> Callable[[ScaleResults], float | None]:
    """Microseconds of a step for one object."""

    def read(results: ScaleResults) -> float | None:
        seconds = results.figure(name, objects)
        return None if seconds is None else 1e6 * seconds / objects

    return read


def _most(kind: str, objects: int) -> Callable[[ScaleResults], float | None]:
    def read(results: ScaleResults) -> float | None:
        found = [step.figure for step in results.steps if step.name.endswith(kind) and step.objects == objects]
        return max(found, default=None)

    return read


_M1, _M10, _M100 = 10**6, 10**7, 10**8

SCALE_TARGETS = (
    ScaleTarget("list all keys, 10 M", _at("list", _M10), 10, "s"),
    ScaleTarget("the same, anonymous memory", _at("list-memory", _M10), 100, "MiB"),
    ScaleTarget("status of the packed side at 10 M", _at("status", _M10), 50, "ms"),
    ScaleTarget("the same, times that at 1 M", _quotient(_at("status", _M10), _at("status", _M1)), 1.5, "×"),
    ScaleTarget("index at 10 M, merged, an object", _at("index", _M10), 70, "B"),
    ScaleTarget("insert rate up to 10 M, times that up to 1 M",
                _quotient(_at("insert", _M10), _at("insert", _M1)), 0.5, "×", at_least=True),
    ScaleTarget("insert rate up to 100 M, times that up to 10 M",
                _quotient(_at("insert", _M100), _at("insert", _M10)), 0.8, "×", at_least=True),
    ScaleTarget("`rsdos list` into a pipe, 100 M", _at("list-plain", _M100), 60, "s"),
    ScaleTarget("the same with `-l`, times that",
                _quotient(_at("list-long", _M100), _at("list-plain", _M100)), 3, "×"),
    ScaleTarget("the same with `--json`, times that",
                _quotient(_at("list-json", _M100), _at("list-plain", _M100)), 4, "×"),
    ScaleTarget("validate, quick, 100 M, one process, an object", _each("validate", _M100), 1.5, "µs"),
    ScaleTarget("two processes: faster, times",
                _quotient(_at("validate", _M100), _at("validate-by-two", _M100)), 1.8, "×", at_least=True),
    ScaleTarget("most anonymous memory at 100 M, any step", _most("-memory", _M100), 200, "MiB"),
    ScaleTarget("most resident memory at 100 M, mapped pages and all", _most("-resident", _M100), 512, "MiB"),
)  # fmt: skip

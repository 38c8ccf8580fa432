"""Results for people: the tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.cases import CASES, Case
from benchmarks.results import Results
from benchmarks.targets import TARGETS, Check

_MIB = 1 << 20
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def line(results: Results, case: Case) -> str:
    """One case in one line: the rates of all sides."""
    rates = (f"{side} {rate_text(results.rate(case.name, side), case)}" for side in results.sides(case.name))
    return f"{case.name:18} {'  '.join(rates)}"


def rate_text(rate: float | None, case: Case) -> str:
    """A rate for people."""
    if rate is None:
        return "–"
    if case.unit == "bytes":
        return f"{rate / _MIB:.0f} MiB/s"
    for factor, letter in _UNITS:
        if rate >= factor:
            return f"{rate / factor:.3g} {letter}/s"
    return f"{rate:.3g} /s"


def figure_text(check: Check, figure: float | None) -> str:
    """What was measured of a check, and what it must be."""
    sign = "≥" if check.at_least else "≤"
    shown = "not measured" if figure is None else f"{figure:.3g} {check.unit}"
    return f"{shown} ({sign} {check.bound:g})"


def verdict(reached: bool | None) -> str:
    """One word."""
    return {None: "open", True: "reached", False: "MISSED"}[reached]


UNKNOWN = "why is not known."
"""The reason of a missed line that has none."""


def missed(reasons: Sequence[str]) -> Iterator[str]:
    """Yield the list of the lines that miss their bounds, each with its reason; nothing if there are none."""
    if reasons:
        yield "\nMissed, and the floor or the reason of it:\n"
        yield from reasons


def terminal(results: Results) -> str:
    """Both tables as plain text."""
    lines = [""]
    for case in CASES:
        if case.name in results.samples:
            lines.append(f"{case.title} ({case.unit})")
            lines += _side_lines(results, case)
    lines += ["", "What it must show:", ""]
    for target in TARGETS:
        lines.append(target.title)
        for check in target.checks:
            figure, reached = check.outcome(results)
            lines.append(f"    {verdict(reached):8} {check.title:42} {figure_text(check, figure)}")
    return "\n".join(lines)


def _side_lines(results: Results, case: Case) -> list[str]:
    lines = []
    for side in results.sides(case.name):
        samples = results.of(case.name, side)
        ratio = results.ratio(case.name, "ours", side)
        cpu = median(sample.cpu / sample.seconds for sample in samples)
        lines.append(
            f"    {side:10} {rate_text(results.rate(case.name, side), case):>12}"
            f"  rsdos is {ratio or 0:7.3g} ×"
            f"  cpu {100 * cpu:4.0f} %"
            f"  memory {results.memory(case.name, side) / _MIB:6.1f} MiB"
            f"  disk {samples[0].length / _MIB:8.1f} MiB in {samples[0].files} files"
        )
    return lines

"""The plots of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cases import BY_NAME
from benchmarks.report import rate_text
from benchmarks.results import Results
from benchmarks.sides import NAMES, side_class

# Text stays text, and the same figures make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rsdos", "font.size": 8})

_COLOURS = {
    "ours": "#d95f02",
    "ours-v1": "#fdae6b",
    "rsdos-0.1": "#7570b3",
    "dos": "#1b9e77",
    "floor": "#bdbdbd",
    "lmdb": "#66a5d3",
    "sqlite": "#a6cee3",
    "files": "#e0c98f",
    "git": "#cab2d6",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """Some cases side by side."""

    name: str
    title: str
    cases: tuple[str, ...]


PLOTS = (
    Plot("inserts", "Inserting 1 KB objects, one call", ("insert-raw", "insert-raw-full", "insert-zstd", "add-files")),
    Plot("reads", "Reading 1 KB objects, random order, verified by rsdos",
         ("extract-many", "extract-many-zstd", "extract-packed", "extract-loose")),
    Plot("loose", "Loose 1 KB objects", ("insert-loose", "insert-loose-full", "insert-many-loose", "pack")),
    Plot("streams", "One large stream", ("stream-in", "stream-in-zstd", "stream-out", "stream-out-zstd")),
)  # fmt: skip


def draw(plot: Plot, results: Results, directory: Path) -> Path | None:
    """Write one plot as SVG; None when nothing of it was measured."""
    cases = [case for case in plot.cases if case in results.samples]
    if not cases:
        return None
    sides = [side for side in NAMES if any(results.of(case, side) for case in cases)]
    figure = Figure(figsize=(7.2, 0.6 + sum(0.17 * (len(results.sides(case)) + 1.5) for case in cases)))
    axes = figure.subplots()
    ticks = _bars(axes, cases, sides, results)
    axes.set_xscale("log")
    axes.set_yticks([at for at, _ in ticks], [title for _, title in ticks])
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel(f"{BY_NAME[cases[0]].unit} a second, logarithmic; longer is better")
    axes.set_title(plot.title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    path = directory / f"{plot.name}.svg"
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    return path


def _bars(axes: Any, cases: Sequence[str], sides: Sequence[str], results: Results) -> list[tuple[float, str]]:
    """Draw the bars; returns where each case's title goes."""
    ticks = []
    at = 0.0
    for name in cases:
        begin = at
        for side in sides:
            rate = results.rate(name, side)
            if rate:
                axes.barh(at, rate, color=_COLOURS[side], height=0.9)
                label = f"{side_class(side).title}: {rate_text(rate, BY_NAME[name])}"
                axes.annotate(label, (rate, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6.5)
                at += 1
        ticks.append(((begin + at - 1) / 2, _folded(BY_NAME[name].title)))
        at += 1
    return ticks


def _folded(title: str) -> str:
    return title.replace(", ", ",\n").replace(" to packs", "\nto packs")

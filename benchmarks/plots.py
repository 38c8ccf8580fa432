"""The plots of the pages: bars in SVG, with text that is read on a light and on a dark page, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.cases import BY_NAME
from benchmarks.report import rate_text
from benchmarks.results import Results
from benchmarks.sides import NAMES, side_class

_COLOURS = {
    "ours": "#d9730d",
    "ours-v1": "#e9a86a",
    "rsdos-0.1": "#8b7fc4",
    "dos": "#2a9d78",
    "floor": "#9aa0a6",
    "lmdb": "#4f93c0",
    "sqlite": "#7fb3cf",
    "files": "#bfa15a",
    "git": "#a98cc2",
}
_TEXT = "#76808c"
"""4 to 1 against white as well as against the pages of dark mode. A picture cannot know which of them is shown: the
switch of a page does not reach into it."""

_WIDTH, _BAR_FROM, _BAR_TO, _HEAD, _ROW = 520, 160, 440, 44, 20
"""Points. On a phone a picture has two thirds of this, and its text of 13 points is 9 points high."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Some cases, one below the other: of ``sides`` those that ran."""

    name: str
    title: str
    cases: tuple[str, ...]
    sides: tuple[str, ...] = NAMES
    headings: tuple[str, ...] = ()
    """What is above each case, instead of its title."""


PLOTS = (
    Plot("inserts", "Inserting 1 KB objects, one call", ("insert-raw", "insert-raw-full", "insert-zstd", "add-files")),
    Plot("reads", "Reading 1 KB objects, random order, verified by rsdos",
         ("extract-many", "extract-many-zstd", "extract-packed", "extract-loose")),
    Plot("loose", "Loose 1 KB objects", ("insert-loose", "insert-loose-full", "insert-many-loose", "pack")),
    Plot("streams", "One large stream", ("stream-in", "stream-in-zstd", "stream-out", "stream-out-zstd")),
)  # fmt: skip
"""Those of docs/performance.md."""

FRONT = Plot(
    "speed",
    "Objects of 1 KB a second",
    ("insert-raw-full", "extract-many", "extract-packed"),
    ("ours", "lmdb", "git", "dos", "sqlite", "files"),
    ("stored in one call, synced", "read in one call, random order", "read one by one, random order"),
)
"""That of README.md."""


def draw(plot: Plot, results: Results, directory: Path) -> Path | None:
    """Write one plot as SVG; None when nothing of it was measured."""
    cases = [case for case in plot.cases if any(results.of(case, side) for side in plot.sides)]
    if not cases:
        return None
    body = list(_body(plot, cases, results))
    height = _HEAD + _ROW * (len(body) - 1)
    lines = (line.format(y=_HEAD + _ROW * row, middle=_HEAD + _ROW * row + 14) for row, line in enumerate(body))
    unit = "longer is better"
    path = directory / f"{plot.name}.svg"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif" font-size="13" fill="{_TEXT}">\n'
        f"<title>{escape(plot.title)}; {unit}</title>\n"
        f'<text x="0" y="16" font-weight="600">{escape(plot.title)}</text><text x="0" y="34">{unit}</text>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )
    return path


def _body(plot: Plot, cases: Sequence[str], results: Results) -> Iterator[str]:
    """Yield a row each: titles of cases, bars, and space."""
    rates = {
        (case, side): rate for case in cases for side in plot.sides if (rate := results.rate(case, side)) is not None
    }
    most = max(rates.values())
    headings = dict(zip(plot.cases, plot.headings, strict=False))
    for case in cases:
        heading = headings.get(case, BY_NAME[case].title)
        yield f'<text x="{_BAR_FROM}" y="{{middle}}" font-weight="600">{escape(heading)}</text>'
        for side in plot.sides:
            if (case, side) in rates:
                length = (_BAR_TO - _BAR_FROM) * rates[case, side] / most
                yield _bar(side, length, rate_text(rates[case, side], BY_NAME[case]))
        yield ""


def _bar(side: str, length: float, label: str) -> str:
    weight = ' font-weight="600"' if side == "ours" else ""
    return (
        f'<text x="{_BAR_FROM - 8}" y="{{middle}}" text-anchor="end"{weight}>{escape(side_class(side).title)}</text>'
        f'<rect x="{_BAR_FROM}" y="{{y}}" width="{max(length, 1):.1f}" height="{_ROW - 3}" rx="2" '
        f'fill="{_COLOURS[side]}"/>'
        f'<text x="{_BAR_FROM + max(length, 1) + 6:.1f}" y="{{middle}}"{weight}>{label}</text>'
    )

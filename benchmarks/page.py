"""Write docs/performance.md, and the figures of docs/comparison.md, from the JSON of the last runs. No figure is typed.

``python -m benchmarks.page``
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.cases import BY_NAME, CASES, Case
from benchmarks.cold_report import cold_section
from benchmarks.cold_results import read_cold
from benchmarks.comparison import BEGIN, END, figures_of
from benchmarks.datasets import read_datasets
from benchmarks.datasets_report import datasets_section
from benchmarks.measure import ROOT
from benchmarks.packs import packs_section, read_packs
from benchmarks.plots import FRONT, PLOTS, draw
from benchmarks.profile import Profile, read_profiles
from benchmarks.remote_report import remote_section
from benchmarks.remote_results import read_remote
from benchmarks.report import figure_text, rate_text, verdict
from benchmarks.results import Results, read_results
from benchmarks.scale import ScaleResults, read_scale
from benchmarks.scale_targets import SCALE_TARGETS
from benchmarks.sides import NAMES, side_class
from benchmarks.size import read_sizes
from benchmarks.size_report import size_section
from benchmarks.targets import TARGETS

_MIB = 1 << 20
PAGES = ROOT / "docs"
_NOTES = Path(__file__).with_name("notes.md")


def main(pages: Path = PAGES) -> None:
    """Write docs/performance.md and its plots, and the figures of docs/comparison.md."""
    figures = pages / "performance"
    results = read_results(figures / "full.json")
    scale = figures / "scale.json"
    lines = _page(figures, results, read_scale(scale) if scale.exists() else None)
    (pages / "performance.md").write_text("\n".join(lines) + "\n")
    draw(FRONT, results, figures)
    before, _, rest = (pages / "comparison.md").read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    (pages / "comparison.md").write_text(before + BEGIN + "\n" + "\n".join(figures_of(figures)) + "\n" + END + after)


def _page(figures: Path, results: Results, scale: ScaleResults | None) -> Iterator[str]:
    yield "# Performance\n"
    yield "<!-- Written by `make bench` (benchmarks/page.py) from docs/performance/*.json. Do not edit. -->\n"
    yield (
        "All sides ran in turn, in child processes of one run, on the same data, with warm caches. The figures are "
        "medians of the rounds. The speed of a machine changes with time: compare the ratios, not the rates. "
        "`make bench` writes this page; [benchmarks/README.md](../benchmarks/README.md) says what is measured and "
        "how.\n"
    )
    rounds = {len(sides["ours"]) for sides in results.samples.values() if "ours" in sides} or {0}
    yield f"- level: {results.level}, rounds: {min(rounds)} to {max(rounds)}, more for short cases"
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    yield "\n## What it must show\n"
    yield (
        "Each line has a target that was set before it was measured; MISSED is not reached. *dos* is disk-objectstore "
        "1.5.0. The *floor* of an operation is the same system calls and library primitives in a bare loop. *One* is "
        "one call, by itself.\n"
    )
    yield from _targets(results, scale)
    yield _NOTES.read_text()
    profiles = figures / "profile.json"
    if profiles.exists():
        yield from _profiles(read_profiles(profiles))
    yield "## Plots\n"
    for plot in PLOTS:
        path = draw(plot, results, figures)
        if path:
            yield f"![{plot.title}]({path.relative_to(figures.parent)})\n"
    yield "## Who syncs\n"
    yield from (f"- {side_class(side).title}: {side_class(side).syncs}." for side in NAMES)
    yield "\n## All cases\n"
    for case in CASES:
        if case.name in results.samples:
            yield from _case(results, case)
    if scale:
        yield from _scale(scale)
    packs = figures / "packs.json"
    if packs.exists():
        yield from packs_section(read_packs(packs))
    cold = figures / "cold.json"
    if cold.exists():
        yield from cold_section(read_cold(cold))
    sizes = figures / "size.json"
    if sizes.exists():
        yield from size_section(read_sizes(sizes))
    datasets = figures / "datasets.json"
    if datasets.exists():
        yield from datasets_section(read_datasets(datasets))
    remote = figures / "remote.json"
    if remote.exists():
        yield from remote_section(read_remote(remote))


def _targets(results: Results, scale: ScaleResults | None) -> Iterator[str]:
    yield "| operation | against | figure | |\n|---|---|---|---|"
    for target in TARGETS:
        for check in target.checks:
            figure, reached = check.outcome(results)
            yield f"| {target.title} | {check.title} | {figure_text(check, figure)} | {verdict(reached)} |"
    for line in SCALE_TARGETS:
        scale_figure = line.read(scale) if scale else None
        reached = None if scale_figure is None else line.is_reached(scale_figure)
        yield f"| {line.title} | | {line.text(scale_figure)} | {verdict(reached)} |"
    yield ""


def _profiles(profiles: Sequence[Profile]) -> Iterator[str]:
    yield "### Profiles of rsdos\n"
    yield (
        "`make bench-profile` samples the program 2,000 times per second of processor time, and counts the samples by "
        "part of the program and by function. Sampling slows everything down, most of all the start of processes.\n"
    )
    yield "| case | each | parts | functions |\n|---|---|---|---|"
    for profile in profiles:
        parts, functions = (
            ", ".join(f"{name} {100 * share:.0f} %" for name, share in islice(shares.items(), most))
            for shares, most in ((profile.parts, 6), (profile.functions, 5))
        )
        yield f"| {BY_NAME[profile.case].title} | {profile.microseconds:.3g} µs | {parts} | {functions} |"
    yield ""


def _case(results: Results, case: Case) -> Iterator[str]:
    yield f"### {case.title}\n"
    yield "| | rate | rsdos is faster by | memory above idle | disk | files |\n|---|---|---|---|---|---|"
    for side in results.sides(case.name):
        samples = results.of(case.name, side)
        ratio = results.ratio(case.name, "ours", side)
        yield (
            f"| {side_class(side).title} | {rate_text(results.rate(case.name, side), case)} "
            f"| {f'{ratio:.3g} ×' if ratio else '–'} | {results.memory(case.name, side) / _MIB:.1f} MiB "
            f"| {samples[0].length / _MIB:.1f} MiB | {samples[0].files} |"
        )
    yield ""


def _scale(scale: ScaleResults) -> Iterator[str]:
    yield "## Scale: objects of about 100 bytes\n"
    yield "| step | objects | figure |\n|---|---|---|"
    yield from (f"| {step.title} | {step.objects:,} | {step.figure:.4g} {step.unit} |" for step in scale.steps)


if __name__ == "__main__":
    main()

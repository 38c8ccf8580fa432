"""The container of millions: ``python -m benchmarks.scale`` fills one and measures it on the way. Only this rsdos.

Every step runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import ROOT
from benchmarks.results import describe_machine
from benchmarks.scale_steps import EACH, LAST, STEPS, Step

SIZES = [10**5, 10**6, 10**7, 10**8]
"""Objects. At the largest size the container takes 20 GB, and its backup as much."""


@dataclass(frozen=True, slots=True)
class ScaleResults:
    """The figures of one run."""

    machine: dict[str, str]
    steps: list[Step]

    def figure(self, name: str, objects: int) -> float | None:
        """Return the last figure of a step with so many objects, None if it was not measured."""
        found = [step.figure for step in self.steps if step.name == name and step.objects == objects]
        return found[-1] if found else None


def read_scale(path: Path) -> ScaleResults:
    """What a run has written."""
    stored = json.loads(path.read_text())
    return ScaleResults(stored["machine"], [Step(**step) for step in stored["steps"]])


def _in_child(step: str, path: Path, start: int, end: int) -> list[Step]:
    command = (sys.executable, "-m", "benchmarks.scale", "--step", step, str(path), str(start), str(end))
    sources = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": sources}
    )
    steps = [Step(**step) for step in json.loads(done.stdout)]
    for one in steps:
        print(f"{one.objects:>12,}  {one.figure:12.4g} {one.unit:18} {one.title}", flush=True)
    return steps


def main() -> None:
    """Fill and measure; print as it goes."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--objects", type=int, nargs="*", default=SIZES, help="Measure at so many.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where the container is.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, path, start, end = options.step
        print(json.dumps([asdict(one) for one in STEPS[step](Path(path), int(start), int(end))]))
        return
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    _run(options.work.resolve() / "scale", options.objects, options.json)


def _run(path: Path, sizes: list[int], file: Path | None) -> None:
    """Measure; write the figures to the file after each step, since all of them take an hour."""
    from rsdos import Container

    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    Container.create(path)
    results = ScaleResults(describe_machine(path.parent), [])
    start = 0
    try:
        for end in sizes:
            for step in EACH + (LAST if end == sizes[-1] else ()):
                results.steps.extend(_in_child(step, path, start, end))
                if file:
                    file.write_text(json.dumps(asdict(results), indent=1) + "\n")
            start = end
    finally:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()

"""AiiDA's pattern side by side: ``has`` in one ``with`` block and a read through a stream in the next.

disk-objectstore on a container that it made itself, rsdos on that same container (version 1), and rsdos on one of
version 2. ``python -m benchmarks.open_read_close`` is short for the case "visit" of the suite.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.cases import BY_NAME
from benchmarks.data import LEVELS, Data
from benchmarks.measure import ROOT, Bench
from benchmarks.results import Results, describe_machine

_TARGET = 15.0


def main() -> None:
    """Run all three in turn, and print rates and ratios."""
    parser = argparse.ArgumentParser(prog="benchmarks.open_read_close", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="How often everybody runs.")
    parser.add_argument("--level", choices=LEVELS, default="quick", help="How large the containers are.")
    options = parser.parse_args()
    level, work = LEVELS[options.level], ROOT / ".bench"
    data = Data(work / "data", level)
    data.make()
    bench = Bench(work / "visits", data, Path(ROOT / ".venv-peers"))
    case = BY_NAME["visit"]
    results = Results(level.name, describe_machine(work))
    try:
        for _ in range(options.rounds):
            for side in case.only:
                results.add(case.name, side, bench.sample(case, side))
    finally:
        shutil.rmtree(work / "visits")
    for side in case.only:
        rate, ratio = results.rate(case.name, side), results.ratio(case.name, side, "dos")
        print(f"{side:8} {1e6 / (rate or 1):8.0f} µs a visit, {ratio:6.1f} × disk-objectstore (to reach: {_TARGET:g})")


if __name__ == "__main__":
    main()

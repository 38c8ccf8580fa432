"""The benchmark suite: ``python -m benchmarks.run``; see ``--help`` and benchmarks/README.md."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.data import LEVELS, Data, Level
from benchmarks.measure import ROOT, Bench, Failed
from benchmarks.results import Results, describe_machine
from benchmarks.sides import NAMES, YARDSTICKS, has_verb, side_class

_SHORT = 15
"""Seconds: a case that took less until now gets more rounds."""


def main() -> int:
    """Run what is asked for, all sides in turn, and print the tables."""
    options = _options()
    level = LEVELS[options.level]
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = Data(work / "data", level)
    print(f"making the data in {options.work}", file=sys.stderr)
    data.make()
    bench = Bench(work / level.name, data, options.peers)
    results = Results(level.name, describe_machine(work))
    cases = [case for case in CASES if case.name in options.cases] if options.cases else _cases_of(level)
    begun = time.monotonic()
    try:
        for case in cases:
            _run_case(case, bench, level, results, options.sides, options.rounds)
            print(f"{time.monotonic() - begun:6.0f} s  {report.line(results, case)}", file=sys.stderr)
            if options.json:
                results.write(options.json)  # After each case: whoever stops it half-way keeps what there is.
    finally:
        if not options.keep:
            shutil.rmtree(work / level.name, ignore_errors=True)
    print(report.terminal(results))
    return 0


def _cases_of(level: Level) -> list[Case]:
    return [case for case in CASES if case.quick or not level.is_quick]


def _run_case(case: Case, bench: Bench, level: Level, results: Results, wanted: list[str], fixed: int | None) -> None:
    sides = [side for side in case.only or NAMES if has_verb(side_class(side), case.verb)]
    sides = [side for side in sides if has_verb(side_class(side), case.state.verb) or case.state.borrowed]
    sides = [side for side in sides if not level.is_quick or side not in YARDSTICKS]
    sides = [side for side in sides if not wanted or side in wanted]
    begun = time.monotonic()
    for number in range(fixed or level.most_rounds):
        if not fixed and number >= level.rounds and time.monotonic() - begun > _SHORT:
            break
        # Nobody is always first, or always behind the same one.
        turn = number % max(len(sides), 1)
        for side in sides[turn:] + sides[:turn]:
            if number and side in YARDSTICKS:
                continue  # Once is enough to see what order it is of, and they are a third of the time.
            try:
                results.add(case.name, side, bench.sample(case, side))
            except Failed as error:
                print(error, file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("cases", nargs="*", help="Only these cases.")
    parser.add_argument("--level", choices=LEVELS, default="quick", help="How much to take on.")
    parser.add_argument("--sides", action="append", default=[], choices=NAMES, help="Only this side; may be repeated.")
    parser.add_argument("--rounds", type=int, help="How often everybody runs each case.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where data and containers are.")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / ".venv-peers", help="The virtual environment of the peers."
    )
    parser.add_argument("--keep", action="store_true", help="Leave the containers that cases start from.")
    parser.add_argument("--json", type=Path, help="Write all samples to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

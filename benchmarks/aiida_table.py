"""AiiDA's own calls, on disk-objectstore and on the drop-in with containers of both versions, side by side.

``make bench-aiida``. Each side runs in a fresh process, one after another, for several rounds; of each call the best
time of all rounds counts, which is what it costs when nobody else is at work. The table goes into ``docs/aiida.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import describe_machine

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-aiida-bench" / "bin" / "python"
PAGE = ROOT / "docs" / "aiida.md"
OURS = f"{ROOT / 'drop-in'}{os.pathsep}{ROOT / 'src'}"
SIDES = {"disk-objectstore": (1, ""), "version 1": (1, OURS), "version 2": (2, OURS)}
CASES = {"250 of 3 KB": (250, 3000), "3,000 of 3 KB": (3000, 3000), "4 of 20 MB": (4, 20_000_000)}
BEGIN, END = "<!-- make bench-aiida -->\n", "<!-- the end of it -->\n"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that passed, and seconds of processor time."""

    wall: float
    cpu: float

    def least(self, other: Cost) -> Cost:
        return Cost(min(self.wall, other.wall), min(self.cpu, other.cpu))


Costs = dict[str, dict[str, Cost]]
"""By call and side."""


def sample(place: Path, side: str, objects: int, size: int) -> dict[str, Cost]:
    version, path = SIDES[side]
    environment = {**os.environ, "AIIDA_PATH": str(place), "PYTHONPATH": path}
    command = [PYTHON, "-W", "ignore", ROOT / "benchmarks" / "aiida_calls.py", place / "run"]
    done = subprocess.run(
        list(map(str, [*command, version, objects, size])), env=environment, capture_output=True, text=True, check=True
    )
    return {call: Cost(*seconds) for call, seconds in json.loads(done.stdout).items()}


def measure(place: Path, rounds: int, objects: int, size: int) -> Costs:
    costs: Costs = {}
    for _ in range(rounds):
        for side in SIDES:
            for call, cost in sample(place, side, objects, size).items():
                known = costs.setdefault(call, {})
                known[side] = known[side].least(cost) if side in known else cost
    return costs


SLOWER = 1.1
"""Times the original's time from which on a call is said to be slower; below it is noise."""


def ratio(costs: dict[str, Cost], side: str) -> str:
    """How many times the time of disk-objectstore passed; bold where a user waits clearly longer.

    Behind it the same for processor time, where that is another: threads may share what one has to wait for.
    """
    own, other = costs[side], costs["disk-objectstore"]
    wall, cpu = own.wall / max(other.wall, 1e-6), own.cpu / max(other.cpu, 1e-6)
    text = f"**{wall:.2f}**" if wall > SLOWER else f"{wall:.2f}"
    return text if max(wall, cpu) <= SLOWER * min(wall, cpu) else f"{text} ({cpu:.2f})"


def table(results: dict[str, Costs]) -> str:
    head = "| call | " + " | ".join(f"{case}: ms | 1 | 2" for case in results) + " |\n"
    head += "|---|" + "---:|---:|---:|" * len(results) + "\n"
    rows = []
    for call in next(iter(results.values())):
        cells = []
        for costs in results.values():
            one = costs[call]
            cells.append(
                f"{one['disk-objectstore'].wall * 1e3:.1f} | {ratio(one, 'version 1')} | {ratio(one, 'version 2')}"
            )
        rows.append(f"| {call} | " + " | ".join(cells) + " |\n")
    return head + "".join(rows) + "\n" + slower(results)


def slower(results: dict[str, Costs]) -> str:
    """The calls of which a user waits clearly longer than with disk-objectstore, as a sentence."""
    found = [
        f"{call} ({case}, {side})"
        for case, costs in results.items()
        for call, one in costs.items()
        for side in list(SIDES)[1:]
        if one[side].wall > SLOWER * one["disk-objectstore"].wall
    ]
    return f"Slower by more than a tenth: {'; '.join(found) or 'none'}.\n"


def write(results: dict[str, Costs], machine: str) -> None:
    text = PAGE.read_text()
    part = f"{BEGIN}\n{machine}.\n\n{table(results)}\n{END}"
    PAGE.write_text(re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: part, text, flags=re.DOTALL))


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.aiida_table", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", type=Path, help="Where the containers are made (default: in memory, or /tmp).")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    place = options.place or (memory if memory.is_dir() else None)
    with tempfile.TemporaryDirectory(dir=place) as directory:
        results = {
            case: measure(Path(directory), options.rounds, objects, size) for case, (objects, size) in CASES.items()
        }
        machine = describe_machine(Path(directory))
    write(results, ", ".join([*machine.values(), f"best of {options.rounds} rounds"]))
    print(table(results))


if __name__ == "__main__":
    main()

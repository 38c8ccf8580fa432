"""The results of a run: samples by case and side, as JSON, and what is read from them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.data import LEVELS, Level
from benchmarks.measure import ROOT, Sample


@dataclass
class Results:
    """All samples of one run, and where and when it was made. ``scale`` has the figures of `benchmarks.scale`."""

    level: str
    machine: dict[str, str]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)

    def add(self, case: str, side: str, sample: Sample) -> None:
        """One more."""
        self.samples.setdefault(case, {}).setdefault(side, []).append(sample)

    def sides(self, case: str) -> list[str]:
        """Who has run a case."""
        return list(self.samples.get(case, ()))

    def of(self, case: str, side: str) -> list[Sample]:
        """The samples of one side; none if it has not run."""
        return self.samples.get(case, {}).get(side, [])

    def rate(self, case: str, side: str) -> float | None:
        """The median of units a second."""
        samples = self.of(case, side)
        return median(sample.rate for sample in samples) if samples else None

    def ratio(self, case: str, side: str, other: str, other_case: str | None = None) -> float | None:
        """How many times as fast a side is as another: the ratio of the medians."""
        mine, its = self.rate(case, side), self.rate(other_case or case, other)
        return mine / its if mine and its else None

    def memory(self, case: str, side: str) -> int:
        """The most anonymous memory above idle, of all rounds."""
        return max((sample.memory for sample in self.of(case, side)), default=0)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_results(path: Path) -> Results:
    """What `Results.write` has written."""
    stored = json.loads(path.read_text())
    samples = {
        case: {side: [Sample(**sample) for sample in list_] for side, list_ in sides.items()}
        for case, sides in stored["samples"].items()
    }
    return Results(stored["level"], stored["machine"], samples)


def describe_machine(work: Path) -> dict[str, str]:
    """What the figures depend on, without a name or a path of this machine."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    kind = subprocess.run(("stat", "-f", "-c", "%T", work), capture_output=True, text=True, check=False).stdout.strip()
    commit = subprocess.run(
        ("git", "describe", "--always", "--dirty"), capture_output=True, text=True, check=False, cwd=ROOT
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "processor": f"{model}, {os.cpu_count()} cores",
        "load when it began": f"{os.getloadavg()[0]:.1f} processes",
        "system": f"{platform.system()} {platform.release()}",
        "file system": kind,
        "python": sys.version.split()[0],
    }


def level_of(results: Results) -> Level:
    """The level that a run was made at."""
    return LEVELS[results.level]

"""Where the time goes: ``python -m benchmarks.profile``, with Linux's ``perf``.

Looks at the running program by the processor's clock, in the timed part alone, the kernel included. A virtual machine
seldom has counters of instructions; where the program waits for memory, the instruction that waits has it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import BY_NAME
from benchmarks.child import RECORDER
from benchmarks.data import LEVELS, Data
from benchmarks.measure import ROOT, Bench, Failed

_FREQUENCY = 2_000
"""Looks a second. 20,000 make what is looked at twice as slow."""

_ENOUGH = 1_000
"""Looks: a case is run again until there are so many, ..."""

_MOST_RUNS = 8
"""... but not more often than this."""

_SHOWN = 12
"""Functions of which the share is told."""

CASES = (
    "insert-raw",
    "insert-zstd",
    "add-files-jobs",
    "extract-many",
    "extract-many-zstd",
    "extract-packed",
    "insert-loose-tmpfs",
    "pack",
    "pack-clean",
    "repack",
)

_LOOK = re.compile(r"\s*[0-9a-f]+ (?P<function>.+) \((?P<file>[^()]*)\)$")

_PARTS = {
    "/zstandard/": "zstd",
    "/isal/": "CRC-32 (isal)",
    "/numpy": "numpy",
    "kernel": "the system",
    "libcrypto": "hashing (libcrypto)",
    "libc.so": "memory (libc)",
    "python": "Python",
}
"""What a file that code comes from is told as, by a part of its path; the first that fits."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the processor was in one run of a case: shares of all looks, the largest first.

    ``microseconds`` is what one unit took at the median while somebody looked on; ``functions`` are the first of many.
    """

    case: str
    microseconds: float
    looks: int
    parts: dict[str, float]
    functions: dict[str, float]


class _Recorder(Bench):
    """Runs children under perf, which records from their word on to the next."""

    def __init__(self, work: Path, data: Data, peers: Path) -> None:
        super().__init__(work, data, peers)
        self.record = work / "perf.data"
        self._fifos = work / "perf.control", work / "perf.answer"
        for fifo in self._fifos:
            fifo.unlink(missing_ok=True)
            os.mkfifo(fifo)
        os.environ[RECORDER] = os.pathsep.join(map(str, self._fifos))

    def command(self, task: dict[str, Any], side: str) -> tuple[str, ...]:
        if task["case"] is None:
            return super().command(task, side)
        control = f"fifo:{self._fifos[0]},{self._fifos[1]}"
        looks = ("perf", "record", "-q", "-e", "cpu-clock", "-F", str(_FREQUENCY), "-D", "-1", "--control", control)
        return *looks, "-o", str(self.record), *super().command(task, side)

    def profile(self, name: str) -> Profile:
        """Run a case."""
        took: list[float] = []
        found: list[re.Match[str]] = []
        while len(found) < _ENOUGH and len(took) < _MOST_RUNS:
            took.append(1e6 / self.sample(BY_NAME[name], "ours").rate)
            found += self._looks()
        parts = Counter(_part_of(look["file"]) for look in found)
        functions = Counter(f"{look['function']} ({_part_of(look['file'])})" for look in found)
        return Profile(name, median(took), len(found), _shares(parts), _shares(functions, _SHOWN))

    def _looks(self) -> list[re.Match[str]]:
        script = ("perf", "script", "-i", str(self.record), "-F", "ip,sym,dso")
        text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
        return [look for line in text.splitlines() if (look := _LOOK.match(line))]


def _part_of(file: str) -> str:
    return next((part for mark, part in _PARTS.items() if mark in file), Path(file).name.split(".")[0])


def _shares(counts: Counter[str], most: int | None = None) -> dict[str, float]:
    return {name: round(count / counts.total(), 4) for name, count in counts.most_common(most)}


def read_profiles(path: Path) -> list[Profile]:
    """What `main` has written."""
    return [Profile(**stored) for stored in json.loads(path.read_text())]


def main() -> int:
    """Profile what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks.profile", description=__doc__)
    parser.add_argument("cases", nargs="*", default=CASES, help="These cases; by default those that are farthest off.")
    parser.add_argument("--level", choices=LEVELS, default="full")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not shutil.which("perf"):
        print("perf is not installed (Debian: linux-perf)", file=sys.stderr)
        return 1
    level = LEVELS[options.level]
    data = Data(options.work.resolve() / "data", level)
    data.make()
    work = options.work.resolve() / f"profile-{level.name}"
    work.mkdir(parents=True, exist_ok=True)
    profiles = []
    try:
        recorder = _Recorder(work, data, ROOT / ".venv-peers")
        for name in options.cases:
            try:
                profiles.append(recorder.profile(name))
            except Failed as error:
                print(error, file=sys.stderr)
                return 1
            print(_text(profiles[-1]))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(profile) for profile in profiles], indent=1) + "\n")
    return 0


def _text(profile: Profile) -> str:
    lines = [f"{profile.case}: {profile.microseconds:.2f} us each, {profile.looks} looks"]
    for shares in (profile.parts, profile.functions):
        lines += [f"    {100 * share:5.1f} %  {name}" for name, share in shares.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

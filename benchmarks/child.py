"""One measurement, in a process of its own: ``python -m benchmarks.child TASK``, TASK and answer are JSON.

Runs under the interpreter of the side it measures: imports nothing but that side and the standard library.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.cases import BY_NAME
from benchmarks.data import LEVELS, Data
from benchmarks.sides import side_class
from benchmarks.states import STATES, make_state

RECORDER = "RECORDER_OF_BENCHMARKS"
"""The variable with the names of two FIFOs to perf, for words and for answers."""

_SETTLE = 0.1
"""Seconds until threads that an import has started are at rest: those of OpenBLAS (numpy) spin for up to 0.05 then."""


def main() -> None:
    """Do what the task says, and print what it took."""
    task = json.loads(sys.argv[1])
    data = Data(Path(task["data"]), LEVELS[task["level"]])
    side = side_class(task["side"])(Path(task["path"]), task["durable"])
    if task["case"] is None:
        make_state(STATES[task["state"]], side, data)
        print("{}")
        return
    print(json.dumps(_measured(task["case"], side, data)))


def _measured(case: str, side: Any, data: Data) -> dict[str, float]:
    side.open()
    threads = BY_NAME[case].threads
    if threads is not None:
        side.limit_threads(threads)
    work = BY_NAME[case].prepare(side, data)
    # The 100,000 objects that were made to be inserted are young until the next collection, which looks at each of
    # them: 9 ms, of the 230 that their insert takes, of whoever happens to be at work then.
    gc.collect()
    time.sleep(_SETTLE)
    idle = _anonymous()
    _tell_recorder("enable")
    before, begun = os.times(), time.monotonic()
    count = work()
    ended, after = time.monotonic(), os.times()
    _tell_recorder("disable")
    side.close()
    cpu = sum(after[:4]) - sum(before[:4])
    return {"count": count, "seconds": ended - begun, "cpu": cpu, "begun": begun, "ended": ended, "idle": idle}


def _tell_recorder(word: str) -> None:
    """Have `benchmarks.profile`, if that is who called, look at what is timed and nothing else."""
    if fifos := os.environ.get(RECORDER):
        control, answer = fifos.split(os.pathsep)
        Path(control).write_text(f"{word}\n", encoding="ascii")
        with open(answer, "rb") as stream:
            stream.readline()


def _anonymous() -> int:
    """Bytes of anonymous memory that this process has; 0 where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))
    except OSError:
        return 0


if __name__ == "__main__":
    main()

"""The program that breaks operations off, started with the shim by `tests.crash.run`.

`python -m tests.crash.child SUBJECT` reads a request from each line of standard input, ``[OPERATION, DIRECTORY,
WAY:SHARE, …]`` in JSON, and forks a process that answers it: to import all for each operation would take a second. A
way is one of `sweep.WAYS`, or ``power:SHARE:LOTS``, or ``unsynced:…`` for the same with no sync reaching the disk: the
control, which has to fail. An answer is a line of JSON, a `Result` for each way.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.crash.judge import in_child
from tests.crash.power import lose
from tests.crash.subject import subject
from tests.crash.sweep import Result, sweep
from tests.crash.warm import import_operations
from tests.patience import HANG

_PATIENCE = 3 * HANG
"""Seconds for one operation, of which any point may hang by itself."""


def main(name: str) -> None:
    """Answer all requests."""
    if name == "rsdos":
        import_operations()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What an operation prints is no answer.
    for line in sys.stdin:
        results = in_child(partial(_break_off, name, *json.loads(line)), _PATIENCE)
        print(json.dumps(results), file=answers, flush=True)


def _break_off(name: str, operation: str, directory: str, *ways: str) -> dict[str, object]:
    template = Path(directory) / "template"
    own = subject(name).operations[operation]
    assert not in_child(lambda: own.prepare(template) or {})  # type: ignore[func-returns-value]
    results: dict[str, object] = {}
    for number, way in enumerate(ways):
        if own.ways is not None and way.split(":")[0] not in own.ways:
            continue
        place = Path(directory) / f"{number}"
        place.mkdir()
        results[way.split(":")[0]] = asdict(_result(name, operation, template, place, *way.split(":")))
    return results


def _result(
    name: str, operation: str, template: Path, directory: Path, way: str, share: str, lots: str = "0"
) -> Result:
    if way in ("power", "unsynced"):
        return lose(name, operation, template, directory, int(share), int(lots), sync=way == "power")
    return sweep(name, operation, way, template, directory, int(share))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The program that breaks operations off, started with the shim by `tests.crash.run`.

`python -m tests.crash.child SUBJECT OPERATION DIRECTORY WAY:SHARE…`, where a way is one of `sweep.WAYS`, or
``power:SHARE:LOTS``, or ``unsynced:…`` for the same with no sync reaching the disk: the control, which has to fail.
Prints a `Result` for each way, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.crash.judge import in_child
from tests.crash.power import lose
from tests.crash.subject import subject
from tests.crash.sweep import Result, sweep
from tests.crash.warm import import_operations


def main(name: str, operation: str, directory: str, *ways: str) -> None:
    """Break off and print."""
    if name == "rsdos":
        import_operations()
    template = Path(directory) / "template"
    own = subject(name).operations[operation]
    assert not in_child(lambda: own.prepare(template) or {})  # type: ignore[func-returns-value]
    results = {}
    for number, way in enumerate(ways):
        if own.ways is not None and way.split(":")[0] not in own.ways:
            continue
        place = Path(directory) / f"{number}"
        place.mkdir()
        results[way.split(":")[0]] = asdict(_result(name, operation, template, place, *way.split(":")))
    print(json.dumps(results))


def _result(
    name: str, operation: str, template: Path, directory: Path, way: str, share: str, lots: str = "0"
) -> Result:
    if way in ("power", "unsynced"):
        return lose(name, operation, template, directory, int(share), int(lots), sync=way == "power")
    return sweep(name, operation, way, template, directory, int(share))


if __name__ == "__main__":
    main(*sys.argv[1:])

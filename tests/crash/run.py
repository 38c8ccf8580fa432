"""Runs the rig: `python -m tests.crash.run --help`. Prints the counts; exit code 1 when anything of ours is wrong."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.crash import shim
from tests.crash.sweep import DEADLY, WAYS, Result

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / ".venv-peers" / "bin" / "python"
FULL = (*(f"{way}:1" for way in WAYS), "power:1:4")
"""Every call, and five to seven disk states behind each."""


def break_off(
    name: str, operation: str, directory: Path, ways: Iterable[str], python: str | Path = sys.executable
) -> dict[str, Result]:
    """Break one operation of a store off in a child process; the shim is built in ``directory``. Results by way."""
    with Rig(name, directory, python) as rig:
        return rig.break_off(operation, ways)


class Rig:
    """A process with the shim, which breaks off one operation of a store after the other. A context manager."""

    def __init__(self, name: str, directory: Path, python: str | Path = sys.executable) -> None:
        """The shim is built in ``directory``."""
        self._place = tempfile.TemporaryDirectory(dir=directory)
        place = Path(self._place.name)
        (place / "state").write_bytes(bytes(shim.STATE_LENGTH))
        own = {"SHIM_STATE": str(place / "state"), "TMPDIR": str(place)}
        self._errors = (place / "errors").open("a+")
        self._process = subprocess.Popen(
            [python, "-m", "tests.crash.child", name],
            cwd=ROOT,
            env=_environment(name == "rsdos", shim.build(directory)) | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def break_off(self, operation: str, ways: Iterable[str]) -> dict[str, Result]:
        """Break an operation off. Return the results by way."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with tempfile.TemporaryDirectory(dir=self._place.name) as directory:
            print(json.dumps([operation, directory, *ways]), file=process.stdin, flush=True)
            answer = process.stdout.readline() or '{"crash": "the rig"}'
        results = json.loads(answer)
        assert not results.keys() & {"crash", "hang"}, f"{operation}: {results}\n{self._said()}"
        return {way: Result(**result) for way, result in results.items()}

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-4000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._errors.close()
        self._place.cleanup()


def _environment(is_ours: bool, library: Path | None = None) -> dict[str, str]:
    places = [str(ROOT)]
    if is_ours:
        import rsdos

        places.insert(0, str(Path(rsdos.__file__).parent.parent))
    preload = {"LD_PRELOAD": str(library)} if library else {}
    return (
        os.environ
        | preload
        | {
            "PYTHONPATH": os.pathsep.join(places),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )


@dataclass
class Totals:
    """The points of one store, by way: how many were tried and how many failed, and of what."""

    points: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, way: str, result: Result) -> None:
        self.points[way] += result.points
        self.failed[way] += result.failed
        self.bad.update(result.bad)
        self.examples += [f"{verdict}: {example}" for verdict, example in result.examples.items()]

    @property
    def crashes(self) -> int:
        """Distinct crash points: deaths and power losses."""
        return sum(self.points[way] for way in (*DEADLY, "power"))


def run(name: str, directory: Path, ways: Sequence[str], pattern: str, workers: int) -> Totals:
    """Break all operations of a store off and print each one's counts."""
    from tests.crash.subject import subject

    python: str | Path = sys.executable
    if name == "rsdos":
        operations = list(subject(name).operations)
    else:
        python = PEERS
        code = f"from tests.crash.subject import subject; print('\\n'.join(subject({name!r}).operations))"
        done = subprocess.run([python, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
        operations = done.stdout.splitlines()
    totals = Totals()
    shim.build(directory)
    with ThreadPoolExecutor(workers) as pool:
        chosen = [operation for operation in operations if pattern in operation]
        outcomes = pool.map(lambda operation: break_off(name, operation, directory, ways, python), chosen)
        for operation, results in zip(chosen, outcomes, strict=True):
            cells = [f"{way} {result.failed}/{result.points}" for way, result in results.items()]
            print(f"{name:12} {operation:40} {', '.join(cells)}", flush=True)
            for way, result in results.items():
                totals.add(way, result)
    return totals


def damage(name: str, directory: Path, share: int) -> Result:
    """Damage a small container of a store in one of ``share`` ways; see `tests.crash.damage`."""
    ours = name.startswith("rsdos,") or name == "rsdos"
    with tempfile.TemporaryDirectory(dir=directory) as place:
        command = [sys.executable if ours else PEERS, "-m", "tests.crash.damage", name, place, str(share), "1"]
        done = subprocess.run(
            command, check=True, cwd=ROOT, env=_environment(ours), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def run_damage(names: Sequence[str], directory: Path, share: int, workers: int) -> bool:
    """Damage containers of some stores and print the counts; whether anything of ours was wrong."""
    wrong = False
    with ThreadPoolExecutor(workers) as pool:
        for name, result in zip(names, pool.map(lambda name: damage(name, directory, share), names), strict=True):
            print(f"{name}: {result.points} damaged containers, verdicts {result.bad}", flush=True)
            for verdict, example in result.examples.items():
                print(f"  {verdict}: {example}")
            # The index of version 1 has no checksums: what a flipped bit hides there only `validate` can tell.
            allowed = {"missing", "listed"} if name.endswith("version 1") else set()
            wrong |= name.startswith("rsdos") and name != "rsdos 0.1.1" and bool(result.bad.keys() - allowed)
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rig over some stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", default=["rsdos"], help="rsdos, 'rsdos 0.1.1', 'dos 1.5.0'")
    parser.add_argument("--ways", nargs="*", default=FULL, help="WAY:SHARE, power:SHARE:LOTS; default: everything")
    parser.add_argument("--only", default="", help="operations whose names have this in them")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--damage", type=int, metavar="SHARE", help="damage containers instead, one of so many ways")
    memory = Path("/dev/shm")
    parser.add_argument("--directory", type=Path, default=memory if memory.is_dir() else None)
    chosen = parser.parse_args(arguments)
    wrong = False
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        if chosen.damage:
            return int(run_damage(chosen.stores, Path(directory), chosen.damage, chosen.workers))
        for name in chosen.stores:
            totals = run(name, Path(directory), chosen.ways, chosen.only, chosen.workers)
            for way, points in totals.points.items():
                print(f"{name}: {way:8} {points:6} points, {totals.failed[way]} failed")
            print(f"{name}: {totals.crashes} distinct crash points (kill and power loss), verdicts {dict(totals.bad)}")
            for example in totals.examples[:20]:
                print(f"  {example}")
            wrong |= name == "rsdos" and bool(totals.bad)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""Threads that share a Container: one is stopped at a line of ours, the other runs whole, the first goes on.

Needs no shim. Each point is a process of its own, forked from one that has all imported.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import rsdos
from rsdos import Container
from tests.crash.judge import Verdicts, in_child
from tests.crash.shim import Kind
from tests.interleave import oracle
from tests.interleave.acts import ACTS
from tests.interleave.child import one_thread, warm_up
from tests.interleave.schedule import Played, Step, raised
from tests.interleave.world import MAIN, Template, prepare, shared

PATIENCE = 0.3
"""Seconds that the first stays stopped when the other does not end: that waits for a lock of the first, or is slow.

Where it is slow both run at once, and what has to hold holds then, too: a slow machine finds less, and never fails."""

_OURS = os.path.dirname(rsdos.__file__)


@dataclass(frozen=True)
class Case:
    """``first`` is stopped. ``before`` is done by another program when the first has the container open, ``then`` is
    what runs whole: what begins with "other: " by another program, the rest by a thread that shares the container."""

    first: str
    then: tuple[str, ...]
    before: tuple[str, ...] = ()
    closes: bool = True
    """Whether the other thread closes the container when it is done, as the first does."""


CASES = (
    *(
        Case(first, (then,), closes=closes)
        for first in ("read", "insert loose, new", "insert packed", "insert many loose")
        for then in ("read", "insert loose, duplicates", "insert packed, damaged", "pack", "delete", "optimize")
        for closes in (True, False)
    ),
    Case("read", ("other: insert packed", "read"), ("repack",)),
    Case("read", ("delete",), ("repack",), closes=False),
    Case("read", ("other: repack", "delete"), ("insert packed",), closes=False),
    Case("look and insert", ("delete",), ("insert packed",), closes=False),
    Case("pack", ("read",)),
    Case("optimize", ("insert packed",), closes=False),
    Case("delete", ("read",), closes=False),
)


Line = tuple[str, int]
"""A line of ours: the code that it is of, and its number."""


class _Stop:
    """Stops the thread that it traces when it comes to a line for the n-th time, from 1."""

    def __init__(self, line: Line | None, occurrence: int) -> None:
        self._line = line
        self._left = occurrence
        self.lines: Counter[Line] = Counter()
        self.reached = threading.Event()
        self.go = threading.Event()

    def trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        path = frame.f_code.co_filename
        if not path.startswith(_OURS):
            return None
        if event == "line":
            line = (path[len(_OURS) + 1 :], frame.f_lineno)
            self.lines[line] += 1
            if line == self._line:
                self._left -= 1
                if self._left == 0:
                    self.reached.set()
                    self.go.wait(PATIENCE)
        return self.trace


class _Threads:
    """One point of one case."""

    def __init__(self, case: Case, path: Path, stop: _Stop) -> None:
        self._case = case
        self._path = path
        self._stop = stop
        self._container = Container(path / MAIN)
        self._played = Played()
        self._acts = 0

    def _do(self, name: str, container: Container | None, *, closes: bool = True) -> None:
        shared.container, shared.closes = container, closes
        actor, self._acts = self._acts, self._acts + 1
        try:
            ACTS[name].run(self._path, lambda text: self._played.trace.append(Step(actor, Kind.MARK, text)))
        except Exception as error:  # noqa: BLE001  it is judged
            self._played.errors[actor] = raised(error)
        finally:
            shared.container = None

    def _first(self) -> None:
        sys.settrace(self._stop.trace)
        try:
            self._do(self._case.first, self._container)
        finally:
            sys.settrace(None)
            self._stop.reached.set()

    def run(self) -> list[str]:
        """What is wrong."""
        assert set(self._container)
        for name in self._case.before:
            self._do(name, None)
        first = threading.Thread(target=self._first)
        first.start()
        self._stop.reached.wait()
        for name in self._case.then:
            is_other = name.startswith("other: ")
            self._do(name.removeprefix("other: "), None if is_other else self._container, closes=self._case.closes)
        self._stop.go.set()
        first.join()
        # What this process was told it still knows.
        self._do("read", self._container)
        self._container.close()
        acts = [ACTS[self._case.first]]
        faults = [*oracle.told(self._played, acts), *oracle.left(self._played, self._path, acts)]
        with suppress(FileNotFoundError):
            faults += (f"leftover: sandbox/{name}" for name in os.listdir(self._path / MAIN / "sandbox"))
        return faults


class Points:
    """Plays the points of cases, one after another."""

    def __init__(self, version: int, directory: Path) -> None:
        assert not in_child(lambda: prepare(directory / "template", version) or {})  # type: ignore[func-returns-value]
        self._template = Template(directory / "template")
        self._path = directory / "world"

    def _in_world(self, work: Callable[[], Verdicts]) -> Verdicts:
        self._template.make(self._path)

        def alone() -> Verdicts:
            one_thread()
            logging.disable()  # What is wrong is judged.
            return work()

        try:
            return in_child(alone)
        finally:
            shutil.rmtree(self._path)

    def lines(self, case: Case) -> Mapping[Line, int]:
        """How often the first comes to each line of ours, in the order in which it does."""

        def work() -> Verdicts:
            stop = _Stop(None, 0)
            assert not _Threads(case, self._path, stop).run()
            return {f"{path}:{number}": str(count) for (path, number), count in stop.lines.items()}

        found = self._in_world(work)
        return {(name.rpartition(":")[0], int(name.rpartition(":")[2])): int(count) for name, count in found.items()}

    def point(self, case: Case, line: Line, occurrence: int) -> list[str]:
        """Stop the first at a line; returns what is wrong."""

        def work() -> Verdicts:
            faults = _Threads(case, self._path, _Stop(line, occurrence)).run()
            return {str(at): fault for at, fault in enumerate(faults)}

        return list(self._in_world(work).values())

    def sweep(self, case: Case, share: int, first: int = 0) -> Iterator[tuple[str, list[str]]]:
        """Every ``share``-th line, the first time and one in the middle: where, and what is wrong."""
        for at, (line, count) in enumerate(self.lines(case).items()):
            if at % share != first % share:
                continue
            for occurrence in sorted({1, count // 2 + 1}):
                yield f"{line[0]}:{line[1]}, time {occurrence}", self.point(case, line, occurrence)


def main(arguments: Sequence[str]) -> int:
    """`python -m tests.interleave.threads VERSION SHARE [CASE…]`: print what is wrong, and the counts."""
    import tempfile

    version, share, *only = arguments
    memory = Path("/dev/shm")
    points = failed = 0
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        warm_up()
        play = Points(int(version), Path(directory))
        for at, case in enumerate(CASES):
            if only and str(at) not in only:
                continue
            seen: set[str] = set()
            for where, faults in play.sweep(case, int(share), at):
                points += 1
                failed += bool(faults)
                for fault in faults:
                    if fault.partition(":")[0] not in seen:
                        seen.add(fault.partition(":")[0])
                        print(f"case {at}, {case}, stopped at {where}: {fault}", flush=True)
    print(f"version {version}: {points} points, {failed} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

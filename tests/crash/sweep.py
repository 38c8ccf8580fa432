"""Breaks an operation off at each of its state-changing calls in turn, and has judged what is left.

In a process that was started with the shim and has one thread, because it forks; see `tests.crash.child`.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tests.crash import shim
from tests.crash.judge import Verdicts, in_child, judge
from tests.crash.operation import Operation
from tests.crash.shim import CHANGES, NEED_SPACE, OPENS, Kind, Mode
from tests.crash.subject import Subject, subject


class Way(NamedTuple):
    """A way to break off: what happens, to which kinds of call, and with which errno."""

    mode: Mode
    kinds: frozenset[Kind] = CHANGES
    error: int = 0


_WRITES = frozenset({Kind.WRITE})
WAYS = {
    "kill": Way(Mode.KILL),
    "torn": Way(Mode.TORN, _WRITES),
    "short": Way(Mode.SHORT, _WRITES),
    "EIO": Way(Mode.ERROR, error=errno.EIO),
    "ENOSPC": Way(Mode.STICKY, NEED_SPACE, errno.ENOSPC),
    "EINTR": Way(Mode.ERROR, error=errno.EINTR),
    "EMFILE": Way(Mode.STICKY, OPENS, errno.EMFILE),
    "fsync": Way(Mode.STICKY, frozenset({Kind.SYNC}), errno.EIO),
}
DEADLY = ("kill", "torn")


@dataclass
class Result:
    """``points`` that were tried of ``calls`` that there are; how many ``failed``, of what, and an example of each."""

    calls: int = 0
    points: int = 0
    failed: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, verdicts: Verdicts, where: str) -> None:
        """Count one point."""
        self.points += 1
        self.failed += bool(verdicts)
        for verdict, example in verdicts.items():
            self.bad[verdict] = self.bad.get(verdict, 0) + 1
            self.examples.setdefault(verdict, f"{where}: {example}")


def sweep(name: str, operation_name: str, way_name: str, template: Path, directory: Path, share: int) -> Result:
    """Try every ``share``-th call, and the last one."""
    own = subject(name)
    operation = own.operations[operation_name]
    way = WAYS[way_name]
    result = Result()
    result.calls = _count(operation, way, template, directory)
    first = crc32(f"{operation_name} {way_name}".encode())
    for number in range(1, result.calls + 1):
        if number % share != first % share and number != result.calls:
            continue
        path = directory / "container"
        shutil.copytree(template, path, symlinks=True)
        point = _Point(own, operation, way, number, path)
        verdicts = point.die() if way_name in DEADLY else point.fail()
        result.add(verdicts, f"{operation_name!r}, {way_name} at call {number} of {result.calls}, {point.reached}")
        shutil.rmtree(path)
    return result


def _count(operation: Operation, way: Way, template: Path, directory: Path) -> int:
    path = directory / "container"
    shutil.copytree(template, path, symlinks=True)
    shim.arm(path, Mode.COUNT, kinds=way.kinds)

    def run() -> Verdicts:
        operation.run(path, lambda key: None)
        return {}

    verdicts = in_child(run)
    assert not verdicts, f"the operation fails of itself: {verdicts}"
    shim.disarm()
    shutil.rmtree(path)
    return shim.count()


class _Point:
    """One call at which an operation is broken off."""

    def __init__(self, own: Subject, operation: Operation, way: Way, number: int, path: Path) -> None:
        self._own = own
        self._operation = operation
        self._way = way
        self._number = number
        self._path = path
        self.reached = ""

    def _arm(self) -> None:
        shim.arm(self._path, self._way.mode, self._number, self._way.error, self._way.kinds)

    def die(self) -> Verdicts:
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                self._arm()
                self._operation.run(self._path, partial(_acknowledge, send))
                status = 0
            finally:
                os._exit(status)
        os.close(send)
        acknowledged = _acknowledged(receive)
        _, status = os.waitpid(child, 0)
        self.reached = self._reached()
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not died and status != 0:
            return {"failed": f"of itself, status {status}"}
        return self._judge(acknowledged, finished=not died)

    def fail(self) -> Verdicts:
        """Run the operation with an error, or a short write, at the n-th call."""
        receive, send = os.pipe()

        def run() -> Verdicts:
            before = self._own.space(self._path)
            error = self._try(partial(_acknowledge, send))
            if error is None:
                _acknowledge(send, _FINISHED)
                return {}
            return self._complaints(error) or self._space_is_back(before)

        verdicts = in_child(run)
        os.close(send)
        acknowledged = _acknowledged(receive)
        self.reached = self._reached()
        shim.disarm()  # It may not have come to that.
        finished = _FINISHED in acknowledged
        return verdicts or self._judge(acknowledged - {_FINISHED}, finished=finished)

    def _try(self, ack: Callable[[str], None]) -> Exception | None:
        self._arm()
        try:
            self._operation.run(self._path, ack)
        except Exception as error:  # noqa: BLE001
            return error
        finally:
            shim.disarm()
        return None

    def _complaints(self, error: Exception) -> Verdicts:
        """An error is of a kind that callers know, and says what is wrong."""
        if self._way.mode is Mode.SHORT:
            return {"error": f"a short write is not one: {error!r}"}
        if "ended with code" in str(error):
            return {}  # Another program's, in its own words.
        if not isinstance(error, self._own.errors):
            return {"error": f"of another kind: {error!r}"}
        if os.strerror(self._way.error) not in f"{error} {error.__cause__}" and type(error).__module__ == "builtins":
            return {"error": f"not clear: {error!r}"}
        return {}

    def _space_is_back(self, before: dict[str, int]) -> Verdicts:
        if self._way.kinds == OPENS or self._way.error == errno.EINTR or shim.reached().startswith(_TIDYING):
            return {}  # Without a descriptor nothing can be tidied up; what could not be unlinked is there.
        try:
            self._own.assert_space_came_back(self._operation, self._path, before)
        except AssertionError as error:
            return {"space": str(error)}
        return {}

    def _reached(self) -> str:
        return shim.reached().replace(str(self._path), "")

    def _judge(self, acknowledged: set[str], *, finished: bool) -> Verdicts:
        shim.disarm()
        return in_child(lambda: judge(self._own, self._operation, self._path, acknowledged, finished=finished))


_FINISHED = "f" * 64
_TIDYING = ("unlink", "rename", "truncate", "rmdir")


def _acknowledge(pipe: int, key: str) -> None:
    os.write(pipe, key.encode())


def _acknowledged(pipe: int) -> set[str]:
    with open(pipe, "rb") as stream:
        keys = stream.read().decode()
    return {keys[at : at + 64] for at in range(0, len(keys), 64)}

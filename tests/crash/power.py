"""Loses power behind each call of an operation, in several ways each, and has judged what is left.

In a process that was started with the shim, see `tests.crash.child`. The points are distinct disk states.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from tests.crash import shim
from tests.crash.judge import Verdicts, in_child, judge
from tests.crash.operation import Operation
from tests.crash.replay import Choose, Content, Lottery, Replay, all_names, digest, nothing, synced, write, zeros
from tests.crash.shim import Kind, Mode
from tests.crash.subject import Subject, subject
from tests.crash.sweep import Result


def ways(seed: str, lots: int) -> Iterator[tuple[str, Choose, Content]]:
    """The ways to lose power: the worst, names without bytes, lengths without bytes, and so many by chance."""
    yield "nothing unsynced", nothing, synced
    yield "names without bytes", all_names, synced
    yield "lengths without bytes", all_names, zeros
    for number in range(lots):
        lottery = Lottery(f"{seed} {number}")
        yield f"some of it, lot {number}", lottery.names, lottery.content


def lose(
    name: str, operation_name: str, template: Path, directory: Path, share: int, lots: int, *, sync: bool = True
) -> Result:
    """Lose power behind every ``share``-th call, in 3 + ``lots`` ways."""
    own = subject(name)
    operation = own.operations[operation_name]
    path = directory / "container"
    trace = _record(operation, template, path, directory)
    replay = Replay(template, path)
    shutil.rmtree(path)
    calls = list(shim.calls(trace))
    result = Result(sum(call.kind is not Kind.MARK for call in calls))
    seen: set[tuple[str, int]] = set()
    first = crc32(operation_name.encode())
    for number, call in enumerate(calls, 1):
        replay.play(call, sync=sync)
        if number % share != first % share and number != len(calls):
            continue
        for how, choose, content in ways(f"{operation_name} {number}", lots):
            left = replay.leave(choose, content)
            state = digest(left), len(replay.acknowledged)
            if state in seen:
                continue
            seen.add(state)
            write(left, path)
            where = call.path.replace(str(path), "")
            finished = number == len(calls)
            acknowledged = set(replay.acknowledged)
            verdicts = in_child(lambda: _judge(own, operation, path, acknowledged, finished=finished))  # noqa: B023
            call_name = f"{call.kind.name.lower()} {where}"
            result.add(verdicts, f"{operation_name!r}, power lost behind call {number}, {call_name}; {how}")
            shutil.rmtree(path)
    return result


def _judge(own: Subject, operation: Operation, path: Path, acknowledged: set[str], *, finished: bool) -> Verdicts:
    own.boot()
    allowed = own.errors if operation.relaxed and not finished else ()
    return judge(own, operation, path, acknowledged, finished=finished, allowed=allowed)


def _record(operation: Operation, template: Path, path: Path, directory: Path) -> Path:
    trace = directory / "trace"
    shutil.copytree(template, path, symlinks=True)

    def run() -> Verdicts:
        fd = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        shim.arm(path, Mode.COUNT, trace=fd)
        operation.run(path, shim.mark)
        return {}

    verdicts = in_child(run)
    shim.disarm()
    assert not verdicts, f"the operation fails of itself: {verdicts}"
    return trace

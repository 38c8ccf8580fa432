"""Breaks an operation off at each of its state-changing calls in turn, and looks at what is left.

Run as a program, in a process of its own that has one thread, because it forks: `python sweep.py OPERATION MODE DIR`.
Prints the number of points; the first that is wrong is a traceback that names the call.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rsdos import Container, RsdosError
from tests.crash.calls import SYNCS, WRITES, Fault, intercepted
from tests.crash.operations import OPERATIONS, Operation
from tests.helpers import assert_no_leftovers, key_of, tree


def main(name: str, mode: str, directory: str) -> None:
    operation = OPERATIONS[name]
    template = Path(directory) / "template"
    operation.prepare(template)
    number = 0
    while True:
        number += 1
        path = Path(directory) / "container"
        shutil.copytree(template, path)
        try:
            call = (
                _die(operation, mode, number, path)
                if mode in ("kill", "torn")
                else _fail(operation, mode, number, path)
            )
        except BaseException as error:
            error.add_note(f"at call {number} of {name!r}, mode {mode}")
            raise
        shutil.rmtree(path)
        if not call:
            break
    print(number - 1)


def _die(operation: Operation, mode: str, number: int, path: Path) -> str:
    """Run the operation in a child that dies at the n-th call; returns what of it was not reached, or ''."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with intercepted(Fault(mode, number)):
                operation.run(path, partial(_acknowledge, send))
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with open(receive, "rb") as acknowledged:
        keys = acknowledged.read().decode()
    _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert died or status == 0, "the operation failed of itself"
    _check_after(operation, path, {keys[at : at + 64] for at in range(0, len(keys), 64)})
    return "died" if died else ""


def _fail(operation: Operation, mode: str, number: int, path: Path) -> str:
    """Run the operation with an error, or a short write, at the n-th call."""
    before = _space(path)
    fault = Fault(mode if mode == "short" else int(mode), number)
    acknowledged: set[str] = set()
    failed = False
    try:
        with intercepted(fault):
            operation.run(path, acknowledged.add)
    except OSError as error:
        failed = True
        assert mode != "short", "a short write is not an error"
        assert os.strerror(abs(int(mode))) in str(error) or isinstance(error, RsdosError), f"not clear: {error!r}"
    if failed and fault.name in (*WRITES, *SYNCS, "open", "mkdir", "link") and not acknowledged:
        _check_space(operation, path, before)
    _check_after(operation, path, acknowledged if failed else set(operation.wanted))
    return fault.name


def _space(path: Path) -> dict[str, int]:
    return {name: length for name, length in tree(path).items() if not name.startswith("locks/")}


def _check_space(operation: Operation, path: Path, before: dict[str, int]) -> None:
    """The space came back; but for whole objects: what failed then is the last sync, behind their publication."""
    after = _space(path)
    fresh = {name for name in after.keys() - before.keys() if not name.startswith("loose/")}
    if not (path / "config.json").exists():
        return  # No container yet: the next attempt takes it for an empty directory.
    if any(name.startswith("index/manifest-") for name in fresh):
        if operation.gone:
            # A repack that has committed leaves the old pack to the next maintenance.
            Container(path).clean_storage()
        assert_no_leftovers(path)
    elif operation.before:
        assert not fresh, f"left behind: {fresh}"
        # Of what is to be deleted anyway, the loose files may be gone already.
        stay = {name for name in before if not (operation.gone and name.startswith("loose/"))}
        assert {name: before[name] for name in stay} == {name: after.get(name) for name in stay}, "not as before"


def _check_after(operation: Operation, path: Path, acknowledged: set[str]) -> None:
    if (path / "config.json").exists():
        _check_objects(path, {**operation.before}, acknowledged, operation.wanted)
    else:
        assert not operation.before
    # The same again works at the first attempt.
    operation.run(path, lambda key: None)
    _check_objects(path, dict(operation.wanted), set(), operation.wanted)
    assert not any(Container(path).has_many(operation.gone)), "what was deleted is there"
    # And nothing was lost for good.
    with Container(path) as container:
        container.pack_all_loose()
        last = container.insert_many([b"one more commit"])
    wanted = {**operation.wanted, last[0]: b"one more commit"}
    _check_objects(path, wanted, set(), wanted)
    assert_no_leftovers(path)


def _check_objects(path: Path, there: dict[str, bytes], acknowledged: set[str], known: Any) -> None:
    with Container(path) as container:
        assert acknowledged <= set(known)
        for key in {*there, *acknowledged}:
            assert container.extract(key) == known[key], "an acknowledged object is not there"
        keys = list(container)
        assert len(keys) == len(set(keys)) == len(container)
        for key, data in container.extract_many(keys):
            assert data is not None and key_of(data) == key


if __name__ == "__main__":
    main(*sys.argv[1:])


def _acknowledge(pipe: int, key: str) -> None:
    os.write(pipe, key.encode())

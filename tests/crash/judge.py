"""What is left of what was broken off, judged in a process of its own: a crash or a hang is a verdict, too."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.operation import Operation
from tests.crash.subject import Reader, Subject
from tests.data import key_of
from tests.patience import HANG

Verdicts = dict[str, str]
"""What is wrong, each kind with an example; empty when all is well."""


def in_child(work: Callable[[], dict[str, Any]], patience: int = HANG) -> dict[str, Any]:
    """Do something in a forked process and return what it returns, or that it hangs or has crashed."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(receive)
            signal.alarm(patience)
            with open(send, "w") as answer:
                json.dump(work(), answer)
            status = 0
        except BaseException:  # noqa: BLE001  the parent hears of it
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(send)
    with open(receive) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"hang" if number == signal.SIGALRM else "crash": signal.strsignal(number) or str(number)}
    return json.loads(text) if text else {"crash": f"exit status {os.waitstatus_to_exitcode(status)}"}


def judge(
    subject: Subject,
    operation: Operation,
    path: Path,
    acknowledged: set[str],
    *,
    finished: bool,
    allowed: tuple[type[BaseException], ...] = (),
) -> Verdicts:
    """Look at what an operation that was broken off has left, do it again, and look again.

    ``lost``: an acknowledged object is missing; ``unreadable``: it cannot be read; ``wrong``: other bytes are
    returned; ``again``: the same operation fails, the first time; ``stuck``: and the second; ``undead``: what was
    deleted is there; ``broken``: what has to hold at every moment does not; ``leftovers``: space is lost for good.
    ``allowed`` are errors of reading what was never promised, until it is done again.
    """
    verdicts: Verdicts = {}
    wanted = operation.wanted
    if subject.is_whole(path / operation.source):
        _look(subject, path / operation.source, operation.before, operation.before, verdicts, (), allowed)
    elif operation.before:
        verdicts["lost"] = "the whole container"
    if subject.is_whole(path / operation.target):
        promised = {*wanted} if finished else acknowledged
        gone = operation.gone if finished else ()
        _look(subject, path / operation.target, promised, wanted, verdicts, gone, allowed)
    elif acknowledged:
        verdicts["lost"] = "the whole container"
    try:
        operation.check(path)
    except Exception as error:  # noqa: BLE001
        verdicts["broken"] = _first(error)
    for verdict in ("again", "stuck"):
        try:
            operation.run(path, lambda key: None)
            break
        except BaseException as error:  # noqa: BLE001  of any store, even a panic of Rust
            verdicts[verdict] = _first(error)
    if "stuck" not in verdicts:
        _look(subject, path / operation.target, wanted, wanted, verdicts, operation.gone)
        if not verdicts:
            try:
                operation.check(path)
                (operation.settle or partial(subject.settle, operation))(path)
            except Exception as error:  # noqa: BLE001
                verdicts["leftovers"] = _first(error)
    return verdicts


def _look(
    subject: Subject,
    path: Path,
    promised: Iterable[str],
    known: Mapping[str, bytes],
    verdicts: Verdicts,
    gone: Iterable[str] = (),
    allowed: tuple[type[BaseException], ...] = (),
) -> None:
    try:
        with subject.look(path) as reader:
            for key in sorted(promised):
                _read(reader, key, known[key], verdicts)
            if allowed:
                _read_each(reader, verdicts, allowed)
            else:
                _read_all(reader, verdicts)
            for key in gone:
                if reader.read(key) is not None:
                    verdicts["undead"] = key
    except BaseException as error:  # noqa: BLE001
        verdicts.setdefault("unreadable", _first(error))


def _read(reader: Reader, key: str, wanted: bytes, verdicts: Verdicts) -> None:
    try:
        data = reader.read(key)
    except BaseException as error:  # noqa: BLE001
        verdicts.setdefault("unreadable", _first(error))
        return
    if data is None:
        verdicts.setdefault("lost", key)
    elif data != wanted:
        verdicts.setdefault("wrong", f"{key}: {len(data)} bytes for {len(wanted)}")


def _read_all(reader: Reader, verdicts: Verdicts) -> None:
    """What was never promised may be there, or not, but right."""
    keys = reader.keys()
    found = reader.read_many(keys)
    for key in keys:
        if key not in found:
            verdicts.setdefault("lost", f"{key} is listed")
        elif key_of(found[key]) != key:
            verdicts.setdefault("wrong", f"{key}: {len(found[key])} bytes")


def _read_each(reader: Reader, verdicts: Verdicts, allowed: tuple[type[BaseException], ...]) -> None:
    """The same, where some of it may be damaged."""
    keys = reader.keys()
    for key in keys:
        with suppress(*allowed):
            data = reader.read(key)
            if data is None:
                verdicts.setdefault("lost", f"{key} is listed")
            elif key_of(data) != key:
                verdicts.setdefault("wrong", f"{key}: {len(data)} bytes")


def _first(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text:.300} ({Path(where.filename).name}:{where.lineno})"

"""Forks a process for each command that a client brings: `python -m tests.warm.server SOCKET`."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

_AT_START = ("PYTHON", "LANG", "LC_")
"""How the names of variables begin that Python reads when it starts."""

_OF_IMPORTS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""Those that are only for imports, which are done."""


class _Command(NamedTuple):
    """What the process of a command takes over."""

    request: dict[str, Any]
    descriptors: list[int]


def _import_all() -> None:
    import rsdos

    for module in pkgutil.walk_packages(rsdos.__path__, "rsdos."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # Of an extra that is not installed.
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _serve(path: str) -> _Command:
    """Serve until standard input ends. Return in each process that is forked."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    ended, wakes = socket.socketpair()
    wakes.setblocking(False)
    ended.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakes.fileno())
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for source in (listener, ended, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        os.dup2(2, 1)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    shutil.rmtree(os.path.dirname(path))
                    os._exit(0)
                elif key.fileobj is ended:
                    ended.recv(1 << 10)
                    _tell_ends(running)
                else:
                    connection, _ = listener.accept()
                    command = _received(connection)
                    child = os.fork()
                    if not child:
                        break
                    running[child] = connection
                    for descriptor in command.descriptors:
                        os.close(descriptor)
            else:
                continue
            break
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for other in (listener, ended, wakes, connection, *running.values()):
        other.close()
    return command


def _received(connection: socket.socket) -> _Command:
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    return _Command(json.loads(connection.makefile().readline()), descriptors)


def _tell_ends(running: dict[int, socket.socket]) -> None:
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with running.pop(child) as connection, suppress(OSError):
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(command: _Command) -> None:
    """Take over what the client has. Start Python anew if its start would be another one."""
    request = command.request
    for number, descriptor in enumerate(command.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["directory"])
    environment = request["environment"]
    if _of_start(environment) != _of_start(dict(os.environ)):
        os.execve(sys.executable, [sys.executable, "-m", "rsdos", *request["arguments"]], environment)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["rsdos", *request["arguments"]]


def _end(code: object) -> NoReturn:
    """Do what Python does at its end, but for taking its modules apart: all pages of the server would be copied."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _of_start(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(_AT_START) and name not in _OF_IMPORTS
    }


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _import_all()
    _become(_serve(sys.argv[1]))
    from rsdos.cli.entry import main

    try:
        main()
    except SystemExit as end:
        _end(end.code)

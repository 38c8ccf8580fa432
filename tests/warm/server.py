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
    """What the process of a command takes over from the client: its standard streams, and the rest."""

    descriptors: list[int]
    request: dict[str, Any]


class _Server:
    """Accepts clients, and tells each the exit code of its command."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._ended, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._running: dict[int, socket.socket] = {}
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wakes.fileno())
        self._selector = selectors.DefaultSelector()
        for source, answer in ((self._listener, self._accept), (self._ended, self._tell_ends), (0, self._stop)):
            self._selector.register(source, selectors.EVENT_READ, answer)

    def serve(self) -> _Command:
        """Serve until standard input ends. Return only in the processes that are forked, each with its command."""
        while True:
            for key, _ in self._selector.select():
                command = key.data()
                if command is not None:
                    return command  # type: ignore[no-any-return]

    def _accept(self) -> _Command | None:
        connection, _ = self._listener.accept()
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        command = _Command(descriptors, json.loads(connection.makefile().readline()))
        child = os.fork()
        if child:
            self._running[child] = connection
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for ours in (self._listener, self._ended, self._wakes, connection, *self._running.values()):
            ours.close()
        return command

    def _tell_ends(self) -> None:
        self._ended.recv(1 << 10)
        while self._running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            with self._running.pop(child) as connection, suppress(OSError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))

    def _stop(self) -> NoReturn:
        shutil.rmtree(os.path.dirname(self._path))
        os._exit(0)


def _import_all() -> None:
    import rsdos

    for module in pkgutil.walk_packages(rsdos.__path__, "rsdos."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # Of an extra that is not installed.
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _become(command: _Command) -> None:
    """Take over what the client has. Start Python anew if its start would be another one."""
    for number, descriptor in enumerate(command.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    request = command.request
    os.chdir(request["directory"])
    environment = request["environment"]
    if _of_start(environment) != _of_start(dict(os.environ)):
        os.execve(sys.executable, [sys.executable, "-m", "rsdos", *request["arguments"]], environment)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["rsdos", *request["arguments"]]


def _of_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in environment if name.startswith(_AT_START) and name not in _OF_IMPORTS}


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


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _import_all()
    server = _Server(sys.argv[1])
    os.write(1, b"ready\n")
    os.dup2(2, 1)
    _become(server.serve())
    from rsdos.cli.entry import main

    try:
        main()
    except SystemExit as end:
        _end(end.code)

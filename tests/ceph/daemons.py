"""Daemons of a test: they die with the process that started them, and can be killed and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.patience import HANG

PAUSE = 0.05
"""Seconds between two questions whether a daemon is ready."""


class Failed(Exception):
    """A daemon or a command of a service ended with an error. The message has the end of its log."""


class Daemon:
    """One process in the foreground, whose output goes to a file. One thread starts it, and keeps running."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process. The kernel kills it when the thread that calls this ends."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )

    def kill(self) -> None:
        """Kill it (kill -9), and wait until it is gone. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Return when it is ready. Raise `Failed` when it ends before."""
        assert self._process is not None
        end = time.monotonic() + HANG
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{self._arguments[0]}: not ready, exit code {self._process.poll()}\n{tail(self._log)}")
            time.sleep(PAUSE)


def run(*arguments: str) -> str:
    """Run a command and return its output. Raise `Failed`."""
    done = subprocess.run(arguments, capture_output=True, text=True, env=clean_environment(), timeout=HANG)
    if done.returncode:
        raise Failed(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what is meant for the tests' own Python: Debian's programs have Debian's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def free_port() -> int:
    """Return a port of loopback that nothing listens on at the moment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def tail(path: Path, most: int = 3000) -> str:
    """Return the end of a log; "" for a missing one."""
    return path.read_text(errors="replace")[-most:] if path.exists() else ""

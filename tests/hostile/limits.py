"""A command in a process of its own, under the limits that no command on a stranger's container may need."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.helpers import ROOT, child_environment
from tests.patience import HANG

ADDRESS_SPACE = 700 << 20
SECONDS = 20
"""Of processor time."""


class Outcome(NamedTuple):
    """How a command ended; ``code`` is negative for the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def is_clear(self) -> bool:
        """Whether it worked, or said in a line what is wrong, within its limits."""
        return self.code in (0, 1, 2) and "Traceback" not in self.err and "MemoryError" not in self.err


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def rsdos(*arguments: str | Path, cwd: Path | None = None, **more: str) -> Outcome:
    """Run the command line under the limits; ``more`` is added to the environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RSDOS")} | more
    done = subprocess.run(
        [sys.executable, "-m", "rsdos", *map(str, arguments)],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        cwd=cwd,
        env={**environment, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=_limit,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def fuzz(name: str, *options: str | int) -> str:
    """Run a fuzzer as a program, and return what it prints. It fails the test with what the fuzzer found.

    Not in the process of the tests: that has more address space than a command may have, so that the stack of a forked
    command could not grow, and Python was killed or failed anywhere.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"tests.hostile.{name}", *map(str, options)],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**child_environment(), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def import_all() -> None:
    """Import beforehand what a child needs: that is most of what a command takes."""
    import importlib
    import pkgutil

    import rsdos

    for module in pkgutil.walk_packages(rsdos.__path__, "rsdos."):
        if not module.name.endswith("__main__") and not module.name.startswith("rsdos.integrations"):
            importlib.import_module(module.name)


def in_child(work: Callable[[], int]) -> int:
    """Do some work in a forked process; its exit code, 70 for an exception, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = work()
        except BaseException:  # noqa: BLE001  the parent goes on from here otherwise
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def run_limited(arguments: list[str], said: Path, out: Path = Path(os.devnull)) -> tuple[int, str]:
    """Run a command line in a forked process under the limits; its exit code, negative for a signal, and stderr.

    ``said`` and ``out`` are where standard error and standard output go. A command ``python`` is
    `tests.hostile.ways.read_in_python`.
    """

    def work() -> int:
        _limit()
        for target, path, flags in (
            (0, Path(os.devnull), os.O_RDWR),
            (1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(path, flags), target)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        signal.alarm(HANG)
        from rsdos.cli.main import _run
        from rsdos.cli.process import prepare_streams

        prepare_streams()
        if arguments[0] == "python":
            from tests.hostile.ways import read_in_python

            read_in_python(Path(arguments[1]))
            code = 0
        else:
            code = _run(arguments)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return code

    code = in_child(work)
    text = said.read_text(errors="replace") if said.exists() else ""
    return code, text + (f" (ended by signal {-code})" if code < 0 else "")

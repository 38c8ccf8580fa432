"""A command in a process of its own, under the limits that no command on a stranger's container may need."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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

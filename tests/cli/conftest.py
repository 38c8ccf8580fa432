"""The command line in a process of its own: see `tests.warm`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.warm import warm

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``rsdos`` in ``tmp_path``, and checks its exit code."""

    def rsdos(*arguments: str, code: int = 0, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "RSDOS_PATH"}
        done = subprocess.run(
            [*warm(), *arguments],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            env=environment,
            check=False,
        )
        text = subprocess.CompletedProcess(
            done.args, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr)
        )
        assert text.returncode == code, text.stderr
        assert "Traceback" not in text.stderr
        return text

    return rsdos

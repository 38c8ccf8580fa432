"""How workers are started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import ROOT, child_environment

_SCRIPT = """
import sys, tempfile, threading
import numpy
from rsdos import Container
from rsdos.engine.workers import WorkerProcesses

if sys.argv[1] == "two threads":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
with tempfile.TemporaryDirectory() as directory, Container.create(directory + "/container") as container:
    try:
        # What is made in a function cannot be sent to another interpreter: a fork has it.
        with WorkerProcesses(container.engine, 1, lambda engine, pipe: pipe.send("worked")) as workers:
            print("forked", workers.receive(workers.pipes[0]))
    except Exception as error:
        print("spawned", type(error).__name__)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the threads of a process")
@pytest.mark.parametrize(("threads", "started"), [("one thread", "forked worked"), ("two threads", "spawned")])
def test_a_process_of_one_thread_forks_its_workers_numpy_or_not(threads: str, started: str) -> None:
    environment = child_environment() | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _SCRIPT, threads]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith(started), done.stdout + done.stderr

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


_INTERRUPTED = """
import gc, os, signal, sys, tempfile
from rsdos import Container
from rsdos.engine.workers import WorkerProcesses

signal.signal(signal.SIGINT, signal.default_int_handler)  # A process in the background ignores it.
parent = os.getpid()
number = 0

def trace(frame, event, argument):
    # Raise a signal before the line of that number that runs while a worker starts.
    global number
    if os.getpid() != parent:
        return None
    if "multiprocessing" in frame.f_code.co_filename and event == "line":
        number -= 1
        if number == 0:
            signal.raise_signal(signal.SIGINT)
    return trace

def start(container):
    sys.settrace(trace)
    try:
        workers = WorkerProcesses(container.engine, 2, lambda engine, pipe: pipe.send("worked"))
        workers.__enter__()
    finally:
        sys.settrace(None)
    workers.__exit__(None, None, None)

with tempfile.TemporaryDirectory() as directory, Container.create(directory + "/container") as container:
    start(container)
    before = os.listdir("/proc/self/fd")
    interrupted, at = True, 0
    while interrupted:
        at, interrupted = at + 1, False
        number = at
        try:
            start(container)
        except KeyboardInterrupt:
            interrupted = True
        gc.collect()
        assert os.listdir("/proc/self/fd") == before, f"line {at}: {os.listdir('/proc/self/fd')}, before {before}"
        assert not os.path.exists("/proc/self/task") or not open(f"/proc/self/task/{parent}/children").read(), at
print("interrupted at", at - 1, "lines")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_anywhere_while_workers_start_leaves_no_pipe_and_no_process() -> None:
    environment = child_environment() | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[2]) > 20

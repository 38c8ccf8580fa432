"""Workers that are dead when this process answers them: the same error, whatever they worked on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from tests.data import noise
from tests.helpers import child_environment, run_python

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="where workers are no forks")

DIED = "a worker has died (Killed): fewer jobs take less memory"

DYING = """
import os, signal, sys
from multiprocessing.connection import Connection
from rsdos.cli.main import main
from rsdos.engine import workers

parent, answers = os.getpid(), int(sys.argv.pop(1))
real, left = Connection.recv, [answers]
def recv(pipe):
    # A worker has asked, and dies while it waits for the answer.
    if os.getpid() != parent:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    return real(pipe)
Connection.recv = recv
receive = workers.WorkerProcesses.receive
def receive_from_the_dead(team, pipe):
    message = receive(team, pipe)
    for process in team._processes.values():
        process.join()
    return message
workers.WorkerProcesses.receive = receive_from_the_dead
main()
"""
"""The command line, where workers take so many answers."""


@ONLY_LINUX
@pytest.mark.parametrize(
    ("command", "answers"),
    [
        ("add-files -r top --jobs 2", 0),
        ("save again top --rehash --jobs 2", 0),
        ("checkout flowers new --jobs 2", 0),
        ("validate --full --jobs 2", 1),
    ],
)
def test_a_worker_that_has_died_before_it_is_answered_is_an_error(tmp_path: Path, command: str, answers: int) -> None:
    (tmp_path / "top").mkdir()
    for number in range(300):
        (tmp_path / "top" / str(number)).write_bytes(b"%d" % number)
    with Container.create(tmp_path / "container") as container:
        container.snapshots.save("flowers", tmp_path / "top")
        container.insert_many([noise(3_000_000, 1), noise(3_000_000, 2)])
    environment = child_environment() | {"OPENBLAS_NUM_THREADS": "1"}
    call = [sys.executable, "-c", DYING, str(answers), *command.split()]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"rsdos: error: {DIED}\n",
    )
    again = [sys.executable, "-m", "rsdos", *command.split()]
    done = subprocess.run(again, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr


CONVERSATION = """
import os, signal, struct, sys, tempfile
from rsdos import Container, WorkerDied
from rsdos.engine.workers import WorkerProcesses

def half(engine, pipe):
    os.write(pipe.fileno(), struct.pack("!i", 1000) + b"a part")
    os.kill(os.getpid(), signal.SIGKILL)
def fail(engine, pipe):
    raise OSError(28, "No space left on device")
with tempfile.TemporaryDirectory() as directory, Container.create(directory + "/container") as container:
    with WorkerProcesses(container.engine, 1, globals()[sys.argv[1]]) as workers:
        workers._processes[workers.pipes[0]].join()
        try:
            if sys.argv[1] == "half":
                workers.receive(workers.pipes[0])
            else:
                workers.send(workers.pipes[0], "work")
        except OSError as error:
            print(f"{type(error).__name__}: {error}")
"""


@ONLY_LINUX
@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("half", f"WorkerDied: {DIED}"),
        ("fail", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_an_end_in_the_middle_of_a_message_or_before_the_answer_is_told(end: str, told: str) -> None:
    assert run_python(CONVERSATION, end) == f"{told}\n"

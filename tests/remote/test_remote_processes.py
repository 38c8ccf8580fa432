"""Several processes on one container of version 3 in a directory: no lock keeps them apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rsdos import Container
from tests.helpers import ROOT
from tests.patience import HANG
from tests.remote.test_remote_container import directory, ids_are_unique, is_whole

_CHILD = """
import sys
from pathlib import Path
from rsdos import Container
from tests.data import key_of, noise
from tests.remote.test_remote_container import directory

container = Container(directory(Path(sys.argv[1])))
for number in range(int(sys.argv[3])):
    data = f"{sys.argv[2]} {number}".encode()
    (key,) = container.insert_many([data])
    (same,) = container.insert_many([f"shared {number}".encode()])
    if number % 3 == 0:
        container.delete([key])
        print("deleted", key, flush=True)
    else:
        print("stored", key, flush=True)
    print("stored", same, flush=True)
"""


def child(root: Path, name: str, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CHILD, str(root), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def judge(root: Path, said: str) -> None:
    container = Container(directory(root))
    lines = [line.split() for line in said.splitlines() if len(line.split()) == 2]
    stored = [key for word, key in lines if word == "stored"]
    assert all(container.has_many(stored))
    assert not any(container.has_many(key for word, key in lines if word == "deleted"))
    assert is_whole(container) and ids_are_unique(container)


def test_processes_store_and_delete_at_once(tmp_path: Path) -> None:
    Container.create(directory(tmp_path))
    children = [child(tmp_path, f"{number}", 6) for number in range(4)]
    said = "".join(process.communicate(timeout=HANG)[0] for process in children)
    assert [process.returncode for process in children] == [0] * 4
    assert said.count("\n") == 48
    judge(tmp_path, said)


def test_a_process_that_is_killed_loses_nothing_that_it_has_acknowledged(tmp_path: Path) -> None:
    Container.create(directory(tmp_path))
    dying, living = child(tmp_path, "dying", 1000), child(tmp_path, "living", 4)
    assert dying.stdout is not None
    said = "".join(dying.stdout.readline() for _ in range(5))
    os.kill(dying.pid, signal.SIGKILL)
    # What it wrote before the signal came.
    said += dying.communicate(timeout=HANG)[0]
    said += living.communicate(timeout=HANG)[0]
    assert living.returncode == 0
    judge(tmp_path, said)

"""Running cases in child processes, and watching the memory that they take."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.sides import side_class
from benchmarks.states import State, copy_state, keys_file

ROOT = Path(__file__).resolve().parent.parent
_LOOK_SECONDS = 0.01
_TMPFS = Path("/dev/shm")
_MANY_FILES = 100

_LENDERS = {"ours-v1": "dos"}
"""Whose container a side that lives on another's takes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a case.

    ``memory`` is the most anonymous memory above what was there before. ``length`` bytes in ``files`` files are what
    the container has on disk afterwards, and the ``longest`` of them.
    """

    count: int
    seconds: float
    cpu: float
    memory: int
    length: int
    files: int
    longest: int

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.count / self.seconds


class Failed(Exception):
    """A side could not do it; what it printed says why."""


class Bench:
    """A working directory with data and states, and the interpreters of the sides."""

    def __init__(self, work: Path, data: Data, peers: Path) -> None:
        self._work = work
        self._data = data
        self._peers = peers

    def sample(self, case: Case, side: str) -> Sample:
        """Run a case once."""
        source = self._state(case.state, side)
        path = source
        place = (_TMPFS if case.on_tmpfs else self._work) / f"rsdos-bench-{os.getpid()}"
        if case.changes:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            path = place / "container"
            copy_state(source, path)
        os.sync()  # What was written before is not to be written out while somebody else is measured.
        warm_memory(self._data.level.stream // 2)
        try:
            answer, memory = self._run(case, side, path)
            sizes = file_sizes(path)
            if case.changes and not case.on_tmpfs and len(sizes) > _MANY_FILES:
                self._set_aside(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return Sample(answer["count"], answer["seconds"], answer["cpu"], memory, sum(sizes), len(sizes), max(sizes))

    def _set_aside(self, place: Path) -> None:
        """Keep a container of many files until the end.

        ext4 without a journal does not take the inode of a file that was deleted in the last minute: it looks for
        another, and to make a file takes 43 to 420 us, as chance and the one who was measured before have it.
        """
        aside = self._work / "done"
        aside.mkdir(parents=True, exist_ok=True)
        place.rename(aside / str(len(os.listdir(aside))))

    def _state(self, state: State, side: str) -> Path:
        if state.borrowed:
            side = _LENDERS.get(side, side)
        path = self._work / "states" / f"{side}-{state.name}"
        if not keys_file(path).exists():
            shutil.rmtree(path, ignore_errors=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._call(self._task(side, path, durable=False, state=state.name), side).communicate()
            if not keys_file(path).exists():
                raise Failed(f"{side} could not make the state {state.name}")
        return path

    def _task(self, side: str, path: Path, durable: bool, **more: str) -> dict[str, Any]:
        level = self._data.level.name
        base = {"side": side, "path": str(path), "durable": durable, "data": str(self._data.root), "level": level}
        return {"case": None, **base, **more}

    def _call(self, task: dict[str, Any], side: str) -> subprocess.Popen[str]:
        command, environment = self.command(task, side), environment_of(side)
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    def command(self, task: dict[str, Any], side: str) -> tuple[str, ...]:
        """The program that does what ``task`` says."""
        return python_of(side, self._peers), "-m", "benchmarks.child", json.dumps(task)

    def _run(self, case: Case, side: str, path: Path) -> tuple[dict[str, Any], int]:
        child = self._call(self._task(side, path, case.durable, case=case.name), side)
        looks = []
        while child.poll() is None:
            looks.append((time.monotonic(), _anonymous_of_tree(child.pid)))
            time.sleep(_LOOK_SECONDS)
        text = child.stdout.read() if child.stdout else ""
        child.communicate()
        if child.returncode:
            raise Failed(f"{side} failed in {case.name}: exit code {child.returncode}")
        answer: dict[str, Any] = json.loads(text.splitlines()[-1])
        during = [memory for at, memory in looks if answer["begun"] <= at <= answer["ended"]]
        return answer, max(0, max(during, default=0) - answer["idle"])


def python_of(side: str, peers: Path) -> str:
    """The interpreter of a side."""
    return str(peers / "bin" / "python") if side_class(side).peers else sys.executable


def environment_of(side: str) -> dict[str, str]:
    """The environment of the process that measures a side."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RSDOS", "DOSTORE"))}
    # The sources of this rsdos only for itself: a peer has the same name.
    sources = [] if side_class(side).peers else [str(ROOT / "src")]
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # Starts are measured as users have them.
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sources])
    return environment


def warm_memory(length: int) -> None:
    """Have the system touch the memory that the next sample may take.

    A virtual machine gives what is free for some seconds back to its host and pays when it takes it again:
    1.5 GiB take 3.4 s then, and 0.14 the next time. What of it comes too late is left to the median.
    """
    with mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        memory[:: mmap.PAGESIZE] = bytes(length // mmap.PAGESIZE)


def _anonymous_of_tree(pid: int) -> int:
    """Bytes of anonymous memory of a process and its children, as far as they can be seen."""
    total = 0
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            total = sum(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            total += sum(_anonymous_of_tree(int(child)) for child in file.read().split())
    except (OSError, ValueError):
        pass
    return total


def file_sizes(path: Path) -> list[int]:
    """The lengths of the files below a directory."""
    return [(Path(where) / name).lstat().st_size for where, _, names in os.walk(path) for name in names]

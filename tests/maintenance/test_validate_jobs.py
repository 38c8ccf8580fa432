"""Validate in several processes: the same report as in one, whatever happens to them.

Most are programs of their own, because a process that has threads or numpy starts its workers in another way.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption, Place
from rsdos.maintenance.check import validate
from rsdos.maintenance.check.validate import ValidateOptions, ValidateReport
from rsdos.model import FRAME_SIZE
from rsdos.stores.findings import Depth
from tests.data import key_of, noise, text
from tests.helpers import child_environment, flip

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="where workers are no forks")
DATA = [noise(3000, seed) for seed in range(60)]
LARGE = noise(FRAME_SIZE + 9)
LOOSE = [text(100 + seed) for seed in range(40)]


def filled(path: Path, version: int) -> Container:
    """Many packs, most of them with many batches, and loose objects."""
    container = Container.create(path, container_version=version, pack_size_target=60_000)
    for at in range(0, len(DATA), 3):
        container.insert_many(DATA[at : at + 3])
    container.insert_many([LARGE])
    container.insert_many(LOOSE, to=Place.LOOSE)
    container.delete(map(key_of, DATA[::7]))
    return container


def damage(container: Container) -> None:
    """Flip a byte of packed and loose objects, cut the last pack, and remove another."""
    places = {}
    for data in (DATA[1], DATA[2], DATA[20], DATA[33], LARGE):
        extent = container.meta(key_of(data)).extent
        assert extent is not None
        places[container.engine.layout.pack(extent.pack_id), extent.offset] = extent.length
    for (path, offset), length in places.items():
        flip(Path(path), offset + length // 2)
    for data in (LOOSE[3], LOOSE[30]):
        flip(Path(container.engine.layout.loose_file(key_of(data))), 5)
    packs = sorted((container.path / ("packs" if (container.path / "packs").exists() else "packed")).iterdir())
    os.truncate(packs[-2], packs[-2].stat().st_size - 3000)
    packs[2].unlink()
    container.close()


def run(path: Path, options: ValidateOptions) -> ValidateReport:
    engine = Container(path).engine
    report = validate.execute(engine, validate.plan(engine, options))
    return replace(report, seconds=0.0)


PROGRAM = """
import os, sys
from dataclasses import replace
from rsdos import Container
{before}
def main():
    container = Container("store")
    report = container.validate("{depth}", jobs={jobs})
    assert not report.shortage
    print(replace(report, seconds=0.0))
if __name__ == "__main__":
    main()
"""


def run_program(tmp_path: Path, program: str) -> str:
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-W", "error", "program.py"]
    environment = child_environment()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("depth", list(Depth))
def test_several_processes_find_the_same_in_the_same_order(version: int, depth: Depth, tmp_path: Path) -> None:
    damage(filled(tmp_path / "store", version))
    expected = run(tmp_path / "store", ValidateOptions(depth))
    assert len(expected.damaged) > 5 or depth is Depth.QUICK
    assert expected.damaged or expected.files
    for before in ("", "import numpy"):
        program = PROGRAM.format(before=before, depth=depth.value, jobs=3)
        assert run_program(tmp_path, program) == f"{expected}\n"


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_several_processes_is_spread_over_many(version: int, tmp_path: Path) -> None:
    damage(filled(tmp_path / "store", version))
    expected = run(tmp_path / "store", ValidateOptions(Depth.FULL))
    options = ValidateOptions(Depth.FULL, resume=True, seconds=0, jobs=2)
    runs: list[ValidateReport] = []
    while not runs or not runs[-1].is_finished:
        runs.append(run(tmp_path / "store", options if len(runs) < 3 else replace(options, seconds=None)))
    assert len(runs) == 4
    assert [report.objects for report in runs] == sorted({report.objects for report in runs})
    assert set(runs[-1].damaged) == set(expected.damaged)
    assert set(runs[-1].files) == set(expected.files)


BROKEN_OFF = """
import gc, os
from pathlib import Path
from rsdos import Container
container = Container("store")
container.close()
gc.collect()
before = os.listdir("/dev/fd")
class Interrupting:
    def start(self, description, total, unit):
        self.description = description
    def advance(self, amount):
        if "packs" in self.description and amount:
            raise KeyboardInterrupt
    def finish(self):
        pass
try:
    container.validate("full", jobs=2, progress=Interrupting())
except KeyboardInterrupt:
    print("interrupted")
container.close()
gc.collect()
assert os.listdir("/dev/fd") == before, (os.listdir("/dev/fd"), before)
assert Path("/proc/thread-self/children").read_text() == "", "a worker is left"
report = container.validate("full", resume=True)
print(report.objects >= len(container), report.is_good)
"""


@ON_LINUX
def test_a_validation_that_is_broken_off_leaves_no_worker_and_no_descriptor(tmp_path: Path) -> None:
    filled(tmp_path / "store", 2)
    assert run_program(tmp_path, BROKEN_OFF) == "interrupted\nTrue True\n"


KILLED = """
import os, signal
from rsdos import Container, WorkerDied
from rsdos.maintenance.check import team

def die(engine, pipe, depth, share):
    pipe.recv()
    pipe.send("more")
    pipe.recv()
    os.kill(os.getpid(), signal.SIGKILL)
team._serve = die
try:
    Container("store").validate(jobs=2)
except WorkerDied as error:
    print(error)
"""


@ON_LINUX
def test_a_worker_that_is_killed_is_an_error(tmp_path: Path) -> None:
    filled(tmp_path / "store", 2)
    assert run_program(tmp_path, KILLED) == "a worker has died (Killed): fewer jobs take less memory\n"


LEFT_BEHIND = """
import os
from rsdos import Container
from rsdos.index.index import Index

parent, real = os.getpid(), Index.open
def open_(self, manifest):
    if os.getpid() != parent:
        raise FileNotFoundError("a segment that was merged")
    return real(self, manifest)
Index.open = open_
report = Container("store").validate("full", jobs=2)
print(report.objects, report.is_good)
"""


@ON_LINUX
def test_what_no_worker_can_open_any_more_is_checked_all_the_same(tmp_path: Path) -> None:
    container = filled(tmp_path / "store", 2)
    assert run_program(tmp_path, LEFT_BEHIND) == f"{len(container)} True\n"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("depth", list(Depth))
def test_the_progress_of_the_packs_ends_at_their_bytes(version: int, depth: Depth, tmp_path: Path) -> None:
    class Counting:
        def __init__(self) -> None:
            self.steps: dict[str, tuple[int | None, int]] = {}

        def start(self, description: str, total: int | None, unit: str) -> None:
            self.current = description
            self.steps[description] = total, 0

        def advance(self, amount: int) -> None:
            total, done = self.steps[self.current]
            self.steps[self.current] = total, done + amount

        def finish(self) -> None: ...

    container = filled(tmp_path / "store", version)
    progress = Counting()
    assert container.validate(depth.value, progress=progress).is_good
    length, done = progress.steps["Checking packs"]
    assert length
    # Of version 1 what follows the last object of a pack is in no row.
    assert done == length or (version == 1 and 0 < done <= length)


def test_at_least_one_process_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="jobs is 1 or more, or an executor, not 0"):
        filled(tmp_path / "store", 2).validate(jobs=0)

"""Directories that are kept: rsdos beside restic, borg, git, git-annex and DVC: ``python -m benchmarks.datasets``.

Every side does the same with the same files, one command after another: a first save, status and save of what has not
changed, a save of ten changes, all files back, a list, a diff. Processor time, wall time and memory are those of the
commands with all their processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.datasets_data import Edit, make_files
from benchmarks.datasets_sides import DATASET_SIDES, Command, DatasetSide
from benchmarks.measure import ROOT, file_sizes
from benchmarks.results import describe_machine

LEVELS_OF_DATASETS = {"small": (5_000,), "full": (20_000, 100_000), "million": (20_000, 100_000, 1_000_000)}
"""Numbers of files. ``small`` takes two minutes, ``full`` fifteen, ``million`` another fifteen."""

OF_A_MILLION = ("rsdos", "floors", "restic")
"""The sides that take a million files: the others make a million files of them."""

_MANY = 1_000_000
_MINUTE = 65

_TICK = 2.5
"""Seconds from a change to the next command: so long no program can be sure that a file is as it was read."""


@dataclass(frozen=True, slots=True)
class DatasetSample:
    """One measurement. ``cpu`` has the time in the system, ``user`` has not.

    ``length`` bytes in ``stored`` files are what the store has on disk afterwards, ``written`` how much more than
    before; -1 where that was not asked. ``memory`` is the most of one process. ``is_stopped``: it took longer than the
    side may take.
    """

    files: int
    side: str
    step: str
    seconds: float
    cpu: float
    user: float
    memory: int
    length: int = -1
    stored: int = -1
    written: int = -1
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class DatasetFigures:
    """What calls of Python take on the container of one number of files."""

    files: int
    diff_ms: float
    listing_ms: float
    entry_us: float
    tree_bytes: float
    """Bytes on disk of pages and their index, for each entry."""
    mark_seconds: float
    """Processor time to read all keys that the versions reach."""


@dataclass(frozen=True, slots=True)
class DatasetResults:
    """All samples of one run, the versions of the programs, and why some did not take part."""

    level: str
    machine: dict[str, str]
    samples: list[DatasetSample]
    missing: dict[str, str]
    """The sides that did not take part, and why."""
    figures: list[DatasetFigures]

    def of(self, files: int, side: str, step: str) -> list[DatasetSample]:
        """The samples of one step of a side; none if it was not measured."""
        wanted = (files, side, step)
        return [sample for sample in self.samples if (sample.files, sample.side, sample.step) == wanted]


def read_datasets(path: Path) -> DatasetResults:
    """What a run has written."""
    stored = json.loads(path.read_text())
    samples = [DatasetSample(**sample) for sample in stored["samples"]]
    figures = [DatasetFigures(**figure) for figure in stored["figures"]]
    return DatasetResults(stored["level"], stored["machine"], samples, stored["missing"], figures)


class _Refused(Exception):
    """A command failed; what it printed says why."""


class _Stopped(Exception):
    """A command took longer than the side may take."""


def main() -> None:
    """Run what is asked for; print as it goes."""
    options = _options()
    work: Path = options.work.resolve()
    faults = {side: DATASET_SIDES[side].fault() for side in options.sides or DATASET_SIDES}
    results = DatasetResults(options.level, describe_machine(ROOT), [], {}, [])
    for side, fault in faults.items():
        if fault:
            print(f"{DATASET_SIDES[side].title} does not take part: {fault}", file=sys.stderr)
            results.missing[side] = fault
    for count in LEVELS_OF_DATASETS[options.level]:
        data = work / "data" / f"files-{count}"
        data.parent.mkdir(parents=True, exist_ok=True)
        print(f"making {count:,} files", file=sys.stderr)
        if count >= _MANY:
            shutil.rmtree(work / "done", ignore_errors=True)
        make_files(data, count)
        for name in (side for side, fault in faults.items() if not fault):
            if count <= DATASET_SIDES[name].most and (count < _MANY or name in OF_A_MILLION):
                for _ in range(options.rounds if count < _MANY else 1):
                    _run_side(name, count, data, work, results)
                if options.json:
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    shutil.rmtree(work / "done", ignore_errors=True)
    from benchmarks.datasets_report import datasets_section  # which needs this module

    print("\n".join(datasets_section(results)))


def _run_side(name: str, count: int, data: Path, work: Path, results: DatasetResults) -> None:
    place = work / f"datasets-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "home").mkdir(parents=True)
    kind = DATASET_SIDES[name]
    source = data
    if kind.own_source:
        source = place / "source" / "data"
        shutil.copytree(data, source, copy_function=shutil.copy2)
        time.sleep(_TICK)
    _read_all(source)
    side = kind(place, source)
    run = _SideRun(name, count, side)
    try:
        for sample in run.steps():
            results.samples.append(sample)
            _tell(sample)
        if name == "rsdos":
            results.figures.append(_figures(side, count))
            print(results.figures[-1], flush=True)
    except _Refused as error:
        print(f"{kind.title} failed: {error}", file=sys.stderr)
    finally:
        _set_aside(place, work, count)


def _set_aside(place: Path, work: Path, count: int) -> None:
    """Keep what a side has made until the end, as `benchmarks.measure` does.

    ext4 does not take the inode of a file that was deleted in the last minute, and looks for another: files that are
    made then take up to ten times as long. For a million files there is no room: the minute is waited.
    """
    if count < _MANY:
        aside = work / "done"
        aside.mkdir(parents=True, exist_ok=True)
        place.rename(aside / str(len(os.listdir(aside))))
        return
    shutil.rmtree(place, ignore_errors=True)
    os.sync()
    time.sleep(_MINUTE)


def _read_all(source: Path) -> None:
    """Have all files in the page cache, for every side alike."""
    subprocess.run(("tar", "-C", source, "-cf", "-", "."), stdout=subprocess.DEVNULL, check=True)
    os.sync()


class _SideRun:
    """One side, from an empty store to the end."""

    def __init__(self, name: str, count: int, side: DatasetSide) -> None:
        self._name = name
        self._count = count
        self._side = side
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("RSDOS", "GIT_", "PYTHON"))
        } | side.environment()

    def steps(self) -> Iterator[DatasetSample]:
        """Yield the samples."""
        side = self._side
        commands = defaultdict(tuple, side.commands())
        for command in commands["prepare"]:
            self._call(command)
        yield from self._step("first", commands["first"], with_sizes=True)
        yield from self._step("status", commands["status"])
        yield from self._step("unchanged", commands["again"], with_sizes=True)
        side.clear()
        yield from self._step("restore", commands["restore"])
        yield from self._step("list", commands["listing"])
        if commands["again"]:
            with Edit(side.source, self._count):
                time.sleep(_TICK)
                yield from self._step("status-10", commands["status"])
                yield from self._step("save-10", commands["again"], with_sizes=True)
                yield from self._step("diff", commands["diff"])

    def _step(self, step: str, commands: Sequence[Command], *, with_sizes: bool = False) -> Iterator[DatasetSample]:
        if not commands:
            return
        before = sum(self._sizes()) if with_sizes else 0
        os.sync()
        begun = time.perf_counter()
        usage: list[_Usage] = []
        is_stopped = False
        try:
            for command in commands:
                usage.append(self._call(command))
        except _Stopped:
            is_stopped = True
        seconds = time.perf_counter() - begun
        length, stored, written = -1, -1, -1
        if with_sizes and not is_stopped:
            sizes = self._sizes()
            length, stored, written = sum(sizes), len(sizes), sum(sizes) - before
        yield DatasetSample(
            self._count,
            self._name,
            step,
            seconds,
            sum(one.cpu for one in usage),
            sum(one.user for one in usage),
            max((one.memory for one in usage), default=0),
            length,
            stored,
            written,
            is_stopped,
        )
        if is_stopped:
            raise _Refused(f"{step} was stopped after {self._side.longest} seconds")

    def _sizes(self) -> list[int]:
        """The lengths of the files of the store; of one that is inside of the directory, of all but its files."""
        side = self._side
        if not side.own_source:
            return file_sizes(side.store)
        hidden = [*side.source.glob(".git"), *side.source.parent.glob(".dvc")]
        return [size for path in hidden for size in file_sizes(path)]

    def _call(self, command: Command) -> _Usage:
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            timer = threading.Timer(self._side.longest, os.killpg, (child.pid, signal.SIGKILL))
            timer.start()
            _, status, usage = os.wait4(child.pid, 0)
            is_late = not timer.is_alive()
            timer.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
            if is_late:
                raise _Stopped
            if child.returncode:
                output.seek(0)
                said = output.read().decode(errors="replace")[-300:].strip()
                raise _Refused(f"{' '.join(command[:6])}: exit code {child.returncode}: {said}")
        return _Usage(usage.ru_utime, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


@dataclass(frozen=True, slots=True)
class _Usage:
    user: float
    cpu: float
    memory: int


def _figures(side: DatasetSide, count: int) -> DatasetFigures:
    """Measure what takes less than the start of a process, in one process."""
    command = (sys.executable, "-m", "benchmarks.datasets_calls", str(side.store), str(count))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise _Refused("the calls of Python failed")
    return DatasetFigures(**json.loads(done.stdout.splitlines()[-1]))


def _tell(sample: DatasetSample) -> None:
    stored = f"  {sample.length / 1e6:8.1f} MB in {sample.stored} files" if sample.stored >= 0 else ""
    stopped = "  STOPPED" if sample.is_stopped else ""
    print(
        f"{sample.files:>9,} {sample.side:11} {sample.step:10} {sample.seconds:7.2f} s  cpu {sample.cpu:7.2f}"
        f" ({sample.user:6.2f})  {sample.memory / 1e6:6.0f} MB{stored}{stopped}",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.datasets", description=__doc__)
    parser.add_argument("--level", choices=LEVELS_OF_DATASETS, default="small", help="How many files.")
    parser.add_argument(
        "--sides", action="append", default=[], choices=DATASET_SIDES, help="Only this side; may be repeated."
    )
    parser.add_argument("--rounds", type=int, default=1, help="How often; the page shows medians.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where data and stores are.")
    parser.add_argument("--json", type=Path, help="Write all samples to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()

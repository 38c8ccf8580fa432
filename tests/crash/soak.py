"""A long mixed run: processes that do everything at once, and are killed at random, beside an oracle of what they did.

`python -m tests.crash.soak --minutes 10`. Each process writes, before and behind each call, a line to a log of its
own: what is acknowledged there and not deleted must be right at the end, and what a process has just been told must
be right at once. Exit code 1 and the reasons when anything was lost, wrong or stuck.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from rsdos import Busy, CompressMode, Container, ObjectNotFound, Place
from rsdos.maintenance import optimize
from tests.crash.soak_snapshots import SnapshotSteps, Versions, all_versions, read_version, wrong_versions
from tests.data import key_of, noise, text
from tests.patience import HANG

PROCESSES = 8
PACK_SIZE = 300_000
"""Bytes: many small packs, so that there is always one to seal, to repack and to unlink."""

BACKUPS = "backups"
"""Where all of them back the container up to, in turn."""

_RECENT = 400
"""Of the keys in its logs a process knows the last ones, its own and the others'."""


class Log:
    """What one process did, a JSON line each; and what the others wrote, as far as it has been read."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._file = open(directory / f"{name}.log", "a", buffering=1)
        self._read: dict[str, int] = {}

    def write(self, event: str, keys: list[str]) -> None:
        """One line, whole: it is in the kernel's hands when this returns, and survives a kill."""
        self._file.write(json.dumps([event, keys]) + "\n")

    def news(self) -> Iterator[tuple[str, list[str]]]:
        """What all processes have logged since the last call."""
        for path in sorted(self._directory.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._read[path.name] = self._read.get(path.name, 0) + len(whole)
            for line in whole.splitlines():
                event, keys = json.loads(line)
                yield event, keys


class Worker:
    """One process: it inserts, reads, deletes and tidies up in turn, as chance has it."""

    def __init__(self, path: Path, logs: Path, name: str, seed: int) -> None:
        self._path = path
        self._random = random.Random(seed)
        self._log = Log(logs, name)
        self._container = Container(path)
        self._acknowledged: dict[str, None] = {}
        self._touched: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._name = name
        directory = path.parent / "directories" / name
        directory.mkdir(parents=True)
        self._snapshots = SnapshotSteps(
            lambda: self._container, directory, self._log, self._listen, self._random, self._counts
        )

    def run(self, until: float) -> None:
        """Until it is late, or it is killed."""
        weighted: list[tuple[Callable[[], None], int]] = [
            (self._insert_loose, 20),
            (self._insert_packed, 20),
            (self._insert_stream, 4),
            (self._read, 30),
            (self._read_many, 10),
            (self._read_range, 10),
            (self._delete, 6),
            (self._pack, 4),
            (self._clean, 2),
            (self._repack, 3),
            (self._optimize, 1),
            (self._back_up, 2),
            (self._reopen, 4),
        ]
        if self._container.engine.config.version > 1:
            weighted += self._snapshots.steps()
        steps, weights = zip(*weighted, strict=True)
        while time.time() < until:
            (step,) = self._random.choices(steps, weights)
            try:
                step()
            except Busy:
                self._counts["busy"] += 1
            self._counts[step.__name__.strip("_")] += 1
            if self._random.random() < 0.05:
                self._log.write("counts", [f"{name} {count}" for name, count in self._counts.items()])
                self._counts.clear()

    # Inserting. Data is told by a seed, so that nobody has to keep it.

    def _data(self) -> bytes:
        size = self._random.choice((10, 100, 1000, 1000, 5000, 20_000))
        make = self._random.choice((noise, text))
        return b"%d " % self._random.randrange(1 << 62) + make(size, self._random.randrange(1 << 30))

    def _insert(self, sources: list[bytes], insert: Callable[[], list[str]]) -> None:
        keys = [key_of(data) for data in sources]
        self._log.write("begin", keys)
        found = insert()
        if found != keys:
            raise AssertionError(f"keys {found} for {keys}")
        self._log.write("stored", keys)

    def _insert_loose(self) -> None:
        data = self._data()
        self._insert([data], lambda: [self._container.insert(data)])

    def _insert_packed(self) -> None:
        many = [self._data() for _ in range(self._random.choice((1, 5, 40)))]
        mode = self._random.choice((CompressMode.AUTO, CompressMode.NO, CompressMode.YES))
        self._insert(many, lambda: self._container.insert_many(many, compress=mode))

    def _insert_stream(self) -> None:
        data = self._data() + text(self._random.choice((1 << 20, 3 << 20)))
        place = self._random.choice(list(Place))
        self._insert([data], lambda: [self._container.insert(io.BytesIO(data), to=place)])

    # Reading.

    def _listen(self) -> None:
        """Read what all processes have logged since the last time."""
        for event, keys in self._log.news():
            if event == "stored":
                self._acknowledged |= dict.fromkeys(keys)
            elif event == "delete":
                self._touched.update(keys)
            else:
                self._snapshots.versions.hear(event, keys)

    def _some(self, most: int) -> list[str]:
        """Keys that were acknowledged, by anybody, and that nobody had begun to delete at the time of the look."""
        self._listen()
        # The logs are read one after another: a key may be met deleted before it is met stored.
        for key in self._touched & self._acknowledged.keys():
            del self._acknowledged[key]
        for key in list(self._acknowledged)[: -_RECENT or None]:
            del self._acknowledged[key]
        known = list(self._acknowledged)
        return self._random.sample(known, min(most, len(known)))

    def _check(self, key: str, data: bytes | None) -> None:
        if data is None:
            self._some(0)
            if key in self._acknowledged:
                raise AssertionError(f"{key} is acknowledged and was not found")
        elif key_of(data) != key:
            raise AssertionError(f"{key}: {len(data)} wrong bytes")
        self._counts["objects read"] += 1

    def _read(self) -> None:
        for key in self._some(5):
            try:
                self._check(key, self._container.extract(key))
            except ObjectNotFound:
                self._check(key, None)

    def _read_many(self) -> None:
        wanted = self._some(100)
        for key, data in self._container.extract_many(wanted, missing="none"):
            self._check(key, data)

    def _read_range(self) -> None:
        for key in self._some(3):
            try:
                with self._container.open(key) as stream:
                    middle = self._random.randrange(2000)
                    stream.seek(middle)
                    behind = stream.read()
                    stream.seek(0)
                    self._check(key, stream.read(middle) + behind)
            except ObjectNotFound:
                self._check(key, None)

    # Maintenance.

    def _delete(self) -> None:
        keys = self._some(self._random.choice((1, 10)))
        self._log.write("delete", keys)
        self._container.delete(keys)
        self._log.write("deleted", keys)

    def _pack(self) -> None:
        self._container.pack_all_loose()

    def _clean(self) -> None:
        self._container.clean_storage()

    def _repack(self) -> None:
        self._container.repack(min_dead=self._random.choice((0.0, 0.2)))

    def _optimize(self) -> None:
        engine = self._container.engine
        optimize.execute(engine, optimize.plan(engine, optimize.OptimizeOptions(seconds=5)))

    def _back_up(self) -> None:
        wanted = self._some(100)
        # The others make some more before this one has been looked at.
        report = self._container.backup(self._path.parent / BACKUPS, keep=PROCESSES)
        with Container(report.generation) as copy:
            for key, data in copy.extract_many(wanted, missing="none"):
                self._check(key, data)

    def _reopen(self) -> None:
        self._container.close()
        if self._random.random() < 0.5:
            self._container = Container(self._path)


def _work(path: Path, logs: Path, name: str, seed: int, until: float) -> int:
    """What a child process does; its last words are in a file."""
    logging.disable(logging.CRITICAL)
    try:
        Worker(path, logs, name, seed).run(until)
    except BaseException:  # noqa: BLE001
        (logs / f"{name}.failed").write_text(traceback.format_exc())
        return 1
    return 0


class Soak:
    """The processes, and who kills them."""

    def __init__(self, directory: Path, version: int, seed: int) -> None:
        self._path = directory / "container"
        self._logs = directory / "logs"
        self._logs.mkdir()
        Container.create(self._path, container_version=version, pack_size_target=PACK_SIZE).close()
        self._random = random.Random(seed)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0
        self.kills = self.versions = 0

    def _start(self, until: float) -> None:
        self._started += 1
        name = f"{self._started:06d}"
        arguments = [self._path, self._logs, name, self._random.randrange(1 << 30), until]
        command = [sys.executable, "-m", "tests.crash.soak", "--work", *map(str, arguments)]
        self._children[name] = subprocess.Popen(command)

    def run(self, seconds: float) -> list[str]:
        """Run, and return what was wrong."""
        until = time.time() + seconds
        while time.time() < until and not self._failures():
            while len(self._children) < PROCESSES:
                self._start(until)
            time.sleep(self._random.uniform(0.3, 2.0))
            name = self._random.choice(sorted(self._children))
            child = self._children.pop(name)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                self.kills += 1
            child.wait()
            (self._logs / f"{name}.log").touch()
        stuck = []
        end = time.time() + HANG
        for name, child in self._children.items():
            try:
                child.wait(max(0.0, end - time.time()))
            except subprocess.TimeoutExpired:
                stuck.append(f"process {name} is stuck")
                child.send_signal(signal.SIGABRT)
                child.wait()
        return stuck + self._failures() + self.judge()

    def _failures(self) -> list[str]:
        return [path.read_text() for path in sorted(self._logs.glob("*.failed"))]

    def judge(self) -> list[str]:
        """Look at everything that the logs speak of."""
        logged: dict[str, set[str]] = {event: set() for event in ("stored", "kept", "begin", "delete", "deleted")}
        versions = Versions()
        for event, keys in Log(self._logs, "judge").news():
            logged.get(event, set()).update(keys)
            versions.hear(event, keys)
        begun, touched, deleted = (logged[event] for event in ("begin", "delete", "deleted"))
        stored = logged["stored"] | logged["kept"]
        wrong = []
        with Container(self._path) as container:
            container.clean_storage()
            container.pack_all_loose()
            if container.engine.config.version > 1:
                container.snapshots.gc()
            container.repack(min_dead=0)
            checked = container.validate("full")
            wrong += [f"validate: {finding}" for finding in (*checked.damaged, *checked.files)]
            found = dict(container.extract_many(stored - touched, missing="none"))
            wrong += [f"{key} is lost" for key, data in found.items() if data is None]
            wrong += [f"{key} is wrong" for key, data in found.items() if data is not None and key_of(data) != key]
            wrong += [
                f"{key} was deleted" for key, there in zip(deleted, container.has_many(deleted), strict=True) if there
            ]
            if container.engine.config.version > 1:
                lost, self.versions = wrong_versions(container, versions, self._path.parent / "judged")
                wrong += lost
            listed = set(container)
            wrong += [f"{key} was never inserted" for key in listed - begun]
            rest = dict(container.extract_many(listed - found.keys()))
            wrong += [f"{key} is wrong" for key, data in rest.items() if data is None or key_of(data) != key]
            if any((self._path / "sandbox").iterdir()):
                wrong.append("something is left in the sandbox")
        self.objects, self.acknowledged, self.deleted = len(listed), len(stored), len(deleted)
        self.saved, self.forgotten = len(versions.acknowledged), len(versions.forgotten)
        return wrong + self._judge_backups(begun)

    def _judge_backups(self, begun: set[str]) -> list[str]:
        """Those that are whole say of everything what it is; one that was killed half-way is told from them."""
        wrong = []
        self.backups = self.versions_of_backups = 0
        for path in sorted((self._path.parent / BACKUPS).glob("backup_*")):
            self.backups += 1
            with Container(path) as copy:
                found = dict(copy.extract_many(list(copy)))
                if copy.engine.config.version > 1:
                    for version in all_versions(copy):
                        read_version(copy, version)
                        self.versions_of_backups += 1
            bad = (key for key, data in found.items() if data is None or key_of(data) != key)
            wrong += [f"{key} is wrong in a backup" for key in bad]
            wrong += [f"{key} of a backup was never inserted" for key in found.keys() - begun]
        return wrong

    def counts(self) -> Counter[str]:
        """How often each thing was done, as far as processes came to tell."""
        counts: Counter[str] = Counter()
        for event, lines in Log(self._logs, "judge").news():
            for line in lines if event == "counts" else ():
                name, _, count = line.rpartition(" ")
                counts[name] += int(count)
        return counts


def main() -> int:
    """Run and print."""
    if sys.argv[1:2] == ["--work"]:
        path, logs, name, seed, until = sys.argv[2:]
        return _work(Path(path), Path(logs), name, int(seed), float(until))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", type=int, default=2)
    chosen = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        soak = Soak(Path(directory), chosen.version, chosen.seed)
        wrong = soak.run(chosen.minutes * 60)
        print(f"version {chosen.version}: {chosen.minutes} minutes, {PROCESSES} processes, {soak.kills} killed")
        print(f"{soak.acknowledged} objects acknowledged, {soak.deleted} deleted")
        print(f"{soak.saved} versions acknowledged, {soak.forgotten} forgotten, {soak.versions} checked out at the end")
        print(f"{soak.versions_of_backups} versions in backups, all read")
        print(f"{soak.objects} objects and {soak.backups} backups at the end")
        print(", ".join(f"{name} {count}" for name, count in sorted(soak.counts().items())))
        print(f"{len(wrong)} wrong")
        for reason in wrong[:10]:
            print(reason)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

"""Real timers over every operation: each is interrupted once, at a random moment, by a timer's handler or by Ctrl-C.

``make storm`` runs it for MINUTES. It runs in a process of its own, since it owns its signals. Ctrl-C is SIGINT with
Python's own handler. What it looks at after each interrupt: no
descriptor and no thread more than before, no file in the sandbox, no unfinished name, nothing held: another description
of every lock can be had, and now and then another process inserts, deletes and packs. At the end: all that was
acknowledged is there, and ``validate`` in full finds nothing.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from hashlib import sha256
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType

from rsdos import Container, Place
from rsdos.compat.disk_objectstore import CompressMode
from rsdos.compat.disk_objectstore import Container as DropIn
from rsdos.maintenance import merge, optimize, retain, transfer
from rsdos.maintenance.backup import backup, remote, restore
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.storage import locks
from tests.helpers import SHELL, flip
from tests.patience import HANG


class Interrupted(BaseException):
    """What the handler raises."""


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def control_c(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def opened() -> list[str]:
    return sorted(os.listdir("/dev/fd"))


def children() -> set[int]:
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


def alive() -> set[threading.Thread]:
    """The threads that run. `threading.active_count` has one whose start was interrupted as well, until the end."""
    return {thread for thread in threading.enumerate() if thread.is_alive()}


class Storm:
    """One container, and what was acknowledged of it."""

    def __init__(self, path: Path, version: int, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.container = Container.create(path, container_version=version, pack_size_target=1 << 20)
        self.kept: dict[str, bytes] = {}
        self.landed = self.controls = self.attempts = self.others = 0
        self.scratch = path.with_name(f"{path.name}, scratch")
        self.backups = path.with_name(f"{path.name}, backups")
        self.shell = path.with_name("shell")  # rsync takes a blank in it for the end of the program.
        self.shell.write_text(SHELL)
        self.shell.chmod(0o755)
        self.copies: list[tuple[Path, dict[str, bytes]]] = []
        """The newest backups, and what was there."""
        self.unfinished: Path | None = None
        self.before: set[int] = set()
        """The child processes that were there before an operation."""

    def data(self, size: int) -> bytes:
        return self.random.randbytes(size)

    # The operations.

    def loose(self) -> None:
        data = self.data(300)
        self.kept[self.container.insert(data)] = data

    def packed(self) -> None:
        some = [self.data(500) for _ in range(20)]
        self.kept |= dict(zip(self.container.insert_many(some), some, strict=True))

    def loose_many(self) -> None:
        some = [self.data(500) for _ in range(20)]
        self.kept |= dict(zip(self.container.insert_many(some, to=Place.LOOSE), some, strict=True))

    def read(self) -> None:
        with Container(self.path) as container:
            for key in self.random.sample(list(self.kept), min(5, len(self.kept))):
                container.extract(key)
                with container.open(key) as stream:
                    stream.read()
            dict(container.extract_many(list(self.kept)[:50]))

    def delete(self) -> None:
        if len(self.kept) < 40:
            self.packed()
        key = self.random.choice(list(self.kept))
        del self.kept[key]  # Whether it is gone is not known from now on, and it is never asked for again.
        self.container.delete([key])

    def pack(self) -> None:
        self.container.pack_all_loose()

    def clean(self) -> None:
        self.container.clean_storage()

    def repack(self) -> None:
        self.container.repack(min_dead=0.1)

    def write(self) -> None:
        data = self.data(9_000_000 if self.random.random() < 0.1 else 5000)
        with self.container.writer(to=self.random.choice(list(Place))) as file:
            for at in range(0, len(data), 1 << 20):
                file.write(data[at : at + (1 << 20)])
        self.kept[file.key] = data

    def add_files(self) -> None:
        path = self.beside("file")
        data = self.data(3000)
        path.write_bytes(data)
        self.kept[self.container.insert(path)] = data

    def add_tree(self) -> None:
        """A hundred files go to a pack, and may have two processes; before the end nobody knows what is stored."""
        tree = self.beside("tree")
        tree.mkdir()
        some = [self.data(700) for _ in range(120)]
        for number, data in enumerate(some):
            (tree / str(number)).write_bytes(data)
        report = self.container.add_tree(tree, jobs=self.random.choice((1, 2)))
        assert not report.refused
        self.kept |= {sha256(data).hexdigest(): data for data in some}

    def drop_in(self) -> None:
        """What AiiDA calls: version 1 or 2, through the names of disk-objectstore."""
        some = [self.data(400) for _ in range(20)]
        with DropIn(self.path) as container:
            keys = [container.add_object(some[0]), container.add_streamed_object(io.BytesIO(some[1]))]
            keys += container.add_objects_to_pack(some[2:], compress=self.random.choice((False, True)))
            self.kept |= dict(zip(keys, some, strict=True))
            container.pack_all_loose(compress=CompressMode.AUTO)
            with container.get_objects_stream_and_meta(keys) as streams:
                for key, stream, _ in streams:
                    assert stream and stream.read() == self.kept[key]
            container.clean_storage()

    def optimize(self) -> None:
        engine = self.container.engine
        optimize.execute(engine, optimize.plan(engine, optimize.OptimizeOptions()))

    def merge(self) -> None:
        engine = self.container.engine
        merge.execute(engine, merge.plan(engine))

    def validate(self) -> None:
        assert self.container.validate(self.random.choice(("quick", "full"))).is_good

    def retain(self) -> None:
        gone = set(self.random.sample(list(self.kept), min(3, len(self.kept) - 1)))
        kept = [key for key in self.kept if key not in gone]
        for key in gone:
            del self.kept[key]
        engine = self.container.engine
        retain.execute(engine, retain.plan(engine, retain.RetainOptions(kept)))

    def back_up(self) -> None:
        engine = self.container.engine
        options = backup.BackupOptions(str(self.backups))
        report = backup.execute(engine, backup.plan(engine, options))
        self.copies.append((Path(report.generation), dict(self.kept)))

    def back_up_elsewhere(self) -> None:
        """To another machine, which is this one: rsync and a shell run what they would run there."""
        engine = self.container.engine
        ways = remote.RemotePrograms(shell=str(self.shell))
        place = self.path.with_name(f"{self.path.name}, elsewhere")
        report = remote.execute(engine, remote.plan(engine, backup.BackupOptions(f"me@elsewhere:{place}"), ways), ways)
        assert report.is_good
        self.has_all(place / Path(report.generation).name, self.kept)

    def restore(self) -> None:
        if not self.copies or not self.copies[-1][0].exists():
            self.back_up()
        place, there = self.copies[-1]
        target = self.beside("restored")
        restore.execute(restore.plan(restore.RestoreOptions(str(place), str(target))))
        self.has_all(target, there)

    def transfer(self) -> None:
        with closing(Container.create(self.beside("target"), container_version=self.random.choice((1, 2)))) as target:
            plan = transfer.plan(target.engine, self.container.engine, transfer.TransferOptions())
            transfer.execute(target.engine, plan)
            self.has_all(target.path, self.kept)

    def migrate(self) -> None:
        engine = self.container.engine
        target = self.beside("migrated")
        options = migrate.MigrateOptions(3 - engine.config.version, str(target))
        migrate.execute(engine, migrate.plan(engine, options))
        self.has_all(target, self.kept)

    def migrate_in_place(self) -> None:
        """A copy; it is whole, of one of the versions, also when it is interrupted, and the next run goes on."""
        target = self.beside("copy")
        shutil.copytree(self.path, target)
        self.unfinished = target
        self.migrate_copy(target)

    def migrate_copy(self, target: Path) -> None:
        with closing(Container(target)) as copy:
            version = 3 - self.container.config.version
            if copy.config.version != version:
                plan = migrate.plan(copy.engine, migrate.MigrateOptions(version))
                migrate.execute(copy.engine, plan)

    def repair_index(self) -> None:
        engine = self.container.engine
        repair_index.execute(engine, repair_index.plan(engine))

    def repair_objects(self) -> None:
        """One is damaged on purpose, in a copy of the container."""
        target = self.beside("copy")
        shutil.copytree(self.path, target)
        with closing(Container(target)) as copy:
            key = next((key for key in self.kept if copy.meta(key).extent), None)
            if key is not None:
                extent = copy.meta(key).extent
                assert extent is not None
                flip(Path(copy.engine.layout.pack(extent.pack_id)), extent.offset)
            options = repair_objects.RepairObjectsOptions([self.container.engine])
            repair_objects.execute(copy.engine, repair_objects.plan(copy.engine, options))
            self.has_all(target, self.kept)

    def operations(self) -> list[Callable[[], None]]:
        return [
            *(self.loose, self.packed, self.loose_many, self.write, self.add_files, self.read, self.delete),
            *(self.pack, self.clean, self.repack, self.optimize, self.merge, self.retain, self.validate),
            *(
                self.add_tree,
                self.drop_in,
                self.back_up,
                self.back_up_elsewhere,
                self.restore,
                self.transfer,
                self.migrate,
                self.migrate_in_place,
            ),
            *(self.repair_index, self.repair_objects),
        ]

    def beside(self, name: str) -> Path:
        """A place that nothing stands at, in a directory that is removed behind the operation."""
        self.scratch.mkdir(exist_ok=True)
        return self.scratch / name

    def has_all(self, path: Path, contents: dict[str, bytes]) -> None:
        with closing(Container(path)) as container:
            assert dict(container.extract_many(contents)) == contents

    # The oracle.

    def look(self, what: str, before: list[str], threads: set[threading.Thread]) -> None:
        for thread in alive() - {threading.current_thread()}:
            thread.join(HANG)  # It was told to end; an operation that was interrupted has not waited for that.
        gc.collect()
        self.container.close()
        now = opened()
        assert now == before, f"{what}: descriptors {set(now) ^ set(before)}"
        self.wait_for(children() - self.before)
        assert alive() <= threads, f"{what}: threads"
        held = [name for name in os.listdir(self.path / "locks") if self.is_held(str(self.path / "locks" / name))]
        assert held == [], f"{what}: {held} are held"
        left = [name for _, _, names in os.walk(self.path / "sandbox") for name in names]
        assert left == [], f"{what}: {left} in the sandbox"
        left = [name for _, _, names in os.walk(self.path) for name in names if name.endswith(".new")]
        left += os.listdir(tempfile.gettempdir())
        assert left == [], f"{what}: unfinished {left}"
        if self.random.random() < 0.1:
            self.others += 1
            self.another_process(what)

    def wait_for(self, ending: set[int]) -> None:
        """Let child processes end: those of an operation that was interrupted were told to.

        Python itself reaps one whose `Popen` was interrupted only when it starts the next.
        """
        signal.setitimer(signal.ITIMER_REAL, HANG)
        for child in ending:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def another_process(self, what: str) -> None:
        """It can do everything at once: nothing is held."""
        data = self.data(200)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with Container(self.path) as container:
                    keys = container.insert_many([data, data + b"to go"])
                    container.insert(data + b"loose")
                    assert container.delete(keys[1:]) == keys[1:]
                    container.pack_all_loose()
                    container.clean_storage()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, f"{what}: another process could not work"
        self.kept |= {sha256(some).hexdigest(): some for some in (data, data + b"loose")}

    def is_held(self, path: str) -> bool:
        lock = locks.try_acquire(path)
        if lock is None:
            return True
        lock.release()
        return False

    def step(self) -> None:
        operation = self.random.choice(self.operations())
        self.container.close()
        gc.collect()
        before, threads, self.before = opened(), alive(), children()
        self.attempts += 1
        moment = self.random.choice((1e-4, 1e-3, 1e-2, 1e-1)) * (self.random.random() + 1e-3)
        signal.signal(signal.SIGALRM, self.random.choice((interrupt, control_c)))
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, moment)
                operation()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            self.landed += 1
        except KeyboardInterrupt:
            self.controls += 1
        if self.unfinished is not None:
            self.has_all(self.unfinished, self.kept)
            self.migrate_copy(self.unfinished)
            self.has_all(self.unfinished, self.kept)
            self.unfinished = None
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.look(operation.__name__, before, threads)

    def finish(self) -> None:
        found = dict(self.container.extract_many(list(self.kept)))
        assert found == self.kept
        report = self.container.validate("full")
        assert report.is_good, report
        self.container.close()


def main() -> None:
    """Run; prints what was done."""
    parser = argparse.ArgumentParser(prog="tests.storm.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="How long.")
    parser.add_argument("--steps", type=int, default=100, help="How many operations of each version, at least.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = lambda unraisable: None  # An interrupt in a finalizer is swallowed by Python itself.
    resource_tracker.ensure_running()  # Workers that are no forks need it; it stays as long as the process.
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as directory:
        tempfile.tempdir = str(Path(directory) / "temporary")
        os.mkdir(tempfile.tempdir)
        from tests.storm.snapshot_storm import SnapshotStorm  # Which is made from the class here.

        storms = [Storm(Path(directory) / f"version {version}", version, options.seed) for version in (2, 1)]
        storms.append(SnapshotStorm(Path(directory) / "snapshots", options.seed))
        for storm in storms:
            storm.packed()
        rounds = 0
        while rounds < options.steps or time.monotonic() < end:
            rounds += 1
            for storm in storms:
                storm.step()
        for storm in storms:
            storm.finish()
    attempts, alarms, controls, others = (
        sum(getattr(storm, name) for storm in storms) for name in ("attempts", "landed", "controls", "others")
    )
    print(f"{attempts} operations, {alarms + controls} interrupted, {controls} by Ctrl-C, {others} looks of others")
    # Python 3.11 notes a KeyboardInterrupt that ended the text of an `exec` (a dataclass makes its methods so), and
    # kills itself by SIGINT at the end although it was caught. The next text that is run takes the note back.
    exec("")


if __name__ == "__main__":
    main()

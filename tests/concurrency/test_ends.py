"""Threads, signals, finalizers and ends of programs: nothing waits for itself, and nothing stays open or held."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rsdos import Busy, Container, Place
from rsdos.codecs.workers import Workers
from rsdos.compat.disk_objectstore.container import Container as DosContainer
from rsdos.storage import locks
from tests.helpers import ABSENT, descriptors, run_python
from tests.patience import HANG


@pytest.fixture(params=[2, 1], ids=["version 2", "version 1"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Container]:
    with closing(Container.create(tmp_path / "container", container_version=request.param)) as made:
        yield made


def use(container: Container) -> str:
    """Everything that opens something."""
    container.insert(b"loose")
    (key,) = container.insert_many([b"packed"])
    assert container.extract(key) == b"packed"
    assert dict(container.extract_many([key])) == {key: b"packed"}
    assert ABSENT not in container
    return key


def below(path: Path) -> list[str]:
    """What this process has open, or mapped, there."""
    opened = [place for place in descriptors().values() if place.startswith(f"{path}/")]
    maps = Path("/proc/self/maps")
    return opened + ([line for line in maps.read_text().splitlines() if str(path) in line] if maps.exists() else [])


def test_close_and_the_last_reference_give_everything_back(container: Container) -> None:
    """At once, without the garbage collector: the file system can be unmounted."""
    path = container.path
    gc.collect()
    gc.disable()
    try:
        with container:
            key = use(container)
        container.close()
        assert below(path) == []
        other = Container(path)
        assert other.extract(key) == b"packed"
        other.insert(b"another")
        assert below(path)
        del other
        assert below(path) == []
        assert os.listdir(path / "sandbox") == []
    finally:
        gc.enable()


def test_connections_of_threads_that_ended_are_closed(container: Container) -> None:
    counts = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            thread = threading.Thread(target=use, args=(container,))
            thread.start()
            thread.join()
            counts.append(len(descriptors()))
        assert counts[-1] == counts[1]
    finally:
        gc.enable()


def test_a_container_is_pickled_and_copied_at_any_time(container: Container, tmp_path: Path) -> None:
    key = use(container)
    old = DosContainer(tmp_path / "dos")
    old.init_container()
    old_key = old.add_object(b"packed")
    for _ in range(2):
        for other in (copy.deepcopy(container), copy.copy(container), pickle.loads(pickle.dumps(container))):
            assert other.extract(key) == b"packed"
        for dos in (copy.deepcopy(old), pickle.loads(pickle.dumps(old))):
            assert dos.get_object_content(old_key) == b"packed"
        container.close()
        old.close()
    assert copy.deepcopy(container.config) == container.config


def test_a_relative_path_is_that_of_the_moment(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(container.path.parent)
    relative = Container(container.path.name)
    sent = pickle.dumps(relative)
    (container.path.parent / "elsewhere").mkdir()
    os.chdir("elsewhere")
    key = relative.insert(b"object")
    assert container.extract(key) == pickle.loads(sent).extract(key) == b"object"


# A thread that would wait for itself.


def test_a_lock_that_this_thread_holds_is_busy_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with locks.acquire(path):
        for ask in (locks.acquire, locks.acquire_shared):
            with pytest.raises(Busy, match="this thread itself"):
                ask(path)
    with locks.acquire_shared(path):
        with locks.acquire_shared(path):
            pass
        with pytest.raises(Busy, match="this thread itself"):
            locks.acquire(path)
    with locks.acquire(path):
        pass


class Deletes:
    """A progress that asks for maintenance in the middle of maintenance."""

    def __init__(self, container: Container, key: str) -> None:
        self.container, self.key = container, key

    def start(self, description: str, total: int | None, unit: str) -> None:
        """Nothing."""

    def advance(self, amount: int) -> None:
        self.container.delete([self.key])

    def finish(self) -> None:
        """Nothing."""


def test_a_callback_that_waits_for_its_own_maintenance_gets_an_error(container: Container) -> None:
    key = use(container)
    waiting = Container(container.path, when_busy="wait")
    with pytest.raises(Busy, match="this thread itself"):
        waiting.pack_all_loose(progress=Deletes(waiting, key))
    assert waiting.delete([key]) == [key]


def test_a_write_in_the_middle_of_a_transaction_is_busy(tmp_path: Path) -> None:
    """As that of a signal's handler; and never called damage."""
    with Container.create(tmp_path / "container", container_version=1) as container:
        (key,) = container.insert_many([b"object"])
        database: Any = container.engine.packed
        with database.database.writing() as transaction:
            with pytest.raises(Busy, match="this thread itself"):
                container.insert_many([b"in between"])
            transaction.touch()
        assert container.insert_many([b"object"]) == [key]


# Interrupts.


def test_an_interrupted_wait_for_another_programs_lock_leaves_no_transaction(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", container_version=1) as container:
        packed: Any = container.engine.packed
        container.insert_many([b"before"])

        connection = packed.database._connection()
        with pytest.raises(KeyboardInterrupt):
            sys.setprofile(lambda frame, event, argument: behind(event, connection.sqlite))
            try:
                container.insert_many([b"interrupted"])
            finally:
                sys.setprofile(None)
        assert not connection.sqlite.in_transaction
        with closing(sqlite3.connect(container.path / "packs.idx", timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        assert container.insert_many([b"interrupted"])


def behind(event: str, connection: sqlite3.Connection) -> None:
    """As an interrupt that comes behind the call that has begun a transaction."""
    if event == "c_return" and connection.in_transaction:
        sys.setprofile(None)
        raise KeyboardInterrupt


@pytest.mark.parametrize("moment", range(0, 30, 2))
def test_threads_of_a_call_end_wherever_it_is_interrupted(moment: int) -> None:
    """Also at the first step of what would tell them to."""
    steps = iter(range(moment))
    started: list[threading.Thread] = []

    def step(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.endswith("codecs/workers.py") and next(steps, None) is None:
            sys.setprofile(None)
            raise KeyboardInterrupt

    def work() -> None:
        with Workers(2) as workers:
            workers.start()
            started.extend(workers._threads)
            assert workers.submit(lambda: 7).result() == 7
            sys.setprofile(step)

    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    for thread in started:
        thread.join(HANG)  # Only so that a failure ends.
        assert not thread.is_alive()


# Ends of programs.

ENDS = {
    "atexit": "import atexit; atexit.register(work)",
    "a thread that outlives the main one": """
import threading
main = threading.current_thread()
threading.Thread(target=lambda: (main.join(), work())).start()
""",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("version", [2, 1])
def test_the_end_of_the_program_is_no_end_of_the_store(tmp_path: Path, end: str, version: int) -> None:
    code = f"""
import sys
from rsdos import Container, Place
container = Container.create(sys.argv[1], container_version={version})
data = [b"%d" % number * 50_000 for number in range(40)]

def work():
    assert len(container.insert_many(data, to=Place.LOOSE)) == 40
    assert len(container.insert_many(data, to=Place.LOOSE)) == 40
    container.pack_all_loose()
    container.insert_many([b"x" * 9_000_000])
    print(len(container))

{ENDS[end]}
"""
    assert run_python(code, tmp_path / "container") == "41\n"


def test_where_no_thread_can_be_had_the_caller_does_the_work(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    keys = container.insert_many([b"%d" % number for number in range(40)], to=Place.LOOSE)
    assert container.insert_many([b"%d" % number for number in range(40)], to=Place.LOOSE) == keys
    container.pack_all_loose()
    assert len(container) == 40


def test_an_object_that_writes_when_it_goes_is_served(tmp_path: Path) -> None:
    """In one cycle with its container: the parts of the store may be finalized first."""
    code = """
import gc, os, sys
from rsdos import Container
Container.create(sys.argv[1], container_version=int(sys.argv[2])).close()

class Last:
    def __init__(self):
        self.container = Container(sys.argv[1])
        self.container.last = self
        self.kept = self.container.insert(b"kept")
        (self.packed,) = self.container.insert_many([b"packed"])
        self.container.extract(self.packed)
    def __del__(self):
        # What was closed is another's by now.
        others = [os.open("/dev/null", os.O_RDWR) for _ in range(20)]
        assert self.container.extract(self.packed) == b"packed"
        key = self.container.insert(b"from the grave")
        assert self.container.extract(key) == b"from the grave"
        self.container.insert_many([b"packed, from the grave"])
        for other in others:
            os.fstat(other)
            os.close(other)
        print("served", flush=True)

Last()
gc.collect()
"""
    for version in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / str(version), str(version)], capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == ("served\n", "")
        assert len(Container(tmp_path / str(version))) == 4


# Threads.


def together(*works: Callable[[], object]) -> None:
    wrong: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            for _ in range(30):
                work()
        except BaseException as error:  # noqa: BLE001 - reported below
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_two_threads_leave_one_container_at_once(container: Container) -> None:
    key = use(container)

    def visit() -> None:
        with container:
            assert container.has(key)
            assert container.extract(key) == b"packed"

    together(visit, visit, visit)


def test_closing_forgets_no_directory_that_another_thread_has_made(container: Container) -> None:
    """A living insert's file would be swept."""
    fresh = iter(range(10**9))

    def insert() -> None:
        assert container.insert(b"%d" % next(fresh))

    together(insert, insert, container.close)
    container.close()
    assert os.listdir(container.path / "sandbox") == []
    assert len(container) == 60

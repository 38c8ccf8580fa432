"""A fork in the middle of a call: what was begun stays the parent's, however the child ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place, RsdosError
from rsdos.maintenance import delete
from rsdos.model import FRAME_SIZE
from rsdos.stores.base import write_out
from tests.data import key_of, noise
from tests.helpers import ABSENT, assert_holds, descriptors, run_python

LARGE = 6 * FRAME_SIZE + 5
"""Raw bytes of an object for which threads help."""


@pytest.fixture(params=[2, 1], ids=["version 2", "version 1"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Container]:
    with closing(Container.create(tmp_path / "container", container_version=request.param)) as made:
        yield made


class Forked(Exception):
    """Raised in the child."""


class Fork:
    """Forks when it is called for the first time. The child leaves by an exception, or goes on."""

    def __init__(self, leave: Callable[[], object]) -> None:
        self.child: int | None = None
        self.leave = leave
        self.may_succeed = False

    def __call__(self) -> None:
        if self.child is None:
            self.child = os.fork()
            if self.child == 0:
                self.leave()


def by_exception() -> None:
    raise Forked


def by_exit() -> None:
    sys.exit(0)


def not_at_all() -> None:
    """The child takes the parent's frames for its own."""


LEAVE = pytest.mark.parametrize("leave", [by_exception, by_exit, not_at_all])


def run(work: Callable[[], object], fork: Fork) -> None:
    """Run it in both. The child has to be refused, by our error or its own; its parent's call has to succeed."""
    try:
        work()
    except BaseException as error:
        if fork.child == 0:
            os._exit(0 if isinstance(error, (Forked, SystemExit, RsdosError)) else 1)
        raise
    if fork.child == 0:
        os._exit(0 if fork.may_succeed else 2)
    assert fork.child is not None, "it never called"
    assert os.waitpid(fork.child, 0)[1] == 0


class Stream(io.BytesIO):
    """Forks while it is read, behind its first frames."""

    def __init__(self, data: bytes, fork: Fork) -> None:
        super().__init__(data)
        self._fork = fork

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > FRAME_SIZE:
            self._fork()
        return super().read(size)


def assert_sound(container: Container, contents: dict[str, bytes]) -> None:
    """Here and in another process, everything is there, nothing else is, and nobody holds anything."""
    assert_holds(container, contents)
    code = """
import sys
from rsdos import Container, Place
container = Container(sys.argv[1])
container.insert_many([b"from another process"])
container.insert(b"loose, from another process")
container.pack_all_loose()
container.clean_storage()
report = container.validate("full")
assert report.is_good, report
print(len(container))
"""
    assert int(run_python(code, container.path)) == len(contents) + 2


@LEAVE
def test_in_the_source_of_many_packed_objects(container: Container, leave: Callable[[], None]) -> None:
    fork = Fork(leave)
    objects = [noise(300_000, seed) for seed in range(30)]  # More than one write.

    def sources() -> Iterator[bytes]:
        for number, data in enumerate(objects):
            if number == 28:
                fork()
            yield data

    run(lambda: container.insert_many(sources()), fork)
    assert_sound(container, {key_of(data): data for data in objects})


@LEAVE
@pytest.mark.parametrize("to", list(Place))
@pytest.mark.parametrize("compress", [CompressMode.NO, CompressMode.YES], ids=["no", "yes"])
def test_while_a_large_object_is_read(
    container: Container, leave: Callable[[], None], to: Place, compress: CompressMode
) -> None:
    fork, data = Fork(leave), noise(LARGE, 1)
    run(lambda: container.insert_many([Stream(data, fork)], to=to, compress=compress), fork)
    assert_sound(container, {key_of(data): data})


@LEAVE
def test_in_the_source_of_many_loose_objects(container: Container, leave: Callable[[], None]) -> None:
    fork = Fork(leave)
    objects = [noise(100, seed) for seed in range(150)]

    def sources() -> Iterator[bytes]:
        for number, data in enumerate(objects):
            if number == 140:
                fork()
            yield data

    fork.may_succeed = True  # What the child writes from then on are files of its own.
    run(lambda: container.insert_many(sources(), to=Place.LOOSE), fork)
    assert_sound(container, {key_of(data): data for data in objects})


def samples(to: Place, size: int) -> list[bytes]:
    """Other ones for each place."""
    return [to.value.encode() + noise(size, seed) for seed in range(8)]


class Progress:
    """Forks when something has been done."""

    def __init__(self, fork: Fork) -> None:
        self._fork = fork

    def start(self, description: str, total: int | None, unit: str) -> None:
        """Nothing."""

    def advance(self, amount: int) -> None:
        self._fork()

    def finish(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("leave", [by_exception, by_exit])
@pytest.mark.parametrize("operation", ["pack_all_loose", "clean_storage", "repack", "validate", "backup"])
def test_in_the_progress_of_maintenance(
    container: Container, tmp_path: Path, leave: Callable[[], None], operation: str
) -> None:
    fork = Fork(leave)
    objects = {container.insert(data, to=to): data for to in Place for data in samples(to, 5000)}
    dead = container.insert_many([noise(50_000, 99)])
    container.delete(dead)
    if operation == "clean_storage":
        container.pack_all_loose(clean=False)
    arguments = [tmp_path / "backups"] if operation == "backup" else []
    run(lambda: getattr(container, operation)(*arguments, progress=Progress(fork)), fork)
    assert_sound(container, objects)


@pytest.mark.parametrize("leave", [by_exception, by_exit])
def test_in_the_tell_of_a_delete(container: Container, leave: Callable[[], None]) -> None:
    fork = Fork(leave)
    contents = {container.insert(data, to=to): data for to in Place for data in samples(to, 500)}
    gone = list(contents)[:4] + list(contents)[-4:]
    plan = delete.plan(container.engine, delete.DeleteOptions(gone))
    run(lambda: delete.execute(container.engine, plan, tell=lambda there, missing: fork()), fork)
    assert_sound(container, {key: data for key, data in contents.items() if key not in gone})


def test_while_an_object_is_written_to_a_file(tmp_path: Path) -> None:
    fork = Fork(by_exception)

    def parts() -> Iterator[bytes]:
        yield b"first "
        fork()
        yield b"second"

    run(lambda: write_out(parts(), str(tmp_path / "out")), fork)
    assert (tmp_path / "out").read_bytes() == b"first second"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_transaction_of_the_parent_is_not_ended_by_its_child(tmp_path: Path) -> None:
    """Also not by the end of the child's interpreter."""
    code = """
import os, sys
from rsdos import Container
container = Container.create(sys.argv[1], container_version=1)
database = container.engine.packed.database
(key,) = container.insert_many([b"object"])
try:
    with database.writing() as transaction:
        transaction.delete([key])
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert container.insert_many  # The parent is in the middle of it still.
        transaction.touch()
    assert len(container) == 0
    container.insert_many([b"another"])
    assert container.validate("full").is_good
    print("done")
except SystemExit:
    sys.exit(0)
"""
    assert run_python(code, tmp_path / "container") == "done\n"


def test_both_go_on_with_containers_of_their_own(container: Container) -> None:
    """As before, with nothing under way: the child has locks, a sandbox and connections of its own."""
    kept = container.insert(b"before")
    container.insert_many([b"packed"])
    before = descriptors()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert container.extract(kept) == b"before"
            container.insert(b"child")
            container.insert_many([b"child, packed"])
            assert ABSENT not in container
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert descriptors() == before
    contents = {key_of(data): data for data in (b"before", b"packed", b"child", b"child, packed")}
    assert_sound(container, contents)

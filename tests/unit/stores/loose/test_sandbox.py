"""The sandbox: what dead writers left goes, what a live one has stays."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.errors import WriterPoisoned
from rsdos.layout import Layout
from rsdos.storage import posix
from rsdos.stores.sandbox import LoneFile, Sandbox
from tests.helpers import descriptors

WRITER = """
import sys, signal
from rsdos.layout import Layout
from rsdos.stores.sandbox import Sandbox
sandbox = Sandbox(Layout(sys.argv[1]))
file = sandbox.new_file()
file.write([b"unfinished"])
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a container that has nothing but its sandbox."""
    sandbox_of(tmp_path).mkdir()
    return tmp_path


def sandbox_of(root: Path) -> Path:
    return root / "sandbox"


def test_only_files_of_dead_writers_are_collected(root: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, root], stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    mine = Sandbox(Layout(str(root)))
    file = mine.new_file()
    assert len(list(sandbox_of(root).iterdir())) == 3
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    (sandbox_of(root) / "foreign").write_text("not ours")
    assert Sandbox(Layout(str(root))).collect_garbage() == 1
    assert mine.collect_garbage() == 0
    assert len([path for path in sandbox_of(root).iterdir() if path.is_dir()]) == 2
    assert Path(file.path).exists()
    assert (sandbox_of(root) / "foreign").exists()
    file.close()
    mine.close()
    writers[1].kill()
    for writer in writers:
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()


def test_closing_in_one_thread_leaves_the_files_of_another(root: Path) -> None:
    sandbox = Sandbox(Layout(str(root)))
    file = sandbox.new_file()
    sandbox.close()
    assert Sandbox(Layout(str(root))).collect_garbage() == 0
    assert Path(file.path).exists()
    file.close()
    sandbox.close()
    assert list(sandbox_of(root).iterdir()) == []


FIRST = WRITER.replace("new_file()", "first_file()").replace('write([b"unfinished"])', 'write_one(b"unfinished")')


def test_the_first_file_of_a_dead_writer_is_collected_and_a_live_writers_stays(root: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", FIRST, root], stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    assert [path.read_bytes() for path in sandbox_of(root).iterdir()] == [b"unfinished"] * 2
    # As disk-objectstore has its own, which it does not lock.
    (sandbox_of(root) / ("0123456789abcdef" * 2)).write_text("another program's")
    mine = Sandbox(Layout(str(root)))
    file = mine.first_file()
    writers[0].kill()
    writers[0].wait()
    assert mine.collect_garbage() == 1
    assert Sandbox(Layout(str(root))).collect_garbage() == 0
    assert len(list(sandbox_of(root).iterdir())) == 3
    assert Path(file.path).exists()
    writers[1].kill()
    for writer in writers:
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
    assert mine.collect_garbage() == 1
    file.close()
    assert [path.name for path in sandbox_of(root).iterdir()] == ["0123456789abcdef" * 2]


def test_a_first_file_collected_before_it_is_locked_is_made_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LoneFile.__init__
    swept: list[int] = []

    def begin(file: LoneFile, path: str) -> None:
        real(file, path)
        if not swept:
            swept.append(Sandbox(Layout(str(root))).collect_garbage())

    monkeypatch.setattr(LoneFile, "__init__", begin)
    file = Sandbox(Layout(str(root))).first_file()
    assert swept == [1]
    assert os.listdir(sandbox_of(root)) == [os.path.basename(file.path)]
    assert Sandbox(Layout(str(root))).collect_garbage() == 0
    file.close()


def test_a_container_that_is_opened_for_one_object_makes_no_directory_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Container.create(tmp_path / "store").close()
    made: list[str] = []
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        made.append(str(path))
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    for data in (b"one", b"two"):
        with Container(tmp_path / "store") as container:
            key = container.insert(data)
            assert container.extract(key) == data
    with Container(tmp_path / "store") as container:
        for number in range(5):
            container.insert(b"%d" % number)
    assert len([path for path in made if "/sandbox/" in path]) == 1
    assert os.listdir(tmp_path / "store" / "sandbox") == []


def test_a_first_file_is_its_process_s_own(root: Path) -> None:
    file = Sandbox(Layout(str(root))).first_file()
    if (child := os.fork()) == 0:  # pragma: no cover
        code = 1
        try:
            with pytest.raises(WriterPoisoned):
                file.write_one(b"the child's")
            with pytest.raises(WriterPoisoned):
                file.move(f"{root}/taken")
            code = 0
        finally:
            file.close()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    file.write_one(b"the parent's")
    assert posix.read_at(file.fd, 0, 100) == b"the parent's"
    assert Path(file.path).exists()
    file.close()


def test_nothing_is_left_of_a_first_file_that_cannot_be_locked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> bool:
        raise OSError(95, "not supported")

    monkeypatch.setattr("rsdos.storage.locks.try_lock", refuse)
    with pytest.raises(OSError, match="not supported"):
        Sandbox(Layout(str(root))).first_file()
    assert os.listdir(sandbox_of(root)) == []


def test_a_file_that_cannot_be_removed_is_closed_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a write that failed, on a disk that fails in the next call as well."""

    def broken(path: str, dir_fd: int | None = None) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def full(fd: int, offset: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Container.create(tmp_path / "container") as container:
        container.insert(b"first", to=Place.LOOSE)
        container.insert(b"second", to=Place.LOOSE)
        before = len(descriptors())
        with monkeypatch.context() as patch:
            patch.setattr(posix, "remove", broken)
            patch.setattr(posix, "write_at", full)
            for number in range(5):
                with pytest.raises(OSError, match=r"Input|space"):
                    container.insert(b"%d" % number, to=Place.LOOSE)
        assert len(descriptors()) == before


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_where_nothing_can_be_locked_a_first_file_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refused(fd: int, kind: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OSError) as raised:
        Sandbox(Layout(str(root))).first_file()
    assert raised.value.errno == errno.ENOTSUP


@pytest.mark.parametrize("call", ["first_file", "new_file"])
def test_where_every_lock_is_taken_already_making_a_file_ends(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """So a file system says that knows of no locks, and calls it by the wrong name."""

    def refused(fd: int, kind: int) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OSError, match="locked by another"):
        getattr(Sandbox(Layout(str(root))), call)()

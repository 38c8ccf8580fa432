import errno
import fcntl
import gc
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rsdos import Container, ReadOnlyContainer
from rsdos.storage import locks
from tests.patience import HANG


@contextmanager
def child(run: Callable[[], None]) -> Iterator[int]:
    """A forked process that has run something and then waits; killed at the end."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os.write(tell, b"x")
            signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(ready, 1) == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_one_holder_at_a_time_even_in_one_process(path: str) -> None:
    first = locks.try_acquire(path)
    assert first is not None
    assert locks.try_acquire(path) is None
    # Having been refused releases nothing.
    assert locks.try_acquire(path) is None
    first.release()
    with locks.acquire(path):
        assert locks.try_acquire(path) is None
    again = locks.try_acquire(path)
    assert again is not None
    again.release()
    again.release()
    assert os.path.exists(path)


def test_waits_for_another_thread(path: str) -> None:
    order: list[str] = []
    held = locks.acquire(path)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with locks.acquire(path):
            order.append("second")

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    order.append("first")
    held.release()
    thread.join()
    assert order == ["first", "second"]


def test_the_lock_of_a_process_that_is_killed_is_free(path: str) -> None:
    holding: list[object] = []
    with child(lambda: holding.append(locks.acquire(path))):
        assert locks.try_acquire(path) is None
    with locks.acquire(path):
        pass


def test_a_forked_child_neither_releases_nor_keeps_the_lock(path: str) -> None:
    held = locks.acquire(path)
    with child(held.release):
        assert locks.try_acquire(path) is None, "the child released its parent's lock"
        held.release()
        again = locks.try_acquire(path)
        assert again is not None, "the child holds on to its parent's lock"
        again.release()


def test_a_lock_that_is_dropped_is_free(path: str) -> None:
    locks.acquire(path)
    with locks.acquire(path):
        pass


def test_a_link_is_not_followed(path: str, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(OSError, match="symbolic links"):
        locks.acquire(path)
    assert not (tmp_path / "elsewhere").exists()


def test_directories(tmp_path: Path) -> None:
    held = locks.try_acquire_directory(str(tmp_path))
    assert held is not None
    assert locks.try_acquire_directory(str(tmp_path)) is None
    held.release()
    with pytest.raises(FileNotFoundError):
        locks.try_acquire_directory(str(tmp_path / "absent"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        locks.try_acquire_directory(str(tmp_path / "file"))


def test_a_lock_file_that_was_deleted_keeps_nobody_out(path: str) -> None:
    """Whoever waits on it, and whoever comes later, lock the file that has the name."""
    held = locks.acquire(path)
    got: list[locks.Lock] = []
    waiting = threading.Thread(target=lambda: got.append(locks.acquire(path)))
    waiting.start()
    os.unlink(path)
    held.release()
    waiting.join(HANG)
    assert os.path.exists(path)
    assert locks.try_acquire(path) is None
    got[0].release()


def fails_with(number: int, monkeypatch: pytest.MonkeyPatch, *, only_directories: bool = False) -> None:
    """What NFS, and file systems without locks, do; neither runs here."""
    gc.collect()  # What earlier tests have left gives its locks back now, and not where nothing can be locked.
    real = fcntl.flock

    def flock(fd: int, kind: int) -> None:
        if not only_directories or stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd, kind)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_where_directories_cannot_be_locked_a_file_in_them_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(errno.EBADF, monkeypatch, only_directories=True)
    held = locks.acquire_directory(str(tmp_path))
    assert locks.try_acquire_directory(str(tmp_path)) is None
    held.release()
    with Container.create(tmp_path / "container") as container:
        key = container.insert(b"object")
        container.insert(b"another")  # A writer has a directory from its second object on.
        container.pack_all_loose()
        container.clean_storage()
        assert container.extract(key) == b"object"
    # The writer's directory stays, locked, until its process has ended and a sweep comes.
    (mine,) = os.listdir(tmp_path / "container" / "sandbox")
    assert os.listdir(tmp_path / "container" / "sandbox" / mine) == [".lock"]


def test_where_there_are_no_locks_it_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Container.create(tmp_path / "container") as container:
        key = container.insert_many([b"object"])[0]
    fails_with(errno.ENOLCK, monkeypatch)
    with Container(tmp_path / "container") as container:
        assert container.extract(key) == b"object"
        assert dict(container.extract_many([key])) == {key: b"object"}
        for write in (lambda: container.insert(b"x"), lambda: container.insert_many([b"x"]), container.pack_all_loose):
            with pytest.raises(ReadOnlyContainer, match="flock"):
                write()
    with pytest.raises(ReadOnlyContainer, match="flock"):
        Container.create(tmp_path / "other")


def test_a_lock_file_that_a_copy_has_too_becomes_two(path: str) -> None:
    with locks.acquire(path) as lock:
        lock.describe("of the original")
    other = f"{path}-of-the-copy"
    os.link(path, other)
    Path(f"{path}.own").write_text("of somebody who died here")
    with locks.acquire(path) as lock:
        assert locks.holder(path) == "of the original"
        lock.describe("another")
        assert not os.path.samefile(path, other)
        assert locks.try_acquire(path) is None
        with locks.acquire(other):
            pass
    assert (locks.holder(path), locks.holder(other)) == ("another", "of the original")
    assert not os.path.exists(f"{path}.own")


def test_a_lock_that_is_held_stays_the_same_file(path: str) -> None:
    """Whoever holds it would keep nobody out otherwise."""
    with locks.acquire_shared(path):
        os.link(path, f"{path}-of-the-copy")
        with locks.acquire_shared(path):
            assert locks.try_acquire(path) is None
            assert os.path.samefile(path, f"{path}-of-the-copy")


def test_where_the_number_of_a_file_changes_whenever_one_asks_a_lock_is_an_error(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some file systems in user space do it. Before, it was opened anew forever."""
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    with pytest.raises(OSError, match="each time it was another file"):
        locks.acquire(path)

"""The storages of the package, and one of another kind, against what every storage promises."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from rsdos.errors import Busy, NotOurs, ReadOnlyContainer
from rsdos.model import BytesLike
from rsdos.storage import locks
from rsdos.storage.base import FileInfo, Put, PutResult, Storage, Traits, check_name, require
from rsdos.storage.local import LocalStorage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.opened import AppendFile, RandomAccess
from rsdos.storage.wrapper import CHANGING, READING, StorageCall, StorageWrapper
from rsdos.testing import FaultyStorage, RecordingStorage, StorageConformance, WaitingStorage
from tests.patience import HANG


class TestLocalStorage(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(str(tmp_path))


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()


class TestMemoryStorageWithFewTraits(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage(traits=Traits("a poor memory"))


class TestWrappedStorage(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return StorageWrapper(LocalStorage(str(tmp_path)))


class OneFilePerPut(Storage):
    """A storage of another kind: every version is a file of a serial number, and a table says which is whose.

    It cannot append and has no locks, as object stores; its files are opened by another storage.
    """

    traits = Traits("a table of files")

    def __init__(self, directory: Path) -> None:
        self.root = f"table:{directory}"
        self._files = LocalStorage(str(directory))
        self._table: dict[str, str] = {}
        self._serial = 0

    def _file_of(self, name: str) -> str:
        try:
            return self._table[check_name(name)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        return self._files.open(self._file_of(name))

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        parts = [name.rpartition("/") for name in self._table]
        return islice(sorted(name for above, _, name in parts if above == directory and name > after), most)

    def stat(self, name: str) -> FileInfo | None:
        if check_name(name) not in self._table:
            return None
        info = self._files.stat(self._table[name])
        return info and info._replace(name=name)

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        check_name(name)
        self._serial += 1
        own = f"{self._serial:08d}"
        result = self._files.put_new(own, data, still)
        if result.outcome is not Put.OURS or self._table.setdefault(name, own) == own:
            return result
        self._files.remove(own)
        return PutResult(Put.TAKEN)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError("another length")
        if self.put_new(name, data).outcome is not Put.OURS:
            raise FileExistsError(name)

    def empty(self, name: str) -> None:
        self._files.empty(self._file_of(name))

    def remove(self, name: str) -> bool:
        own = self._table.pop(check_name(name), None)
        return own is not None and self._files.remove(own)


class TestOneFilePerPut(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return OneFilePerPut(tmp_path)


# What is particular to a directory.


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside / "file")
    (root / "directory").symlink_to(outside)
    storage = LocalStorage(str(root))
    with pytest.raises(OSError):
        storage.open("link")
    with pytest.raises(OSError):
        storage.empty("link")
    with pytest.raises(OSError):
        storage.append("link", new=False)
    with pytest.raises(NotOurs):
        storage.remove("directory/file")
    assert storage.remove("link")
    assert (outside / "file").read_bytes() == b"secret"


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    storage = LocalStorage(str(tmp_path))
    for name in ("pipe", "directory"):
        with pytest.raises(OSError):
            storage.open(name)


def test_foreign_names_are_passed_over(tmp_path: Path) -> None:
    for name in ("ours", "not ours", "ün", "a\nb"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "with space").touch()
    (tmp_path / "below" / "file").touch()
    assert list(LocalStorage(str(tmp_path)).list("below")) == ["file"]


def test_a_second_name_of_a_file_is_counted(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.put_new("one", b"")
    os.link(tmp_path / "one", tmp_path / "other")
    info = storage.stat("one")
    assert info is not None and info.names == 2


def test_more_names_than_are_remembered_are_all_found(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.put_new("one", b"1")
    for number in range(6000):
        assert not storage.exists(f"missing-{number}")
    assert storage.read("one", 1) == b"1"


@pytest.mark.parametrize("new", [False, True])
def test_a_forked_child_neither_writes_nor_releases_what_its_parent_has(tmp_path: Path, new: bool) -> None:
    storage = LocalStorage(str(tmp_path))
    storage.put_new("one", b"abc")
    writer = storage.append("two" if new else "one", new=new)
    lock = storage.lock("lock")
    assert lock is not None
    child = os.fork()
    if not child:
        is_right = not writer.is_open and not lock.is_held
        writer.end()
        lock.release()
        os._exit(0 if is_right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert writer.is_open and lock.is_held
    assert storage.lock("lock", wait=False) is None
    writer.end()
    lock.release()


def test_a_lock_whose_file_was_removed_is_not_in_place(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path))
    lock = storage.lock("lock")
    assert lock is not None and lock.is_in_place()
    (tmp_path / "lock").unlink()
    assert not lock.is_in_place()
    lock.release()


# What the memory can be told to do.


@pytest.mark.parametrize("stored", [True, False])
def test_the_answer_of_a_put_is_lost_once(stored: bool) -> None:
    storage = MemoryStorage()
    storage.lose_answer(stored=stored)
    assert storage.put_new("one", b"1") == PutResult(Put.UNKNOWN)
    assert storage.exists("one") is stored
    assert storage.put_new("two", b"2").outcome is Put.OURS


def test_a_refused_verb_raises_until_it_is_admitted() -> None:
    storage = MemoryStorage()
    storage.refuse("put_new", "list")
    with pytest.raises(PermissionError):
        storage.put_new("one", b"")
    with pytest.raises(PermissionError):
        storage.list("index")
    storage.refuse()
    assert storage.put_new("one", b"").outcome is Put.OURS


def test_a_forked_child_has_a_copy_and_no_locks() -> None:
    storage = MemoryStorage()
    lock = storage.lock("lock")
    assert lock is not None
    child = os.fork()
    if not child:
        is_right = not lock.is_held and storage.lock("lock", wait=False) is not None
        storage.put_new("one", b"")
        os._exit(0 if is_right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not storage.exists("one")
    assert lock.is_held
    lock.release()


# What stands around another storage.


def test_a_faulty_storage_fails_where_it_is_told() -> None:
    inner = MemoryStorage()
    faults: dict[StorageCall, Exception | Put] = {
        StorageCall("put_new", "lost"): Put.UNKNOWN,
        StorageCall("put_new", "late"): Put.TAKEN,
        StorageCall("write", "pack"): OSError(errno.ENOSPC, "full"),
    }
    storage = FaultyStorage(inner, faults.get)
    assert storage.put_new("lost", b"").outcome is Put.UNKNOWN and inner.exists("lost")
    assert storage.put_new("late", b"").outcome is Put.TAKEN and not inner.exists("late")
    assert storage.put_new("other", b"").outcome is Put.OURS
    file = storage.append("pack", new=True)
    with pytest.raises(OSError, match="full"):
        file.write(0, [b"abc"])
    assert file.size() == 0


def test_a_recording_storage_knows_every_call() -> None:
    storage = RecordingStorage(MemoryStorage())
    storage.put_new("one", b"123")
    storage.read("one", 3)
    there = storage.open("one")
    there.read(1, 2)
    there.read_into(0, memoryview(bytearray(1)))
    there.view(1, 2).need(1, 2)
    there.will_need(0, 3)
    file = storage.append("pack", new=True)
    file.write(0, [b"abc"])
    file.sync()
    file.cut(1)
    file.end()
    assert storage.calls == [
        StorageCall("put_new", "one"),
        StorageCall("read_with_version", "one"),
        StorageCall("open", "one"),
        StorageCall("read", "one", 1, 2),
        StorageCall("read_into", "one", 0, 1),
        StorageCall("view", "one", 1, 2),
        StorageCall("need", "one", 2, 1),
        StorageCall("will_need", "one", 0, 3),
        StorageCall("append", "pack"),
        StorageCall("write", "pack"),
        StorageCall("sync", "pack"),
        StorageCall("cut", "pack"),
    ]
    assert {call.verb for call in storage.calls} - CHANGING == READING | {"read_with_version", "open"}
    storage.forget()
    assert storage.calls == []


def test_calls_of_a_waiting_storage_wait_and_a_recording_one_counts_those_that_are_under_way() -> None:
    inner = MemoryStorage()
    inner.put_new("one", b"123")
    waiting = WaitingStorage(inner, lambda call: call.verb == "read")
    storage = RecordingStorage(waiting)
    file = storage.open("one")
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda at=at: answers.append(file.read(at, 1))) for at in range(3)]
    for thread in threads:
        thread.start()
    held = waiting.wait_for(3, HANG)
    assert sorted(held) == [StorageCall("read", "one", at, 1) for at in range(3)]
    assert (answers, storage.most_at_once) == ([], 3)
    with pytest.raises(TimeoutError, match="3 calls are held back, and not 4"):
        waiting.wait_for(4, 0)
    waiting.let_go()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"1", b"2", b"3"]
    # Later ones are held back again.
    late = threading.Thread(target=file.read, args=(0, 3))
    late.start()
    assert waiting.wait_for(1, HANG) == [StorageCall("read", "one", 0, 3)]
    waiting.let_go()
    late.join()


def test_what_a_medium_lacks_is_refused_by_its_name() -> None:
    require(MemoryStorage(), "appends", "locks")
    with pytest.raises(ReadOnlyContainer, match="a poor memory has no 'locks'"):
        require(MemoryStorage(traits=Traits("a poor memory", appends=True)), "appends", "locks")


def test_the_clock_of_a_memory_is_set_by_a_test() -> None:
    storage = MemoryStorage(clock=lambda: 1000.0)
    storage.put_new("one", b"")
    storage.clock = lambda: 2000.0
    storage.put_new("two", b"")
    file = storage.append("grows", new=True)
    storage.clock = lambda: 3000.0
    file.write(0, [b"abc"])
    file.end()
    assert [info and info.time for info in map(storage.stat, ("one", "two", "grows"))] == [1000.0, 2000.0, 3000.0]
    storage.empty("one")
    info = storage.stat("one")
    assert info is not None and info.time == 3000.0


@pytest.mark.parametrize("is_needed", [False, True])
def test_a_file_that_cannot_be_opened_is_removed_for_a_new_one_unless_it_is_needed(
    tmp_path: Path, is_needed: bool
) -> None:
    (tmp_path / "pack").symlink_to("elsewhere")
    storage = LocalStorage(str(tmp_path))
    if is_needed:
        with pytest.raises(Busy):
            storage.append("pack", new=True, still=lambda: False)
        assert (tmp_path / "pack").is_symlink()
    else:
        storage.append("pack", new=True, still=lambda: True).end()
        assert not (tmp_path / "pack").is_symlink()


def test_a_writer_whose_new_file_was_removed_does_not_remove_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other takes the new file for that of a dead writer, before it is locked."""
    storage = LocalStorage(str(tmp_path))
    try_lock = locks.try_lock
    others: list[AppendFile] = []

    def lock_after_another(fd: int) -> bool:
        if not others:
            monkeypatch.undo()
            others.append(storage.append("pack", new=True))
        return try_lock(fd)

    monkeypatch.setattr(locks, "try_lock", lock_after_another)
    with pytest.raises(Busy, match="a writer whose lock file was removed"):
        storage.append("pack", new=True)
    others[0].write(0, [b"theirs"])
    assert storage.read("pack", 6) == b"theirs"


def test_bytes_of_a_long_view_are_read_and_those_behind_the_end_of_the_file_are_an_error(tmp_path: Path) -> None:
    length = 17 << 20
    data = os.urandom(length)
    (tmp_path / "table").write_bytes(data)
    view = LocalStorage(str(tmp_path)).open("table").view(5, length - 5)
    assert view.copy(0, 100) == data[5:105]
    assert view.copy(length - 105, length - 5) == data[-100:]
    os.truncate(tmp_path / "table", 1 << 20)
    assert view.copy(0, 100) == data[5:105]
    with pytest.raises(OSError, match="Input/output error"):
        view.copy(length - 105, length - 5)

"""Index files of a remote are fetched once: whole and checked, shared by processes, and never needed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Unavailable
from rsdos.engine.engine import Engine
from rsdos.engine.keeping import Cache
from rsdos.storage.base import Storage, Traits
from rsdos.storage.local import LocalStorage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.remote.cached import WHOLE, CachedStorage
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import noise

NAME = "segments/0000000007-0123456789abcdef.seg"
LARGE = "tables/0000000008-0123456789abcdef.tab"
SMALL_DATA, LARGE_DATA = noise(300_000), noise(WHOLE + 100_000)


class Asked:
    """A medium with two index files, and what it is asked."""

    def __init__(self) -> None:
        self.medium = MemoryStorage(traits=Traits("memory", is_remote=True))
        self.medium.put_new(NAME, SMALL_DATA)
        self.medium.put_new(LARGE, LARGE_DATA)
        self.storage = RecordingStorage(self.medium)

    def bytes_read(self) -> int:
        length = sum(call.length for call in self.storage.calls if call.verb == "read")
        self.storage.forget()
        return length


@pytest.fixture
def asked() -> Asked:
    return Asked()


def whole(storage: Storage, name: str, length: int | None = None) -> bytes:
    file = storage.open(name, length)
    return file.read(0, file.size())


def test_a_small_index_file_is_fetched_whole_once_for_all(asked: Asked, tmp_path: Path) -> None:
    for _ in range(3):
        cached = CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache")))
        assert whole(cached, NAME, len(SMALL_DATA)) == SMALL_DATA
        assert cached.open(NAME).view(5, 100).data == SMALL_DATA[5:105]
    assert asked.bytes_read() == len(SMALL_DATA)
    assert (tmp_path / "cache" / NAME).read_bytes() == SMALL_DATA
    # Nothing unfinished is left.
    assert [path.name for path in (tmp_path / "cache" / "segments").iterdir()] == [NAME.partition("/")[2]]


def test_of_a_large_one_what_is_needed_is_fetched_and_all_of_it_once_much_is(asked: Asked, tmp_path: Path) -> None:
    cached = CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache")))
    view = cached.open(LARGE, len(LARGE_DATA)).view(0, len(LARGE_DATA))
    view.need(1000, 2000)
    assert view.data[1000:2000] == LARGE_DATA[1000:2000]
    assert asked.bytes_read() <= 1 << 16
    assert not (tmp_path / "cache" / LARGE).exists()
    view.need(0, len(LARGE_DATA) // 3)
    assert asked.bytes_read() == len(LARGE_DATA)
    assert (tmp_path / "cache" / LARGE).read_bytes() == LARGE_DATA
    view.need(0, len(LARGE_DATA))
    assert view.data == LARGE_DATA
    assert whole(CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache"))), LARGE) == LARGE_DATA
    assert asked.bytes_read() == 0


def test_without_a_cache_all_is_read_from_the_medium(asked: Asked) -> None:
    cached = CachedStorage(asked.storage, None)
    assert whole(cached, NAME) == SMALL_DATA
    assert whole(cached, NAME) == SMALL_DATA
    assert asked.bytes_read() == 2 * len(SMALL_DATA)
    view = cached.open(LARGE).view(0, len(LARGE_DATA))
    view.need(0, len(LARGE_DATA))
    assert view.data == LARGE_DATA


def test_packs_manifests_and_the_configuration_are_not_kept(asked: Asked, tmp_path: Path) -> None:
    cached = CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache")))
    for name in ("packs/0000000001-0123456789abcdef.pack", "manifests/9999999999999998.json.zst", "config.json"):
        asked.medium.put_new(name, b"bytes")
        assert whole(cached, name) == cached.read(name, 10) == b"bytes"
        assert cached.version(name) == asked.medium.version(name)
    assert not (tmp_path / "cache").exists()


def test_an_index_file_is_always_the_same_and_is_not_asked_for(asked: Asked) -> None:
    cached = CachedStorage(asked.storage, None)
    version = cached.version(NAME)
    assert version == cached.open(NAME).version == cached.open(LARGE).version
    assert [call.verb for call in asked.storage.calls if call.verb in ("version", "stat", "exists")] == []


@pytest.mark.parametrize("in_the_way", ["file", "directory that cannot be written"])
def test_a_cache_that_cannot_be_written_is_one_warning(
    asked: Asked, tmp_path: Path, caplog: pytest.LogCaptureFixture, in_the_way: str
) -> None:
    (tmp_path / "cache").mkdir()
    if in_the_way == "file":
        (tmp_path / "cache" / "segments").write_text("")
        (tmp_path / "cache" / "tables").write_text("")
    here: Storage = LocalStorage(str(tmp_path / "cache"))
    if in_the_way != "file":
        here = FaultyStorage(here, lambda call: PermissionError(13, "no") if call.verb == "make_directory" else None)
    cached = CachedStorage(asked.storage, here)
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert whole(cached, NAME) == SMALL_DATA
        view = cached.open(LARGE).view(0, len(LARGE_DATA))
        view.need(0, len(LARGE_DATA))
        assert view.data == LARGE_DATA
    # Each record once: caplog has it twice if the logger was told not to propagate, as the drop-in tells it.
    warnings = {id(record): record.getMessage() for record in caplog.records}
    assert [text.split("; ")[-1] for text in warnings.values()] == ["index files come from the remote"]


def test_a_full_disk_in_the_middle_leaves_no_part_of_a_file(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache")))
    from rsdos.storage import posix

    def full(fd: int, offset: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(posix, "write_at", full)
        assert whole(cached, NAME) == SMALL_DATA
    assert list((tmp_path / "cache" / "segments").iterdir()) == []
    assert whole(cached, NAME) == SMALL_DATA
    assert (tmp_path / "cache" / NAME).read_bytes() == SMALL_DATA


def test_an_error_of_the_medium_while_all_is_fetched_is_told_by_what_is_needed(tmp_path: Path) -> None:
    medium = Asked().medium
    is_down = False

    def fault(call: StorageCall) -> Exception | None:
        return Unavailable("bucket", "no route") if is_down and call.verb == "read" else None

    here = LocalStorage(str(tmp_path / "cache"))
    view = CachedStorage(FaultyStorage(medium, fault), here).open(LARGE).view(0, len(LARGE_DATA))
    is_down = True
    with pytest.raises(Unavailable):
        view.need(0, len(LARGE_DATA))
    assert not (tmp_path / "cache" / LARGE).exists()
    is_down = False
    view.need(0, len(LARGE_DATA))
    assert view.data == LARGE_DATA


def test_many_threads_fetch_one_file(asked: Asked, tmp_path: Path) -> None:
    found: list[bytes] = []

    def fetch() -> None:
        found.append(whole(CachedStorage(asked.storage, LocalStorage(str(tmp_path / "cache"))), NAME))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SMALL_DATA] * 8
    assert (tmp_path / "cache" / NAME).read_bytes() == SMALL_DATA


# A whole container.


class Remote:
    def __init__(self, tmp_path: Path, count: int) -> None:
        self.medium = MemoryStorage(traits=Traits("memory", is_remote=True))
        self.storage = RecordingStorage(self.medium)
        with Container.create(self.medium, container_version=3) as container:
            self.keys = container.insert_many((b"%d" % number for number in range(count)), compress=CompressMode.NO)
            container.close()
        self.cache = tmp_path / "cache"
        self.id = container.container_id

    def opened(self) -> Engine:
        return Engine(self.storage.root, storage=self.storage, keeping=Cache(str(self.cache)))

    @property
    def copy(self) -> Path:
        (path,) = (self.cache / self.id / "segments").iterdir()
        return path


@pytest.mark.parametrize("damage", ["a byte of an entry", "cut", "empty", "another length"])
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, damage: str) -> None:
    remote = Remote(tmp_path, 10_000)
    engine = remote.opened()
    assert engine.objects.has_many(remote.keys) == [True] * len(remote.keys)
    engine.close()
    good = remote.copy.read_bytes()
    bad = {
        "a byte of an entry": good[:300_000] + bytes([good[300_000] ^ 1]) + good[300_001:],
        "cut": good[:-1],
        "empty": b"",
        "another length": good + b"\\0",
    }[damage]
    remote.copy.write_bytes(bad)
    remote.storage.forget()
    again = remote.opened()
    assert again.objects.has_many(remote.keys) == [True] * len(remote.keys)
    assert not again.objects.has("0" * 64)
    again.close()
    assert remote.copy.read_bytes() == good
    # The packs were not read for what the index says.
    assert [call for call in remote.storage.calls if call.name.startswith("packs") and call.verb == "read"] == []


def test_a_bit_that_is_flipped_on_the_way_is_asked_for_again(tmp_path: Path) -> None:
    remote = Remote(tmp_path, 10_000)
    (segment,) = (name for name in remote.medium._objects if name.startswith("segments"))
    kept = remote.medium._objects[segment]
    at = 300_000
    kept.data[at] ^= 1
    kept_read: list[StorageCall] = []

    class Once(RecordingStorage):
        """Heals once it was read."""

        def call(self, call, do):  # type: ignore[no-untyped-def]
            result = super().call(call, do)
            if call.verb == "read" and call.name == segment and not kept_read:
                kept_read.append(call)
                kept.data[at] ^= 1
            return result

    engine = Engine(remote.storage.root, storage=Once(remote.medium), keeping=Cache(str(remote.cache)))
    assert engine.objects.has_many(remote.keys) == [True] * len(remote.keys)
    assert kept_read
    engine.close()


def test_a_second_container_at_the_same_place_does_not_get_the_copies_of_the_first(tmp_path: Path) -> None:
    first, second = Remote(tmp_path, 9000), Remote(tmp_path, 9500)
    for remote in (first, second):
        engine = remote.opened()
        assert engine.objects.has_many(remote.keys) == [True] * len(remote.keys)
        engine.close()
    assert first.copy.read_bytes() != second.copy.read_bytes()


def test_a_medium_that_cannot_be_reached_is_no_damage(tmp_path: Path) -> None:
    remote = Remote(tmp_path, 140_000)
    is_down = False

    def fault(call: StorageCall) -> Exception | None:
        is_asked = call.verb == "read" and call.name.startswith("segments")
        return Unavailable("bucket", "no route") if is_down and is_asked else None

    engine = Engine(remote.storage.root, storage=FaultyStorage(remote.medium, fault))
    assert engine.objects.extract(remote.keys[0]) == b"0"
    is_down = True
    for read in (engine.objects.has, engine.objects.extract, lambda key: engine.objects.has_many([key, "0" * 64])):
        with pytest.raises(Unavailable):
            read(remote.keys[100_000])
    is_down = False
    assert engine.objects.extract(remote.keys[100_000]) == b"100000"

"""A lazy clone reads what it has not from its remote, and keeps it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, DamagedObject, ObjectNotFound, Place, RemoteUnavailable, Unavailable, Verify
from rsdos.engine.engine import Engine
from rsdos.engine.keeping import Cache, InClone
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import noise
from tests.helpers import ABSENT, native

SIZE = 1000


class Lazy:
    """A remote in memory, and a lazy clone of it."""

    def __init__(self, path: Path) -> None:
        medium = MemoryStorage(traits=MemoryStorage.traits._replace(is_remote=True))
        self.is_reachable = True
        self.storage = RecordingStorage(FaultyStorage(medium, self._fault))
        self.remote = Container.create(medium)
        self.path = path
        Container.create(path).close()
        (path / "remotes").mkdir()
        self.engine = self.opened()

    def _fault(self, call: StorageCall) -> Exception | None:
        return None if self.is_reachable else Unavailable(self.storage.root, "no route to it")

    def is_there(self, clone: Engine) -> bool:
        return True

    def open(self, clone: Engine) -> Engine:
        return Engine(self.storage.root, storage=self.storage, keeping=InClone(clone))

    def opened(self) -> Engine:
        return Engine(str(self.path), beyond=self)

    def insert(self, count: int, seed: int = 0) -> dict[str, bytes]:
        objects = [noise(SIZE, 10_000 * seed + number) for number in range(count)]
        return dict(zip(self.remote.insert_many(objects, compress=CompressMode.NO), objects, strict=True))

    def requests(self) -> int:
        count = len(self.storage.calls)
        self.storage.forget()
        return count


@pytest.fixture
def lazy(tmp_path: Path) -> Iterator[Lazy]:
    lazy = Lazy(tmp_path / "clone")
    yield lazy
    lazy.engine.close()


def test_what_is_not_here_is_read_from_the_remote_and_stays(lazy: Lazy) -> None:
    objects = lazy.insert(50)
    first, *rest = objects
    assert lazy.engine.objects.extract(first) == objects[first]
    assert dict(lazy.engine.objects.extract_many(objects)) == objects
    lazy.engine.close()
    lazy.is_reachable = False
    again = lazy.opened()
    assert dict(again.objects.extract_many(objects)) == objects
    assert again.objects.has_many(objects) == [True] * 50
    again.close()
    # An ordinary container, for programs that do not know of the remote.
    with Container(lazy.path) as plain:
        assert sorted(plain) == sorted(objects)
        assert dict(plain.extract_many(rest)) == {key: objects[key] for key in rest}


def test_what_is_here_asks_the_remote_for_nothing(lazy: Lazy) -> None:
    packed = lazy.engine.objects.insert_many([b"packed"], to=Place.PACKED)[0]
    loose = lazy.engine.objects.insert(b"loose")
    assert lazy.engine.objects.extract(packed) == b"packed"
    assert lazy.engine.objects.extract(loose) == b"loose"
    assert dict(lazy.engine.objects.extract_many([packed, loose])) == {packed: b"packed", loose: b"loose"}
    assert lazy.engine.objects.has_many([packed, loose]) == [True, True]
    assert lazy.requests() == 0


def test_every_verb_goes_on_to_the_remote(lazy: Lazy, tmp_path: Path) -> None:
    objects = lazy.insert(4)
    one, two, three, four = objects
    large = noise((2 << 20) + 7)
    key = lazy.remote.insert(large, to=Place.PACKED)
    store = lazy.engine.objects
    assert store.has(one)
    assert one in store
    assert store.meta(two).size == SIZE
    with store.open(three) as stream:
        assert stream.read() == objects[three]
    assert b"".join(store.parts(four)) == objects[four]
    with store.open(key) as stream:
        stream.seek(1 << 20)
        assert stream.read(9) == large[1 << 20 : (1 << 20) + 9]
    assert store.extract_to(key, tmp_path / "large") == len(large)
    assert (tmp_path / "large").read_bytes() == large


def test_what_neither_has_is_missing(lazy: Lazy) -> None:
    lazy.insert(1)
    store = lazy.engine.objects
    with pytest.raises(ObjectNotFound):
        store.extract(ABSENT)
    with pytest.raises(ObjectNotFound):
        list(store.extract_many([ABSENT]))
    assert not store.has(ABSENT)
    assert list(store.extract_many([ABSENT], missing="none")) == [(ABSENT, None)]


def test_what_was_inserted_into_the_remote_since_is_found(lazy: Lazy) -> None:
    before = lazy.insert(2)
    assert dict(lazy.engine.objects.extract_many(before)) == before
    after = lazy.insert(2, seed=1)
    assert dict(lazy.engine.objects.extract_many(after)) == after


@pytest.mark.parametrize("is_open", [True, False], ids=["open before", "never open"])
def test_without_the_remote_what_is_here_is_read_and_the_rest_is_an_error_that_says_so(
    lazy: Lazy, is_open: bool
) -> None:
    objects = lazy.insert(2)
    here, there = objects
    assert lazy.engine.objects.extract(here) == objects[here]
    if not is_open:
        lazy.engine.close()
        lazy.engine = lazy.opened()
    lazy.is_reachable = False
    store = lazy.engine.objects
    assert store.extract(here) == objects[here]
    reads: list[Callable[[str], object]] = [store.extract, store.open, lambda key: list(store.parts(key))]
    if not is_open:
        reads += [store.meta, store.has]  # Else the index of the remote says it.
    for read in reads:
        with pytest.raises(RemoteUnavailable, match=there):
            read(there)
    found = []
    with pytest.raises(RemoteUnavailable, match=there):
        for key, _ in store.extract_many([there, here]):
            found.append(key)
    assert found == [here]
    lazy.is_reachable = True
    assert store.extract(there) == objects[there]


def test_damage_here_is_read_from_the_remote(lazy: Lazy) -> None:
    objects = lazy.insert(3)
    assert dict(lazy.engine.objects.extract_many(objects)) == objects
    lazy.engine.close()
    pack = lazy.path / "packed" / "0000000001.pack"
    data = bytearray(pack.read_bytes())
    at = data.find(next(iter(objects.values())))
    data[at : at + 4] = b"oops"
    pack.write_bytes(data)
    again = lazy.opened()
    assert dict(again.objects.extract_many(objects)) == objects
    assert again.objects.extract(next(iter(objects))) == next(iter(objects.values()))
    again.close()


def test_a_clone_that_cannot_be_written_reads_all_the_same(lazy: Lazy, caplog: pytest.LogCaptureFixture) -> None:
    objects = lazy.insert(3)
    (lazy.path / "packed").rename(lazy.path / "gone")
    (lazy.path / "packed").write_text("in the way")
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert dict(lazy.engine.objects.extract_many(objects)) == objects
        lazy.engine.close()
    assert "read again" in caplog.text


# The cache of a remote.


def test_a_cache_is_shared_by_all_that_open_the_remote(lazy: Lazy, tmp_path: Path) -> None:
    objects = lazy.insert(20)
    cache = Cache(str(tmp_path / "cache"))
    for _ in range(2):
        engine = Engine(lazy.storage.root, storage=lazy.storage, keeping=cache)
        assert dict(engine.objects.extract_many(objects)) == objects
        engine.close()
        lazy.is_reachable = True
    reads = [call.length for call in lazy.storage.calls if call.verb == "read" and call.name.startswith("packed")]
    # One request for all of them, and none the second time. (The others are for the table of the index.)
    assert [length for length in reads if length >= 20 * SIZE] == [20 * SIZE]
    with Container(tmp_path / "cache" / lazy.remote.container_id / "objects") as kept:
        assert sorted(kept) == sorted(objects)
        assert kept.config.pack_size_target <= (10 << 30) // 16


def test_two_remotes_do_not_share_a_cache(lazy: Lazy, tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))
    other = Container.create(MemoryStorage(traits=lazy.storage.traits))
    key = other.insert(b"the other's", to=Place.PACKED)
    engine = Engine(other.engine.layout.root, storage=other.engine.layout.storage, keeping=cache)
    assert engine.objects.extract(key) == b"the other's"
    engine.close()
    engine = Engine(lazy.storage.root, storage=lazy.storage, keeping=cache)
    assert not engine.objects.has(key)
    engine.close()
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cache_that_cannot_be_made_is_a_warning(lazy: Lazy, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    objects = lazy.insert(3)
    (tmp_path / "file").write_text("no directory")
    engine = Engine(lazy.storage.root, storage=lazy.storage, keeping=Cache(str(tmp_path / "file")))
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert dict(engine.objects.extract_many(objects)) == objects
        engine.close()
    assert "nothing that is read is kept" in caplog.text


# A remote that lies.


@pytest.mark.parametrize("verify", [None, Verify.CHECKSUM, Verify.HASH])
@pytest.mark.parametrize("size", [SIZE, (2 << 20) + 1])
def test_wrong_bytes_of_a_remote_are_never_returned_and_never_kept(
    lazy: Lazy, tmp_path: Path, verify: Verify | None, size: int
) -> None:
    true, forged = noise(size, 1), noise(size, 2)
    key = lazy.remote.insert(true, to=Place.PACKED)
    other = lazy.remote.insert(forged, to=Place.PACKED)
    engine = Engine(lazy.storage.root, verify=verify, storage=lazy.storage, keeping=Cache(str(tmp_path / "cache")))
    index = native(engine).index
    real = index.find(bytes.fromhex(other))
    assert real is not None
    # An entry of the key that leads to the other's bytes, and has their checksum.
    mixed = int.from_bytes(bytes.fromhex(other)[:4], "big") ^ int.from_bytes(bytes.fromhex(key)[:4], "big")
    entry = real._replace(digest=bytes.fromhex(key), crc=real.crc ^ mixed)
    index.find = lambda digest: entry  # type: ignore[method-assign]
    index.find_all = lambda digest, kind=None: [entry]  # type: ignore[method-assign]
    for read in (engine.objects.extract, lambda key: list(engine.objects.parts(key))):
        with pytest.raises(DamagedObject, match=key):
            read(key)
    with engine.objects.open(key) if verify is not Verify.HASH and size > 1 << 20 else nullcontext() as stream:
        # A range of a large object is checked by the checksums of its frames alone, which an author can make.
        assert stream is None or stream.read(10) == forged[:10]
    if verify is Verify.HASH or size <= 1 << 20:
        with pytest.raises(DamagedObject, match=key):
            engine.objects.open(key)
    engine.close()
    with Container(tmp_path / "cache" / lazy.remote.container_id / "objects") as kept:
        assert list(kept) == []

"""What was read of a remote is kept on this machine, within a budget, and never returns what the remote has deleted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from rsdos.model import PackKind
from rsdos.storage.memory import MemoryStorage
from rsdos.stores import keeper
from rsdos.stores.keeper import PACKS, Keeper
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.remote.kept import KeptPackedStore
from rsdos.testing import RecordingStorage
from tests.data import noise
from tests.helpers import native

MEDIUM = MemoryStorage.traits._replace(is_remote=True)
SIZE = 1000


class Both:
    """A remote, a container on this machine, and the store that reads the first and keeps in the second."""

    def __init__(self, near: Path, budget: int | None = None) -> None:
        self.medium = MemoryStorage(traits=MEDIUM)
        self.storage = RecordingStorage(self.medium)
        self.remote = Container.create(self.medium)
        self.near = Container.create(near, pack_size_target=(budget or 1 << 30) // PACKS, compression="none")
        self.budget = budget
        self.store = self.opened()

    def opened(self) -> KeptPackedStore:
        engine = Container(self.storage).engine
        store = KeptPackedStore(engine.layout, engine.config, engine.durability, Keeper(self.packs, self.budget))
        # The tables of the index are in the packs of this remote.
        store.refresh()
        self.storage.forget()
        return store

    @property
    def packs(self) -> PackedStore:
        return native(self.near.engine)

    def insert(self, objects: list[bytes]) -> list[bytes]:
        keys = self.remote.insert_many(objects, compress=CompressMode.NO)
        self.store.refresh()
        return list(map(bytes.fromhex, keys))

    def pack_reads(self) -> int:
        """How often packs of the remote were read since the last question."""
        count = sum(
            call.verb in ("read", "read_into") and call.name.startswith("packed") for call in self.storage.calls
        )
        self.storage.forget()
        return count


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a test has gathered is not committed at the end of all tests."""
    yield
    keeper._unfinished.clear()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    both = Both(tmp_path / "near")
    yield both
    both.near.close()


def objects(count: int, seed: int = 0, size: int = SIZE) -> list[bytes]:
    return [noise(size, seed * 10_000 + number) for number in range(count)]


def test_what_was_read_is_not_asked_for_again(both: Both) -> None:
    data = objects(3)
    digests = both.insert(data)
    both.pack_reads()
    assert [both.store.read(digest) for digest in digests] == data
    assert both.pack_reads() == 3
    # Gathered in memory, and committed by the end of the store.
    assert [both.store.read(digest) for digest in digests] == data
    assert len(both.near) == 0
    both.store.close()
    assert sorted(both.near) == sorted(digest.hex() for digest in digests)
    again = both.opened()
    assert [again.read(digest) for digest in digests] == data
    assert both.pack_reads() == 0


def test_a_bulk_read_reads_here_what_is_here_and_keeps_the_rest(both: Both) -> None:
    data = objects(100)
    digests = both.insert(data)
    for digest in digests[:10]:
        both.store.read(digest)
    both.store.keeper.commit()
    both.store.read(digests[10])
    assert dict(both.store.read_many(digests)) == dict(enumerate(data))
    both.store.close()
    both.pack_reads()
    again = both.opened()
    assert dict(again.read_many([*digests, b"x" * 32])) == dict(enumerate(data))
    assert both.pack_reads() == 0


def test_a_large_object_is_kept_when_all_of_it_is_read_and_not_for_a_range(both: Both) -> None:
    data = noise((3 << 20) + 5)
    (digest,) = both.insert([data])
    stream = both.store.stream(digest)
    assert stream is not None
    stream.seek(1 << 20)
    assert stream.read(100) == data[1 << 20 : (1 << 20) + 100]
    assert len(both.near) == 0
    parts = both.store.frames(digest)
    assert parts is not None
    assert b"".join(parts) == data
    assert list(both.near) == [digest.hex()]
    both.pack_reads()
    parts = both.store.frames(digest)
    assert parts is not None
    assert b"".join(parts) == data
    assert both.pack_reads() == 0


def test_what_the_remote_has_deleted_is_not_found_whatever_is_kept(both: Both) -> None:
    data = objects(5)
    digests = both.insert(data)
    dict(both.store.read_many(digests))
    both.store.keeper.commit()
    both.remote.delete([digests[0].hex()])
    both.store.refresh()
    assert both.store.read(digests[0]) is None
    assert both.store.frames(digests[0]) is None
    assert both.store.stream(digests[0]) is None
    assert dict(both.store.read_many(digests)) == dict(list(enumerate(data))[1:])


def test_a_damaged_copy_here_is_read_from_the_remote(both: Both, tmp_path: Path) -> None:
    data = objects(2)
    digests = both.insert(data)
    dict(both.store.read_many(digests))
    both.store.close()
    extent = both.near.meta(digests[0].hex()).extent
    assert extent is not None
    both.near.close()
    with open(tmp_path / "near" / "packed" / "0000000001.pack", "r+b") as file:
        file.seek(extent.offset)
        file.write(b"damaged")
    again = both.opened()
    assert again.read(digests[0]) == data[0]
    assert dict(both.opened().read_many(digests)) == dict(enumerate(data))


def test_beyond_the_budget_the_oldest_packs_go(tmp_path: Path) -> None:
    budget = 64 * SIZE * PACKS
    both = Both(tmp_path / "near", budget)
    digests = []
    for seed in range(40):
        new = both.insert(objects(64, seed))
        digests += new
        assert dict(both.store.read_many(new)) == dict(enumerate(objects(64, seed)))
        both.store.keeper.commit()
    manifest = both.packs.index.refresh().manifest
    assert manifest.packs_length <= budget
    assert manifest.packs_length >= budget // 2
    kept = set(both.near)
    assert digests[-1].hex() in kept
    assert digests[0].hex() not in kept
    files = os.listdir(tmp_path / "near" / "packed")
    assert len(files) == len(tuple(manifest.packs))
    report = both.near.validate()
    assert not report.damaged and not report.files
    # What went is read from the remote.
    assert both.store.read(digests[0]) == objects(1)[0]


def test_what_is_read_again_stays_when_the_oldest_packs_go(tmp_path: Path) -> None:
    both = Both(tmp_path / "near", 64 * SIZE * PACKS)
    favourite = both.insert([noise(SIZE, -5)])[0]
    both.store.read(favourite)
    for seed in range(60):
        digests = both.insert(objects(64, seed))
        list(both.store.read_many(digests))
        both.store.keeper.commit()
        both.pack_reads()
        assert both.store.read(favourite) == noise(SIZE, -5)
        assert both.pack_reads() == 0


def test_what_is_larger_than_a_pack_of_the_cache_passes_by(tmp_path: Path) -> None:
    both = Both(tmp_path / "near", 100_000 * PACKS)
    small, large = both.insert([noise(100_000), noise(100_001)])
    huge = both.insert([noise(3 << 20)])[0]
    for digest in (small, large):
        both.store.read(digest)
    parts = both.store.frames(huge)
    assert parts is not None
    assert b"".join(parts) == noise(3 << 20)
    both.store.close()
    assert list(both.near) == [small.hex()]


def test_a_cache_that_cannot_be_written_is_a_warning(
    both: Both, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = objects(3)
    digests = both.insert(data)
    big = both.insert([noise(2 << 20)])[0]
    both.near.close()
    (tmp_path / "near" / "packed").rename(tmp_path / "near" / "gone")
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert [both.store.read(digest) for digest in digests] == data
        both.store.keeper.commit()
        parts = both.store.frames(big)
        assert parts is not None
        assert b"".join(parts) == noise(2 << 20)
    assert "cannot be written on this machine" in caplog.text
    assert dict(both.store.read_many(digests)) == dict(enumerate(data))


def test_an_error_of_the_remote_is_the_error_of_the_read(both: Both) -> None:
    big = both.insert([noise(2 << 20)])[0]
    both.medium.refuse("open")
    with pytest.raises(PermissionError):
        both.store.read(big)
    parts = both.store.frames(big)
    assert parts is not None
    with pytest.raises(PermissionError):
        list(parts)
    both.medium.refuse()
    parts = both.store.frames(big)
    assert parts is not None
    assert b"".join(parts) == noise(2 << 20)
    # The cache is not to blame, and goes on.
    assert list(both.near) == [big.hex()]


def test_in_a_clone_pages_of_snapshots_stay_pages(both: Both) -> None:
    page = noise(500, 1)
    key = both.remote.engine.objects.insert_many([page], kind=PackKind.TREES)[0]
    both.store.refresh()
    assert both.store.read(bytes.fromhex(key)) == page
    both.store.close()
    assert list(both.near) == []
    assert both.packs.read(bytes.fromhex(key)) == page
    assert both.near.insert(b"loose", to=Place.LOOSE) in both.near


def test_what_is_gathered_is_committed_at_the_end_of_the_process_and_by_few_at_a_time(tmp_path: Path) -> None:
    many = [Both(tmp_path / f"near{number}") for number in range(6)]
    for number, both in enumerate(many):
        both.store.read(both.insert([noise(SIZE, number)])[0])
    assert [len(both.near) for both in many] == [1, 1, 0, 0, 0, 0]
    keeper._finish_all()
    assert [len(both.near) for both in many] == [1] * 6

"""Many ranges are asked for at once where a medium lets a call wait, and one by one where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest

import rsdos
from rsdos import CompressMode, Container, DamagedObject, Place, names
from rsdos.index.runs import ReadRange
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.opened import RandomAccess
from rsdos.storage.wrapper import StorageCall, StorageWrapper
from rsdos.stores.packed import ahead
from rsdos.stores.packed.ahead import IN_FLIGHT, InSequence, ReadAhead, in_batches, under_way
from rsdos.stores.packed.reader import RecordReader
from rsdos.testing import RecordingStorage, WaitingStorage
from tests.data import noise
from tests.patience import HANG

LENGTH = 1000
BETWEEN = 20_000
"""More than what is read and dropped between two objects."""


def run_of(number: int, length: int = LENGTH, objects: int = 1, flags: int = 0) -> ReadRange:
    column = [number] * objects
    return ReadRange(column, 1, flags, [number << 20] * objects, [length] * objects, column, column, column)


class Unknowing(StorageWrapper):
    """Does not know what is in a cache, as FUSE does not."""

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        file = super().open(name, length)
        file.is_cached = lambda offset: None  # type: ignore[method-assign]
        return file


@pytest.fixture
def medium() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def wanted(medium: MemoryStorage) -> dict[str, bytes]:
    """Objects that are no neighbours, by key, in the order of their pack."""
    container = Container.create(medium)
    objects = [data for seed in range(300) for data in (noise(LENGTH, seed), noise(BETWEEN, 1000 + seed))]
    keys = container.insert_many(objects, compress=CompressMode.NO)
    return dict(zip(keys[::2], objects[::2], strict=True))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read takes a second."""
    monkeypatch.setattr(ReadAhead, "clock", staticmethod(count().__next__))
    monkeypatch.setattr(RecordReader, "clock", staticmethod(count().__next__))


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    rsdos.set_threads(None)


# What is asked for together.


def test_batches_have_all_ranges_in_order_and_are_bounded() -> None:
    runs = [run_of(number, objects=1 if number < 600 else 1500) for number in range(605)]
    found = list(in_batches(iter(runs)))
    assert [run for batch in found for run in batch] == runs
    assert [len(batch) for batch in found] == [256, 256, 90, 2, 1]


def test_threads_do_what_fits_in_memory_before_its_turn_and_results_come_in_order() -> None:
    begun: list[int] = []
    lengths = [3, 3, 0, 3, 3, 20, 1, 1, 1]

    def do(at: int) -> int:
        begun.append(at)
        return at * at

    results = under_way(do, range(len(lengths)), lambda at: lengths[at], 10)
    seen = []
    for at, result in results:
        assert result == (at * at if lengths[at] else None)
        seen.append(at)
        # What was begun and has not had its turn; and what has it now, which may still be in use.
        assert sum(lengths[other] for other in {*begun, at} - set(seen[:-1])) <= max(10, lengths[5] + 1)
    assert seen == list(range(len(lengths)))
    assert sorted(begun) == [at for at, length in enumerate(lengths) if length]


def test_an_error_is_raised_at_its_turn() -> None:
    def do(at: int) -> int:
        return 10 // (at - 3)

    results = under_way(do, range(6), lambda _: 1, 100)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_bytes_in_sequence_come_from_the_parts_and_others_from_the_medium() -> None:
    data = noise(1000)
    read: list[tuple[int, int]] = []

    def fetch(offset: int, length: int) -> bytes:
        read.append((offset, length))
        return data[offset : offset + length]

    range_ = InSequence(iter([data[:300], data[300:310], data[310:1000]]), fetch)
    assert range_.fetch(900, 100) == data[900:]
    for offset, length in ((0, 100), (100, 300), (400, 0), (400, 500)):
        assert range_.fetch(offset, length) == data[offset : offset + length]
    assert range_.fetch(50, 10) == data[50:60]
    assert range_.fetch(900, 100) == data[900:]
    assert read == [(900, 100), (50, 10)]


# What is under way at once.


@pytest.mark.usefixtures("slow")
def test_where_a_read_has_to_be_waited_for_sixteen_are_under_way_at_once(
    medium: MemoryStorage, wanted: dict[str, bytes]
) -> None:
    reads = count()

    def is_held(call: StorageCall) -> bool:
        # The first one is that by which the medium is found to be slow.
        return call.verb == "read" and call.length == LENGTH and 1 <= next(reads) <= IN_FLIGHT

    waiting = WaitingStorage(Unknowing(medium), is_held)
    storage = RecordingStorage(waiting)
    found: list[tuple[str, bytes]] = []
    with Container(storage) as container:
        reader = threading.Thread(target=lambda: found.extend(container.extract_many(reversed(wanted))))
        reader.start()
        waiting.wait_for(IN_FLIGHT, HANG)
        waiting.let_go()
        reader.join()
        assert found == list(wanted.items())
        assert storage.most_at_once == IN_FLIGHT
        assert len([call for call in storage.calls if call.length == LENGTH]) == len(wanted)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(("threads", "most"), [(0, 1), (1, 1), (3, 3)])
def test_a_process_that_wants_fewer_threads_has_fewer(
    medium: MemoryStorage, wanted: dict[str, bytes], threads: int, most: int
) -> None:
    rsdos.set_threads(threads)
    storage = RecordingStorage(Unknowing(medium))
    assert list(Container(storage).extract_many(wanted)) == list(wanted.items())
    assert storage.most_at_once <= most


def test_where_nothing_is_waited_for_there_are_no_threads(
    medium: MemoryStorage, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadAhead, "clock", staticmethod(lambda: 0.0))
    monkeypatch.setattr(ahead, "under_way", None)
    for storage in (medium, Unknowing(medium)):
        assert list(Container(storage).extract_many(wanted)) == list(wanted.items())


@pytest.mark.usefixtures("slow")
def test_a_large_object_is_read_in_parts_of_which_many_are_under_way_at_once(medium: MemoryStorage) -> None:
    data = noise((20 << 20) + 5)
    key = Container.create(medium).insert(data, to=Place.PACKED)
    waiting = WaitingStorage(Unknowing(medium), lambda call: call.verb == "read" and call.length == 1 << 20)
    storage = RecordingStorage(waiting)
    found: list[bytes] = []
    container = Container(storage)
    reader = threading.Thread(target=lambda: found.append(container.extract(key)))
    reader.start()
    for count_at_once in (IN_FLIGHT, 20 - IN_FLIGHT):
        waiting.wait_for(count_at_once, HANG)
        waiting.let_go()
    reader.join()
    assert found == [data]
    assert storage.most_at_once == IN_FLIGHT
    # What the system may have is read in one call.
    recording = RecordingStorage(medium)
    assert Container(recording).extract(key) == data
    assert recording.most_at_once == 1


@pytest.mark.usefixtures("slow")
def test_what_is_damaged_is_told_for_its_object_and_the_others_are_there(
    medium: MemoryStorage, wanted: dict[str, bytes]
) -> None:
    with Container(medium) as container:
        bad = list(wanted)[100]
        extent = container.meta(bad).extent
        assert extent is not None
    writer = medium.append(names.pack(extent.pack_id), new=False)
    writer.write(extent.offset, [b"damaged"])
    writer.end()
    container = Container(Unknowing(medium))
    with pytest.raises(DamagedObject) as raised:
        list(container.extract_many(wanted))
    assert raised.value.key == bad
    del wanted[bad]
    assert list(container.extract_many(wanted)) == list(wanted.items())

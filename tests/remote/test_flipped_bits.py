"""A bit that flips on its way from a remote costs one more request, and one that is flipped there is told as damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Unavailable
from rsdos.maintenance.check.validate import ValidateReport
from rsdos.model import FRAME_SIZE
from rsdos.storage.base import Version
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.ranged import RangedStorage
from rsdos.storage.wrapper import StorageWrapper
from tests.ceph.proxy import flip_one
from tests.data import key_of, noise
from tests.remote.machines import packed_of

REMOTE = MemoryStorage().traits._replace(appends=False, locks=False, is_remote=True)
OBJECTS = [b"object %d" % at for at in range(20)]


class Flipping(StorageWrapper):
    """Flips a bit of so many answers, as are `left`, that bring an object whose name begins so."""

    def __init__(self, prefix: str) -> None:
        super().__init__(MemoryStorage(traits=REMOTE))
        self._prefix = prefix
        self.left = 0

    def read(self, name: str, most: int) -> bytes:
        return self._flipped(name, self.inner.read(name, most))

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        data, version = self.inner.read_with_version(name, most)
        return self._flipped(name, data), version

    def _flipped(self, name: str, data: bytes) -> bytes:
        if not name.startswith(self._prefix) or not data or not self.left:
            return data
        self.left -= 1
        return flip_one(data)


def filled(prefix: str) -> tuple[Flipping, list[str]]:
    storage = Flipping(prefix)
    with Container.create(storage) as container:
        return storage, container.insert_many(OBJECTS)


@pytest.mark.parametrize("prefix", ["config.json", "manifests/"])
def test_a_document_whose_bit_flips_on_its_way_is_read_once_more(prefix: str) -> None:
    storage, keys = filled(prefix)
    storage.left = 1
    with Container(storage) as container:
        assert [data for _, data in container.extract_many(keys)] == OBJECTS
        assert storage.left == 0
    storage.left = 1
    with Container(storage) as container:
        assert container.insert_many([b"more"])
        assert storage.left == 0


@pytest.mark.parametrize("prefix", ["config.json", "manifests/"])
def test_a_document_that_is_damaged_is_told(prefix: str) -> None:
    storage, _ = filled(prefix)
    storage.left = 1000
    with pytest.raises(DamagedContainer), Container(storage) as container:
        container.insert_many([b"more"])


class FlippingOnce(RangedStorage, StorageWrapper):
    """Flips a bit of the answer number ``at``, of those that bring bytes; None: of no answer."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage(traits=REMOTE))
        self.at: int | None = None

    def read(self, name: str, most: int) -> bytes:
        return self._flipped(self.inner.read(name, most))

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        return self._flipped(self.inner.open(name).read(offset, length))

    def _flipped(self, data: bytes) -> bytes:
        if self.at is None:
            return data
        self.at -= 1
        return flip_one(data) if self.at == -1 else data


LARGE = noise(FRAME_SIZE + 1000, 1)
DEAD = [b"dead %d" % at for at in range(3)]


def worn(storage: FlippingOnce | None = None) -> FlippingOnce:
    """A container with dead objects in two packs: one of small objects, one of a large one."""
    storage = storage or FlippingOnce()
    Container.create(storage).close()
    for objects in ([*OBJECTS, *DEAD[:2]], [LARGE, DEAD[2]]):
        with Container(storage) as container:
            container.insert_many(objects)
    with Container(storage) as container:
        container.delete(map(key_of, DEAD))
    return storage


def without_newest_manifest() -> FlippingOnce:
    """A container whose newest manifest is damaged, and no readable one has the last pack."""
    storage = worn()
    with Container(storage) as container:
        container.insert_many([b"the last one"])
    newest = min(storage.inner.list("manifests"))
    storage.inner.remove(f"manifests/{newest}")
    storage.inner.put_new(f"manifests/{newest}", b"damaged")
    return storage


class Silent(FlippingOnce):
    """Gives no answer to the request number ``at`` that brings bytes."""

    def _flipped(self, data: bytes) -> bytes:
        if self.at is not None:
            self.at -= 1
            if self.at == -1:
                raise Unavailable("here", "no answer")
        return data


def with_damaged_packs(storage: FlippingOnce | None = None) -> FlippingOnce:
    """A container of which two packs have lost the end of their tables, while the index has all of their entries."""
    storage = worn(storage)
    with Container(storage) as container:
        container.merge()
    for name in sorted(storage.inner.list("packs"))[:2]:
        data = storage.inner.read(f"packs/{name}", 1 << 24)
        storage.inner.remove(f"packs/{name}")
        storage.inner.put_new(f"packs/{name}", data[:-1] + bytes([data[-1] ^ 1]))
    return storage


@pytest.mark.parametrize(
    ("make", "do", "more"),
    [
        (worn, lambda container: container.repack(min_dead=0.0), []),
        (worn, lambda container: container.repack("zstd", min_dead=0.0), []),
        (worn, lambda container: container.optimize(), []),
        (without_newest_manifest, lambda container: container.repair_index(), [b"the last one"]),
    ],
    ids=["repack", "repack to zstd", "optimize", "repair index"],
)
def test_upkeep_stores_no_bit_that_flips_in_any_answer_and_leaves_nothing_out(
    make: Callable[[], FlippingOnce], do: Callable[[Container], object], more: list[bytes]
) -> None:
    """It would be damage that stays: the copies that it was read from are removed later."""
    expected = sorted([*OBJECTS, LARGE, *more])
    for at in range(200):
        storage = make()
        storage.at = at
        with Container(storage) as container:
            do(container)
        is_flipped = storage.at < 0
        storage.at = None
        with Container(storage) as container:
            assert sorted(data for _, data in container.extract_many(container)) == expected, at
            assert container.validate("full").is_good, at
        if not is_flipped:
            break
    assert 10 < at < 200


RESCUE = range(60, 10, -1)
"""The answers, counted from the last, among which are all of the rescue of both packs. Before it packs are scanned."""


def answers_of_a_repair() -> int:
    storage = with_damaged_packs()
    storage.at = 1 << 30
    with Container(storage) as container:
        assert container.repair_index().packs == 2
    return (1 << 30) - storage.at


def assert_nothing_is_lost(storage: FlippingOnce, at: int) -> None:
    assert storage.at is not None
    assert storage.at < 0, at
    storage.at = None
    with Container(storage) as container:
        assert sorted(data for _, data in container.extract_many(container)) == sorted([*OBJECTS, LARGE]), at
        assert container.validate("full").is_good, at


@pytest.mark.parametrize(
    ("make", "told"),
    [(FlippingOnce, DamagedContainer), (Silent, Unavailable)],
    ids=["a bit flips", "no answer comes"],
)
def test_a_rescue_loses_nothing_whatever_becomes_of_one_answer(
    make: Callable[[], FlippingOnce], told: type[Exception]
) -> None:
    """It stored flipped bits, and took every error of the storage for bytes that are gone. It is run again."""
    count = answers_of_a_repair()
    for at in RESCUE:
        storage = with_damaged_packs(make())
        storage.at = count - at
        with Container(storage) as container:
            with suppress(told):
                container.repair_index()
            container.repair_index()
        assert_nothing_is_lost(storage, at)


def with_a_snapshot() -> FlippingOnce:
    storage = worn()
    with Container(storage) as container:
        container.snapshots.save("flowers", Path(__file__).parent)
    return storage


def with_a_dictionary() -> FlippingOnce:
    storage = FlippingOnce()
    with Container.create(storage, compression="zstd") as container:
        container.insert_many(
            b"row %d: the same words are in all of them, and a number: %d" % (n, n) for n in range(3000)
        )
        assert any(pack.dictionaries for pack in packed_of(container).index.newest().packs)
    return storage


def each_answer_flipped(storage: FlippingOnce, depth: str) -> Iterator[ValidateReport]:
    """Validate once for each answer, of which a bit flips."""
    for at in range(200):
        storage.at = at
        with Container(storage) as container:
            report = container.validate(depth)
        if storage.at >= 0:
            assert at > 3
            return
        yield report
    raise AssertionError("there is no end of answers")


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("make", [worn, with_a_snapshot, with_a_dictionary])
def test_a_bit_that_flips_in_any_answer_is_no_damage(make: Callable[[], FlippingOnce], depth: str) -> None:
    """`validate` told whole packs as damaged, of which a header, a footer or an object did not arrive intact."""
    for at, report in enumerate(each_answer_flipped(make(), depth)):
        assert report.is_good, (at, report)


HARM = {"header": 8, "small object": 4096, "large object": 4096 + FRAME_SIZE, "table": 4500, "footer": -1}


@pytest.mark.parametrize("harm", HARM)
def test_real_damage_is_told_whatever_flips(harm: str) -> None:
    storage = worn()
    name = f"packs/{sorted(storage.inner.list('packs'))[harm == 'large object']}"
    data = bytearray(storage.inner.read(name, 1 << 24))
    data[HARM[harm]] ^= 1
    storage.inner.remove(name)
    storage.inner.put_new(name, bytes(data))
    for at, report in enumerate(each_answer_flipped(storage, "full")):
        assert {finding.path for finding in (*report.files, *report.damaged)} == {name}, at

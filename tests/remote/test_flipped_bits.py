"""A bit that flips on its way from a remote costs one more request, and one that is flipped there is told as damage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rsdos import Container, DamagedContainer
from rsdos.model import FRAME_SIZE
from rsdos.storage.base import Version
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.ranged import RangedStorage
from rsdos.storage.wrapper import StorageWrapper
from tests.ceph.proxy import flip_one
from tests.data import key_of, noise

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


def worn() -> FlippingOnce:
    """A container with dead objects in two packs: one of small objects, one of a large one."""
    storage = FlippingOnce()
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

"""A bit that flips on its way from a remote costs one more request, and one that is flipped there is told as damage."""

from __future__ import annotations

import pytest

from rsdos import Container, DamagedContainer
from rsdos.storage.base import Version
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageWrapper
from tests.ceph.proxy import flip_one

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

"""A container of version 2 whose maker has put other bytes under a key: the checksum is right, the hash is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, DamagedObject, Durability, Place
from rsdos.maintenance import transfer
from tests.data import key_of, noise
from tests.helpers import writable_as_nobody
from tests.hostile.forging import give_to

REAL, FORGED = b"what the key says", b"what its maker wants"
LARGE, LARGE_FORGED = noise(3 << 20, 1), noise(3 << 20, 2)
KEY, LARGE_KEY = key_of(REAL), key_of(LARGE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A container with forged entries for the keys of a small and a large object."""
    path = tmp_path / "forged"
    with Container.create(path) as container:
        container.insert_many([FORGED, LARGE_FORGED])
        for forged, key in ((FORGED, KEY), (LARGE_FORGED, LARGE_KEY)):
            give_to(container, key_of(forged), key)
        container.delete([key_of(FORGED), key_of(LARGE_FORGED)])
    return path


READS: dict[str, Callable[[Container, str], bytes | None]] = {
    "extract": lambda c, key: c.extract(key),
    "extract many": lambda c, key: dict(c.extract_many([key]))[key],
    "open": lambda c, key: c.open(key).read(),
    "get_object_content": lambda c, key: c.get_object_content(key),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("key", "forged"), [(KEY, FORGED), (LARGE_KEY, LARGE_FORGED)], ids=["small", "large"])
def test_reads_that_hash_return_none_of_it(path: Path, key: str, forged: bytes, read: str) -> None:
    with Container(path) as container:
        assert READS[read](container, key) == forged  # Its checksum is right: what a CRC promises is said in the docs.
    with Container(path, verify="hash") as container, pytest.raises(DamagedObject):
        READS[read](container, key)


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root, to give the container to another user")
@pytest.mark.parametrize("key", [KEY, LARGE_KEY], ids=["small", "large"])
def test_of_another_users_container_all_is_hashed(path: Path, key: str) -> None:
    os.chown(path, 65534, 65534)
    with Container(path) as container, pytest.raises(DamagedObject):
        container.extract(key)
    with Container(path, verify="checksum") as container:
        assert container.extract(key)


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize(("key", "real"), [(KEY, REAL), (LARGE_KEY, LARGE)], ids=["small", "large"])
def test_an_insert_is_not_acknowledged_upon_a_forged_copy(
    path: Path, key: str, real: bytes, to: Place, durability: Durability
) -> None:
    with Container(path, durability=durability) as container:
        assert container.insert(real, to=to) == key
    with Container(path, verify="hash") as container:
        assert container.extract(key) == real


def test_a_transferred_object_has_the_hash_of_its_key(path: Path, tmp_path: Path) -> None:
    target = Container.create(tmp_path / "target")
    source = Container(path)
    plan = transfer.plan(target.engine, source.engine, transfer.TransferOptions())
    report = transfer.execute(target.engine, plan)
    assert {key for key, _ in report.damaged} == {KEY, LARGE_KEY}
    assert list(target) == []
    shutil.rmtree(tmp_path / "target")


def test_a_verified_restore_names_what_is_forged(path: Path, tmp_path: Path) -> None:
    assert Container.restore(path, tmp_path / "as it is").is_good  # The docs say that it copies the bytes unchanged.
    report = Container.restore(path, tmp_path / "verified", verify=True)
    assert set(report.damaged) == {KEY, LARGE_KEY}
    assert not report.is_good

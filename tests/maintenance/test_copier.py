"""Copying objects: damage is told of the container that has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import DamagedContainer
from rsdos.maintenance import transfer
from rsdos.model import FRAME_SIZE
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import noise


@pytest.mark.parametrize("hash_type", ["sha256", "sha1"])
@pytest.mark.parametrize("size", [1000, FRAME_SIZE + 1000])
def test_damage_of_the_target_is_an_error_and_no_damaged_object_of_the_source(
    tmp_path: Path, hash_type: str, size: int
) -> None:
    # With another hash each object is inserted anew.
    with Container.create(tmp_path / "source", container_version=1, hash_type=hash_type) as source:
        key = source.insert(noise(size))
        medium = MemoryStorage()
        Container.create(medium).close()
        is_damaged = False

        def fault(call: StorageCall) -> Exception | None:
            return DamagedContainer("the target", "cut short") if is_damaged and call.verb == "write" else None

        engine = Container(FaultyStorage(medium, fault)).engine
        plan = transfer.plan(engine, source.engine, transfer.TransferOptions())
        is_damaged = True
        with pytest.raises(DamagedContainer, match="the target"):
            transfer.execute(engine, plan)
        is_damaged = False
        assert transfer.execute(engine, plan).damaged == ()
        (copied,) = Container(medium).keys()
        assert Container(medium).extract(copied) == source.extract(key)

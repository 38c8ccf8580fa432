"""The order in which many objects are in the packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container
from tests.data import key_of, noise


@pytest.mark.parametrize("version", [1, 2])
def test_digests_come_in_the_order_of_their_objects(tmp_path: Path, version: int) -> None:
    """Those that are loose, or not there, come last."""
    with Container.create(tmp_path / "c", container_version=version, pack_size_target=4_000) as container:
        packed = [
            key for size in (3_000, 2_000, 5_000) for key in container.insert_many([noise(size, size), noise(9, size)])
        ]
        others = [container.insert(b"loose"), key_of(b"absent")]
        keys = sorted([*packed, *others])
        order = container.engine.packed.storage_order([bytes.fromhex(key) for key in keys])
        extents = {key: container.meta(key).extent for key in packed}
        assert [keys[at] for at in order[:6]] == sorted(packed, key=lambda key: extents[key] or ())
        assert sorted(keys[at] for at in order[6:]) == sorted(others)

"""An object that is wanted as bytes takes the memory of one copy."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from rsdos import Container, Place
from tests.data import noise

DATA = (noise(1 << 19) + bytes(1 << 19)) * 24


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compression", ["none", "zlib+1", "zstd"])
@pytest.mark.parametrize("place", [Place.LOOSE, Place.PACKED])
def test_extracting_holds_an_object_once(tmp_path: Path, version: int, compression: str, place: Place) -> None:
    if version == 1 and compression != "zlib+1":
        pytest.skip("version 1 has zlib")
    container = Container.create(
        tmp_path / "container",
        container_version=version,
        compression=compression,
        loose_compression=compression if version == 2 else "none",
    )
    key = container.insert(DATA, to=place)
    for read in (container.extract, lambda key: container.open(key).read()):
        container.extract(key)
        tracemalloc.start()
        try:
            data = read(key)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert data == DATA
        assert peak < 1.4 * len(DATA)
        del data
    container.close()

"""Packs end with the object that brings them to their target, in both versions, whichever way objects come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from tests.data import noise, text


def packs_of(container: Container) -> list[int]:
    """Objects of each pack."""
    counts: dict[int, int] = {}
    for key in container:
        extent = container.meta(key).extent
        assert extent is not None
        counts[extent.pack_id] = counts.get(extent.pack_id, 0) + 1
    return [counts[pack_id] for pack_id in sorted(counts)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("way", ["packed", "inserted"])
def test_a_small_target_is_kept_to_one_object(tmp_path: Path, version: int, way: str) -> None:
    with Container.create(tmp_path, container_version=version, pack_size_target=8192) as container:
        data = [noise(1024, number) for number in range(256)]
        if way == "packed":
            container.insert_many(data, to=Place.LOOSE)
            container.pack_all_loose(CompressMode.NO)
        else:
            container.insert_many(data, compress=CompressMode.NO)
        assert packs_of(container) == [8] * 32
        assert all(container.extract_many(container)) and len(container) == 256


@pytest.mark.parametrize("version", [1, 2])
def test_compressed_objects_count_as_they_are_stored(tmp_path: Path, version: int) -> None:
    with Container.create(
        tmp_path, container_version=version, pack_size_target=1 << 20, compression="zlib+1"
    ) as container:
        container.insert_many([text(100_000, number) for number in range(40)], to=Place.LOOSE)
        container.pack_all_loose(CompressMode.YES)
        (objects,) = packs_of(container)
        assert objects == 40


@pytest.mark.parametrize("version", [1, 2])
def test_another_writer_of_the_same_between_two_packs_is_counted_once(tmp_path: Path, version: int) -> None:
    with Container.create(tmp_path, container_version=version, pack_size_target=8192) as container:
        data = [noise(1024, number) for number in range(64)]

        def sources() -> Iterator[bytes]:
            yield from data[:20]
            with Container(tmp_path) as other:
                other.insert_many(data[30:40])
            yield from data[20:]

        container.insert_many(sources())
        assert len(container) == len(set(container)) == 64

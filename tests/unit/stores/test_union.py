"""The union decides whether an object is there already; the two stores do not know each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from rsdos.model import FRAME_SIZE, Copy, Trust
from rsdos.stores.encoding import Encoding
from tests.data import key_of, noise
from tests.helpers import flip, manifest_of, tree

SMALL, LARGE = noise(700, 1), noise(FRAME_SIZE + 11, 2)


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store", container_version=request.param)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_what_is_packed_gets_no_loose_file(store: Container, data: bytes) -> None:
    store.insert_many([data])
    assert store.insert(data) == key_of(data)
    assert store.insert_many([data], to=Place.LOOSE) == [key_of(data)]
    assert list(store.engine.loose) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_what_is_loose_is_not_appended_to_a_pack(store: Container, data: bytes) -> None:
    store.insert(data)
    assert store.insert_many([data, data]) == [key_of(data)] * 2
    assert list(store.engine.packed) == []


def test_a_writer_that_maintenance_opens_packs_what_is_loose(store: Container) -> None:
    store.insert(SMALL)
    with store.engine.packed.writer() as writer:
        writer.add_many([SMALL], _encoding(store))
        writer.commit()
    assert list(store.engine.packed) == [key_of(SMALL)]


def test_a_writer_believes_the_check_that_it_is_given(store: Container) -> None:
    asked: list[Trust] = []

    def known(digests: object, trust: Trust, /, raws: object = None) -> list[Copy]:
        asked.append(trust)
        return [Copy.GOOD]

    with store.engine.packed.writer(known, trust=Trust.INDEX) as writer:
        writer.add_many([SMALL], _encoding(store))
        writer.commit()
    assert list(store.engine.packed) == []
    assert set(asked) == {Trust.INDEX}  # At its beginning, and at its end.
    assert len(asked) >= 2


def test_a_damaged_loose_file_does_not_keep_an_object_from_a_pack(store: Container) -> None:
    key = store.insert(SMALL)
    flip(Path(store.engine.layout.loose_file(key)), 5)
    assert store.insert_many([SMALL]) == [key]
    assert list(store.engine.packed) == [key]


def test_a_damaged_packed_copy_does_not_keep_an_object_from_a_loose_file(container: Container) -> None:
    (key,) = container.insert_many([SMALL])
    (pack,) = manifest_of(container.path).packs
    extent = container.meta(key).extent
    assert extent is not None
    flip(container.path / "packed" / f"{pack.id:010d}.pack", extent.offset + 3)
    assert Container(container.path).insert(SMALL) == key
    assert tree(container.path / "loose")
    assert Container(container.path).extract(key) == SMALL


def _encoding(store: Container) -> Encoding:
    return Encoding(CompressMode.NO, store.config.codec)

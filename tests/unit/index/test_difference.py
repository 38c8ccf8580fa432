"""The difference of two indices: each missing object once, in storage order, in bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rsdos import Container
from rsdos.index import difference
from rsdos.index.difference import DigestSet, IndexDifference
from rsdos.index.digests import Digests
from rsdos.model import PackKind
from tests.data import noise


def found(source: Container, target: Container) -> IndexDifference:
    packed = target.engine.packed
    return IndexDifference(
        source.engine.packed.tables(PackKind.PLAIN), lambda keys: packed.lacking(keys, PackKind.PLAIN)
    )


@pytest.fixture
def two(tmp_path: Path) -> tuple[Container, Container, list[str]]:
    """A container of several packs, another one with a part of it, and the keys of the rest."""
    source = Container.create(tmp_path / "source", pack_size_target=20_000)
    target = Container.create(tmp_path / "target")
    objects = [noise(100 + seed, seed) for seed in range(400)]
    keys = source.insert_many(objects)
    target.insert_many(objects[::3])
    return source, target, [key for at, key in enumerate(keys) if at % 3]


@pytest.mark.parametrize("most", [1 << 20, 100, 7])
def test_each_missing_object_comes_once_in_storage_order(
    two: tuple[Container, Container, list[str]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, missing = two
    monkeypatch.setattr(difference, "_MOST", most)
    made = found(source, target)
    assert (made.compared, made.counts.objects) == (400, len(missing))
    assert sum(counts.objects for counts in made.by_pack.values()) == len(missing)
    chunks = list(made.chunks(50, 5000))
    digests = [digest for chunk in chunks for digest in chunk.digests]
    places = [source.meta(digest.hex()).extent for digest in digests]
    assert sorted(digest.hex() for digest in digests) == sorted(missing)
    assert places == sorted(places, key=lambda extent: extent or (0, 0, 0))
    assert sum(chunk.size for chunk in chunks) == made.counts.size
    assert sum(chunk.length for chunk in chunks) == made.counts.length
    assert [digest for chunk in made.chunks(50, 5000) for digest in chunk.digests] == digests  # Looked for again.
    # An object that is longer than a chunk is one.
    assert all(len(chunk.digests) <= 50 and (chunk.length <= 5000 or len(chunk.digests) == 1) for chunk in chunks)


def test_a_difference_to_an_empty_index_is_everything_and_to_itself_nothing(
    two: tuple[Container, Container, list[str]], tmp_path: Path
) -> None:
    source, _, _ = two
    assert found(source, Container.create(tmp_path / "empty")).counts.objects == 400
    assert found(source, source).counts.objects == 0
    assert list(found(source, source).chunks(10, 10)) == []


def test_what_was_yielded_is_held_no_more(tmp_path: Path) -> None:
    source = Container.create(tmp_path / "source")
    source.insert_many([b"%d" % number for number in range(20_000)])
    made = found(source, Container.create(tmp_path / "empty"))
    held = []
    tracemalloc.start()
    try:
        for _ in made.chunks(1000, 1 << 20):
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(held) == 20
    assert held[0] - held[-1] > 18_000 * 32


def test_all_bytes_of_a_key_are_compared() -> None:
    digest = bytes(range(32))
    like_it = digest[:8] + bytes(24)
    keys = Digests.of([digest, like_it, bytes(32)])
    at = DigestSet([like_it]).without(np.arange(3), keys)
    assert at.tolist() == [0, 2]

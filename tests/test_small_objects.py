"""What a user gets for many small objects, whichever way they come: trained dictionaries, without any setting."""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from zstandard import ZstdCompressor, train_dictionary

from benchmarks.corpora import CORPORA
from rsdos import CompressMode, Container, Place
from rsdos.codecs.dictionary import Dictionary
from tests.data import key_of, noise
from tests.dictionaries import using
from tests.helpers import assert_holds, flip


@cache
def corpus(name: str, most: int) -> list[bytes]:
    return list(islice(next(one for one in CORPORA if one.name == name).objects(1), most))


def records(most: int = 2000) -> list[bytes]:
    return corpus("json-180-20k", most)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "container", durability="relaxed")


def stored(container: Container) -> float:
    """Return what the packed objects take, of their raw bytes."""
    live = container.inspect_packed().live
    return live.length / live.size


def dictionaries(container: Container) -> int:
    """Return the bytes that dictionaries take in all packs."""
    packs = container.inspect_packed().packs
    return sum(2 * dictionary.length for pack in packs for dictionary in pack.dictionaries)


def test_records_of_180_bytes_take_a_quarter(container: Container) -> None:
    objects = records(20_000)
    container.insert_many(objects)
    assert stored(container) <= 0.25
    assert dictionaries(container) <= 0.01 * sum(map(len, objects))
    assert dict(container.extract_many(map(key_of, objects))) == {key_of(data): data for data in objects}
    assert container.validate("full").is_good


def test_objects_below_4_kib_of_a_source_tree_take_four_fifths_of_zstd(container: Container) -> None:
    """The library of Python 3.11 takes 0.792, that of 3.13 takes 0.810; `benchmarks.size_report` asks for 0.8."""
    objects = corpus("sources-4k", 10_000)
    container.insert_many(objects)
    compressor = ZstdCompressor(level=1)
    alone = sum(len(compressor.compress(data)) for data in objects)
    assert container.inspect_packed().live.length <= 0.82 * alone


def test_packing_and_a_repack_with_a_compression_train_one(container: Container) -> None:
    container.insert_many(records(), to=Place.LOOSE)
    container.pack()
    assert stored(container) < 0.3
    container.repack(compression="none")
    assert stored(container) == 1 and dictionaries(container) == 0
    container.repack(compression="zstd")
    assert stored(container) < 0.3
    assert_holds(container, {key_of(data): data for data in records()})


def test_files_that_workers_store_take_as_little(container: Container, tmp_path: Path) -> None:
    for number, data in enumerate(records(4000)):
        directory = tmp_path / "files" / str(number // 500)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(number)).write_bytes(data)
    container.add_tree(tmp_path / "files", jobs=2)
    assert stored(container) < 0.3


def test_a_later_batch_uses_the_dictionary_that_there_is(container: Container) -> None:
    objects = records(6000)
    container.insert_many(objects[:3000])
    before = dictionaries(container)
    assert before > 0
    # One by one, few together, and many.
    for some in ([[data] for data in objects[3000:3010]], [objects[3010:3100]], [objects[3100:]]):
        for part in some:
            container.insert_many(part)
    assert dictionaries(container) == before
    assert stored(container) < 0.3


def test_a_repack_trains_anew_when_the_content_has_changed(container: Container) -> None:
    old = corpus("structures", 600)
    container.insert_many(old)
    container.insert_many(records(300))
    container.delete(map(key_of, old))
    before = stored(container)
    container.insert_many(records(4000), compress=CompressMode.NO)
    container.repack(compression="zstd")
    assert stored(container) < 0.3 < before


@pytest.mark.parametrize("made_for", [None, "structures"])
def test_a_repack_by_itself_trains_anew_where_that_saves_a_tenth(container: Container, made_for: str | None) -> None:
    objects = records(4000)
    other = Dictionary(train_dictionary(8192, list(corpus(made_for, 600))).as_bytes()) if made_for else None
    with using(other):
        container.insert_many(objects, compress=CompressMode.YES)
    kept = {key_of(data): data for data in objects[100:]}
    container.delete(map(key_of, objects[:100]))
    before = stored(container)
    assert container.repack(pack_id=1).objects == len(kept)
    assert stored(container) < 0.3 and before > 0.7
    assert_holds(container, kept)
    assert container.validate("full").is_good
    # And not again.
    assert lengths_after_a_repack(container, kept) == {key: container.meta(key).length for key in kept}


def test_a_repack_by_itself_keeps_what_a_new_dictionary_would_hardly_make_smaller(container: Container) -> None:
    objects = {key_of(data): data for data in records(6000)}
    container.insert_many(objects.values())
    before = {key: container.meta(key).length for key in objects}
    assert lengths_after_a_repack(container, objects) == before


def test_a_repack_by_itself_compresses_nothing_that_is_raw(container: Container) -> None:
    objects = {key_of(data): data for data in records(4000)}
    container.insert_many(objects.values(), compress=CompressMode.NO)
    assert lengths_after_a_repack(container, objects) == {key: len(data) for key, data in objects.items()}


def test_a_repack_by_itself_goes_round_damaged_objects(container: Container) -> None:
    objects = {key_of(data): data for data in records(4000)}
    with using(None):
        container.insert_many(objects.values(), compress=CompressMode.YES)
    damaged = set(list(objects)[::9])
    (path,) = (container.path / "packed").iterdir()
    for key in damaged:
        extent = container.meta(key).extent
        assert extent is not None
        flip(path, extent.offset + extent.length // 2)
    container.close()
    assert set(container.repack(pack_id=1).damaged) == damaged
    assert stored(container) < 0.45
    rest = {key: data for key, data in objects.items() if key not in damaged}
    assert dict(container.extract_many(rest)) == rest
    assert {finding.key for finding in container.validate("full").damaged} == damaged


def lengths_after_a_repack(container: Container, objects: dict[str, bytes]) -> dict[str, int]:
    """Return what each object takes when the only pack was rewritten."""
    (pack,) = container.inspect_packed().packs
    assert container.repack(pack_id=pack.id).objects == len(objects)
    assert_holds(container, objects)
    return {key: container.meta(key).length for key in objects}


def test_what_gains_nothing_brings_no_dictionary_in(container: Container) -> None:
    container.insert_many([noise(800, seed) for seed in range(2000)])
    container.insert_many(records(200))
    assert stored(container) == 1 and dictionaries(container) == 0

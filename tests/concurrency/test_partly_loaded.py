"""A program that has opened only a part of the tables of the index, while others change the container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, ObjectNotFound, Place
from tests.helpers import native

TABLES = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Container.create(tmp_path / "container") as container:
        for table in range(TABLES):
            container.insert_many(objects(table), to=Place.PACKED)
        container.close()
    return tmp_path / "container"


def objects(table: int) -> list[bytes]:
    """Of tables that become smaller: the first is looked at first."""
    return [b"%d %d" % (table, number) for number in range(100 - 10 * table)]


@pytest.fixture
def reader(path: Path) -> Iterator[Container]:
    """One that has read an object of the largest table, and nothing else."""
    with Container(path) as container:
        assert container.extract(key(container, 0)) == objects(0)[0]
        assert len(opened(container)) == 1
        yield container


def key(container: Container, table: int) -> str:
    import hashlib

    return hashlib.sha256(objects(table)[0]).hexdigest()


def opened(container: Container) -> list[object]:
    """The segments that are open, as long as not all of them had to be."""
    part = native(container.engine).index._part
    return [] if part is None else list(part.named.values())


def test_further_tables_are_opened_as_they_are_needed(reader: Container) -> None:
    assert reader.extract(key(reader, 2)) == objects(2)[0]
    assert len(opened(reader)) == 3
    assert reader.extract(key(reader, 1)) == objects(1)[0]
    assert len(opened(reader)) == 3
    for table in range(TABLES):
        assert reader.extract(key(reader, table)) == objects(table)[0]
    with pytest.raises(ObjectNotFound):
        reader.extract("0" * 64)


def test_tables_that_were_merged_away_before_they_were_opened(path: Path, reader: Container) -> None:
    with Container(path) as other:
        other.merge()
        other.insert_many([b"more"], to=Place.PACKED)
        other.merge()
        other.insert_many([b"still more"], to=Place.PACKED)
        other.merge()
    for table in range(TABLES):
        assert reader.extract(key(reader, table)) == objects(table)[0]


def test_packs_that_were_rewritten_before_their_tables_were_opened(path: Path, reader: Container) -> None:
    with Container(path) as other:
        doomed = [key(other, table) for table in range(1, TABLES, 2)]
        other.delete(doomed)
        other.repack()
    for table in range(0, TABLES, 2):
        assert reader.extract(key(reader, table)) == objects(table)[0]
    for gone in doomed:
        assert not reader.has(gone)
        with pytest.raises(ObjectNotFound):
            reader.extract(gone)


def test_what_others_delete_is_gone_a_second_later(path: Path, reader: Container) -> None:
    now = [0.0]
    reader.engine.objects.clock = native(reader.engine).index.clock = lambda: now[0]
    assert reader.meta(key(reader, 1)).size == len(objects(1)[0])
    with Container(path) as other:
        other.delete([key(other, 1), key(other, 0)])
    now[0] = 2.0
    for table in (0, 1):
        with pytest.raises(ObjectNotFound):
            reader.meta(key(reader, table))
        assert not reader.has(key(reader, table))


def test_what_others_insert_is_found_at_once(path: Path, reader: Container) -> None:
    with Container(path) as other:
        more = other.insert_many([b"more"], to=Place.PACKED)[0]
    assert reader.extract(more) == b"more"


def test_a_writer_that_has_opened_a_part_finds_duplicates_in_all_tables(path: Path, reader: Container) -> None:
    every = [data for table in range(TABLES) for data in objects(table)]
    before = len(reader)
    reader.insert_many(every, to=Place.PACKED)
    assert len(reader) == before == len(every)


def test_a_container_with_tombstones_is_loaded_whole(path: Path) -> None:
    with Container(path) as other:
        other.delete([key(other, 3)])
        other.close()
    with Container(path) as reader:
        with pytest.raises(ObjectNotFound):
            reader.extract(key(reader, 3))
        assert reader.extract(key(reader, 0)) == objects(0)[0]
        assert not opened(reader)


def test_damage_of_a_table_that_is_opened_later(path: Path, reader: Container) -> None:
    entry = native(reader.engine).index.commits.newest().segments[1]
    pack = path / "packed" / f"{entry.pack_id:010d}.pack"
    fd = os.open(pack, os.O_RDWR)
    os.pwrite(fd, b"\xff" * 64, entry.offset)
    os.close(fd)
    for table in (0, 2, 3, 4, 5):
        assert reader.extract(key(reader, table)) == objects(table)[0]
    with pytest.raises(Exception, match="damaged"):
        reader.extract(key(reader, 1))


def test_another_container_in_its_place_is_told(path: Path, tmp_path: Path, reader: Container) -> None:
    from rsdos import ContainerReplaced

    os.rename(path, tmp_path / "away")
    with Container.create(path) as other:
        for table in range(TABLES):
            other.insert_many([b"other %d" % table], to=Place.PACKED)
    with pytest.raises(ContainerReplaced):
        reader.has(key(reader, 1))


def test_a_second_opening_goes_on_where_the_first_was(path: Path) -> None:
    for table in (2, 1, 4):
        with Container(path) as container:
            assert container.extract(key(container, table)) == objects(table)[0]
            assert len(opened(container)) == max(table, 2) + 1
    with Container(path) as container:
        assert not container.has("0" * 64)
        assert not opened(container)

"""Bulk reads of what is not in the system's cache: the same answers, and the disk is asked for many at once."""

import os
import random
from pathlib import Path

import pytest

from rsdos import CompressMode, Container
from rsdos.storage.local import LocalFile


def scattered(container: Container, count: int) -> dict[str, bytes]:
    """Objects that lie so far from each other that each is a read of its own."""
    chance = random.Random(1)
    wanted = [chance.randbytes(300) for _ in range(count)]
    between = [chance.randbytes(40_000) for _ in range(count)]
    mixed = [data for pair in zip(wanted, between, strict=True) for data in pair]
    keys = container.insert_many(mixed, compress=CompressMode.NO)
    return dict(zip(keys[::2], wanted, strict=True))


def drop_from_cache(path: Path) -> bool:
    """Whether the system let go of a file's pages."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return not LocalFile(str(path)).is_cached(0)


@pytest.mark.parametrize("count", [1, 2, 300, 700])
def test_distant_objects_are_read_correctly_cached_or_not(tmp_path: Path, count: int) -> None:
    with Container.create(tmp_path / "container") as container:
        objects = scattered(container, count)
        for _ in range(2):
            assert dict(container.extract_many(objects)) == objects
            drop_from_cache(tmp_path / "container" / "packed" / "0000000001.pack")


def test_the_disk_is_asked_for_what_is_not_cached_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("this system does not tell what it has in its cache")
    with Container.create(tmp_path / "container") as container:
        objects = scattered(container, 100)
        pack = tmp_path / "container" / "packed" / "0000000001.pack"
        assert dict(container.extract_many(objects)) == objects
        asked: list[int] = []
        monkeypatch.setattr(LocalFile, "will_need", lambda self, offset, length: asked.append(offset))
        assert dict(container.extract_many(objects)) == objects
        assert asked == []
        if not drop_from_cache(pack):
            pytest.skip("this file system keeps what it has")
        assert dict(container.extract_many(objects)) == objects
        assert len(asked) == 100


def test_a_byte_that_was_just_read_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(b"x" * 10_000)
    pack = LocalFile(str(path))
    pack.read(0, 10_000)
    assert pack.is_cached(9_999)
    pack.will_need(0, 10_000)
    pack.will_need(1 << 40, 1)
    assert pack.read(5, 3) == b"xxx"

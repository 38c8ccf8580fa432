"""How objects are stored: AUTO keeps only what is clearly smaller, and duplicates leave nothing behind."""

from __future__ import annotations

import io

import pytest

from rsdos import Codec, CompressMode, Container, InvalidOption, Place, set_threads
from rsdos.model import FRAME_SIZE
from tests.data import noise, text
from tests.helpers import manifest_of, run_python


@pytest.mark.parametrize("to", Place)
def test_a_stream_that_turns_random_is_stored_raw(tmp_path: object, container: Container, to: Place) -> None:
    data = text(FRAME_SIZE) + noise(9 * FRAME_SIZE)
    key = container.insert(io.BytesIO(data), to=to)
    after = container.insert(b"what stands behind it" * 100, to=to)
    container.pack_all_loose()
    meta = container.meta(key)
    assert meta.codec is Codec.RAW
    assert meta.size <= meta.length < meta.size + 1000
    assert container.extract(key) == data
    assert container.extract(after) == b"what stands behind it" * 100
    (pack,) = manifest_of(container.path).packs
    assert pack.dead_stored == 0
    assert (container.path / "packed" / "0000000001.pack").stat().st_size == pack.length < len(data) + 50_000


@pytest.mark.parametrize(
    ("data", "mode", "codec"),
    [
        (text(500), CompressMode.AUTO, Codec.RAW),
        (text(5000), CompressMode.AUTO, Codec.ZSTD),
        (noise(5000), CompressMode.AUTO, Codec.RAW),
        (text(2 * FRAME_SIZE), CompressMode.AUTO, Codec.ZSTD),
        (noise(2 * FRAME_SIZE), CompressMode.AUTO, Codec.RAW),
        (noise(5000), CompressMode.YES, Codec.ZSTD),
        (noise(2 * FRAME_SIZE), CompressMode.YES, Codec.ZSTD),
        (text(5000), CompressMode.NO, Codec.RAW),
        (text(5000), CompressMode.KEEP, Codec.RAW),
    ],
)
def test_modes(container: Container, data: bytes, mode: CompressMode, codec: Codec) -> None:
    (key,) = container.insert_many([data], compress=mode)
    assert container.meta(key).codec is codec
    assert container.extract(key) == data


def test_compressing_with_nothing_is_refused(tmp_path: object, container: Container) -> None:
    plain = Container.create(container.path.parent / "plain", compression="none")
    with pytest.raises(InvalidOption):
        plain.insert_many([b"data"], compress=CompressMode.YES)
    (key,) = plain.insert_many([text(5000)])
    assert plain.meta(key).codec is Codec.RAW


@pytest.mark.parametrize("specification", ["zstd", "zlib"])
@pytest.mark.parametrize("size", [5000, 3 * FRAME_SIZE])
def test_packing_a_compressed_loose_object_copies_its_stored_bytes(
    container: Container, specification: str, size: int
) -> None:
    made = Container.create(container.path.parent / "made", loose_compression=specification, compression="none")
    key = made.insert(text(size))
    (file,) = [path for path in (made.path / "loose").rglob("*") if path.is_file()]
    stored = file.read_bytes()[:-24]
    assert len(stored) < size // 2
    made.pack_all_loose()
    extent = made.meta(key).extent
    assert extent is not None
    pack = (made.path / "packed" / "0000000001.pack").read_bytes()
    assert pack[extent.offset : extent.offset + extent.length] == stored
    assert made.extract(key) == text(size)


@pytest.mark.parametrize("make", [text, noise])
def test_a_duplicate_in_a_stream_leaves_no_bytes(container: Container, make: object) -> None:
    data = text(3 * FRAME_SIZE) if make is text else noise(3 * FRAME_SIZE)
    container.insert_many([io.BytesIO(data)])
    before = manifest_of(container.path)
    container.insert_many([io.BytesIO(data), io.BytesIO(data)])
    assert manifest_of(container.path).packs == before.packs
    assert (container.path / "packed" / "0000000001.pack").stat().st_size == before.packs[0].length
    container.insert_many([io.BytesIO(data), b"new"])
    (pack,) = manifest_of(container.path).packs
    assert (pack.objects, pack.dead_objects) == (2, 0)
    assert pack.length - before.packs[0].length <= 8192


@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize("compress", [CompressMode.NO, CompressMode.YES])
def test_threads_change_nothing_of_what_is_stored(container: Container, to: Place, compress: CompressMode) -> None:
    data = text(9 * FRAME_SIZE) + noise(FRAME_SIZE + 7)
    lengths = set()
    try:
        for count in (0, 3):
            set_threads(count)
            (key,) = container.insert_many([io.BytesIO(data)], to=to, compress=compress)
            assert container.extract(key) == data
            lengths.add(container.meta(key).length)
            assert container.delete([key]) == [key]
    finally:
        set_threads(None)
    assert len(lengths) == 1


def test_a_child_that_was_forked_has_threads_of_its_own(container: Container) -> None:
    code = """
import os, sys
from rsdos import Container, CompressMode, set_threads
set_threads(3)
container = Container(sys.argv[1])
def insert(number):
    data = b"%d" % number * (8 << 20)
    (key,) = container.insert_many([data], compress=CompressMode.YES)
    assert container.extract(key) == data
insert(1)
if child := os.fork():
    insert(2)
    assert os.waitpid(child, 0)[1] == 0
    insert(4)
    print(len(container))
else:
    insert(3)
    sys.stdout.flush()
    os._exit(0)
"""
    assert run_python(code, container.path) == "4\n"

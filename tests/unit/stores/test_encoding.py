"""How objects are stored: AUTO keeps only what is clearly smaller, and duplicates leave nothing behind."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from rsdos import Codec, CompressMode, Container, InvalidOption, Place, set_threads
from rsdos.model import FRAME_SIZE
from tests.data import noise, text
from tests.helpers import manifest_of, run_python


@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize("compression", ["zstd", "zlib"])
def test_a_stream_that_turns_random_keeps_what_is_compressible(tmp_path: Path, compression: str, to: Place) -> None:
    container = Container.create(tmp_path / "c", compression=compression)
    data = text(FRAME_SIZE) + noise(9 * FRAME_SIZE)
    key = container.insert(io.BytesIO(data), to=to)
    after = container.insert(b"what stands behind it" * 100, to=to)
    container.pack_all_loose()
    meta = container.meta(key)
    assert meta.codec is (Codec.MIXED if compression == "zstd" else Codec.RAW)
    least = 9 * FRAME_SIZE if compression == "zstd" else meta.size
    assert least <= meta.length < least + 100_000
    assert container.extract(key) == data
    assert container.extract(after) == b"what stands behind it" * 100
    (pack,) = manifest_of(container.path).packs
    assert pack.dead_stored == 0
    assert (container.path / "packed" / "0000000001.pack").stat().st_size == pack.length < least + 150_000


PICTURE, WORDS = noise(3 * FRAME_SIZE + 100), text(8 * FRAME_SIZE)


def test_a_large_object_is_as_short_whatever_it_begins_with(container: Container) -> None:
    one, other = container.insert_many([PICTURE + WORDS, WORDS + PICTURE])
    assert (container.meta(one).codec, container.meta(other).codec) == (Codec.MIXED, Codec.ZSTD)
    assert container.meta(one).length < 1.03 * container.meta(other).length
    assert container.extract(one) == PICTURE + WORDS
    for codec, keys in ((Codec.MIXED, [one]), (Codec.ZSTD, [other])):
        for at in (0, 5 * FRAME_SIZE + 7, 11 * FRAME_SIZE):
            with container.open(keys[0]) as stream:
                stream.seek(at)
                whole = PICTURE + WORDS if codec is Codec.MIXED else WORDS + PICTURE
                assert stream.read(3000) == whole[at : at + 3000]


def test_an_object_without_a_compressible_frame_is_stored_as_if_nothing_was_tried(container: Container) -> None:
    forms = []
    for mode in (CompressMode.AUTO, CompressMode.NO):
        (key,) = container.insert_many([PICTURE], compress=mode)
        extent = container.meta(key).extent
        assert extent is not None
        with open(container.path / "packed" / f"{extent.pack_id:010d}.pack", "rb") as pack:
            pack.seek(extent.offset)
            forms.append((container.meta(key).codec, pack.read(extent.length)))
        container.delete([key])
    assert forms[0] == forms[1]
    assert forms[0][0] is Codec.RAW


@pytest.mark.parametrize("settings", [{"compression": "zlib"}, {"container_version": 1}])
def test_with_zlib_and_in_version_1_the_first_frame_decides(tmp_path: Path, settings: dict[str, object]) -> None:
    container = Container.create(tmp_path / "c", **settings)  # type: ignore[arg-type]
    one, other = container.insert_many([PICTURE + WORDS, WORDS + PICTURE])
    assert (container.meta(one).codec, container.meta(other).codec) == (Codec.RAW, Codec.ZLIB)


def test_loose_objects_are_never_mixed_and_packing_decides_anew(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "c", loose_compression="zstd")
    key = container.insert(PICTURE + WORDS)
    assert container.meta(key).codec is Codec.RAW
    container.pack_all_loose()
    assert container.meta(key).codec is Codec.MIXED
    assert container.extract(key) == PICTURE + WORDS


@pytest.mark.parametrize(
    ("data", "mode", "codec"),
    [
        (text(500), CompressMode.AUTO, Codec.RAW),
        (text(5000), CompressMode.AUTO, Codec.ZSTD),
        (noise(5000), CompressMode.AUTO, Codec.RAW),
        (text(2 * FRAME_SIZE), CompressMode.AUTO, Codec.ZSTD),
        (noise(2 * FRAME_SIZE), CompressMode.AUTO, Codec.RAW),
        (noise(2 * FRAME_SIZE) + text(FRAME_SIZE), CompressMode.AUTO, Codec.MIXED),
        (noise(2 * FRAME_SIZE) + text(FRAME_SIZE), CompressMode.YES, Codec.ZSTD),
        (noise(2 * FRAME_SIZE) + text(FRAME_SIZE), CompressMode.NO, Codec.RAW),
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
@pytest.mark.parametrize("compress", [CompressMode.NO, CompressMode.YES, CompressMode.AUTO])
def test_threads_change_nothing_of_what_is_stored(container: Container, to: Place, compress: CompressMode) -> None:
    data = noise(FRAME_SIZE) + text(9 * FRAME_SIZE) + noise(FRAME_SIZE + 7)
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


@pytest.mark.parametrize("size", [5000, 3 * FRAME_SIZE])
def test_packing_with_a_compression_compresses_what_is_compressed_otherwise(tmp_path: Path, size: int) -> None:
    for compression, codec in (("zstd", Codec.ZSTD), ("zlib", Codec.ZLIB)):
        container = Container.create(tmp_path / compression, loose_compression="zlib", compression=compression)
        key = container.insert(text(size))
        noisy = container.insert(noise(size))
        container.pack_all_loose(CompressMode.YES)
        assert container.meta(key).codec is container.meta(noisy).codec is codec
        assert container.extract(key) == text(size)

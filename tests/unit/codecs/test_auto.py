import bz2
import gzip
import io
import lzma
import os
import zipfile

import pytest
import zstandard

from rsdos.codecs.auto import MIN_SIZE, encode_if_smaller, encode_many_if_smaller, looks_compressible
from rsdos.codecs.coding import encode
from rsdos.codecs.spec import parse_compression
from rsdos.model import BytesLike, Compression

ZSTD = parse_compression("zstd")
TEXT = b"".join(b"%d the quick brown fox\n" % (at * at) for at in range(5000))
NOISE = os.urandom(200_000)


def zipped(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("member", TEXT)
    return file.getvalue()


@pytest.mark.parametrize("spec", ["zstd", "zstd:9", "zlib:1", "zlib:6"])
def test_text_is_compressed_to_what_encode_gives(spec: str) -> None:
    compression = parse_compression(spec)
    for data in (TEXT[:MIN_SIZE], TEXT[:10_000], TEXT):
        assert encode_if_smaller(data, compression) == encode(data, compression)


def test_tiny_objects_stay_raw() -> None:
    assert encode_if_smaller(TEXT[: MIN_SIZE - 1], ZSTD) is None
    assert encode_if_smaller(b"", ZSTD) is None


def test_with_no_codec_nothing_is_compressed() -> None:
    assert encode_many_if_smaller([TEXT, b""], parse_compression("none")) == [None, None]


@pytest.mark.parametrize("size", [MIN_SIZE, 5000, 70_000, 200_000])
def test_noise_stays_raw(size: int) -> None:
    assert encode_if_smaller(NOISE[:size], ZSTD) is None


def compressed_length(data: bytes, compression: Compression) -> int:
    return len(encode(data, compression))


def test_objects_that_hardly_shrink_stay_raw() -> None:
    noisy = next(
        data
        for text in range(100, 5000, 50)
        if 0.91 < compressed_length(data := NOISE[:10_000] + TEXT[:text], ZSTD) / len(data) < 0.95
    )
    clear = NOISE[:10_000] + TEXT[:10_000]
    assert encode_many_if_smaller([noisy, clear], ZSTD) == [None, encode(clear, ZSTD)]


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT),
        bz2.compress(TEXT),
        lzma.compress(TEXT),
        zstandard.compress(TEXT),
        zipped(zipfile.ZIP_DEFLATED),
        b"\x89PNG\r\n\x1a\n" + TEXT,
        b"\xff\xd8\xff\xe0" + TEXT,
        b"GIF89a" + TEXT,
        b"RIFF\x10\x20\n\x00WEBPVP8 " + TEXT,
        b"\0\0\0\x20ftypisom" + TEXT,
        b"7z\xbc\xaf\x27\x1c" + TEXT,
    ],
    ids=["gz", "bz2", "xz", "zst", "zip", "png", "jpg", "gif", "webp", "mp4", "7z"],
)
def test_compressed_formats_are_told_by_their_first_bytes(data: bytes) -> None:
    assert not looks_compressible(data)
    assert not looks_compressible(memoryview(data)[:100])
    assert encode_if_smaller(data, ZSTD) is None


@pytest.mark.parametrize(
    "data", [TEXT, zipped(zipfile.ZIP_STORED), b"BZ honey\n" + TEXT, b"RIFF....WAVEfmt " + TEXT, b"PK\x03\x04", b""]
)
def test_what_only_resembles_them_is_tried(data: bytes) -> None:
    assert looks_compressible(data)


def test_a_sample_tells_noise_wherever_the_compressible_part_stands() -> None:
    assert not looks_compressible(NOISE)
    for start in (0, 60_000, 120_000):
        assert looks_compressible(NOISE[:start] + TEXT[:80_000] + NOISE[start:120_000])


def test_many_is_one_after_another() -> None:
    payloads: list[BytesLike] = [TEXT, b"", NOISE, memoryview(TEXT), bytearray(TEXT[:2000])]
    assert encode_many_if_smaller(payloads, ZSTD) == [encode_if_smaller(payload, ZSTD) for payload in payloads]

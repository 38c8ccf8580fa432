import os
import struct
import threading
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rsdos.codecs.checksum import crc32
from rsdos.codecs.coding import decode, decode_many, encode, encode_many
from rsdos.codecs.deflate import PieceEncoder, decode_piece
from rsdos.codecs.spec import parse_compression
from rsdos.codecs.zstd import encode_checked
from rsdos.errors import DecodeError, InvalidOption
from rsdos.model import FRAME_SIZE, Codec, Compression

SPECS = ["none", "zstd", "zstd-7", "zstd:3", "zstd:19", "zlib:1", "zlib:2", "zlib:3", "zlib:9"]
COMPRESSIONS = [parse_compression(spec) for spec in SPECS]
ZSTD = parse_compression("zstd")
ZLIB = parse_compression("zlib")
TEXT = b"".join(b"%d the quick brown fox\n" % (at * at) for at in range(3000))

payloads = st.binary(max_size=2000) | st.builds(lambda part, n: part * n, st.binary(max_size=40), st.integers(0, 3000))
every_compression = pytest.mark.parametrize("compression", COMPRESSIONS, ids=SPECS)

OF_ONE_FRAME = [codec for codec in Codec if codec is not Codec.MIXED]


def rejects(stored: bytes, codec: Codec, size: int) -> bool:
    try:
        decode(stored, codec, size)
    except DecodeError:
        return True
    return False


@given(st.lists(payloads, max_size=5), st.sampled_from(COMPRESSIONS))
def test_encoded_objects_decode_to_themselves(data: list[bytes], compression: Compression) -> None:
    stored = encode_many(data, compression)
    assert stored == [encode(payload, compression) for payload in data]
    assert decode_many(stored, compression.codec, [len(payload) for payload in data]) == data


@every_compression
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_encoded_and_decoded(compression: Compression, kind: type) -> None:
    stored = encode(kind(TEXT), compression)
    assert type(stored) is bytes
    raw = decode(kind(stored), compression.codec, len(TEXT))
    assert type(raw) is bytes
    assert raw == TEXT


@pytest.mark.parametrize("spec", ["zlib:1", "zlib:2", "zlib:6"])
@pytest.mark.parametrize("data", [b"", b"a", TEXT, os.urandom(100_000)], ids=["empty", "one", "text", "random"])
def test_any_zlib_reads_what_we_write(spec: str, data: bytes) -> None:
    assert zlib.decompress(encode(data, parse_compression(spec))) == data


def test_a_zstd_frame_declares_its_size_and_only_a_checked_one_has_a_checksum() -> None:
    plain, checked = encode(TEXT, ZSTD), encode_checked(TEXT, 1)
    assert zstandard.frame_content_size(plain) == zstandard.frame_content_size(checked) == len(TEXT)
    assert not zstandard.get_frame_parameters(plain).has_checksum
    assert zstandard.get_frame_parameters(checked).has_checksum
    assert decode(checked, Codec.ZSTD, len(TEXT)) == TEXT


@every_compression
@pytest.mark.parametrize("data", [b"", b"x", TEXT], ids=["empty", "one", "text"])
def test_only_exactly_the_stored_form_decodes(compression: Compression, data: bytes) -> None:
    stored, size = encode(data, compression), len(data)
    assert decode(stored, compression.codec, size) == data
    for wrong in (size - 1, size + 1, 2 * size + 2, -1):
        assert rejects(stored, compression.codec, wrong)
    assert rejects(stored + b"\0", compression.codec, size)
    assert rejects(stored + (stored or b"x"), compression.codec, size)
    for cut in range(1, min(len(stored), 12) + 1):
        assert rejects(stored[:-cut], compression.codec, size)


@given(st.binary(max_size=60), st.sampled_from([Codec.ZLIB, Codec.ZSTD]), st.integers(-5, 1 << 64))
def test_garbage_is_refused(garbage: bytes, codec: Codec, size: int) -> None:
    magic = {Codec.ZLIB: b"\x78\x9c", Codec.ZSTD: b"\x28\xb5\x2f\xfd"}[codec]
    for stored in (garbage, magic + garbage):
        try:
            assert len(decode(stored, codec, size)) == size
        except DecodeError:
            pass


@pytest.mark.parametrize("codec", [Codec.ZLIB, Codec.ZSTD])
def test_a_damaged_checked_form_never_gives_wrong_bytes(codec: Codec) -> None:
    data = TEXT[:1500]
    stored = encode_checked(data, 1) if codec is Codec.ZSTD else encode(data, ZLIB)
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert decode(damaged, codec, len(data)) == data
        except DecodeError:
            pass


def peak_of_rejecting(stored: bytes, codec: Codec, size: int) -> int:
    tracemalloc.start()
    try:
        assert rejects(stored, codec, size)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def unsized_zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=False, write_checksum=True).compress(data)


BOMB = bytes(64 << 20)


@pytest.mark.parametrize(
    ("stored", "codec"),
    [
        (zlib.compress(BOMB), Codec.ZLIB),
        (zstandard.compress(BOMB), Codec.ZSTD),
        (unsized_zstd(BOMB), Codec.ZSTD),
    ],
    ids=["zlib", "zstd", "zstd without a size"],
)
@pytest.mark.parametrize("size", [0, 1000, FRAME_SIZE])
def test_a_bomb_is_stopped_at_the_size(stored: bytes, codec: Codec, size: int) -> None:
    assert peak_of_rejecting(stored, codec, size) < 3 * FRAME_SIZE


@pytest.mark.parametrize("size", [1 << 30, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("codec", OF_ONE_FRAME)
def test_a_huge_size_allocates_nothing(codec: Codec, size: int) -> None:
    assert peak_of_rejecting(encode(TEXT, Compression(codec, 1)), codec, size) < 3 * FRAME_SIZE


@pytest.mark.parametrize("size", [1 << 29, 1 << 40])
def test_a_huge_size_that_the_frame_declares_too_allocates_nothing(size: int) -> None:
    # A frame of one stored block of 64 KiB, whose header declares the size that was asked for.
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + (65536 << 3 | 1).to_bytes(3, "little") + bytes(65536)
    assert zstandard.frame_content_size(frame) == size
    assert peak_of_rejecting(frame, Codec.ZSTD, size) < 3 * FRAME_SIZE


def test_foreign_frames_larger_than_ours_and_without_a_size_decode() -> None:
    data = TEXT * 60
    assert len(data) > 3 * FRAME_SIZE
    for stored in (zstandard.compress(data), unsized_zstd(data)):
        assert decode(stored, Codec.ZSTD, len(data)) == data
        for damaged in (stored[:-1], stored + b"\0", stored + stored, stored[:-1] + bytes([stored[-1] ^ 1])):
            assert rejects(damaged, Codec.ZSTD, len(data))
    assert decode(zlib.compress(data), Codec.ZLIB, len(data)) == data
    assert decode(unsized_zstd(b""), Codec.ZSTD, 0) == b""
    for stored in (zstandard.compress(BOMB), unsized_zstd(BOMB)):
        assert decode(stored, Codec.ZSTD, len(BOMB)) == BOMB


def test_a_foreign_frame_may_have_blocks_that_are_one_byte_repeated() -> None:
    stored = b"\x28\xb5\x2f\xfd\x00\x58" + (1000 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    assert zstandard.frame_content_size(stored) == -1
    assert decode(stored, Codec.ZSTD, 1000) == b"x" * 1000
    assert rejects(stored + b"x", Codec.ZSTD, 1000)


def test_an_object_of_one_frame_is_not_mixed() -> None:
    assert rejects(TEXT, Codec.MIXED, len(TEXT))
    with pytest.raises(InvalidOption, match="mixed"):
        encode(TEXT, Compression(Codec.MIXED, 1))


def test_lists_of_different_lengths_are_our_mistake() -> None:
    for codec in OF_ONE_FRAME:
        with pytest.raises(ValueError, match="zip"):
            decode_many([encode(b"a", Compression(codec, 1))], codec, [1, 1])


@pytest.mark.parametrize("level", [1, 2, 3, 9])
def test_pieces_decode_alone_and_together(level: int) -> None:
    parts = [TEXT, os.urandom(50_000), TEXT, b"x"]
    encoder = PieceEncoder(level)
    pieces = [encoder.piece(part) for part in parts]
    assert zlib.decompress(b"".join(pieces) + encoder.finish()) == b"".join(parts)
    for index, (piece, part) in enumerate(zip(pieces, parts, strict=True)):
        assert decode_piece(piece, len(part), index) == part
        for size in (len(part) - 1, len(part) + 1, 1 << 63):
            with pytest.raises(DecodeError):
                decode_piece(piece, size, index)


def test_threads_do_not_disturb_each_other() -> None:
    parts = [TEXT[at:] for at in range(8)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            for compression in (ZSTD, parse_compression("zstd:3"), ZLIB):
                stored = encode(parts[number], compression)
                if decode(stored, compression.codec, len(parts[number])) != parts[number]:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_encodes_and_decodes() -> None:
    stored = encode(TEXT, ZSTD)
    child = os.fork()
    if child == 0:
        good = encode(TEXT, ZSTD) == stored and decode(stored, Codec.ZSTD, len(TEXT)) == TEXT
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@given(st.binary(max_size=300), st.integers(0, (1 << 32) - 1))
def test_crc32_is_that_of_zlib(data: bytes, seed: int) -> None:
    assert crc32(data) == zlib.crc32(data)
    assert crc32(data, seed) == zlib.crc32(data, seed)

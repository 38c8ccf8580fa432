import dataclasses
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from rsdos.codecs.coding import encode
from rsdos.codecs.spec import parse_compression
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike, Codec, RecordFlag, Stored
from rsdos.streams.frames import MAX_PIECE_LENGTH, Fetch, FrameEncoder, frames, read_table
from tests.helpers import compression_of

LINES = b"".join(b"%d the quick brown fox\n" % (at * at) for at in range(40_000))
PAYLOAD = (LINES * 3)[: 2 * FRAME_SIZE - 5000] + os.urandom(5000) + LINES[:70_001]
SPECS = ["none", "zlib:1", "zlib:2", "zlib:6", "zstd:1", "zstd:3", "mixed"]
every_codec = pytest.mark.parametrize("spec", ["none", "zlib:1", "zstd:1", "mixed"])


def encoded(payload: bytes, spec: str) -> tuple[bytes, Stored]:
    compression = compression_of(spec)
    encoder = FrameEncoder(compression)
    parts = [encoder.add(payload[at : at + FRAME_SIZE]) for at in range(0, len(payload), FRAME_SIZE)]
    whole = b"".join([*parts, encoder.finish()])
    return whole, Stored(encoder.codec, RecordFlag.FRAMED, len(whole), len(payload))


STORED = {spec: encoded(PAYLOAD, spec) for spec in SPECS}


def fetcher(whole: BytesLike) -> Fetch:
    return lambda offset, length: whole[offset : offset + length]


def decoded(whole: BytesLike, stored: Stored) -> bytes:
    return b"".join(frames(fetcher(whole), stored))


def table_start(stored: Stored) -> int:
    return stored.length - (8 + 12 * 3 + 9 if stored.codec is Codec.ZSTD else 8 * 3 + 16)


@pytest.mark.parametrize("spec", SPECS)
def test_frames_come_back(spec: str) -> None:
    whole, stored = STORED[spec]
    assert decoded(whole, stored) == PAYLOAD
    table = read_table(fetcher(whole), stored)
    assert [table.frame_size(index) for index in range(len(table))] == [FRAME_SIZE, FRAME_SIZE, 70_001]
    assert bytes(table.read(fetcher(whole), 1)) == PAYLOAD[FRAME_SIZE : 2 * FRAME_SIZE]


@every_codec
@pytest.mark.parametrize("size", [1, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE])
@pytest.mark.parametrize("source", [LINES * 3, os.urandom(2 * FRAME_SIZE)], ids=["text", "random"])
def test_sizes_at_the_edges_of_a_frame(spec: str, size: int, source: bytes) -> None:
    assert decoded(*encoded(source[:size], spec)) == source[:size]


def test_raw_frames_are_not_copied() -> None:
    frame = memoryview(PAYLOAD)[:FRAME_SIZE]
    assert FrameEncoder(parse_compression("none")).add(frame) is frame
    noise = os.urandom(FRAME_SIZE)
    assert FrameEncoder(compression_of("mixed")).add(noise) is noise


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd program here")
def test_the_zstd_program_decodes_the_whole() -> None:
    for spec in ("zstd:1", "zstd:3"):
        done = subprocess.run(["zstd", "-dc"], input=STORED[spec][0], stdout=subprocess.PIPE, check=True)
        assert done.stdout == PAYLOAD


@pytest.mark.parametrize("spec", ["zlib:1", "zlib:2", "zlib:6"])
def test_any_zlib_decodes_the_whole(spec: str) -> None:
    whole, stored = STORED[spec]
    inflater = zlib.decompressobj()
    assert inflater.decompress(whole) == PAYLOAD
    assert inflater.eof
    assert inflater.unused_data == whole[table_start(stored) :]


@pytest.mark.parametrize("spec", ["none", "zlib:1", "mixed"])
def test_the_table_is_as_described(spec: str) -> None:
    whole, stored = STORED[spec]
    numbers = struct.unpack("<9I4s", whole[table_start(stored) :])
    cuts = [PAYLOAD[at : at + FRAME_SIZE] for at in range(0, len(PAYLOAD), FRAME_SIZE)]
    assert numbers[1:6:2] == tuple(map(zlib.crc32, cuts))
    end = 6 if stored.codec is Codec.ZLIB else 0
    assert sum(numbers[0:6:2]) == table_start(stored) - end
    assert numbers[6:] == (FRAME_SIZE, 3, zlib.crc32(whole[table_start(stored) : -8]), b"RSFT")


def test_the_seek_table_is_as_published() -> None:
    whole, stored = STORED["zstd:1"]
    magic, length, *numbers, count, descriptor, footer = struct.unpack("<11IIBI", whole[table_start(stored) :])
    assert (magic, length, count, descriptor, footer) == (0x184D2A5E, 45, 3, 0x80, 0x8F92EAB1)
    assert numbers[1::3] == [FRAME_SIZE, FRAME_SIZE, 70_001]
    at = 0
    for index in range(3):
        piece = whole[at : at + numbers[3 * index]]
        assert zstandard.frame_content_size(piece) == numbers[3 * index + 1]
        assert int.from_bytes(piece[-4:], "little") == numbers[3 * index + 2]
        at += len(piece)
    assert at == table_start(stored)


@every_codec
def test_every_flipped_bit_of_the_table_is_found(spec: str) -> None:
    whole, stored = STORED[spec]
    damaged = bytearray(whole)
    for bit in range(8 * table_start(stored), 8 * len(whole)):
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decoded(damaged, stored)
        damaged[bit // 8] ^= 1 << bit % 8


@every_codec
def test_flipped_bits_of_the_pieces_never_give_wrong_bytes(spec: str) -> None:
    whole, stored = STORED[spec]
    table = read_table(fetcher(whole), stored)
    damaged = bytearray(whole)
    found = 0
    bits = [*range(200), *range(200, 8 * table_start(stored), 8 * table_start(stored) // 300)]
    for bit in bits:
        index = max(at for at in range(3) if table.offsets[at] <= bit // 8)
        right = PAYLOAD[index * FRAME_SIZE : (index + 1) * FRAME_SIZE]
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert table.read(fetcher(damaged), index) == right
        except DecodeError:
            found += 1
        damaged[bit // 8] ^= 1 << bit % 8
    assert found > 0.9 * len(bits)


@every_codec
def test_a_good_frame_in_the_place_of_another_is_found(spec: str) -> None:
    whole, stored = STORED[spec]
    table = read_table(fetcher(whole), stored)
    exchanged = dataclasses.replace(table, checks=table.checks[::-1])
    assert bytes(exchanged.read(fetcher(whole), 1)) == PAYLOAD[FRAME_SIZE : 2 * FRAME_SIZE]
    for index in (0, 2):
        with pytest.raises(DecodeError, match="not that of the table"):
            exchanged.read(fetcher(whole), index)


@every_codec
def test_cut_and_grown_objects_are_refused(spec: str) -> None:
    whole, stored = STORED[spec]
    for size in (0, 1, FRAME_SIZE, len(PAYLOAD) - 1, len(PAYLOAD) + 1, 1 << 40, (1 << 64) - 1, -1):
        with pytest.raises(DecodeError):
            decoded(whole, Stored(stored.codec, stored.flags, stored.length, size))
    for cut in (1, 16, 50, len(whole) // 2, len(whole) - 1):
        shorter = whole[:-cut]
        with pytest.raises(DecodeError):
            decoded(shorter, Stored(stored.codec, stored.flags, len(shorter), stored.size))
        with pytest.raises(DecodeError):
            decoded(shorter, stored)
        with pytest.raises(DecodeError):
            decoded(whole[cut:], Stored(stored.codec, stored.flags, len(shorter), stored.size))
    for length in (0, 1, -1, stored.length + 1):
        with pytest.raises(DecodeError):
            decoded(whole, Stored(stored.codec, stored.flags, length, stored.size))


@pytest.mark.parametrize("codec", list(Codec))
def test_nothing_is_fetched_for_a_size_that_the_length_cannot_hold(codec: Codec) -> None:
    fetched = []

    def fetch(offset: int, length: int) -> bytes:
        fetched.append(length)
        return bytes(length)

    for size in (1 << 40, 1 << 52, (1 << 64) - 1):
        with pytest.raises(DecodeError):
            read_table(fetch, Stored(codec, RecordFlag.FRAMED, 1_000_000, size))
    assert fetched == []


def sealed(lengths: list[int], checks: list[int], frame_size: int = FRAME_SIZE) -> bytes:
    columns = [number for pair in zip(lengths, checks, strict=True) for number in pair]
    table = struct.pack(f"<{len(columns)}I2I", *columns, frame_size, len(lengths))
    return table + struct.pack("<I4s", zlib.crc32(table), b"RSFT")


def hostile_tables() -> Iterator[tuple[Codec, bytes]]:
    """Tables that are whole but lie, for two frames of which the second has 100 bytes, and 2000 bytes of pieces."""
    for lengths in ([0, 2000], [2000, 0], [1, 1], [1999, 2], [0xFFFFFFFF, 2001]):
        yield Codec.ZLIB, sealed(lengths, [0, 0])
        yield Codec.MIXED, sealed(lengths, [0, 0])
        entries = struct.pack("<6I", lengths[0], FRAME_SIZE, 0, lengths[1], 100, 0)
        yield Codec.ZSTD, struct.pack("<2I", 0x184D2A5E, 33) + entries + struct.pack("<IBI", 2, 0x80, 0x8F92EAB1)
    for sizes in ([FRAME_SIZE + 1, 99], [100, FRAME_SIZE], [FRAME_SIZE, 0], [0xFFFFFFFF, 100]):
        entries = struct.pack("<6I", 1000, sizes[0], 0, 1000, sizes[1], 0)
        yield Codec.ZSTD, struct.pack("<2I", 0x184D2A5E, 33) + entries + struct.pack("<IBI", 2, 0x80, 0x8F92EAB1)
    yield Codec.MIXED, sealed([1000, 1000], [0, 0])
    yield Codec.ZLIB, sealed([1000, 1000], [0, 0], frame_size=1 << 30)
    yield Codec.ZLIB, sealed([2000], [0]) + bytes(8)


@pytest.mark.parametrize(("codec", "table"), list(hostile_tables()))
def test_tables_that_lie_are_refused_before_any_piece_is_fetched(codec: Codec, table: bytes) -> None:
    end = bytes(6 if codec is Codec.ZLIB else 0)
    whole = bytes(2000) + end + table
    fetched = []

    def fetch(offset: int, length: int) -> bytes:
        fetched.append((offset, length))
        return whole[offset : offset + length]

    with pytest.raises(DecodeError):
        read_table(fetch, Stored(codec, RecordFlag.FRAMED, len(whole), FRAME_SIZE + 100))
    assert fetched == [(2000 + len(end), len(table))]


def test_a_piece_that_claims_more_than_any_codec_makes_is_refused() -> None:
    lengths = [MAX_PIECE_LENGTH + 1, 100]
    table = sealed(lengths, [0, 0])
    length = sum(lengths) + 6 + len(table)
    with pytest.raises(DecodeError, match="add up"):
        read_table(lambda offset, size: table, Stored(Codec.ZLIB, RecordFlag.FRAMED, length, FRAME_SIZE + 100))


def test_raw_pieces_must_be_frames() -> None:
    table = sealed([FRAME_SIZE - 1, 101], [0, 0])
    length = FRAME_SIZE + 100 + len(table)
    with pytest.raises(DecodeError, match="raw"):
        read_table(lambda offset, size: table, Stored(Codec.RAW, RecordFlag.FRAMED, length, FRAME_SIZE + 100))


NOISE = os.urandom(2 * FRAME_SIZE)
MIXED = NOISE[:FRAME_SIZE] + LINES[:FRAME_SIZE] + NOISE[FRAME_SIZE:] + LINES[:70_001]


def test_a_mixed_frame_is_stored_raw_where_zstd_gains_little() -> None:
    whole, stored = encoded(MIXED, "mixed")
    assert stored.codec is Codec.MIXED
    assert decoded(whole, stored) == MIXED
    table = read_table(fetcher(whole), stored)
    assert [table.is_raw(index) for index in range(4)] == [True, False, True, False]
    for index in range(4):
        frame = MIXED[index * FRAME_SIZE : (index + 1) * FRAME_SIZE]
        piece = whole[table.offsets[index] : table.offsets[index + 1]]
        if table.is_raw(index):
            assert piece == frame
        else:
            assert zstandard.decompress(piece) == frame
            assert zstandard.frame_content_size(piece) == len(frame)
            assert not zstandard.get_frame_parameters(piece).has_checksum


def test_mixed_frames_that_are_all_raw_are_a_raw_object() -> None:
    assert encoded(NOISE + NOISE[:100], "mixed") == encoded(NOISE + NOISE[:100], "none")


@pytest.mark.parametrize("lengths", [[FRAME_SIZE + 1, 99], [FRAME_SIZE, 101]])
def test_a_mixed_piece_is_not_longer_than_its_frame(lengths: list[int]) -> None:
    table = sealed(lengths, [0, 0])
    stored = Stored(Codec.MIXED, RecordFlag.FRAMED, sum(lengths) + len(table), FRAME_SIZE + 100)
    with pytest.raises(DecodeError, match="longer than their frames"):
        read_table(lambda offset, size: table, stored)


def test_a_mixed_piece_of_its_frames_size_is_raw_whatever_it_looks_like() -> None:
    frame = encode(LINES[:FRAME_SIZE], parse_compression("zstd")) + NOISE[:FRAME_SIZE]
    payload = frame[:FRAME_SIZE] + LINES[:FRAME_SIZE]
    assert decoded(*encoded(payload, "mixed")) == payload


def test_a_mixed_piece_that_decodes_to_more_or_less_than_its_frame_is_damaged() -> None:
    for size in (0, 99, 101, 1 << 30):
        piece = zstandard.compress(bytes(min(size, 1 << 20)))
        if size == 1 << 30:
            piece = zstandard.ZstdCompressor().compressobj(size=size).flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        table = sealed([FRAME_SIZE, len(piece)], [zlib.crc32(bytes(FRAME_SIZE)), zlib.crc32(bytes(100))])
        whole = bytes(FRAME_SIZE) + piece + table
        stored = Stored(Codec.MIXED, RecordFlag.FRAMED, len(whole), FRAME_SIZE + 100)
        with pytest.raises(DecodeError):
            decoded(whole, stored)


def test_a_zstd_piece_without_checksum_is_no_piece() -> None:
    first = encode(LINES[:FRAME_SIZE], parse_compression("zstd"))
    whole, stored = encoded(LINES[: FRAME_SIZE + 100], "zstd")
    table = read_table(fetcher(whole), stored)
    with pytest.raises(DecodeError):
        table.read(lambda offset, length: first.ljust(length, b"\0"), 0)

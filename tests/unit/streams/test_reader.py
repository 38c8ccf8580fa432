import io
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsdos.errors import DamagedObject
from rsdos.model import FRAME_SIZE, RecordFlag, Stored
from rsdos.streams.frames import Fill, FrameEncoder, read_table
from rsdos.streams.reader import FramedReader
from tests.helpers import compression_of

LINES = b"".join(b"%d the quick brown fox\n" % (at * at) for at in range(80_000))
PAYLOAD = os.urandom(FRAME_SIZE) + LINES[: FRAME_SIZE - 5000] + os.urandom(5000) + LINES[:4321]
SIZE = len(PAYLOAD)
SPECS = ["none", "zlib", "zstd", "mixed"]


def encoded(payload: bytes, spec: str) -> tuple[bytes, Stored]:
    compression = compression_of(spec)
    encoder = FrameEncoder(compression)
    parts = [encoder.add(payload[at : at + FRAME_SIZE]) for at in range(0, len(payload), FRAME_SIZE)]
    whole = b"".join([*parts, encoder.finish()])
    return whole, Stored(encoder.codec, RecordFlag.FRAMED, len(whole), len(payload))


STORED = {spec: encoded(PAYLOAD, spec) for spec in SPECS}


def damaged(reason: str) -> Exception:
    return DamagedObject("00" * 32, reason)


def reader_of(whole: bytes, stored: Stored) -> FramedReader:
    def fetch(offset: int, length: int) -> bytes:
        return whole[offset : offset + length]

    return FramedReader(fetch, filling(whole), stored, damaged)


def filling(whole: bytes) -> Fill:
    def fill(offset: int, buffer: memoryview) -> int:
        data = memoryview(whole)[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    return fill


edges = st.sampled_from([0, 1, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE, SIZE - 1, SIZE, SIZE + 1])
positions = edges | st.integers(0, SIZE + 10)
lengths = st.integers(-1, 70_000) | edges
steps = st.lists(
    st.tuples(st.just("read"), lengths, st.just(0))
    | st.tuples(st.just("readinto"), lengths, st.just(0))
    | st.tuples(st.just("seek"), positions, st.just(os.SEEK_SET))
    | st.tuples(st.just("seek"), st.integers(-SIZE, SIZE), st.just(os.SEEK_CUR))
    | st.tuples(st.just("seek"), st.integers(-SIZE, 10), st.just(os.SEEK_END)),
    max_size=12,
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("buffered", ["raw", "buffered"])
@settings(max_examples=60)
@given(steps=steps)
def test_it_is_like_the_bytes_in_memory(spec: str, buffered: str, steps: list[tuple[str, int, int]]) -> None:
    model = io.BytesIO(PAYLOAD)
    raw = reader_of(*STORED[spec])
    with raw if buffered == "raw" else io.BufferedReader(raw) as stream:
        for verb, number, whence in steps:
            if verb == "seek":
                offset = max(number, -model.tell()) if whence == os.SEEK_CUR else number
                assert stream.seek(offset, whence) == model.seek(offset, whence)
            elif verb == "read":
                assert stream.read(number) == model.read(number)
            else:
                ours, theirs = bytearray(max(number, 0)), bytearray(max(number, 0))
                assert stream.readinto(ours) == model.readinto(theirs)
                assert ours == theirs
            assert stream.tell() == model.tell()


def test_lines_of_text_are_read_through_it() -> None:
    with io.TextIOWrapper(io.BufferedReader(reader_of(*encoded(LINES, "zstd"))), "ascii") as text:
        assert sum(len(line) for line in text) == len(LINES)


def test_it_is_a_readable_seekable_stream() -> None:
    reader = reader_of(*STORED["zstd"])
    assert reader.readable()
    assert reader.seekable()
    assert not reader.writable()
    for offset, whence in ((-1, os.SEEK_SET), (-1, os.SEEK_CUR), (-SIZE - 1, os.SEEK_END), (0, 7)):
        with pytest.raises(ValueError, match=r"negative|whence"):
            reader.seek(offset, whence)
    assert reader.tell() == 0
    reader.close()
    for use in (reader.tell, reader.readall, lambda: reader.read(1), lambda: reader.seek(0), lambda: reader.read(-1)):
        with pytest.raises(ValueError, match="closed"):
            use()


@pytest.mark.parametrize("spec", SPECS)
def test_a_range_decodes_only_the_frames_it_touches(spec: str) -> None:
    whole, stored = STORED[spec]
    fetched: list[int] = []

    def fetch(offset: int, length: int) -> bytes:
        fetched.append(offset)
        return whole[offset : offset + length]

    reader = FramedReader(fetch, filling(whole), stored, damaged)
    fetched.clear()
    reader.seek(FRAME_SIZE + 10)
    assert reader.read(100) == PAYLOAD[FRAME_SIZE + 10 : FRAME_SIZE + 110]
    assert reader.read(100) == PAYLOAD[FRAME_SIZE + 110 : FRAME_SIZE + 210]
    assert len(fetched) == 1
    reader.seek(SIZE)
    assert reader.read(1) == b""
    assert len(fetched) == 1


def test_any_memory_is_read_into() -> None:
    reader = reader_of(*STORED["none"])
    target = memoryview(bytearray(8 * (FRAME_SIZE // 4))).cast("d")
    assert reader.readinto(target) == 2 * FRAME_SIZE
    assert target.tobytes() == PAYLOAD[: 2 * FRAME_SIZE]


@pytest.mark.parametrize("spec", SPECS)
def test_damage_raises_the_callers_exception(spec: str) -> None:
    whole, stored = STORED[spec]
    with pytest.raises(DamagedObject, match="00000"):
        reader_of(whole[:-1] + b"\0", stored)
    hurt = bytearray(whole)
    hurt[read_table(lambda offset, length: whole[offset : offset + length], stored).offsets[2] + 30] ^= 1
    for stream in (reader_of(bytes(hurt), stored), io.BufferedReader(reader_of(bytes(hurt), stored))):
        assert stream.read(1000) == PAYLOAD[:1000]
        with pytest.raises(DamagedObject):
            stream.read()
        stream.seek(2 * FRAME_SIZE)
        with pytest.raises(DamagedObject):
            stream.read(1)
        stream.seek(5)
        assert stream.read(1000) == PAYLOAD[5:1005]


def test_damage_is_found_in_frames_that_are_read_in_place() -> None:
    whole, stored = STORED["none"]
    hurt = bytearray(whole)
    hurt[FRAME_SIZE + 30] ^= 1

    def fetch(offset: int, length: int) -> bytes:
        return whole[offset : offset + length]

    for fill in (filling(bytes(hurt)), filling(whole[: 2 * FRAME_SIZE - 1])):
        for buffered in (False, True):
            raw = FramedReader(fetch, fill, stored, damaged)
            stream = io.BufferedReader(raw) if buffered else raw
            buffer = bytearray(FRAME_SIZE)
            assert stream.readinto(buffer) == FRAME_SIZE
            assert buffer == PAYLOAD[:FRAME_SIZE]
            with pytest.raises(DamagedObject):
                stream.readinto(buffer)
            assert stream.tell() == FRAME_SIZE
            with pytest.raises(DamagedObject):
                stream.read(FRAME_SIZE)


@pytest.mark.parametrize(("spec", "most"), [("none", 1.5), ("zlib", 3), ("zstd", 2), ("mixed", 2)])
def test_memory_does_not_grow_with_the_object(spec: str, most: float) -> None:
    whole, stored = encoded(LINES * 8, spec)
    buffer = bytearray(5 * FRAME_SIZE + 3)
    tracemalloc.start()
    try:
        reader = reader_of(whole, stored)
        while reader.readinto(buffer):
            pass
        assert tracemalloc.get_traced_memory()[1] < most * FRAME_SIZE
    finally:
        tracemalloc.stop()

"""Many payloads in one call are what each of them is alone."""

import os
import random
import threading

import pytest
import zstandard

from rsdos.codecs.coding import decode, decode_many, encode, encode_many
from rsdos.codecs.cores import threads_for
from rsdos.codecs.spec import parse_compression
from rsdos.errors import DecodeError
from rsdos.model import BytesLike, Codec

ZSTD = parse_compression("zstd")


def texts(count: int, size: int = 1000) -> list[bytes]:
    chance = random.Random(count)
    words = [chance.randbytes(chance.randrange(2, 9)).hex().encode() for _ in range(200)]
    return [b" ".join(chance.choices(words, k=size // 8))[: chance.randrange(1, size)] for _ in range(count)]


@pytest.mark.parametrize("count", [15, 16, 17, 1000])
@pytest.mark.parametrize("spec", ["none", "zstd:1", "zstd:5", "zlib:1"])
def test_many_are_encoded_as_each_alone_and_decode_to_themselves(count: int, spec: str) -> None:
    compression = parse_compression(spec)
    data = texts(count)
    stored = encode_many(data, compression)
    assert stored == [encode(payload, compression) for payload in data]
    assert {type(one) for one in stored} == {bytes}
    assert decode_many(stored, compression.codec, list(map(len, data))) == data


def test_empty_ones_and_views_go_with_the_others() -> None:
    data: list[BytesLike] = [b"", *texts(40), memoryview(b"a view"), bytearray(b"an array"), b""]
    stored = encode_many(data, ZSTD)
    assert decode_many(stored, Codec.ZSTD, list(map(len, data))) == list(map(bytes, data))


def test_a_large_one_among_many_small_ones() -> None:
    data = [*texts(30), os.urandom(1 << 20), *texts(30)]
    assert decode_many(encode_many(data, ZSTD), Codec.ZSTD, list(map(len, data))) == data


@pytest.mark.parametrize("at", [0, 50, 99])
@pytest.mark.parametrize("damage", ["cut", "flipped", "size", "another codec", "no size"])
def test_one_bad_payload_among_many_is_found(at: int, damage: str) -> None:
    data = texts(100)
    stored, sizes = encode_many(data, ZSTD), list(map(len, data))
    match damage:
        case "cut":
            stored[at] = stored[at][:-1]
        case "flipped":
            stored[at] = stored[at][:5] + bytes([stored[at][5] ^ 0xFF]) + stored[at][6:]
        case "size":
            sizes[at] += 1
        case "another codec":
            stored[at] = encode(data[at], parse_compression("zlib"))
        case "no size":
            plain = zstandard.ZstdCompressor(write_content_size=False).compress(data[at])
            assert decode_many([*stored[:at], plain, *stored[at + 1 :]], Codec.ZSTD, sizes) == data
            stored[at] = plain[:-2]
    with pytest.raises(DecodeError):
        decode_many(stored, Codec.ZSTD, sizes)


def test_sizes_that_are_lies_take_no_memory() -> None:
    stored = encode_many(texts(100), ZSTD)
    for lie in (1 << 40, -1, 0):
        with pytest.raises(DecodeError):
            decode_many(stored, Codec.ZSTD, [lie] * len(stored))


def test_threads_are_for_much_work_and_as_many_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert [threads_for(size) for size in (0, 1000, 100_000)] == [1, 1, 1]
    assert threads_for(1 << 20) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert threads_for(1 << 30) == 1


def test_many_threads_at_once_get_each_their_own() -> None:
    data = [texts(500 + number) for number in range(4)]
    answers: list[bool] = []

    def work(mine: list[bytes]) -> None:
        for _ in range(5):
            stored = encode_many(mine, ZSTD)
            answers.append(decode_many(stored, Codec.ZSTD, list(map(len, mine))) == mine)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 20


def test_bytes_behind_a_frame_are_found_when_it_is_decoded_alone() -> None:
    data = b"some text, and again some text"
    with pytest.raises(DecodeError):
        decode(encode(data, ZSTD) + b"\0", Codec.ZSTD, len(data))

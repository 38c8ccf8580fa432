"""Compressing and decompressing with a dictionary."""

from __future__ import annotations

import os
import threading
from hashlib import sha256

import pytest
import zstandard

from rsdos import set_threads
from rsdos.codecs import dictionary as module
from rsdos.codecs.dictionary import MAX_LENGTH, Dictionary, cached, remember
from rsdos.codecs.zstd import compress_many
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE
from tests.dictionaries import records, trained


@pytest.mark.parametrize("count", [1, 15, 16, 17, 700])
@pytest.mark.parametrize("level", [1, 3, 19])
def test_what_is_compressed_comes_back_and_is_much_shorter(count: int, level: int) -> None:
    payloads = records(count, 7)
    stored = trained().compress_many(payloads, level)
    sizes = list(map(len, payloads))
    assert trained().decompress_many(stored, sizes) == payloads
    assert [trained().decompress(form, size) for form, size in zip(stored, sizes, strict=True)] == payloads
    assert sum(map(len, stored)) < 0.7 * sum(map(len, compress_many(payloads, level)))


def test_many_are_compressed_as_each_alone() -> None:
    payloads = records(300, 3)
    assert trained().compress_many(payloads, 1) == [trained().compress_many([one], 1)[0] for one in payloads]


def test_a_frame_has_its_size_and_neither_a_checksum_nor_the_id_of_a_dictionary() -> None:
    payload = records(1)[0]
    for stored in (trained().compress_many([payload], 1)[0], trained().compress_many([payload] * 20, 1)[7]):
        parameters = zstandard.get_frame_parameters(stored)
        assert (parameters.content_size, parameters.dict_id, parameters.has_checksum) == (len(payload), 0, False)


def test_sizes_up_to_a_frame() -> None:
    payloads = [b"x", b"\0" * FRAME_SIZE, os.urandom(FRAME_SIZE), *records(20)]
    stored = trained().compress_many(payloads, 1)
    assert trained().decompress_many(stored, list(map(len, payloads))) == payloads


def test_it_is_named_by_its_bytes() -> None:
    data = trained().data
    assert Dictionary(bytearray(data)) == trained() != trained(1)
    assert trained().digest == sha256(data).digest() and trained().key == sha256(data).hexdigest()
    assert {Dictionary(data): 1}[trained()] == 1
    assert len(trained()) == len(data)


@pytest.mark.parametrize("data", [b"", b"short", b"no dictionary at all" * 100, trained().data[:100], os.urandom(5000)])
def test_other_bytes_are_no_dictionary(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Dictionary(data)


def test_a_dictionary_has_a_longest_length() -> None:
    with pytest.raises(DecodeError, match=str(MAX_LENGTH)):
        Dictionary(trained().data + bytes(MAX_LENGTH))


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "shorter", "no size", "negative", "huge", "not zstd"])
def test_no_other_size_than_asked_for_ever_comes_out(count: int, damage: str) -> None:
    payloads = records(count)
    stored, sizes = trained().compress_many(payloads, 1), list(map(len, payloads))
    at = count // 2
    match damage:
        case "cut":
            stored[at] = stored[at][:-2]
        case "empty":
            stored[at] = b""
        case "longer":
            sizes[at] += 1
        case "shorter":
            sizes[at] -= 1
        case "no size":
            context = zstandard.ZstdCompressor(
                dict_data=zstandard.ZstdCompressionDict(trained().data), write_content_size=False, write_dict_id=False
            )
            stored[at] = context.compress(payloads[at])
        case "negative":
            sizes[at] = -1
        case "huge":
            bomb = bytes(FRAME_SIZE + 1)
            stored[at], sizes[at] = trained().compress_many([bomb], 1)[0], len(bomb)
        case _:
            stored[at] = b"not a frame at all"
    with pytest.raises(DecodeError):
        trained().decompress_many(stored, sizes)
    with pytest.raises(DecodeError):
        trained().decompress(stored[at], sizes[at])


def test_bytes_behind_a_single_frame_are_an_error() -> None:
    (stored,) = trained().compress_many([b"payload"], 1)
    with pytest.raises(DecodeError):
        trained().decompress(stored + b"x", 7)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_threads_share_one(threads: int) -> None:
    set_threads(threads)
    try:
        fresh = Dictionary(trained(2).data)
        payloads = records(4000, 5)
        sizes = list(map(len, payloads))
        failed: list[BaseException] = []

        def work(level: int) -> None:
            try:
                for at in range(0, len(payloads), 1000):
                    some, own = payloads[at : at + 1000], sizes[at : at + 1000]
                    assert fresh.decompress_many(fresh.compress_many(some, level), own) == some
                    assert fresh.decompress(fresh.compress_many(some[:1], level)[0], own[0]) == some[0]
            except BaseException as error:  # noqa: BLE001  told below
                failed.append(error)

        others = [threading.Thread(target=work, args=(level,)) for level in (1, 1, 3, 3)]
        for other in others:
            other.start()
        for other in others:
            other.join()
        assert not failed
    finally:
        set_threads(None)


def test_a_fork_can_use_it() -> None:
    payloads = records(50)
    stored = trained().compress_many(payloads, 1)
    child = os.fork()
    if child == 0:
        good = trained().decompress_many(stored, list(map(len, payloads))) == payloads
        good = good and trained().compress_many(payloads, 1) == stored
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_few_are_cached_by_their_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cached", {})
    monkeypatch.setattr(module, "_MOST_CACHED", 2)
    some = [trained(seed, 1024) for seed in range(3)]
    assert [remember(one) for one in some] == some
    assert [cached(one.digest) for one in some] == [None, *some[1:]]
    monkeypatch.setattr(module, "_MOST_CACHED_LENGTH", len(some[2]) + 1)
    remember(some[2])
    assert [cached(one.digest) for one in some] == [None, None, some[2]]

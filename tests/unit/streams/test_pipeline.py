from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator

import pytest

from rsdos.codecs import cores
from rsdos.codecs.cores import set_threads, threads
from rsdos.codecs.sequential import SequenceEncoder
from rsdos.codecs.spec import parse_compression
from rsdos.codecs.workers import Workers
from rsdos.errors import InvalidOption
from rsdos.hashing import SHA256
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Compression
from rsdos.streams.frames import FrameEncoder
from rsdos.streams.pipeline import encoded
from tests.helpers import compression_of

FRAMES = [bytes([number]) * FRAME_SIZE for number in range(12)] + [os.urandom(FRAME_SIZE), b"the end"]
SPECS = ["none", "zlib", "zstd", "mixed"]
AT_ONCE = ("zstd", "mixed")
"""Frames of these are encoded in several threads."""


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    set_threads(None)


def ours() -> list[threading.Thread]:
    """The threads of pipelines: one that lists buckets is there for the rest of its process."""
    return [thread for thread in threading.enumerate() if thread.name == "rsdos-worker"]


def encoders(spec: str) -> Iterator[FrameEncoder | SequenceEncoder]:
    yield FrameEncoder(compression_of(spec))
    if spec != "mixed":
        yield SequenceEncoder(parse_compression(spec))


@pytest.mark.parametrize("count", [0, 1, 3, 64])
@pytest.mark.parametrize("spec", SPECS)
def test_the_stored_form_and_the_hash_are_the_same_with_any_number_of_threads(spec: str, count: int) -> None:
    set_threads(count)
    for kind, alone in enumerate(encoders(spec)):
        whole = b"".join([*map(bytes, map(alone.add, FRAMES)), alone.finish()])
        encoder, hasher = list(encoders(spec))[kind], SHA256.new()
        parts = []
        for (frame, piece), given in zip(encoded(iter(FRAMES), encoder, hasher), FRAMES, strict=True):
            assert frame is given
            parts.append(bytes(piece))
        assert b"".join([*parts, encoder.finish()]) == whole
        assert hasher.digest() == hashlib.sha256(b"".join(FRAMES)).digest()
        assert not ours()


@pytest.mark.parametrize("spec", SPECS)
def test_the_source_is_read_in_the_callers_thread_and_not_far_ahead(spec: str) -> None:
    set_threads(2)
    taken = given = 0

    def source() -> Iterator[BytesLike]:
        nonlocal taken
        for frame in FRAMES * 3:
            assert threading.current_thread() is threading.main_thread()
            taken += 1
            yield frame
            assert taken - given <= 2 + 2 + 1

    most = 0
    encoder = FrameEncoder(compression_of(spec)) if spec in AT_ONCE else SequenceEncoder(parse_compression(spec))
    for _ in encoded((frame if len(frame) == FRAME_SIZE else FRAMES[0] for frame in source()), encoder, SHA256.new()):
        given += 1
        most = max(most, len(ours()))
    assert given == taken == 3 * len(FRAMES)
    assert most == (2 if spec in AT_ONCE else 1)


def test_an_object_of_four_frames_has_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    set_threads(3)
    monkeypatch.setattr(Workers, "start", lambda self: pytest.fail("threads for a small object"))
    for spec in SPECS:
        list(encoded(iter(FRAMES[:4]), FrameEncoder(compression_of(spec)), SHA256.new()))


@pytest.mark.parametrize("spec", SPECS)
def test_an_error_of_a_thread_reaches_the_caller(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_threads(2)
    encoder, hasher = FrameEncoder(compression_of(spec)), SHA256.new()
    encode, update, seen = encoder.encode, hasher.update, []

    def fail_for(frame: BytesLike) -> None:
        if frame is FRAMES[7]:
            seen.append(threading.current_thread())
            raise MemoryError

    class Failing:
        digest = hasher.digest

        def update(self, part: BytesLike) -> None:
            fail_for(part)
            update(part)

    def failing(frame: BytesLike) -> BytesLike:
        fail_for(frame)
        return encode(frame)

    if spec in AT_ONCE:
        monkeypatch.setattr(encoder, "encode", failing)
    with pytest.raises(MemoryError):
        list(encoded(iter(FRAMES), encoder, hasher if spec in AT_ONCE else Failing()))  # type: ignore[arg-type]
    assert seen[0] is not threading.main_thread()
    assert not ours()


@pytest.mark.parametrize("spec", SPECS)
def test_no_thread_is_left_by_an_object_that_is_given_up(spec: str) -> None:
    set_threads(2)

    def source() -> Iterator[BytesLike]:
        yield from FRAMES[:9]
        raise OSError("the source")

    with pytest.raises(OSError, match="the source"):
        list(encoded(source(), FrameEncoder(compression_of(spec)), SHA256.new()))
    assert not ours()
    half = encoded(iter(FRAMES), FrameEncoder(compression_of(spec)), SHA256.new())
    for _ in range(8):
        next(half)
    assert ours()
    half.close()
    assert not ours()


@pytest.mark.parametrize("spec", SPECS)
def test_it_goes_without_threads_where_the_system_has_none(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_threads(3)
    start, left = threading.Thread.start, [1]

    def refuse(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(2):
        encoder, hasher = FrameEncoder(compression_of(spec)), SHA256.new()
        pieces = [bytes(piece) for _, piece in encoded(iter(FRAMES), encoder, hasher)]
        alone = FrameEncoder(compression_of(spec))
        assert pieces == [bytes(alone.add(frame)) for frame in FRAMES]
        assert hasher.digest() == hashlib.sha256(b"".join(FRAMES)).digest()


def test_mixed_frames_have_one_thread_until_one_of_them_looks_compressible() -> None:
    set_threads(3)
    noise = [os.urandom(FRAME_SIZE) for _ in range(2)] * 5
    most = []
    for _ in encoded(iter([*noise, *FRAMES[:12], *noise]), FrameEncoder(compression_of("mixed")), SHA256.new()):
        most.append(len(ours()))
    assert max(most[:9]) == 1
    assert max(most) == 3


@pytest.mark.parametrize(("level", "most"), [(1, 15), (9, 3), (19, 1)])
def test_levels_that_take_much_memory_have_fewer_threads(level: int, most: int) -> None:
    assert FrameEncoder(parse_compression(f"zstd:{level}")).most_threads == most
    assert FrameEncoder(Compression(Codec.MIXED, level)).most_threads == most


def test_how_many_threads_there_are_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, expected in ((1, 0), (2, 2), (3, 3), (100, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=processors: range(count), raising=False)
        assert threads() == expected
    set_threads(0)
    assert threads() == 0
    for wrong in (-1, 65, 1.0, True, "2"):
        with pytest.raises(InvalidOption, match="threads"):
            set_threads(wrong)  # type: ignore[arg-type]
    assert cores.threads() == 0

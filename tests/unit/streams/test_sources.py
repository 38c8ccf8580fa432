import array
import contextlib
import errno
import gc
import io
import os
import pathlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from rsdos.errors import InvalidSource, SourceChanged, UnreadableSource
from rsdos.model import FRAME_SIZE, Source
from rsdos.streams.sources import Frames, take
from tests import helpers

PATTERN = os.urandom(3 * FRAME_SIZE + 77)
SIZES = [
    0,
    1,
    1000,
    FRAME_SIZE - 1,
    FRAME_SIZE,
    FRAME_SIZE + 1,
    2 * FRAME_SIZE,
    2 * FRAME_SIZE + 1,
    3 * FRAME_SIZE + 77,
]


Make: TypeAlias = Callable[[str, pathlib.Path, bytes], object]


class Dribble:
    """A stream that returns less than was asked for, as sockets and pipes do."""

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._most))


class Saying:
    """A stream whose read() returns the same thing each time."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def read(self, size: int) -> object:
        return self._answer


def as_file(tmp: pathlib.Path, data: bytes) -> pathlib.Path:
    path = tmp / "file"
    path.write_bytes(data)
    return path


MAKERS: dict[str, Callable[[pathlib.Path, bytes], object]] = {
    "bytes": lambda tmp, data: data,
    "bytearray": lambda tmp, data: bytearray(data),
    "memoryview": lambda tmp, data: memoryview(data),
    "readonly view of 2 dimensions": lambda tmp, data: memoryview(data).cast("B", (1, len(data))) if data else b"",
    "path": as_file,
    "str": lambda tmp, data: str(as_file(tmp, data)),
    "BytesIO": lambda tmp, data: io.BytesIO(data),
    "file": lambda tmp, data: as_file(tmp, data).open("rb"),
    "unbuffered file": lambda tmp, data: as_file(tmp, data).open("rb", buffering=0),
    "short reads": lambda tmp, data: Dribble(data, 300_007),
}


@pytest.fixture
def make() -> Iterator[Make]:
    """A source of each kind; files are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(maker: str, tmp: pathlib.Path, data: bytes) -> object:
            source = MAKERS[maker](tmp, data)
            return stack.enter_context(source) if isinstance(source, io.IOBase) else source

        yield make


def descriptors() -> list[int]:
    gc.collect()  # Of the tests before this one.
    return sorted(helpers.descriptors())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("maker", MAKERS)
def test_small_is_bytes_and_large_is_frames(tmp_path: pathlib.Path, make: Make, maker: str, size: int) -> None:
    data = PATTERN[:size]
    source = make(maker, tmp_path, data)
    before = descriptors()
    taken = take(source)  # type: ignore[arg-type]
    if size <= FRAME_SIZE:
        assert type(taken) is bytes
        assert taken == data
    else:
        assert isinstance(taken, Frames)
        frames = list(taken)
        assert [len(frame) for frame in frames[:-1]] == [FRAME_SIZE] * (len(frames) - 1)
        assert 0 < len(frames[-1]) <= FRAME_SIZE
        assert b"".join(frames) == data
        assert list(taken) == []
    assert descriptors() == before


def test_bytes_are_not_copied() -> None:
    small = PATTERN[:1000]
    assert take(small) is small
    frame = next(iter(take(PATTERN)))
    assert isinstance(frame, memoryview)
    assert frame.obj is PATTERN


@pytest.mark.parametrize("size", [1000, 2 * FRAME_SIZE])
@pytest.mark.parametrize("view", [bytearray, memoryview])
def test_taken_bytes_do_not_change_with_the_source(view: type, size: int) -> None:
    memory = bytearray(PATTERN[:size])
    taken = take(view(memory) if view is memoryview else memory)
    first = taken if isinstance(taken, bytes) else next(taken)
    memory[:10] = bytes(10)
    assert first[:10] == PATTERN[:10]


def test_items_larger_than_a_byte_are_bytes() -> None:
    numbers = array.array("d", range(200_000))
    assert b"".join(take(memoryview(numbers))) == numbers.tobytes()  # type: ignore[arg-type]
    assert take(memoryview(numbers)[:10]) == numbers[:10].tobytes()


def test_a_stream_is_read_from_where_it_stands_and_left_open() -> None:
    stream = io.BytesIO(PATTERN)
    stream.seek(1000)
    assert b"".join(take(stream)) == PATTERN[1000:]  # type: ignore[arg-type]
    assert not stream.closed


@pytest.mark.parametrize(
    "source",
    [None, 3, 1.5, [b"a"], object(), memoryview(b"abcdef")[::2], io.StringIO("text")],
    ids=lambda source: type(source).__name__,
)
def test_an_object_that_is_no_source_is_refused(source: Source) -> None:
    with pytest.raises(InvalidSource):
        take(source)


def test_a_text_file_is_refused_before_it_is_read(tmp_path: pathlib.Path) -> None:
    with as_file(tmp_path, b"text").open() as file, pytest.raises(InvalidSource, match="text stream"):
        take(file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "match"),
    [("text", "text stream"), ("", "text stream"), (None, "non-blocking"), (7, "int"), (PATTERN, "returned")],
)
def test_streams_that_do_not_read_bytes_are_refused(answer: object, match: str) -> None:
    with pytest.raises(InvalidSource, match=match):
        take(Saying(answer))  # type: ignore[arg-type]


def test_bytearrays_that_a_stream_returns_are_bytes() -> None:
    chunks = [bytearray(b"ab"), memoryview(b"cd"), b""]

    class Stream:
        def read(self, size: int) -> object:
            return chunks.pop(0)

    assert take(Stream()) == b"abcd"  # type: ignore[arg-type]


def test_an_error_of_a_stream_is_passed_on() -> None:
    class Broken(Dribble):
        def read(self, size: int) -> bytes:
            if self._file.tell() >= 2 * FRAME_SIZE:
                raise ConnectionResetError("the other side went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        list(take(Broken(PATTERN, 100_000)))


def test_files_that_cannot_be_read_say_why(tmp_path: pathlib.Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    before = descriptors()
    for path, number in (
        (tmp_path / "missing", errno.ENOENT),
        (tmp_path, errno.EISDIR),
        (fifo, errno.EINVAL),
        (pathlib.Path("/dev/null"), errno.EINVAL),
        (pathlib.Path("/dev/zero"), errno.EINVAL),
        (loop, errno.ELOOP),
        (as_file(tmp_path, b"") / "below", errno.ENOTDIR),
        ("nul\0byte", errno.EINVAL),
        ("\ud800", errno.EINVAL),
    ):
        with pytest.raises(UnreadableSource) as caught:
            take(path)
        assert caught.value.errno == number, path
    assert descriptors() == before


def test_a_socket_cannot_be_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))
        with pytest.raises(UnreadableSource) as caught:
            take(path)
    assert caught.value.errno == errno.ENXIO


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_forbidden_file_cannot_be_read(tmp_path: pathlib.Path) -> None:
    path = as_file(tmp_path, b"secret")
    path.chmod(0)
    with pytest.raises(UnreadableSource) as caught:
        take(path)
    assert caught.value.errno == errno.EACCES


def test_an_interrupt_closes_no_file_twice(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time it would be another's file, or an error in the place of the interrupt."""
    (tmp_path / "file").write_bytes(b"data")
    close, closed = os.close, []

    def interrupted(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take(str(tmp_path / "file"))
    assert len(closed) == 1


def test_a_link_to_a_file_is_followed(tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(as_file(tmp_path, b"content"))
    assert take(link) == b"content"


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc here")
def test_files_without_a_size_are_read_to_their_end() -> None:
    taken = take("/proc/self/status")
    assert isinstance(taken, bytes)
    assert taken.startswith(b"Name:")


def changes(path: pathlib.Path) -> Iterator[Callable[[], object]]:
    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    yield append
    yield lambda: os.truncate(path, 2 * FRAME_SIZE - 5)
    yield lambda: os.truncate(path, 10)
    yield lambda: os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("number", range(4))
def test_a_file_that_changes_between_frames_is_an_error(tmp_path: pathlib.Path, number: int) -> None:
    path = as_file(tmp_path, PATTERN)
    before = descriptors()
    taken = take(path)
    assert isinstance(taken, Frames)
    assert next(taken) == PATTERN[:FRAME_SIZE]
    list(changes(path))[number]()
    with pytest.raises(SourceChanged):
        list(taken)
    assert descriptors() == before


def test_a_file_that_always_grows_is_given_up_soon(tmp_path: pathlib.Path) -> None:
    path = as_file(tmp_path, PATTERN)
    taken = take(path)
    assert isinstance(taken, Frames)
    seen = 0
    with path.open("ab") as file, pytest.raises(SourceChanged):
        for frame in taken:
            seen += len(frame)
            file.write(PATTERN)
            file.flush()
    assert seen <= len(PATTERN) + FRAME_SIZE


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_small_file_that_changes_while_it_is_read_is_an_error(tmp_path: pathlib.Path, change: str) -> None:
    path = as_file(tmp_path, b"0" * 1000)
    stop = threading.Event()

    def keep_changing() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            if change == "time":
                os.utime(path, ns=(number, number))
            else:
                os.truncate(path, 1000 + number % 2)

    other = threading.Thread(target=keep_changing)
    other.start()
    try:
        with pytest.raises(SourceChanged):
            for _ in range(1_000_000):
                take(path)
    finally:
        stop.set()
        other.join()


@pytest.mark.skipif(not os.path.exists("/sys/kernel/mm"), reason="no /sys here")
def test_a_file_that_ends_before_its_size_is_an_error() -> None:
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    assert os.stat(path).st_size == 4096
    with pytest.raises(SourceChanged):
        take(path)


def test_frames_are_closed_by_hand_by_context_and_by_error(tmp_path: pathlib.Path) -> None:
    path = as_file(tmp_path, PATTERN)
    before = descriptors()
    taken = take(path)
    assert isinstance(taken, Frames)
    assert len(descriptors()) == len(before) + 1
    taken.close()
    taken.close()
    assert list(taken) == []
    with take(path) as again:  # type: ignore[union-attr]
        next(again)
    assert descriptors() == before


@pytest.mark.parametrize("maker", ["file", "path", "short reads"])
def test_memory_is_bounded(tmp_path: pathlib.Path, make: Make, maker: str) -> None:
    data = PATTERN * 5
    source = make(maker, tmp_path, data)
    tracemalloc.start()
    try:
        taken = take(source)  # type: ignore[arg-type]
        assert isinstance(taken, Frames)
        total = sum(len(frame) for frame in taken)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == len(data)
    assert peak < (4 if maker != "short reads" else 5) * FRAME_SIZE

"""Reads the sources of inserts as bytes or frames: bytes in memory, paths of regular files, binary streams."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import Self

from rsdos.errors import InvalidSource, SourceChanged, UnreadableSource
from rsdos.model import FRAME_SIZE, BytesLike, Source
from rsdos.streams.buffers import Buffers

# O_NONBLOCK: opening a FIFO without a writer must not hang.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Frames:
    """An object larger than one frame. Iterate it once, for frames of exactly `FRAME_SIZE` bytes except the last.

    It holds at most two frames. A file that `take` opened is closed at the end, on an error, and by `close`. A frame
    does not change while it is held. For one thread at a time.
    """

    def __init__(self, frames: Iterator[BytesLike], opened: io.FileIO | None = None) -> None:
        self._frames = frames
        self._opened = opened

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BytesLike:
        try:
            return next(self._frames)
        except BaseException:
            self.close()
            raise

    def told(self, tell: Callable[[int], None]) -> Self:
        """Call ``tell`` with the size of each frame before it is yielded. Return self."""
        self._frames = _told(self._frames, tell)
        return self

    def close(self) -> None:
        """Close the file, and yield no more frames. Idempotent."""
        self._frames = iter(())
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _told(frames: Iterator[BytesLike], tell: Callable[[int], None]) -> Iterator[BytesLike]:
    for frame in frames:
        tell(len(frame))
        yield frame
        del frame  # Its memory is reused when no reference is left.


def take(source: Source | Frames) -> bytes | Frames:
    """Return the bytes of an object of at most `FRAME_SIZE`, or the frames of a larger one; `Frames` as they are.

    Mutable memory is copied, so that later changes of the source have no effect. A stream is read from its position and
    is not closed. Raise `InvalidSource`, `UnreadableSource`, `SourceChanged` (also while iterating, when a file changes
    while it is read), and any error of a stream.
    """
    if isinstance(source, bytes):
        return source if len(source) <= FRAME_SIZE else Frames(_slices(memoryview(source)))
    if isinstance(source, (str, os.PathLike)):
        return _take_file(source)
    if isinstance(source, (bytearray, memoryview)):
        return _take_memory(memoryview(source))
    if isinstance(source, Frames):
        return source
    if callable(getattr(source, "read", None)):
        return _take_stream(source)
    return _take_memory(_view_of(source))


def in_frames(parts: Iterable[BytesLike]) -> Iterator[BytesLike]:
    """Yield the same bytes in frames of exactly `FRAME_SIZE` bytes, except the last."""
    rest = bytearray()
    for part in parts:
        if not rest and len(part) == FRAME_SIZE:
            yield part
            continue
        rest += part
        while len(rest) >= FRAME_SIZE:
            yield bytes(rest[:FRAME_SIZE])
            del rest[:FRAME_SIZE]
    if rest:
        yield bytes(rest)


def _view_of(source: object) -> memoryview:
    """Return the buffer of an object that has one, for example an array."""
    try:
        return memoryview(source)  # type: ignore[arg-type]  # the `try` tests this
    except TypeError:
        kind = type(source).__name__
        raise InvalidSource(f"neither bytes, nor a path, nor a binary stream: {kind}") from None
    except (ValueError, BufferError) as error:
        raise InvalidSource(f"its buffer cannot be inserted: {error} (numpy.save writes such to a writer)") from error


def refuse_pointers(view: memoryview) -> None:
    """Raise `InvalidSource` for a buffer of addresses, of Python objects (a numpy array with dtype "object") or in C.

    Addresses mean nothing to another process, and stored bytes do not show that they are addresses.
    """
    if _POINTERS.isdisjoint(view.format):
        return
    import re  # Needed only to remove names of fields, which are between colons.

    if not _POINTERS.isdisjoint(re.sub(":[^:]*:", "", view.format)):
        raise InvalidSource("its buffer holds addresses of objects, and not their bytes: pickle it, or numpy.save it")


_POINTERS = frozenset("OP&")
"""Codes of a buffer's format: Python objects and pointers."""


def _take_memory(view: memoryview) -> bytes | Frames:
    if not view.c_contiguous:
        raise InvalidSource("a buffer must be C-contiguous to be inserted: copy it (numpy.ascontiguousarray)")
    refuse_pointers(view)
    if view.nbytes <= FRAME_SIZE:
        return view.tobytes()
    from _pickle import PickleBuffer  # It alone gives the bytes of any format. Importing `pickle` takes 3 ms.

    return Frames(map(bytes, _slices(PickleBuffer(view).raw())))


def _slices(view: memoryview) -> Iterator[memoryview]:
    return (view[at : at + FRAME_SIZE] for at in range(0, len(view), FRAME_SIZE))


def _take_stream(source: object) -> bytes | Frames:
    if isinstance(source, io.TextIOBase):
        raise InvalidSource("a text stream cannot be inserted: open it in binary mode")
    read = getattr(source, "read")  # noqa: B009  an object is not known to have one
    head = _read_fully(read, FRAME_SIZE + 1)
    return head if len(head) <= FRAME_SIZE else Frames(_stream_frames(read, head))


def _stream_frames(read: Callable[[int], object], head: bytes) -> Iterator[BytesLike]:
    """Yield the frames of a stream. ``head`` is the first frame, and one byte of the second."""
    yield memoryview(head)[:FRAME_SIZE]
    frame = head[FRAME_SIZE:] + _read_fully(read, FRAME_SIZE - 1)
    del head
    while frame:
        yield frame
        frame = _read_fully(read, FRAME_SIZE) if len(frame) == FRAME_SIZE else b""


def _read_fully(read: Callable[[int], object], size: int) -> bytes:
    """Return ``size`` bytes of a stream; less only at its end."""
    chunk = _checked(read(size), size)
    if len(chunk) == size or not chunk:
        return chunk
    chunks = [chunk]
    missing = size - len(chunk)
    while missing and (chunk := _checked(read(missing), missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _checked(chunk: object, size: int) -> bytes:
    if isinstance(chunk, str):
        raise InvalidSource("a text stream cannot be inserted: open it in binary mode")
    if chunk is None:
        raise InvalidSource("a non-blocking stream cannot be inserted: it has no bytes yet")
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise InvalidSource(f"no binary stream: its read() returned {type(chunk).__name__}")
    data = bytes(chunk)
    if len(data) > size:
        raise InvalidSource(f"no binary stream: its read({size}) returned {len(data)} bytes")
    return data


def _take_file(path: str | os.PathLike[str]) -> bytes | Frames:
    before: os.stat_result | None = None
    file: io.FileIO | None = None
    try:
        # It opens and assigns in one step, as `rsdos.storage.descriptors.opening` does, without another call.
        for descriptor in map(os.open, (path,), (_OPEN_FLAGS,)):
            try:
                # Six system calls: for a file of 1 KB they are half the time of an insert.
                before = os.fstat(descriptor)
                size = before.st_size
                if not stat.S_ISREG(before.st_mode):
                    number = errno.EISDIR if stat.S_ISDIR(before.st_mode) else errno.EINVAL
                    raise UnreadableSource(path, number, "not a regular file")
                if size <= FRAME_SIZE:
                    # One byte more than the size, so that one read also finds the end.
                    data = os.read(descriptor, size + 1)
                    after = os.fstat(descriptor)
                    if len(data) == size == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
                        return data
                    if len(data) == size:
                        raise SourceChanged(path)
                for opened in map(io.FileIO, map(os.dup, (descriptor,))):
                    file = opened
            finally:
                os.close(descriptor)
    except (UnreadableSource, SourceChanged):
        raise
    except OSError as error:
        raise UnreadableSource(path, error.errno or errno.EIO) from error
    except ValueError as error:
        raise UnreadableSource(path, errno.EINVAL, str(error)) from error
    assert before is not None and file is not None, "the loop has one turn"
    return _take_open_file(path, file, before)


def _take_open_file(path: str | os.PathLike[str], opened: io.FileIO, before: os.stat_result) -> bytes | Frames:
    """Read a file that has more than a frame, whose read was cut short, or that has no size (/proc)."""
    frames = Frames(frames_of_file(path, opened, before), opened)
    if before.st_size > FRAME_SIZE:
        return frames
    opened.seek(0)
    first = next(frames, b"")
    second = next(frames, None)
    if second is None:
        return bytes(first)
    return Frames(chain((first, second), frames), opened)


def frames_of_file(path: str | os.PathLike[str], opened: io.FileIO, before: os.stat_result) -> Iterator[BytesLike]:
    """Yield the frames of an open file, from its position on. ``before`` is its status before anything was read.

    Raise `UnreadableSource`, and `SourceChanged` at the end if the file has changed since ``before``.
    """
    total, length = 0, FRAME_SIZE
    buffers = Buffers()
    try:
        while length == FRAME_SIZE and not 0 < before.st_size < total:
            frame = buffers.fill(opened.readinto)
            length = len(frame)
            total += length
            if length:
                yield frame
            del frame
        after = os.fstat(opened.fileno())
    except OSError as error:
        raise UnreadableSource(path, error.errno or errno.EIO) from error
    _refuse_change(path, before, after, total)


def _refuse_change(path: str | os.PathLike[str], before: os.stat_result, after: os.stat_result, total: int) -> None:
    """Raise `SourceChanged` if the file changed while ``total`` bytes were read. Files of /proc have a size of 0."""
    if (
        after.st_mtime_ns != before.st_mtime_ns
        or after.st_size != before.st_size
        or (before.st_size and total != before.st_size)
    ):
        raise SourceChanged(path)

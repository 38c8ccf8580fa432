"""The streams of disk-objectstore, as real file objects with ``readline``, ``readinto`` and iteration."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from rsdos.compat.disk_objectstore.callbacks import Callback
from rsdos.streams.seekable import Seekable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 19


class PackedObjectReader(Seekable):
    """A stream of ``length`` bytes from ``offset`` of a file that is open for reading.

    Closing it does not close the file, which is shared: it is moved before each read.
    """

    def __init__(self, fhandle: Any, offset: int, length: int) -> None:
        if not {"b", "r"} <= set(fhandle.mode):
            raise AssertionError(f"the file is not open for reading bytes: {fhandle.mode}")
        super().__init__(length)
        self._file = fhandle
        self._offset = offset

    @property
    def mode(self) -> str:
        return str(self._file.mode)

    def seek(self, target: int, whence: int = 0) -> int:
        """Move within the object. Return the new position. Raise ValueError beyond the ends."""
        before = self._position
        if super().seek(target, whence) > self._size:
            self._position = before
            raise ValueError("specified target would exceed the upper boundary of bytes that are accessible.")
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None else size) or b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        self._file.seek(self._offset + self._position)
        data = self._file.read(min(len(target), self._size - self._position))
        target[: len(data)] = data
        self._position += len(data)
        return len(data)


class CallbackStreamWrapper(io.RawIOBase):
    """A stream that reports its progress to a callback. Closing it does not close the inner stream."""

    def __init__(
        self, stream: Any, callback: Callback | None, total_length: int = 0, description: str = "Streamed object"
    ) -> None:
        self._stream = stream
        self._callback = callback
        self._total = total_length
        self._description = description
        self._every = max(total_length // 400, 1)
        self._since = 0
        self._tell("init", {"total": total_length, "description": description})

    def _tell(self, action: str, value: Any) -> None:
        if self._callback:
            self._callback(action, value)

    def _advance(self, amount: int) -> None:
        self._since += amount
        if self._since >= self._every:
            self._tell("update", self._since)
            self._since = 0

    @property
    def mode(self) -> str:
        return str(self._stream.mode)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, target: int, whence: int = 0) -> int:
        before = self.tell()
        position = int(self._stream.seek(target, whence))
        if position > before:
            self._advance(position - before)
        else:
            self.close_callback()
            self._tell("init", {"total": self._total, "description": f"{self._description} [rewind]"})
            self._since = position
            self._tell("update", position)
        return position

    def tell(self) -> int:
        return int(self._stream.tell())

    def read(self, size: int | None = -1) -> bytes:
        data: bytes = self._stream.read(-1 if size is None else size)
        self._advance(len(data))
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def close_callback(self) -> None:
        """Report the end to the callback. The stream stays open."""
        if self._since:
            self._tell("update", self._since)
        self._tell("close", None)


class ZlibLikeBaseStreamDecompresser(io.RawIOBase):
    """The raw bytes of a compressed stream. Seeking back starts again, or uses ``lazy_uncompressed_stream``."""

    decompressobj_class: Callable[[], Any]
    decompress_error: type[Exception]

    def __init__(self, compressed_stream: Any, lazy_uncompressed_stream: LazyLooseStream | None = None) -> None:
        self._compressed = compressed_stream
        self._lazy = lazy_uncompressed_stream
        self._is_plain = False
        self._begin()

    def _begin(self) -> None:
        self._decompressor = type(self).decompressobj_class()
        self._buffer = b""
        self._position = 0

    @property
    def mode(self) -> str:
        return str(getattr(self._compressed, "mode", "rb"))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._lazy.tell() if self._is_plain and self._lazy else self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to ``size`` bytes; all without a size. Raise ValueError when they cannot be decompressed."""
        if self._is_plain and self._lazy:
            return self._lazy.read(-1 if size is None else size)
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_CHUNK), b""))
        while len(self._buffer) < size and self._fill(size - len(self._buffer)):
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        self._position += len(data)
        return data

    def _fill(self, wanted: int) -> bool:
        """Decompress some more bytes. Return whether more may follow."""
        if self._decompressor.eof:
            return False
        stored = self._decompressor.unconsumed_tail or self._compressed.read(_CHUNK)
        try:
            self._buffer += self._decompressor.decompress(stored, wanted)
        except self.decompress_error as error:
            raise ValueError("Error while uncompressing data") from error
        if not stored and not self._decompressor.eof:
            raise ValueError("Error while uncompressing data: the compressed stream ends too early")
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def seek(self, target: int, whence: int = 0) -> int:
        """Move to a position, at most the end, and return it. Raise ValueError below zero."""
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError("Invalid value for `whence`: only 0, 1 and 2 are valid values.")
        goes_back = whence == os.SEEK_END or (whence == os.SEEK_CUR and target < 0)
        if self._lazy is not None and goes_back and not self._is_plain:
            self._lazy.open_stream()
            self._lazy.seek(self._position)
            self._is_plain = True
        if self._is_plain and self._lazy is not None:
            return self._lazy.seek(target, whence)
        if whence == os.SEEK_END:
            self._skip(None)
        target += 0 if whence == os.SEEK_SET else self._position
        if target < 0:
            raise ValueError(f"negative seek position {target}")
        if target < self._position:
            self._compressed.seek(0)
            self._begin()
        self._skip(target)
        return self._position

    def _skip(self, target: int | None) -> None:
        """Read up to a position, or to the end."""
        while target is None or self._position < target:
            if not self.read(_CHUNK if target is None else min(_CHUNK, target - self._position)):
                break


class ZlibStreamDecompresser(ZlibLikeBaseStreamDecompresser):
    """The raw bytes of a zlib stream."""

    decompressobj_class = staticmethod(zlib.decompressobj)
    decompress_error = zlib.error


class ZeroStream(io.RawIOBase):
    """A stream of ``length`` zero bytes. Not seekable."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def mode(self) -> str:
        return "rb"

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None else size) or b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        count = min(len(target), self._left)
        target[:count] = bytes(count)
        self._left -= count
        return count


class LazyOpener:
    """A file that is opened at the beginning of a ``with`` block, and closed at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    @property
    def path(self) -> Path:
        return self._path

    @property
    def mode(self) -> Literal["rb"]:
        return "rb"

    def tell(self) -> int:
        """Return the position in the file. Raise ValueError when it is not open."""
        if self._file is None:
            raise ValueError("I/O operation on closed file.")
        return self._file.tell()

    def __enter__(self) -> BinaryIO:
        if self._file is not None:
            raise OSError(f"File {self.path} already open")
        self._file = open(self.path, self.mode)
        return self._file

    def __exit__(
        self, exc_type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class LazyLooseStream:
    """A stream of an object that is opened on request. (No loose file is made for it.)"""

    def __init__(self, container: Any, hashkey: str) -> None:
        self._container = container
        self._hashkey = hashkey
        self._stream: io.BufferedReader | None = None

    @property
    def mode(self) -> str:
        return "rb"

    @staticmethod
    def seekable() -> bool:
        return True

    @property
    def closed(self) -> bool:
        return self._stream is None or self._stream.closed

    def _opened(self) -> io.BufferedReader:
        if self._stream is None or self._stream.closed:
            raise ValueError("I/O operation on closed file.")
        return self._stream

    def open_stream(self) -> None:
        """Open the object. Raise `NotExistent`."""
        if self.closed:
            self._stream = self._container.open_object(self._hashkey)

    def close_stream(self) -> None:
        """Close the object, if it is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def seek(self, target: int, whence: int = 0) -> int:
        return self._opened().seek(target, whence)

    def tell(self) -> int:
        return self._opened().tell()

    def read(self, size: int = -1) -> bytes:
        return self._opened().read(size)

    def __enter__(self) -> LazyLooseStream:
        self.open_stream()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close_stream()

"""The file of one loose object.

The file of a raw object has its raw bytes, and nothing else. That of a compressed object has its codec's suffix
(``.zz`` or ``.zst``). It holds the stored form, exactly as a pack would, and then 24 bytes, little-endian, in the form
of a zstd skippable frame, which any zstd program skips:

======  ====  ================================================================================
offset  size  what
======  ====  ================================================================================
0       4     0x184D2A50
4       4     16
8       8     size of the object in raw bytes
16      4     flags (`model.RecordFlag`)
20      4     CRC-32 of the stored bytes and the first 20 bytes of these
======  ====  ================================================================================
"""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rsdos.codecs.checksum import crc32
from rsdos.codecs.coding import decode
from rsdos.errors import DamagedObject, DecodeError
from rsdos.hashing import HashType
from rsdos.model import FRAME_SIZE, BytesLike, Codec, RecordFlag, Stored
from rsdos.storage import posix
from rsdos.storage.descriptors import Opened
from rsdos.stores.order import FileId
from rsdos.streams.buffers import AT_ONCE, join_parts, room_for
from rsdos.streams.frames import frames
from rsdos.streams.plain import PlainReader, hashed, plain_parts
from rsdos.streams.reader import FramedReader
from rsdos.streams.seekable import ObjectStream

_FIRST = 1 << 14
"""Bytes that are read of a file at first: a buffer of a whole frame costs more than most objects."""

_TRAILER = struct.Struct("<IIQI")
_CRC = struct.Struct("<I")
_MAGIC = 0x184D2A50
TRAILER_LENGTH = _TRAILER.size + _CRC.size


def encode_trailer(stored: Stored, crc: int) -> bytes:
    """Return the trailer of a compressed loose object; ``crc`` is that of its stored bytes."""
    head = _TRAILER.pack(_MAGIC, TRAILER_LENGTH - 8, stored.size, stored.flags)
    return head + _CRC.pack(crc32(head, crc))


def read_small(path: str, opener: Callable[..., int]) -> bytes | None:
    """Return the unverified bytes of a raw file, by three or five system calls; None if it is larger than a frame.

    The caller hashes them. Raise OSError. ``path`` may be relative to the directory of a `posix.opener_in`.
    """
    data = b""
    for fd in posix.opening_by(opener, path):
        try:
            data = os.pread(fd, _FIRST, 0)  # Unlike `read`, this takes nothing out of a FIFO or a socket.
            if len(data) == _FIRST:
                size = os.fstat(fd).st_size
                if size > FRAME_SIZE:
                    return None
                data += os.pread(fd, size - _FIRST + 1, _FIRST)
        finally:
            os.close(fd)
    return data if len(data) <= FRAME_SIZE else None


class LooseFile(Opened):
    """An open loose object. Closed by `close`, by the stream that `stream` made of it, or with its last reference.

    Raise OSError if there is no such file, and `DecodeError` if its trailer makes no sense.
    """

    def __init__(self, path: str, digest: bytes, codec: Codec, hash_type: HashType) -> None:
        super().__init__(posix.opening_for_reading(path))
        self.path = path
        self.digest = digest
        self.hash = hash_type
        status = os.fstat(self.fd)
        posix.refuse_irregular(status, path)
        self.id = FileId.of(status)
        """The identity of the file: another file that has the name later has another one."""
        length = status.st_size
        self.stored = Stored(codec, RecordFlag.NONE, length, length)
        if codec is not Codec.RAW:
            self.stored = self._trailer(length - TRAILER_LENGTH, codec)

    def _trailer(self, length: int, codec: Codec) -> Stored:
        data = posix.read_at(self.fd, max(length, 0), TRAILER_LENGTH)
        if length < 0 or len(data) != TRAILER_LENGTH:
            raise DecodeError("the file is cut short")
        magic, rest, size, flags = _TRAILER.unpack_from(data)
        if magic != _MAGIC or rest != TRAILER_LENGTH - 8 or flags not in (RecordFlag.NONE, RecordFlag.FRAMED):
            raise DecodeError("the file does not end like a compressed loose object")
        if (flags == RecordFlag.FRAMED) != (size > FRAME_SIZE):
            raise DecodeError(f"the file says that {size} raw bytes are stored in the wrong form")
        return Stored(codec, RecordFlag(flags), length, size)

    def _fetch(self, offset: int, length: int) -> bytes:
        with _refusing_errors():
            return posix.read_at(self.fd, offset, min(length, max(self.stored.length - offset, 0)))

    def _fill(self, offset: int, buffer: memoryview) -> int:
        with _refusing_errors():
            return posix.read_into(self.fd, offset, buffer[: max(self.stored.length - offset, 0)])

    def read(self) -> bytes:
        """Return the whole object, verified by its hash. Raise `DecodeError`."""
        if self.stored.flags or self.stored.length > AT_ONCE:
            return join_parts(self.frames(), room_for(self.stored))
        data = decode(self._fetch(0, self.stored.length), self.stored.codec, self.stored.size)
        if self.hash.digest_of(data) != self.digest:
            raise DecodeError("its bytes have another hash than its key")
        return data

    def read_stored(self) -> bytes:
        """Return the stored bytes unchanged and unverified."""
        return self._fetch(0, self.stored.length)

    def stored_parts(self) -> Iterator[bytes]:
        """Yield the stored bytes unchanged and unverified, in parts of at most one frame."""
        for at in range(0, self.stored.length, FRAME_SIZE):
            yield self._fetch(at, FRAME_SIZE)

    def frames(self) -> Iterator[BytesLike]:
        """Yield the object in parts of at most one frame, and verify its hash at the end. Raise `DecodeError`."""
        if self.stored.flags:
            yield from hashed(frames(self._fetch, self.stored), self.digest, self.hash)
        elif self.stored.codec is Codec.RAW:
            yield from plain_parts(self._fetch, self.stored, self.digest, self.hash)
        else:
            yield self.read()

    def stream(self) -> ObjectStream:
        """Return a seekable stream; that of a raw object is a real file, with a name and a descriptor.

        An object of at most one frame is verified before this call returns. The stream of a larger compressed object
        verifies the frames that it reads. That of a larger raw object verifies the hash if it is read from beginning to
        end, or asked for its descriptor; otherwise only the size (docs/design.md, section 4).
        """
        if self.stored.flags:
            return ObjectStream(_Framed(self), 1 << 16)
        if self.stored.codec is not Codec.RAW:
            return ObjectStream(io.BytesIO(self.read()))
        if self.stored.size <= FRAME_SIZE:
            return ObjectStream(_Small(self))
        return ObjectStream(_Large(self), 1 << 16)

    def _damage(self, reason: str) -> DamagedObject:
        return DamagedObject(self.digest.hex(), reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _refusing_errors() -> Iterator[None]:
    """Raise `DecodeError` if the disk cannot read the file."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise DecodeError("its file cannot be read: input/output error") from error


class _Framed(FramedReader):
    """A stream of a compressed loose object; keeps its file."""

    def __init__(self, file: LooseFile) -> None:
        self._file = file
        super().__init__(file._fetch, file._fill, file.stored, file._damage)

    def close(self) -> None:
        super().close()
        self._file.close()


class _Small(io.BytesIO):
    """The verified bytes of a raw loose object of at most one frame; keeps its file."""

    def __init__(self, file: LooseFile) -> None:
        self._file = file
        self.name = file.path
        super().__init__(file.read())

    def fileno(self) -> int:
        return self._file.fd

    def close(self) -> None:
        super().close()
        self._file.close()


class _Large(PlainReader):
    """A stream of a larger raw loose object; keeps its file."""

    def __init__(self, file: LooseFile) -> None:
        super().__init__(file._fetch, file._fill, file.stored, file.digest, file.hash, file._damage, file.close)
        self._file = file
        self._is_verified = False
        self.name = file.path

    def fileno(self) -> int:
        """Return the file's descriptor. The first call reads and verifies the whole file. Raise `DamagedObject`."""
        self._refuse_closed()
        if not self._is_verified:
            try:
                for _ in self._file.frames():
                    pass
            except DecodeError as error:
                raise self._file._damage(str(error)) from error
            self._is_verified = True
        return self._file.fd

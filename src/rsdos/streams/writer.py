"""A binary file that becomes an object when it is closed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from rsdos.errors import WriterPoisoned
from rsdos.storage.descriptors import Working
from rsdos.streams.sources import refuse_pointers

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

IN_MEMORY = 8 << 20
"""Bytes of an object that are held in memory. A larger object goes to a file without a name in the container."""

_BUFFER = 1 << 18
"""Bytes that are buffered for one write to this file."""


class _Nameless(io.RawIOBase):
    """A file without a name. Only the process that made it can use it.

    The position is kept here, because a forked child shares the position of the descriptor. In the child the file
    counts as closed, so that the child's copy of the buffer is never written.
    """

    def __init__(self, directory: str | None) -> None:
        self._position = 0
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            self._file = Working(map(os.dup, (file.fileno(),)))

    @property
    def _fd(self) -> int:
        self._file.refuse_closed("a writer's file")
        return self._file.fd

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        done = os.preadv(self._fd, [buffer], self._position)
        self._position += done
        return done

    def write(self, data: ReadableBuffer, /) -> int:
        done = os.pwrite(self._fd, data, self._position)
        self._position += done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self._position = origin + offset
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        size = self._position if size is None else size
        os.ftruncate(self._fd, size)
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


class ObjectWriter(io.BufferedIOBase):
    """See `rsdos.Container.writer`. For one thread at a time."""

    def __init__(self, insert: Callable[[IO[bytes]], str], directory: str | None) -> None:
        """``insert`` stores a stream and returns its key.

        ``directory`` is for the file of a large object; None: that of the system for temporary files.
        """
        self._key: str | None = None
        self._insert: Callable[[IO[bytes]], str] | None = insert
        # A forked child must not store the object of its parent.
        self._process = os.getpid()
        self._directory = directory
        self._spool: io.BytesIO | io.BufferedRandom = io.BytesIO()

    @property
    def key(self) -> str:
        """The object's key. Raises ValueError before the object is stored."""
        if self._key is None:
            raise ValueError("the object is not stored yet: it is when its writer is closed")
        return self._key

    def write(self, data: ReadableBuffer, /) -> int:
        self._refuse_closed()
        view = memoryview(data)
        refuse_pointers(view)
        self._make_room(self._spool.tell() + view.nbytes)
        self._spool.write(view)
        return view.nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._refuse_closed()
        self._spool.seek(offset, whence)
        return self._spool.tell()

    def tell(self) -> int:
        self._refuse_closed()
        return self._spool.tell()

    def truncate(self, size: int | None = None, /) -> int:
        self._refuse_closed()
        size = self._spool.tell() if size is None else size
        self._make_room(size)
        if isinstance(self._spool, io.BytesIO) and size > self._spool.getbuffer().nbytes:
            at = self._spool.tell()
            self._spool.seek(size - 1)
            self._spool.write(b"\0")
            self._spool.seek(at)
        else:
            self._spool.truncate(size)
        return size

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Store the object and set its key. An error of `insert` is raised, and nothing is stored then. Idempotent."""
        insert, self._insert = self._insert, None
        if insert is None:
            return
        try:
            if os.getpid() == self._process:
                self._spool.seek(0)
                self._key = insert(self._spool)
        finally:
            self._drop()

    def abort(self) -> None:
        """Close the writer and store nothing. Idempotent."""
        self._insert = None
        self._drop()

    def __enter__(self) -> Self:
        self._refuse_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if "_spool" in self.__dict__:
            self.abort()

    def _make_room(self, size: int) -> None:
        """Move the object to a file when it becomes too large for memory."""
        if size > IN_MEMORY and isinstance(self._spool, io.BytesIO):
            spool = io.BufferedRandom(_Nameless(self._directory), _BUFFER)
            spool.write(self._spool.getbuffer())
            spool.seek(self._spool.tell())
            self._spool = spool

    def _drop(self) -> None:
        with suppress(WriterPoisoned):  # A forked child cannot flush it.
            self._spool.close()
        super().close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed writer")

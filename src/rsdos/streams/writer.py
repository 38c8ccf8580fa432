"""A binary file that becomes an object when it is closed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

IN_MEMORY = 8 << 20
"""Bytes of an object that are held in memory; more go to a file without a name, in the container."""


class ObjectWriter(io.BufferedIOBase):
    """See `rsdos.Container.writer`. For one thread at a time."""

    def __init__(self, insert: Callable[[IO[bytes]], str], directory: str) -> None:
        """``insert`` stores what it reads, and returns the key. ``directory`` has room for a large object."""
        self._key: str | None = None
        self._insert: Callable[[IO[bytes]], str] | None = insert
        # Of the process: a fork must not store what its parent has written.
        self._process = os.getpid()
        self._spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=directory)

    @property
    def key(self) -> str:
        """The object's key. Raises ValueError before it is stored."""
        if self._key is None:
            raise ValueError("the object is not stored: that is when its writer is closed")
        return self._key

    def write(self, data: ReadableBuffer, /) -> int:
        self._refuse_closed()
        view = memoryview(data)
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
        self._spool.truncate(size)
        return size

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Store the object; its key is there then. Raises what `insert` does, and nothing is stored. Idempotent."""
        insert, self._insert = self._insert, None
        if insert is None:
            return
        try:
            if os.getpid() == self._process:
                self._spool.seek(0)
                self._key = insert(self._spool)
        finally:
            self._spool.close()
            super().close()

    def abort(self) -> None:
        """Close, and store nothing. Idempotent."""
        self._insert = None
        self._spool.close()
        super().close()

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

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed writer")

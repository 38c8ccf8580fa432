"""The base of all streams of an object: a position, and the rules of `seek`."""

from __future__ import annotations

import io
import os
from functools import partial

from rsdos.model import FRAME_SIZE
from rsdos.streams.buffers import join_parts


class ObjectStream(io.BufferedReader):
    """A buffered stream of one object, with the ``mode`` of a file.

    A raw loose object also has the ``name`` and the ``fileno`` of its file. For other objects they raise AttributeError
    and `io.UnsupportedOperation`.
    """

    @property
    def mode(self) -> str:
        return "rb"

    def fileno(self) -> int:
        """Return the descriptor of the object's file, at the position of the stream.

        The whole object is verified before this returns; reads of the descriptor are not.
        """
        fd = super().fileno()
        os.lseek(fd, self.tell(), os.SEEK_SET)
        return fd


class Seekable(io.RawIOBase):
    """A raw stream of ``size`` bytes with its own position. For one thread at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._refuse_closed()
        return self._position

    def readall(self) -> bytes:
        """Return all remaining bytes, with one copy in memory; the inherited method holds two."""
        self._refuse_closed()
        return join_parts(iter(partial(self.read, FRAME_SIZE), b""))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, which may be beyond the end, and return it. Raise ValueError for a negative one."""
        self._refuse_closed()
        match whence:
            case os.SEEK_SET:
                position = offset
            case os.SEEK_CUR:
                position = self._position + offset
            case os.SEEK_END:
                position = self._size + offset
            case _:
                raise ValueError(f"invalid whence: {whence}")
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

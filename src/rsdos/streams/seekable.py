"""What every stream of an object has in common: a position, and the rules of `seek`."""

from __future__ import annotations

import io
import os
from functools import partial

from rsdos.model import FRAME_SIZE
from rsdos.streams.buffers import join_parts


class ObjectStream(io.BufferedReader):
    """A buffered stream of one object; ``mode`` is that of a file.

    Where the object is a raw file of its own it has that file's ``name`` and ``fileno``; elsewhere AttributeError and
    `io.UnsupportedOperation` say that there is none.
    """

    @property
    def mode(self) -> str:
        return "rb"

    def fileno(self) -> int:
        """The descriptor of the object's file, at the position of the stream; what is read by it is not verified.

        The object is, before this returns, from beginning to end.
        """
        fd = super().fileno()
        os.lseek(fd, self.tell(), os.SEEK_SET)
        return fd


class Seekable(io.RawIOBase):
    """A raw stream of ``size`` bytes with a position of its own. For one thread at a time."""

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
        """All that is left, in the memory of one copy. (The inherited one reads 8 KiB at a time, and holds two.)"""
        self._refuse_closed()
        return join_parts(iter(partial(self.read, FRAME_SIZE), b""))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move and return the new position, which may lie beyond the end. `ValueError` if it would be negative."""
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

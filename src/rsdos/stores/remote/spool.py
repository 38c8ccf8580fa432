"""A new object that is written here before it is uploaded whole: on object storage nothing can be appended to."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

from rsdos.model import BytesLike

AT_ONCE = 64 << 20
"""Bytes of the largest object that is held in memory and uploaded by one request. A larger one is in a file."""

_PART = 8 << 20
"""Bytes that are read from a larger one at a time."""


class SpooledFile:
    """A new object that one writer holds: see `rsdos.storage.base.AppendFile`. One thread.

    Bytes are kept here until the first `sync`, which uploads all of them under the object's final name. Afterwards it
    does not change: `write` raises OSError, `cut` and `remove` do nothing, since a commit whose answer was lost may
    name it. What is never synced is never uploaded. In a forked child it is closed.
    """

    def __init__(
        self, path: str, upload: Callable[[SpooledFile], None], drop: Callable[[], None], stays: bool = False
    ) -> None:
        """``upload`` uploads the bytes; ``drop`` is called when nothing is left to upload.

        An object that ``stays`` is uploaded after its end, by `Storage.sync`, or removed by `Storage.remove`.
        """
        self.path = path
        self._upload = upload
        self._drop = drop
        self._stays = stays
        self._process = os.getpid()
        self._file: BytesIO | IO[bytes] = BytesIO()
        self._length = 0
        self._is_ended = False
        self.is_uploaded = False

    @property
    def is_open(self) -> bool:
        return not self._is_ended and self._process == os.getpid()

    def size(self) -> int:
        return self._length

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        self._refuse()
        if each:
            each(buffers)
        if isinstance(self._file, BytesIO) and offset + sum(map(len, buffers)) > AT_ONCE:
            self._file = self._in_a_file(self._file)
        self._file.seek(offset)
        done = 0
        for buffer in buffers:
            done += self._file.write(buffer)
        self._length = max(self._length, offset + done)
        return done

    @staticmethod
    def _in_a_file(held: BytesIO) -> IO[bytes]:
        file = TemporaryFile()
        file.write(held.getbuffer())
        return file

    def cut(self, length: int) -> None:
        if not self.is_uploaded:
            self._refuse()
            self._file.truncate(length)
            self._length = length

    def sync(self) -> None:
        if not self.is_uploaded:
            self._refuse()
            self._upload(self)
            self.is_uploaded = True
            self._give_up()

    def remove(self) -> None:
        if not self.is_uploaded and self._process == os.getpid():
            self._give_up()
            self._is_ended = True

    def _give_up(self) -> None:
        self._drop()
        self._file.close()

    def __del__(self) -> None:
        self._file.close()

    def end(self) -> None:
        """Write no more. What was not uploaded is given up, unless it stays."""
        if not self._stays:
            self.remove()
        self._is_ended = True

    def upload_ended(self) -> None:
        """Do `sync` for one that is ended."""
        self._is_ended = False
        self.sync()
        self._is_ended = True

    def _refuse(self) -> None:
        if self.is_uploaded:
            raise OSError(errno.EROFS, "it was uploaded, and does not change any more", self.path)
        if not self.is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)

    def whole(self) -> bytes:
        """Return all bytes; those that are held in memory are not copied."""
        return self._file.getvalue() if isinstance(self._file, BytesIO) else self.read(0, self._length)

    def parts(self) -> Iterator[bytes]:
        """Yield all bytes, in parts."""
        for at in range(0, self._length, _PART):
            yield self.read(at, min(_PART, self._length - at))

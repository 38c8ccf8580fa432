"""Reads files of a directory by its descriptor, each as it was at one moment."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable

from rsdos.errors import SourceChanged, UnreadableSource
from rsdos.model import FRAME_SIZE
from rsdos.storage.posix import opening_by
from rsdos.streams.sources import Frames, frames_of_file

TRIES = 3
"""How often a file is read that changes while it is read."""

Opener = Callable[..., int]
"""Opens a name of one directory; see `rsdos.storage.posix.opener_in`."""


def read_content(opener: Opener, name: bytes, path: Callable[[], str]) -> bytes | Frames:
    """Return the content of a regular file: its bytes, or the frames of more than one frame.

    The status of the file is the same before and after. The file is read `TRIES` times at most. ``path`` returns its
    path for errors.

    Raise `UnreadableSource` (also for a missing file), and `SourceChanged` if the file changes each time or is no
    regular file any more; frames raise `SourceChanged` at their end, after the first try.
    """
    try:
        for _ in range(TRIES):
            content = _read_once(opener, name, path)
            if content is not None:
                return content
    except OSError as error:
        if isinstance(error, SourceChanged):
            raise
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise SourceChanged(path()) from error
        raise UnreadableSource(path(), error.errno or errno.EIO) from error
    raise SourceChanged(path())


def read_as_it_was(opener: Opener, name: bytes, size: int, mtime: int, ctime: int) -> bytes | None:
    """Return the bytes of a small file if its status is the same before and after; otherwise, and for errors, None.

    The caller has looked at the file: four system calls here, where `read_content` needs five and is slower by a third.
    """
    try:
        for fd in opening_by(opener, name):
            try:
                # One byte more than the size, so that one read also finds the end.
                data = os.read(fd, size + 1)
                after = os.fstat(fd)
            finally:
                os.close(fd)
            if (
                len(data) == size == after.st_size
                and after.st_mtime_ns == mtime
                and after.st_ctime_ns == ctime
                and stat.S_ISREG(after.st_mode)
            ):
                return data
    except OSError:
        pass  # `read_content` will raise the error.
    return None


def _read_once(opener: Opener, name: bytes, path: Callable[[], str]) -> bytes | Frames | None:
    """Return the content of a file; None if it changed while it was read."""
    # Six system calls, as `rsdos.streams.sources.take` has them for a path.
    for fd in opening_by(opener, name):
        try:
            before = os.fstat(fd)
            size = before.st_size
            if not stat.S_ISREG(before.st_mode):
                raise SourceChanged(path())
            if size > FRAME_SIZE:
                for opened in map(io.FileIO, map(os.dup, (fd,))):
                    return Frames(frames_of_file(path(), opened, before), opened)
            # One byte more than the size, so that one read also finds the end.
            data = os.read(fd, size + 1)
            after = os.fstat(fd)
            if (
                len(data) == size == after.st_size
                and after.st_mtime_ns == before.st_mtime_ns
                and after.st_ctime_ns == before.st_ctime_ns
            ):
                return data
        finally:
            os.close(fd)
    return None

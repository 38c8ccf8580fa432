"""System calls. Short reads and writes are continued in a loop here, and only here, and a sync is really a sync."""

from __future__ import annotations

import errno
import os
import stat
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from types import TracebackType

from rsdos.model import BytesLike
from rsdos.storage.descriptors import Descriptor, Working, opening
from rsdos.storage.directory import remove_own, sync_entries
from rsdos.storage.permissions import inherit

_MOST_BUFFERS = 1024
"""Buffers that one ``pwritev`` takes (IOV_MAX on Linux and macOS)."""

WRITE_LENGTH = 1 << 18
"""Bytes that one call writes, about.

Linux allocates page cache in blocks of up to the length of the call. Blocks of 1 MiB and more come from memory that was
not used since the machine started, or that a virtual machine has given back to its host, which then has to clear it.
256 MiB were written at 430 MiB/s in calls of 8 MiB, at 4,400 in calls of 256 KiB, and at 3,300 in calls of 64 KiB
(ext4, Linux 6.18).
"""

WRITE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
"""The flags to open a file of ours that is there already, to write it."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FLAGS_OF_NEW, _MODE_OF_NEW, _FLAGS_TO_READ = (_CREATE,), (0o666,), (_READ,)


def open_for_reading(path: str) -> Descriptor:
    """Open a regular file. Never follow a link, never wait for a FIFO. Raise OSError."""
    file = Descriptor(opening(path, _READ))
    refuse_irregular(os.fstat(file.fd), path)
    return file


def refuse_irregular(status: os.stat_result, path: str) -> None:
    """Raise OSError for anything but a regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)


def opening_for_reading(path: str, dir_fd: int | None = None) -> Iterator[int]:
    """Return `opening` for reading, without the check for a regular file. Verify the content afterwards."""
    if dir_fd is None:
        return map(os.open, (path,), (_READ,))  # `opening`, with one call less: 0.2 of the 5 us that a read takes.
    return opening(path, _READ, dir_fd=dir_fd)


def opening_directory(path: str) -> Iterator[int]:
    """Return `opening` for a directory."""
    return opening(path, _DIRECTORY)


def opening_new(path: str, mode: int = 0o666, dir_fd: int | None = None) -> Iterator[int]:
    """Return `opening` for a new file, to read and write. The caller gives it the permissions of a shared directory.

    Opening it raises FileExistsError if the file exists.
    """
    return opening(path, _CREATE, mode, dir_fd)


def opener_in(dir_fd: int) -> Callable[..., int]:
    """Return ``os.open`` for names in one open directory. Make it once: making it for each file would cost 0.4 us."""
    return partial(os.open, dir_fd=dir_fd)


def opening_by(opener: Callable[..., int], name: str | bytes) -> Iterator[int]:
    """Return `opening_for_reading` in the directory of an `opener_in`, or by a path with ``os.open``."""
    return map(opener, (name,), _FLAGS_TO_READ)


def opening_new_by(opener: Callable[..., int], name: str) -> Iterator[int]:
    """Return `opening_new` in the directory of an `opener_in`."""
    return map(opener, (name,), _FLAGS_OF_NEW, _MODE_OF_NEW)


def create(path: str, mode: int = 0o666) -> Working:
    """Make a new file, open for reading and writing. Raise FileExistsError."""
    file = Working(opening_new(path, mode))
    inherit(path, file.fd)
    return file


class NewFile(Working):
    """A new file that a block writes. If the block raises, the process that began it removes the file again.

    The file is made where the block begins. Raise FileExistsError.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> int:
        try:
            super().__init__(opening_new(self.path))
            inherit(self.path, self.fd)
        except BaseException:
            self.undo()
            raise
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.undo()

    def undo(self) -> None:
        """Remove the file and close it, in the process that began it. Idempotent."""
        if self.fd >= 0:
            remove(self.path)
            self.close()


def read_file(path: str, most: int) -> bytes:
    """Return a whole small file. Raise OSError, with EFBIG if the file is larger than ``most`` bytes."""
    return read_with_status(path, most)[0]


def read_with_status(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """Return a whole small file as `read_file` does, and its status."""
    for fd in opening(path, _READ):
        try:
            status = os.fstat(fd)
            refuse_irregular(status, path)
            if status.st_size > most:
                raise OSError(errno.EFBIG, f"larger than {most} bytes", path)
            return read_at(fd, 0, status.st_size), status
        finally:
            os.close(fd)
    raise AssertionError("not reached")


def read_at(fd: int, offset: int, length: int) -> bytes:
    """Return up to ``length`` bytes from ``offset``: fewer only at the end of the file."""
    data = os.pread(fd, length, offset)
    if len(data) == length:
        return data
    parts = [data]
    have = len(data)
    while data and have < length:
        data = os.pread(fd, length - have, offset + have)
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def read_into(fd: int, offset: int, buffer: memoryview) -> int:
    """Do `read_at` into a buffer of bytes. Return how many: fewer than it has room for only at the end of the file."""
    have = 0
    while have < len(buffer) and (done := os.preadv(fd, [buffer[have:]], offset + have)):
        have += done
    return have


def write_at(fd: int, offset: int, data: BytesLike) -> int:
    """Write all of ``data`` at ``offset``. Return the number of bytes. An OSError names the file."""
    try:
        done = os.pwrite(fd, data, offset) if len(data) <= WRITE_LENGTH else 0
        if done == len(data):
            return done
        view = memoryview(data)
        while done < len(view):
            most = WRITE_LENGTH - (offset + done) % WRITE_LENGTH
            done += os.pwrite(fd, view[done : done + most], offset + done)
    except OSError as error:
        error.filename = error.filename or _path_of(fd)
        raise
    return done


def write_many_at(
    fd: int,
    offset: int,
    buffers: Sequence[BytesLike],
    lengths: Iterable[int] | None = None,
    look: Callable[[Sequence[BytesLike]], object] | None = None,
) -> int:
    """Write all ``buffers``, one after another, from ``offset``. Return how many bytes. An OSError names the file.

    ``lengths`` are the lengths of the buffers, if the caller has them. ``look`` is called with groups of buffers, each
    buffer in one group, just before the group is written: for the write they are then in the processor's caches.
    """
    if len(buffers) == 1 and look is None:
        return write_at(fd, offset, buffers[0])
    ends = list(accumulate(map(len, buffers) if lengths is None else lengths, initial=offset))
    start, total = offset, ends[-1]
    at = seen = 0
    while offset < total:
        # Write up to the next multiple of `WRITE_LENGTH`: blocks of page cache begin at multiples of their length.
        limit = min(offset - offset % WRITE_LENGTH + WRITE_LENGTH, total)
        end = min(bisect_left(ends, limit, at + 1), at + _MOST_BUFFERS)
        group = list(buffers[at:end])
        if look:
            look(group[seen - at :])
            seen = end
        if ends[end] > limit:
            group[-1] = memoryview(group[-1])[: limit - ends[end - 1]]
        if offset > ends[at]:
            group[0] = memoryview(group[0])[offset - ends[at] :]
        wanted = min(ends[end], limit) - offset
        try:
            done = os.pwritev(fd, group, offset)
        except OSError as error:
            error.filename = error.filename or _path_of(fd)
            raise
        if done < wanted:
            write_at(fd, offset + done, memoryview(b"".join(group))[done:])
        offset += wanted
        at = end if ends[end] <= limit else end - 1
    if look and seen < len(buffers):
        look(buffers[seen:])  # Empty buffers after the last byte.
    return offset - start


if sys.platform == "darwin":  # pragma: no cover
    import fcntl

    def sync_file(fd: int) -> None:
        """Put a file's bytes on stable storage. If this fails, do not trust a later sync of the file.

        macOS: ``fsync`` leaves them in the drive's cache, F_FULLFSYNC does not.
        """
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    def _path_of(fd: int) -> str | None:
        """Return the path of an open descriptor, if the system knows it. Used in error messages."""
        with suppress(OSError):
            return os.fsdecode(fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        return None
else:

    def sync_file(fd: int) -> None:
        """Put a file's bytes and size on stable storage. If this fails, do not trust a later sync of the file."""
        try:
            os.fdatasync(fd)
        except OSError as error:
            error.filename = _path_of(fd)
            raise

    def _path_of(fd: int) -> str | None:
        """Return the path of an open descriptor, if the system knows it. Used in error messages."""
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{fd}")
        return None


if sys.platform == "linux":
    import fcntl

    def begin_write_out(fd: int) -> None:
        """Let the system begin to write a file's bytes to disk, and do not wait. A hint before a sync, never instead.

        When many files are synced one after another, the first sync then finds all of them under way, and on a file
        system with a journal commits all of them: 64 files of 1 KB on ext4 in 8 ms instead of 14.
        """
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    _FICLONE = 0x40049409

    def clone(source: int, target: int) -> bool:
        """Give an empty file the bytes of another, in the same space until either changes. Return False if impossible.

        Btrfs, XFS and a few others can do it, between files of one file system.
        """
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            return False
        return True
else:  # pragma: no cover

    def begin_write_out(fd: int) -> None:
        """Do nothing: this system has no such hint."""

    def clone(source: int, target: int) -> bool:
        """Return False: this system cannot do it."""
        return False


def sync_path(path: str) -> None:
    """Do `sync_file` for a file that another process wrote."""
    with open_for_reading(path) as fd:
        sync_file(fd)


def open_directory(path: str) -> Descriptor:
    """Open a directory, to sync it, and for names that are relative to it."""
    return Descriptor(opening(path, _DIRECTORY))


def sync_directory(path: str) -> bool:
    """Put a directory's entries on stable storage: a new or renamed name survives a power loss only after this.

    If the file system cannot do that, do nothing and return False; see `rsdos.storage.directory.sync_entries`.
    """
    is_synced = True
    for fd in opening(path, _DIRECTORY):
        try:
            is_synced = sync_entries(fd)
        finally:
            os.close(fd)
    return is_synced


def write_file(path: str, data: BytesLike) -> None:
    """Make a file with these bytes and sync it. After a failure remove it again."""
    with NewFile(path) as fd:
        write_at(fd, 0, data)
        sync_file(fd)


def replace_file(path: str, data: BytesLike) -> None:
    """Make or replace a file by a synced one with these bytes. Readers see the old one or the new one.

    The directory is not synced.
    """
    temporary = f"{path}.new"
    remove(temporary)
    write_file(temporary, data)
    os.rename(temporary, path)


def length_of(path: str) -> int:
    """Return the bytes in a file; 0 if it is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def has_other_names(path: str) -> bool:
    """Return whether a file has another name, through which its changes show; False if the file is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_nlink > 1
    except FileNotFoundError:
        return False


remove = remove_own
"""Unlinks a file that the caller has made; see `rsdos.storage.directory.remove_own`."""

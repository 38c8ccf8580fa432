"""Scan: reads a directory, and all that is below it, in tree order.

Names are sorted as bytes. Each directory is reached by descriptors, and no link is followed. A run of entries has no
Python object for each entry: names, rows and kinds are columns.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import compress
from operator import itemgetter
from typing import NamedTuple, TypeVar

from rsdos.errors import UnreadableSource
from rsdos.storage.descriptors import Descriptor, opening
from rsdos.storage.posix import read_at
from rsdos.trees.entry import EntryKind
from rsdos.worktree.ignore import IGNORE_FILE, MOST_BYTES, Ignore
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import Mounts, NameRule, PathReason, ScanOptions, Unreadable
from rsdos.worktree.portable import PortableNames
from rsdos.worktree.rows import pack_rows
from rsdos.worktree.settled import Clocks
from rsdos.worktree.special import SpecialFiles
from rsdos.worktree.temporary import TEMPORARY

RUN = 1024
"""Entries whose statuses are read together: 700 KB."""

_SPECIAL = len(EntryKind)
_DIRECTORY = int(EntryKind.DIRECTORY)
_LISTED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors if a listed directory is gone, or something else has its name."""

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_AFTER_TEMPORARY = TEMPORARY[:-1] + bytes([TEMPORARY[-1] + 1])
_MODE = itemgetter(0)
_T = TypeVar("_T")


class ScannedRun(NamedTuple):
    """Some entries of one directory, as columns."""

    names: list[bytes]
    rows: bytes
    """The row of each, 40 bytes, with the flag; see `rows.pack_rows`."""
    kinds: bytes
    """The `EntryKind` of each."""
    clock: int
    """The file system's time before the entries were looked at, in ns."""


class DirectoryScan:
    """The directories at and below a top, in tree order. Iterate it once; one thread.

    The reader takes all entries of a directory before it asks for the next one. The scan passes over special files
    (which it counts), the container itself, temporary names, and names that patterns leave out.
    """

    def __init__(
        self,
        top: OpenDirectories,
        own: tuple[int, int] | None,
        options: ScanOptions,
    ) -> None:
        """``own`` are the device and the inode of the container's directory; None if it has no directory."""
        self.special = SpecialFiles()
        """FIFOs, sockets and devices so far, in tree order."""
        self.unreadable: list[PathReason] = []
        """The entries that were left out because they could not be read."""
        self._top = top
        self._own = own
        self._options = options
        self._ignore = Ignore(options.exclude)
        self._clocks = Clocks()
        self._device = os.fstat(top.top).st_dev
        self._found: list[bytes] = []

    def __iter__(self) -> Iterator[ScannedDirectory]:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            self._found = []
            directory = self._list(path)
            if directory is not None:
                yield directory
            waiting += reversed(self._found)

    def refuse(self, path: bytes, error: OSError) -> None:
        """Leave out an entry that cannot be read. Raise `UnreadableSource` unless the options say to continue."""
        self.leave_out(path, error.errno or errno.EIO)

    def leave_out(self, path: bytes, number: int) -> None:
        """Do `refuse` for the number of an error."""
        if self._options.unreadable is Unreadable.STOP:
            raise UnreadableSource(self._top.path_of(path), number)
        self.unreadable.append(PathReason(path, os.strerror(number)))

    def _list(self, path: bytes) -> ScannedDirectory | None:
        try:
            fd = self._top.open(path)
            device = os.fstat(fd).st_dev
            listed = os.listdir(fd)
        except OSError as error:
            if error.errno not in _LISTED or not path:
                self.refuse(path, error)
            return None
        # All names are encoded together: encoding them one by one takes 0.25 us each.
        joined, is_empty = os.fsencode("\0".join(listed)), not listed
        del listed  # Before there are two lists: for names of 12 bytes a peak of 135 B a name.
        names = [] if is_empty else joined.split(b"\0")
        del joined
        names.sort()
        del names[bisect_left(names, TEMPORARY) : bisect_left(names, _AFTER_TEMPORARY)]
        at = bisect_left(names, IGNORE_FILE)
        has_patterns = at < len(names) and names[at] == IGNORE_FILE
        is_picky = self._ignore.enter(path, _read_patterns(fd) if has_patterns else b"")
        directory = ScannedDirectory(self, path, device, names, is_picky)
        if self._options.names is NameRule.PORTABLE:
            directory.portable = PortableNames(directory.prefix)
        return directory

    def _statuses(self, directory: ScannedDirectory, names: list[bytes]) -> tuple[list[bytes], list[os.stat_result]]:
        """Return the names that still exist, and the status of each."""
        fd = self._top.open(directory.path)
        try:
            return names, list(map(partial(os.lstat, dir_fd=fd), names))
        except OSError:
            pass
        found, statuses = [], []
        for name in names:
            try:
                statuses.append(os.lstat(name, dir_fd=fd))
                found.append(name)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.refuse(directory.prefix + name, error)
        return found, statuses

    def clock(self, directory: ScannedDirectory) -> int:
        """Return the time of a directory's file system."""
        path = directory.path
        return self._clocks.now(self._top.open(path), directory.device, self._top.path_of(path))

    def _look(self, directory: ScannedDirectory, names: list[bytes]) -> ScannedRun:
        clock = self.clock(directory)
        names, statuses = self._statuses(directory, names)
        kinds = bytes(map(_codes.__getitem__, map(_MODE, statuses)))
        if directory.is_picky or _SPECIAL in kinds or _DIRECTORY in kinds:
            keep = [
                self._judge(directory, name, status, kind)
                for name, status, kind in zip(names, statuses, kinds, strict=True)
            ]
            if not all(keep):
                names, statuses, kinds = _some(names, keep), _some(statuses, keep), bytes(_some(kinds, keep))
        if directory.portable is not None:
            directory.portable.add(names)
        return ScannedRun(names, pack_rows(statuses), kinds, clock)

    def _judge(self, directory: ScannedDirectory, name: bytes, status: os.stat_result, kind: int) -> bool:
        """Return whether an entry belongs to the working directory. Queue a directory that is to be scanned."""
        if kind != _DIRECTORY:
            if directory.is_picky and self._ignore.file(name):
                return False
            if kind == _SPECIAL:
                self.special.add(directory.prefix + name)
                return False
            return True
        if (status.st_dev, status.st_ino) == self._own:
            return False
        if directory.is_picky and self._ignore.directory(name):
            return False
        path = directory.prefix + name
        if self._options.mounts is Mounts.CROSS or status.st_dev == self._device:
            self._found.append(path)
        return True


class ScannedDirectory:
    """A directory that was listed. Its entries are taken in runs, once."""

    __slots__ = ("_at", "_scan", "device", "is_picky", "names", "path", "portable", "prefix")

    def __init__(self, scan: DirectoryScan, path: bytes, device: int, names: list[bytes], is_picky: bool) -> None:
        self._scan = scan
        self._at = 0
        self.path = path
        """The path below the top; b"" is the top."""
        self.prefix = path + b"/" if path else b""
        self.device = device
        self.names = names
        """All names but temporary ones, sorted, with those that `take` will pass over."""
        self.is_picky = is_picky
        """Whether patterns may leave out an entry."""
        self.portable: PortableNames | None = None
        """The names so far, if they have to be portable."""

    @property
    def at(self) -> int:
        """The number of names that were taken."""
        return self._at

    @property
    def is_over(self) -> bool:
        """Whether all names were taken."""
        return self._at >= len(self.names)

    def take(self, stop: int) -> ScannedRun:
        """Return the entries of the names up to ``stop``, without those that are gone or passed over."""
        names = self.names[self._at : stop]
        self._at = stop
        return self._scan._look(self, names)


class _Codes(dict[int, int]):
    """The kind of each mode that was seen: a file system has a few of them."""

    def __missing__(self, mode: int) -> int:
        self[mode] = code = _code(mode)
        return code


def _code(mode: int) -> int:
    if stat.S_ISREG(mode):
        return EntryKind.EXECUTABLE if mode & stat.S_IXUSR else EntryKind.FILE
    if stat.S_ISLNK(mode):
        return EntryKind.LINK
    return EntryKind.DIRECTORY if stat.S_ISDIR(mode) else _SPECIAL


_codes = _Codes()


def _some(column: Iterable[_T], keep: list[bool]) -> list[_T]:
    return list(compress(column, keep))


def _read_patterns(directory: int) -> bytes:
    """Return the text of the ignore file of an open directory; b"" if there is no such regular file."""
    with suppress(OSError), Descriptor(opening(os.fsdecode(IGNORE_FILE), _READ, dir_fd=directory)) as fd:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return read_at(fd, 0, MOST_BYTES)
    return b""

"""Writes the files of a checkout: in storage order, many directories at once, each file whole or not at all.

The steps of one file. A kill after any of them leaves the old file or the new one, and at most a temporary name, which
the next checkout removes:

1. make a file with a temporary name in the directory, by a descriptor that was opened without following links;
2. write the content, which the store has verified, and set times and modes;
3. give the file its name: an entry that has appeared under that name since the plan is never replaced;
4. take the row of the open file, which is certainly the written one, whatever has the name by now.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rsdos.errors import DamagedContainer, DamagedObject, ObjectNotFound, RsdosError
from rsdos.model import BytesLike
from rsdos.storage import directory as place
from rsdos.storage import posix, syscalls
from rsdos.stores.base import rest_of
from rsdos.worktree.checkout_rules import Obstacles
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import PathReason
from rsdos.worktree.rows import SETTLED, pack_row, pack_rows
from rsdos.worktree.temporary import temporary_name

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

MOST_FILES = 1 << 15
"""The most files that are read together in storage order: 10 MB of names and keys."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

_MODES = (0o666, 0o777)
"""The modes of new files by their kinds, before the umask."""

_HOLE = 1 << 16
"""Bytes of zeros that become a hole: on ext4 and XFS a block has 4 KiB, on Btrfs compressed extents have 128."""

_ZEROS = bytes(_HOLE)

OF_ONE_ENTRY = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENOTEMPTY,
        errno.EMLINK,
        errno.EBUSY,
        errno.EFBIG,
    }
)
"""Errors of the file system that concern only one entry: a name that it refuses, a directory that was replaced."""

APPEARED = "it appeared after the checkout began, or the file system takes two names for one"
CHANGED = "it was modified after the checkout began"


class Holes(Enum):
    """How long runs of zeros in files are written."""

    FILL = "fill"
    """As zeros."""
    MAKE = "make"
    """As holes: the file is sparse."""


class OnDamage(Enum):
    """What a checkout does about an entry that cannot be read or written."""

    STOP = "stop"
    """Raise the error."""
    CONTINUE = "continue"
    """Name it in the report, and continue."""


class PendingFile(NamedTuple):
    """A file that is to be written."""

    number: int
    """The number of its row."""
    directory: bytes
    name: bytes
    kind: int
    size: int
    key: bytes
    replaces: bytes = b""
    """The row of the entry that is there and may be replaced; b"" if there is none."""
    mtime: int | None = None
    mode: int | None = None

    @property
    def path(self) -> bytes:
        """Its path below the working directory."""
        return self.directory + b"/" + self.name if self.directory else self.name


@dataclass(frozen=True, slots=True)
class Writing:
    """How files are written."""

    holes: Holes
    obstacles: Obstacles
    on_damage: OnDamage


@dataclass(slots=True)
class Outcome:
    """What a checkout has done so far."""

    written: int = 0
    links: int = 0
    size: int = 0
    removed: int = 0
    kept: int = 0
    adopted: int = 0
    conflicts: list[PathReason] = field(default_factory=list)
    failed: list[PathReason] = field(default_factory=list)


class Trouble:
    """Decides about errors of single entries: raise them, or name them and continue."""

    def __init__(self, on_damage: OnDamage, outcome: Outcome) -> None:
        self._on_damage = on_damage
        self._outcome = outcome

    def tell(self, path: bytes, error: Exception) -> None:
        """Name an entry that has failed. Raise the error if the checkout stops, or if it concerns more than one."""
        if isinstance(error, FileExistsError):
            self._outcome.conflicts.append(PathReason(path, CHANGED if error.strerror == CHANGED else APPEARED))
            return
        if self._on_damage is OnDamage.STOP or (
            isinstance(error, OSError)
            and not isinstance(error, (DamagedObject, DamagedContainer))
            and error.errno not in OF_ONE_ENTRY
        ):
            raise error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._outcome.failed.append(PathReason(path, reason))

    def lose(self, lost: PathReason, error: Exception) -> None:
        """Name the part that a damaged tree has lost. Raise the error if the checkout stops."""
        if self._on_damage is OnDamage.STOP:
            raise error
        self._outcome.failed.append(lost)

    def refuse(self, refused: Iterable[PathReason]) -> None:
        """Name entries that the caller does not want to be written."""
        self._outcome.failed += refused


class TakesRows(Protocol):
    """Takes the rows of files that were written."""

    def put_all(self, numbers: Sequence[int], rows: bytes) -> None:
        """Take joined rows, with the number of each."""


class WritesFiles(Protocol):
    """Writes the files of a checkout."""

    def add(self, file: PendingFile) -> None:
        """Write a file soon: with the next `flush` at the latest."""

    def flush(self) -> None:
        """Write all files that were added."""


class FileWriter:
    """Writes files in batches. One thread."""

    def __init__(
        self,
        engine: Engine,
        directories: OpenDirectories,
        writing: Writing,
        outcome: Outcome,
        rows: TakesRows,
        tell: Callable[[int, int], None],
    ) -> None:
        """``tell`` receives the files and the bytes that were written."""
        self._engine = engine
        self._directories = directories
        self._sparse = writing.holes is Holes.MAKE
        self._looks_again = writing.obstacles is Obstacles.REFUSE
        self._trouble = Trouble(writing.on_damage, outcome)
        self._outcome = outcome
        self._rows = rows
        self._tell = tell
        self._streamed = 0
        """Bytes that were reported already, of files that have no row yet."""
        self._temporary = os.fsencode(temporary_name())
        """The temporary name of the file that is being written: free again as soon as the file has its own name."""
        self._process = os.getpid()
        self._directory: bytes | None = None
        self._fd = -1
        self._opener: Callable[..., int] = os.open
        """The directory that was entered last in this batch."""
        self._queue: list[PendingFile] = []
        self._statuses: list[os.stat_result] = []
        self._numbers: list[int] = []
        """The files that were written, and have no row yet."""

    def add(self, file: PendingFile) -> None:
        """Write a file soon: with the next `flush` at the latest."""
        self._queue.append(file)
        if len(self._queue) >= MOST_FILES:
            self.flush()

    def flush(self) -> None:
        """Write all files that were added. Raise OSError, and what reading raises."""
        queue, self._queue = self._queue, []
        self._directory = None
        files: dict[bytes, list[PendingFile]] = {}
        for file in queue:
            files.setdefault(file.key, []).append(file)
        for digest in self._write_small(files):
            for file in files[digest]:
                self._write(file, None)
        self._keep_rows()

    def _write_small(self, files: Mapping[bytes, Sequence[PendingFile]]) -> list[bytes]:
        """Write the files that a bulk read of the packs yields. Return the digests of the others.

        Those are large, loose, damaged or missing.
        """
        digests = list(files)
        found: list[Sequence[int]] = []
        write = self._write
        try:
            for positions, payloads in self._engine.objects.packed_lists(digests):
                found.append(positions)
                for at, data in zip(positions, payloads, strict=True):
                    for file in files[digests[at]]:
                        write(file, data)
                self._keep_rows()
        except DamagedContainer:
            pass  # The files are then read one by one, which reports the damage.
        return [digests[at] for at in rest_of(len(digests), found)]

    def _write(self, file: PendingFile, data: bytes | None) -> None:
        """Do the four steps. If they fail, name the file. Without ``data`` the content is streamed."""
        temporary = self._temporary
        try:
            if file.directory is not self._directory:
                self._enter(file.directory)
            directory = self._fd
            for fd in map(self._opener, (temporary,), (_NEW,), (_MODES[file.kind],)):  # 1
                try:
                    self._fill(fd, file, data)  # 2
                    if file.replaces:
                        self._replace(temporary, file, directory)  # 3
                    else:
                        syscalls.rename_new(temporary, file.name, directory)  # 3
                    self._statuses.append(os.fstat(fd))  # 4
                    self._numbers.append(file.number)
                finally:
                    os.close(fd)
        except BaseException as error:
            self._undo(file, error)
            if not isinstance(error, (OSError, ObjectNotFound)):
                raise
            self._trouble.tell(file.path, error)

    def _enter(self, directory: bytes) -> None:
        """Open the directory of the next file, unless it is that of the file before, as for most files."""
        self._directory = None
        self._fd = self._directories.open(directory)
        self._opener = posix.opener_in(self._fd)
        self._directory = directory

    def _undo(self, file: PendingFile, error: BaseException) -> None:
        """Remove the temporary file, and use another temporary name from now on: the removal may have failed.

        A child that a callback of the user has forked leaves the file to its parent.
        """
        self._directory = None
        if self._process == os.getpid():
            with suppress(OSError):
                place.remove_own(self._temporary, self._directories.open(file.directory))
        self._temporary = os.fsencode(temporary_name())
        if isinstance(error, OSError) and not isinstance(error, RsdosError):
            error.filename = self._directories.path_of(file.path)  # The user does not know the temporary name.
            error.filename2 = None

    def _keep_rows(self) -> None:
        """Make the rows of files written since the last call: making them together takes a third of the time."""
        self._rows.put_all(self._numbers, pack_rows(self._statuses))
        size = sum(status.st_size for status in self._statuses)
        self._outcome.written += len(self._numbers)
        self._outcome.size += size
        self._tell(len(self._numbers), max(size - self._streamed, 0))
        self._statuses, self._numbers, self._streamed = [], [], 0

    def _fill(self, fd: int, file: PendingFile, data: bytes | None) -> None:
        """Write the content, and set the times and modes that the tree has."""
        if data is None:
            self._write_parts(file, fd)
        elif len(data) != file.size:
            raise _other_size(file, len(data))
        elif self._sparse and len(data) >= _HOLE:
            self._write_around_holes(fd, 0, data)
            os.ftruncate(fd, len(data))
        elif data:
            posix.write_at(fd, 0, data)
        if file.mode is not None:
            place.set_mode(fd, file.mode)
        if file.mtime is not None:
            os.utime(fd, ns=(file.mtime, file.mtime))

    def _replace(self, temporary: bytes, file: PendingFile, directory: int) -> None:
        if self._looks_again:
            status = os.stat(file.name, dir_fd=directory, follow_symlinks=False)
            if pack_row(status, SETTLED) != file.replaces:
                raise FileExistsError(errno.EEXIST, CHANGED)
        os.rename(temporary, file.name, src_dir_fd=directory, dst_dir_fd=directory)

    def _write_parts(self, file: PendingFile, fd: int) -> None:
        size = 0
        for part in self._engine.objects.parts(file.key.hex()):
            if size + len(part) > file.size:
                raise _other_size(file, size + len(part))
            if self._sparse:
                self._write_around_holes(fd, size, part)
            else:
                posix.write_at(fd, size, part)
            size += len(part)
            self._streamed += len(part)
            self._tell(0, len(part))
        if size != file.size:
            raise _other_size(file, size)
        if self._sparse:
            os.ftruncate(fd, size)

    def _write_around_holes(self, fd: int, offset: int, data: BytesLike) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _HOLE):
            block = view[at : at + _HOLE]
            if block != _ZEROS[: len(block)]:
                posix.write_at(fd, offset + at, block)


def _other_size(file: PendingFile, size: int) -> DamagedObject:
    return DamagedObject(file.key.hex(), f"it has {size} bytes or more, but the tree says {file.size}")

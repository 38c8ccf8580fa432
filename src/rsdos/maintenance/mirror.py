"""A copy of a container in another directory, consistent while that is in use: what backup and restore share."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby

from rsdos import fsio
from rsdos.engine import Engine
from rsdos.errors import Busy
from rsdos.interfaces import Progress
from rsdos.maintenance.fill import fill
from rsdos.stores import SUFFIXES

_MARK = ".new"
MARKED = "config.json" + _MARK
"""The name of the configuration, while what it belongs to is not whole."""

_MOST_CONFIG = 1 << 20

_UNSYNCED_FILES = 64
_UNSYNCED_BYTES = 64 << 20

_NO_LINK = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system says that has no hard links, or no more of them for this file."""

_BAD = (errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR)
"""What is said of a source file that is missing, no file, not ours to read, or on a bad sector."""


class Mirror:
    """Makes the copy at ``root``. What stands there is an earlier one that was killed; all of it is made right or goes.

    A file counts as there, here and in the older copy ``previous``, when its length and its time of modification are
    those of the source: that time is set only when the bytes are on stable storage. One from ``previous`` is linked.
    Everything else is compared, and written where it is another. One thread.
    """

    def __init__(self, engine: Engine, root: str, previous: str | None, progress: Progress) -> None:
        self._engine = engine
        self._source = engine.layout.root
        self._config = fsio.read_file(engine.layout.config, _MOST_CONFIG)
        self._root = root
        self._previous = previous
        self._progress = progress
        self._unsynced: list[tuple[int, int | None]] = []
        self._unsynced_bytes = 0
        self.files = self.length = self.linked = self.written = 0
        self.unreadable: list[str] = []
        """Names of files of the container that are missing, cut short, or cannot be read; copied as far as they can."""

    def run(self, length: int) -> None:
        """Copy; about ``length`` bytes. Readers, writers and maintenance go on, and the caller keeps the packs there.

        Raises OSError, `DamagedContainer`, `Busy` when the container was migrated meanwhile.
        """
        self._begin()
        self._progress.start("Copying", length, "bytes")
        try:
            # 1. Loose files first: what is packed from now on is met in the packs.
            self._copy_loose()
            # 2. The index, as it is now; 3. what it leads to. No pack goes, and none shrinks below that.
            with self._engine.packed.pin(self._root) as pin:
                for piece in pin.pieces:
                    self._copy_piece(piece.name, piece.length, piece.fd)
            self._remove_strangers([*pin.index, *(piece.name for piece in pin.pieces)])
            self._settle()
        finally:
            for fd, _ in self._unsynced:
                os.close(fd)
            self._unsynced = []
            self._progress.finish()
        # 4. Every name, on stable storage; 5. only then is it a container.
        for directory, _, _ in os.walk(self._root, topdown=False):
            fsio.sync_directory(directory)
        self._complete()

    def _begin(self) -> None:
        """Make the directories, and say whose they are without making them a container."""
        config = os.path.join(self._root, os.path.basename(self._engine.layout.config))
        os.makedirs(self._root, exist_ok=True)
        if config_of(self._root) != self._config or os.path.lexists(config):
            fsio.remove(config + _MARK)
            fsio.write_file(config + _MARK, self._config)
            self._take_after(config + _MARK, os.stat(self._engine.layout.config))
        fsio.remove(config)
        fsio.sync_directory(self._root)
        for directory in self._engine.layout.directories:
            target = self._target(directory)
            os.makedirs(target, exist_ok=True)
            with suppress(FileNotFoundError):
                self._take_after(target, os.stat(directory))
        self._take_after(self._root, os.stat(self._source))

    def _complete(self) -> None:
        path = self._engine.layout.config
        if fsio.read_file(path, _MOST_CONFIG) != self._config:
            raise Busy(self._source, "a migration, which has made another container of it")
        target = self._target(path)
        os.rename(target + _MARK, target)
        fsio.sync_directory(self._root)

    def _target(self, path: str) -> str:
        return os.path.join(self._root, os.path.relpath(path, self._source))

    # Loose files.

    def _copy_loose(self) -> None:
        seen = set()
        for directory, paths in groupby(self._engine.loose.names.paths(), os.path.dirname):
            names = set(map(os.path.basename, paths))
            target = self._target(directory)
            seen.add(target)
            os.makedirs(target, exist_ok=True)
            with suppress(FileNotFoundError):
                self._take_after(target, os.stat(directory))
            for name in os.listdir(target):
                if name not in names:
                    _remove_whole(os.path.join(target, name))
            for name in names:
                self._copy_loose_file(os.path.join(directory, name))
        loose = self._target(self._engine.layout.loose)
        if loose not in seen:
            for name in os.listdir(loose):
                if os.path.join(loose, name) not in seen:
                    _remove_whole(os.path.join(loose, name))

    def _copy_loose_file(self, path: str) -> None:
        if self._copy_file(path):
            return
        # It is packed or deleted by now; or it went from one form to another, which the listing did not show.
        stem = path
        for suffix in filter(None, SUFFIXES.values()):
            stem = stem.removesuffix(suffix)
        for suffix in SUFFIXES.values():
            if stem + suffix != path:
                self._copy_file(stem + suffix)

    def _copy_file(self, path: str) -> bool:
        """Copy a whole file, if it is there; whether it was."""
        try:
            fd = fsio.open_for_reading(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _BAD:
                raise
            self.unreadable.append(os.path.relpath(path, self._source))
            return True
        try:
            self._copy(os.path.relpath(path, self._source), fd, os.fstat(fd), None)
        finally:
            os.close(fd)
        return True

    # Packs and segments.

    def _copy_piece(self, name: str, length: int, fd: int) -> None:
        if fd >= 0:
            self._copy(name, fd, os.fstat(fd), length)
            return
        try:
            fd = fsio.open_for_reading(os.path.join(self._source, name))
        except OSError as error:
            if error.errno not in _BAD:
                raise
            self.unreadable.append(name)
            return
        try:
            self._copy(name, fd, os.fstat(fd), length)
        finally:
            os.close(fd)

    # One file.

    def _copy(self, name: str, fd: int, status: os.stat_result, length: int | None) -> None:
        """Copy the first ``length`` bytes of an open file, or all. ``status`` is from before they are read."""
        length = status.st_size if length is None else length
        target = os.path.join(self._root, name)
        self.files += 1
        self.length += length
        if _is_copy(target, status, length) or self._link(name, target, status, length):
            self._progress.advance(length)
            return
        out = self._open(name, target)
        try:
            filled = fill(fd, out, length, self._progress.advance)
            self._take_after(out, status)
        except BaseException:
            os.close(out)
            raise
        self.written += filled.written
        if not filled.is_whole:
            self.unreadable.append(name)
        # The next one is not to take for the same what had to be left empty.
        self._unsynced.append((out, status.st_mtime_ns if filled.is_whole else None))
        self._unsynced_bytes += filled.written
        if len(self._unsynced) >= _UNSYNCED_FILES or self._unsynced_bytes >= _UNSYNCED_BYTES:
            self._settle()

    def _link(self, name: str, target: str, status: os.stat_result, length: int) -> bool:
        """Link a file from the previous copy, if it is the same; whether it was and could be."""
        if self._previous is None:
            return False
        older = os.path.join(self._previous, name)
        if not _is_copy(older, status, length):
            return False
        _remove_whole(target)
        try:
            os.link(older, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        self.linked += 1
        return True

    def _open(self, name: str, target: str) -> int:
        """A file to copy to. One that an older copy has too is never written to."""
        with suppress(FileNotFoundError):
            status = os.lstat(target)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                with suppress(PermissionError):  # Its mode is that of the source.
                    return os.open(target, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            _remove_whole(target)
        fd = fsio.create(target, 0o600)
        if self._previous is not None:
            with suppress(OSError):
                older = fsio.open_for_reading(os.path.join(self._previous, name))
                try:
                    fsio.clone(older, fd)
                finally:
                    os.close(older)
        return fd

    def _settle(self) -> None:
        """Sync what was written, and only then give it the time that says so."""
        while self._unsynced:
            fd, modified = self._unsynced[-1]
            fsio.sync_file(fd)
            if modified is not None:
                os.utime(fd, ns=(modified, modified))
            self._unsynced.pop()
            os.close(fd)
        self._unsynced_bytes = 0

    def _take_after(self, place: int | str, status: os.stat_result) -> None:
        """Give a file or directory the mode of another, and its owner, if we may and the file system has such."""
        if os.geteuid() == 0:
            with suppress(PermissionError):
                os.chown(place, status.st_uid, status.st_gid)
        mode = stat.S_IMODE(status.st_mode)
        with suppress(PermissionError):
            os.chmod(place, mode | stat.S_IRWXU if stat.S_ISDIR(status.st_mode) else mode)

    def _remove_strangers(self, names: Iterable[str]) -> None:
        """Remove what an earlier run, or another program's, has left beside these files."""
        layout = self._engine.layout
        config = os.path.basename(layout.config)
        wanted = {config, config + _MARK, *names, *_parents(names)}
        wanted |= {os.path.relpath(directory, self._source) for directory in layout.directories}
        for directory in (self._root, *map(self._target, layout.directories)):
            if directory != self._target(layout.loose):
                for name in os.listdir(directory):
                    path = os.path.join(directory, name)
                    if os.path.relpath(path, self._root) not in wanted:
                        _remove_whole(path)


def _parents(names: Iterable[str]) -> Iterator[str]:
    yield from filter(None, map(os.path.dirname, names))


def config_of(root: str) -> bytes | None:
    """The bytes of the configuration of a copy, whole or not; None when there is none yet."""
    for name in ("config.json", MARKED):
        with suppress(FileNotFoundError):
            return fsio.read_file(os.path.join(root, name), _MOST_CONFIG)
    return None


def config_path(root: str) -> str:
    """Where the configuration of a copy is, whole or not."""
    path = os.path.join(root, "config.json")
    return path if os.path.lexists(path) else os.path.join(root, MARKED)


def _is_copy(path: str, status: os.stat_result, length: int) -> bool:
    try:
        own = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(own.st_mode) and (own.st_size, own.st_mtime_ns) == (length, status.st_mtime_ns)


def _remove_whole(path: str) -> None:
    """Remove a file or a directory with all that is in it, if it is there."""
    try:
        fsio.remove(path)
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path)

"""Copies a container that is in use to another directory, for backup and restore."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from rsdos.engine.engine import Engine
from rsdos.errors import Busy, NotAContainer, NotOurs
from rsdos.maintenance.backup.copy_file import copy_prefix
from rsdos.maintenance.copies import (
    CONFIG,
    MARK,
    MARKED,
    MOST_CONFIG,
    QUARANTINE,
    REFUSED,
    Rights,
    read_small_file,
    write_small_file,
)
from rsdos.maintenance.times import Times, same_bytes
from rsdos.progress import step
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor, Working, opening
from rsdos.storage.directory import Directory
from rsdos.stores.loose.paths import SUFFIXES

_UNSYNCED_FILES = 64
_UNSYNCED_BYTES = 64 << 20

_NO_LINK = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)
"""The errors of a file system without hard links, or without more of them for this file."""

_BAD = (errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR)
"""The errors of a source file that is missing, not a file, not readable, or on a bad sector."""

_NEVER = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o111
"""Mode bits that no file of a copy has. Older releases copied them from the container."""


class Mirror:
    """Makes the copy in the directory ``place``. It works on descriptors: no link in it or in ``previous`` is followed.

    Files of ours in the directory are an earlier copy that was killed: each is corrected or removed. Foreign files are
    moved to the directory that ``open_quarantine`` opens. No other user can enter the copy before it is finished.

    A file counts as copied, in this directory and in the older copy ``previous``, when its length and its time of
    modification are those of the source: the time is set only when the bytes are on stable storage. If the file system
    stores times too coarsely, the bytes are compared. A file that ``previous`` has is linked. All other files are
    compared, and written where they differ. For one thread.
    """

    def __init__(
        self,
        engine: Engine,
        place: Directory,
        previous: Directory | None,
        rights: Rights,
        open_quarantine: Callable[[], Directory],
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._source = engine.layout.root
        self._config = self._read_config()
        self._place = place
        self._open = {"": place}
        self._older: dict[str, Directory | None] = {"": previous}
        self._rights = rights
        self._open_quarantine = open_quarantine
        self._progress = progress
        self._times: Times | None = None
        self._pieces: dict[str, int] = {}
        self._unsynced: list[tuple[Working, int | None]] = []
        self._unsynced_bytes = 0
        self.files = self.length = self.linked = self.linked_length = self.written = 0
        self.unreadable: list[str] = []
        """Names of files of the container that are missing, too short, or unreadable. The readable part is copied."""

    def run(self, length: int) -> None:
        """Copy the container, about ``length`` bytes. Readers, writers and maintenance are not blocked.

        The caller protects the packs. Raise `NotOurs` when a link or a file is in the place of a directory, `Busy` when
        the container was migrated, `DamagedContainer`, OSError.
        """
        self._begin()
        with step(self._progress, "Copying", length, "bytes"):
            try:
                # 1. Loose files first: objects that are packed from now on are copied with the packs.
                self._copy_loose()
                # 2. The present index; 3. the bytes that it leads to. No pack is removed or gets shorter.
                with self._engine.packed.maintenance.checkpoint(self._place.path) as pin:
                    for piece in pin.pieces:
                        self._pieces[piece.name] = piece.length
                        self._copy_piece(piece.name, piece.length, piece.fd)
                self._remove_others([*pin.index, *self._pieces])
                self._settle()
                for name in pin.index:
                    self._give_rights(name)
            finally:
                self._drop_unsynced()
        # 4. Sync every name, and set the final rights; 5. only then make it a container.
        self._finish_directories()
        self._complete()

    def copy_again(self, names: Iterable[str]) -> list[str]:
        """Replace files of a finished copy by fresh copies. Return the names of those that could be read.

        The older copy is not changed. The caller still protects the packs.
        """
        done = []
        for name in names:
            file = self._open_source(name)
            if file is None:
                continue
            with file as fd:
                place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
                status = os.fstat(fd)
                self._remove(place, base)
                self._write(name, fd, status, self._pieces.get(name, status.st_size), is_new=True)
            if name not in self.unreadable:
                done.append(name)
        self._settle()
        self._finish_directories()
        return done

    def close(self) -> None:
        """Close all descriptors except those that the caller has opened."""
        self._drop_unsynced()
        for directories in (self._open, self._older):
            for name, directory in directories.items():
                if name and directory is not None:
                    directory.close()

    def _begin(self) -> None:
        """Make the directories, and write the configuration under a name that does not make them a container."""
        self._rights.close(self._place.fd)
        is_whole = CONFIG in self._place.names()
        if is_whole or read_small_file(self._place, MARKED) != self._config:
            self._place.remove(MARKED)
            write_small_file(self._place, MARKED, self._config)
            self._give_rights(MARKED)
        if MARK in self._place.names():
            self._give_rights(MARK)
        self._place.remove(CONFIG)
        self._place.sync()
        self._times = Times(self._place, MARKED)
        for directory in self._engine.layout.directories:
            self._directory(self._engine.layout.relative(directory))

    def _read_config(self) -> bytes:
        # If the container was cleared since it was opened, the old index may be read beside the new configuration.
        self._engine.packed.original.check()
        try:
            return posix.read_file(self._engine.layout.config, MOST_CONFIG)
        except FileNotFoundError:
            raise NotAContainer(self._source) from None

    def _complete(self) -> None:
        if self._read_config() != self._config:
            raise Busy(self._source, "a migration, which has changed its version")
        os.rename(MARKED, CONFIG, src_dir_fd=self._place.fd, dst_dir_fd=self._place.fd)
        self._place.sync()

    # Directories and names in the copy.

    def _directory(self, name: str) -> Directory:
        """Open a directory of the copy; make it if it is missing. Raise `NotOurs`."""
        if name not in self._open:
            above, base = self._directory(os.path.dirname(name)), os.path.basename(name)
            with suppress(FileExistsError):
                os.mkdir(base, 0o700, dir_fd=above.fd)
            self._open[name] = above.child(base)
            self._rights.close(self._open[name].fd)
        return self._open[name]

    def _older_directory(self, name: str) -> Directory | None:
        if name not in self._older:
            above = self._older_directory(os.path.dirname(name))
            self._older[name] = None
            with suppress(FileNotFoundError, NotOurs):
                self._older[name] = above and above.child(os.path.basename(name))
        return self._older[name]

    def _finish_directory(self, name: str) -> None:
        directory = self._open[name]
        directory.sync()
        self._rights.give(directory.fd)

    def _finish_directories(self) -> None:
        for name in sorted(self._open, reverse=True):
            self._finish_directory(name)

    def _close_directory(self, name: str) -> None:
        """Finish and close a directory: there may be 65,536 of them."""
        self._settle()
        self._finish_directory(name)
        for directories in (self._open, self._older):
            directory = directories.pop(name, None)
            if directory is not None:
                directory.close()

    def _give_rights(self, name: str) -> None:
        place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
        with Working(opening(base, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd)) as fd:
            self._rights.give(fd)

    def _remove(self, place: Directory, name: str) -> None:
        """Remove a file or directory if its name and kind are ours; otherwise move it to quarantine."""
        try:
            mode = place.status(name).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISREG(mode) and place.form.has_file(name):
            place.remove(name)
        elif not (stat.S_ISDIR(mode) and place.form.below(name) is not None) or place.remove_tree(name):
            with self._open_quarantine() as quarantine:
                place.move_to_quarantine(name, quarantine)
                quarantine.sync()

    def _remove_others(self, names: Sequence[str]) -> None:
        """Remove all files but these: an earlier run, or another program, has left them."""
        tops = [self._engine.layout.relative(directory) for directory in self._engine.layout.directories]
        wanted = {CONFIG, MARKED, MARK, QUARANTINE, "lost+found", *names, *_parents(names), *tops}
        for top in ("", *tops):
            directory = self._directory(top)
            if top != self._engine.layout.relative(self._engine.layout.loose):
                for name in directory.names():
                    if os.path.join(top, name) not in wanted:
                        self._remove(directory, name)

    # Loose files.

    def _copy_loose(self) -> None:
        seen = set()
        loose = self._engine.layout.relative(self._engine.layout.loose)
        for path, paths in groupby(self._engine.loose.names.paths(), os.path.dirname):
            names, directory = set(map(os.path.basename, paths)), self._engine.layout.relative(path)
            place = self._directory(directory)
            seen.add(directory)
            for name in place.names():
                if name not in names:
                    self._remove(place, name)
            for name in names:
                self._copy_loose_file(os.path.join(path, name))
            if directory != loose:
                self._close_directory(directory)
        if loose not in seen:
            place = self._directory(loose)
            for name in place.names():
                if os.path.join(loose, name) not in seen:
                    self._remove(place, name)

    def _copy_loose_file(self, path: str) -> None:
        if self._copy_file(path):
            return
        # The object was packed or deleted, or its file was replaced by one of another form after the listing.
        stem = path
        for suffix in filter(None, SUFFIXES.values()):
            stem = stem.removesuffix(suffix)
        for suffix in SUFFIXES.values():
            if stem + suffix != path:
                self._copy_file(stem + suffix)

    def _copy_file(self, path: str) -> bool:
        """Copy a whole file. Return whether it existed."""
        try:
            file = posix.open_for_reading(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _BAD:
                raise
            self.unreadable.append(self._engine.layout.relative(path))
            return True
        with file as fd:
            self._copy(self._engine.layout.relative(path), fd, os.fstat(fd), None)
        return True

    # Packs and segments.

    def _copy_piece(self, name: str, length: int, fd: int) -> None:
        if fd >= 0:
            self._copy(name, fd, os.fstat(fd), length)
            return
        file = self._open_source(name)
        if file is None:
            self.unreadable.append(name)
            return
        with file as opened:
            self._copy(name, opened, os.fstat(opened), length)

    def _open_source(self, name: str) -> Descriptor | None:
        try:
            return posix.open_for_reading(os.path.join(self._source, name))
        except OSError as error:
            if error.errno not in _BAD:
                raise
            return None

    # One file.

    def _copy(self, name: str, fd: int, status: os.stat_result, length: int | None) -> None:
        """Copy the first ``length`` bytes of an open file (None: all). ``status`` was taken before they are read."""
        length = status.st_size if length is None else length
        self.files += 1
        self.length += length
        place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
        if self._is_copy(place, base, fd, status, length) or self._link(name, fd, status, length):
            self._progress.advance(length)
            return
        self._write(name, fd, status, length)

    def _write(self, name: str, fd: int, status: os.stat_result, length: int, *, is_new: bool = False) -> None:
        out = self._open_target(name, is_new)
        try:
            filled = copy_prefix(fd, out.fd, length, self._progress.advance)
            self._rights.give(out.fd)
        except BaseException:
            out.close()
            raise
        self.written += filled.written
        if not filled.is_whole:
            self.unreadable.append(name)
        # A file with unreadable parts gets no time, so that the next backup copies it again.
        self._unsynced.append((out, status.st_mtime_ns if filled.is_whole else None))
        self._unsynced_bytes += filled.written
        if len(self._unsynced) >= _UNSYNCED_FILES or self._unsynced_bytes >= _UNSYNCED_BYTES:
            self._settle()

    def _is_copy(self, place: Directory | None, base: str, fd: int, status: os.stat_result, length: int) -> bool:
        """Return whether a file of a copy has the bytes of the open file of the container."""
        assert self._times is not None
        try:
            if place is None or not _may_be(place.status(base), length):
                return False
            if not self._times.agree(place.status(base).st_mtime_ns, status.st_mtime_ns):
                return False
            if self._times.tell:
                return True
            with Descriptor(posix.opening_for_reading(base, place.fd)) as own:
                return same_bytes(own, fd, length)
        except OSError:
            return False

    def _link(self, name: str, fd: int, status: os.stat_result, length: int) -> bool:
        """Link a file from the previous copy if it is the same. Return whether it was linked."""
        older, base = self._older_directory(os.path.dirname(name)), os.path.basename(name)
        if older is None or not self._is_copy(older, base, fd, status, length):
            return False
        place = self._directory(os.path.dirname(name))
        self._remove(place, base)
        try:
            os.link(base, base, src_dir_fd=older.fd, dst_dir_fd=place.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        self.linked += 1
        self.linked_length += length
        return True

    def _open_target(self, name: str, is_new: bool) -> Working:
        """Open a file to copy to. A file that an older copy shares is never written to."""
        place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
        with suppress(FileNotFoundError):
            status = place.status(base)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                with suppress(PermissionError):  # An older release gave it the mode of a read-only container.
                    return Working(opening(base, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd))
            self._remove(place, base)
        file = Working(posix.opening_new(base, 0o600, place.fd))
        older = None if is_new else self._older_directory(os.path.dirname(name))
        if older is not None:
            with suppress(OSError), Descriptor(posix.opening_for_reading(base, older.fd)) as source:
                posix.clone(source, file.fd)
        return file

    def _settle(self) -> None:
        """Sync the written files, and only then set their times, which mark them as copied."""
        while self._unsynced:
            file, modified = self._unsynced[-1]
            posix.sync_file(file.fd)
            if modified is not None:
                try:
                    os.utime(file.fd, ns=(modified, modified))
                except OSError as error:
                    if error.errno not in REFUSED:
                        raise
            self._unsynced.pop()
            file.close()
        self._unsynced_bytes = 0

    def _drop_unsynced(self) -> None:
        for file, _ in self._unsynced:
            file.close()
        self._unsynced = []


def _may_be(own: os.stat_result, length: int) -> bool:
    return stat.S_ISREG(own.st_mode) and not own.st_mode & _NEVER and own.st_size == length


def _parents(names: Iterable[str]) -> Iterator[str]:
    yield from filter(None, map(os.path.dirname, names))

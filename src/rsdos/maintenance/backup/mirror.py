"""A copy of a container in another directory, consistent while that is in use: what backup and restore share."""

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
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.storage.descriptors import Descriptor, Working, opening
from rsdos.storage.directory import Directory
from rsdos.stores.loose.paths import SUFFIXES

_UNSYNCED_FILES = 64
_UNSYNCED_BYTES = 64 << 20

_NO_LINK = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system says that has no hard links, or no more of them for this file."""

_BAD = (errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR)
"""What is said of a source file that is missing, no file, not ours to read, or on a bad sector."""

_NEVER = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o111
"""Bits of a mode that no file of a copy has: an older release took them over from the container."""


class Mirror:
    """Makes the copy in the directory ``place``, by descriptors: no link in it, nor in ``previous``, is followed.

    What stands there of ours is an earlier one that was killed; all of it is made right or goes. What is not ours goes
    to the directory that ``aside`` opens. Nobody else can get into the copy before it is whole.

    A file counts as there, here and in the older copy ``previous``, when its length and its time of modification are
    those of the source: that time is set only when the bytes are on stable storage. Where times are kept too roughly
    for that, bytes are compared. One from ``previous`` is linked. Everything else is compared, and written where it is
    another. One thread.
    """

    def __init__(
        self,
        engine: Engine,
        place: Directory,
        previous: Directory | None,
        rights: Rights,
        aside: Callable[[], Directory],
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._source = engine.layout.root
        self._config = self._read_config()
        self._place = place
        self._open = {"": place}
        self._older: dict[str, Directory | None] = {"": previous}
        self._rights = rights
        self._aside = aside
        self._progress = progress
        self._times: Times | None = None
        self._pieces: dict[str, int] = {}
        self._unsynced: list[tuple[Working, int | None]] = []
        self._unsynced_bytes = 0
        self.files = self.length = self.linked = self.linked_length = self.written = 0
        self.unreadable: list[str] = []
        """Names of files of the container that are missing, cut short, or cannot be read; copied as far as they can."""

    def run(self, length: int) -> None:
        """Copy; about ``length`` bytes. Readers, writers and maintenance go on, and the caller keeps the packs there.

        Raises `NotOurs` where a link or a file stands in the place of a directory, `Busy` when the container was
        migrated, `DamagedContainer`, OSError.
        """
        self._begin()
        self._progress.start("Copying", length, "bytes")
        try:
            # 1. Loose files first: what is packed from now on is met in the packs.
            self._copy_loose()
            # 2. The index, as it is now; 3. what it leads to. No pack goes, and none shrinks below that.
            with self._engine.packed.checkpoint(self._place.path) as pin:
                for piece in pin.pieces:
                    self._pieces[piece.name] = piece.length
                    self._copy_piece(piece.name, piece.length, piece.fd)
            self._remove_others([*pin.index, *self._pieces])
            self._settle()
            for name in pin.index:
                self._give_rights(name)
        finally:
            self._drop_unsynced()
            self._progress.finish()
        # 4. Every name, on stable storage, and everybody may in; 5. only then is it a container.
        self._finish_directories()
        self._complete()

    def copy_again(self, names: Iterable[str]) -> list[str]:
        """Put a fresh copy in the place of files of a copy that is whole; returns those that could be read.

        What the older copy has under the same name stays as it is. The caller still keeps the packs there.
        """
        done = []
        for name in names:
            file = self._open_source(name)
            if file is None:
                continue
            with file as fd:
                place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
                status = os.fstat(fd)
                self._let_go(place, base)
                self._write(name, fd, status, self._pieces.get(name, status.st_size), is_new=True)
            if name not in self.unreadable:
                done.append(name)
        self._settle()
        self._finish_directories()
        return done

    def close(self) -> None:
        """Give the descriptors back, but for those that the caller has opened."""
        self._drop_unsynced()
        for directories in (self._open, self._older):
            for name, directory in directories.items():
                if name and directory is not None:
                    directory.close()

    def _begin(self) -> None:
        """Make the directories, and say whose they are without making them a container."""
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
            self._directory(self._name(directory))

    def _read_config(self) -> bytes:
        try:
            return posix.read_file(self._engine.layout.config, MOST_CONFIG)
        except FileNotFoundError:
            raise NotAContainer(self._source) from None  # It was cleared, or has moved, since it was opened.

    def _complete(self) -> None:
        if self._read_config() != self._config:
            raise Busy(self._source, "a migration, which has made another container of it")
        os.rename(MARKED, CONFIG, src_dir_fd=self._place.fd, dst_dir_fd=self._place.fd)
        self._place.sync()

    # Directories and names in the copy.

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._source)

    def _directory(self, name: str) -> Directory:
        """An open directory of the copy, made if it is not there. Raises `NotOurs`."""
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

    def _forget(self, name: str) -> None:
        """Close a directory of which all is done: there may be 65,536 of them."""
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

    def _let_go(self, place: Directory, name: str) -> None:
        """Remove what stands under a name, if it is of ours by name and form; what is not goes to quarantine."""
        try:
            mode = place.status(name).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISREG(mode) and place.form.has_file(name):
            place.remove(name)
        elif not (stat.S_ISDIR(mode) and place.form.below(name) is not None) or place.remove_tree(name):
            with self._aside() as aside:
                place.move_to_quarantine(name, aside)
                aside.sync()

    def _remove_others(self, names: Sequence[str]) -> None:
        """Remove what an earlier run, or another program's, has left beside these files."""
        tops = [self._name(directory) for directory in self._engine.layout.directories]
        wanted = {CONFIG, MARKED, MARK, QUARANTINE, "lost+found", *names, *_parents(names), *tops}
        for top in ("", *tops):
            directory = self._directory(top)
            if top != self._name(self._engine.layout.loose):
                for name in directory.names():
                    if os.path.join(top, name) not in wanted:
                        self._let_go(directory, name)

    # Loose files.

    def _copy_loose(self) -> None:
        seen = set()
        loose = self._name(self._engine.layout.loose)
        for path, paths in groupby(self._engine.loose.names.paths(), os.path.dirname):
            names, directory = set(map(os.path.basename, paths)), self._name(path)
            place = self._directory(directory)
            seen.add(directory)
            for name in place.names():
                if name not in names:
                    self._let_go(place, name)
            for name in names:
                self._copy_loose_file(os.path.join(path, name))
            if directory != loose:
                self._forget(directory)
        if loose not in seen:
            place = self._directory(loose)
            for name in place.names():
                if os.path.join(loose, name) not in seen:
                    self._let_go(place, name)

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
            file = posix.open_for_reading(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _BAD:
                raise
            self.unreadable.append(self._name(path))
            return True
        with file as fd:
            self._copy(self._name(path), fd, os.fstat(fd), None)
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
        """Copy the first ``length`` bytes of an open file, or all. ``status`` is from before they are read."""
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
        # The next one is not to take for the same what had to be left empty.
        self._unsynced.append((out, status.st_mtime_ns if filled.is_whole else None))
        self._unsynced_bytes += filled.written
        if len(self._unsynced) >= _UNSYNCED_FILES or self._unsynced_bytes >= _UNSYNCED_BYTES:
            self._settle()

    def _is_copy(self, place: Directory | None, base: str, fd: int, status: os.stat_result, length: int) -> bool:
        """Whether a file of a copy is the same as what is open in the container."""
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
        """Link a file from the previous copy, if it is the same; whether it was and could be."""
        older, base = self._older_directory(os.path.dirname(name)), os.path.basename(name)
        if older is None or not self._is_copy(older, base, fd, status, length):
            return False
        place = self._directory(os.path.dirname(name))
        self._let_go(place, base)
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
        """A file to copy to. One that an older copy has too is never written to."""
        place, base = self._directory(os.path.dirname(name)), os.path.basename(name)
        with suppress(FileNotFoundError):
            status = place.status(base)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                with suppress(PermissionError):  # Its mode is that of a container that nobody may write.
                    return Working(opening(base, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=place.fd))
            self._let_go(place, base)
        file = Working(posix.opening_new(base, 0o600, place.fd))
        older = None if is_new else self._older_directory(os.path.dirname(name))
        if older is not None:
            with suppress(OSError), Descriptor(posix.opening_for_reading(base, older.fd)) as source:
                posix.clone(source, file.fd)
        return file

    def _settle(self) -> None:
        """Sync what was written, and only then give it the time that says so."""
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

"""A directory of a file system as a storage, and its files that are open for reading."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from rsdos.errors import OWN_NUMBERS, DamagedContainer, ReadOnlyContainer
from rsdos.model import BytesLike, Links
from rsdos.storage import locks, posix
from rsdos.storage.base import FileInfo, Put, PutResult, Storage, Traits, Version, check_name, is_name
from rsdos.storage.descriptors import Opened, Working, opening
from rsdos.storage.directory import Form, open_at
from rsdos.storage.local_views import READ_BELOW, LazyView, LocalView
from rsdos.storage.mounts import is_local, is_prompt
from rsdos.storage.permissions import make_directories

if TYPE_CHECKING:
    from rsdos.storage.local_append import LocalAppendFile, LocalNewFile

_FOREIGN = re.compile(r"[^A-Za-z0-9_./-]")
"""Characters that no name of ours has. Names of files are joined by "/" to search many at once."""

_MOST_KNOWN = 4096
_known: set[str] = set()
"""Names that were checked. A check takes 0.8 us, and opening a container and reading one object uses six names."""


def file_version(status: os.stat_result) -> Version:
    """Return the version of a file: it differs from that of any other file in its place, and after any change."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _meaning(error: OSError, path: str, offset: int | None = None) -> OSError:
    """Return what an error of reading a file means: EIO is how a medium says that bytes are gone."""
    if error.errno == errno.EIO and not isinstance(error, DamagedContainer):
        return DamagedContainer(path, f"it cannot be read: {os.strerror(errno.EIO)}", offset)
    error.filename = error.filename or path
    return error


class LocalFile(Opened):
    """An open file: see `RandomAccess`. It uses ``pread`` only: no shared position, no mapping of payloads.

    The descriptor is closed with the last reference, so a reader that still works on a file keeps it open. Raise
    FileNotFoundError if the file is gone, and OSError if it is not a regular file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(posix.opening_for_reading(path))
        self.path = path
        self._status = status = os.fstat(self.fd)
        posix.refuse_irregular(status, path)
        self._size = status.st_size
        """The bytes of the file when its length was last asked for. It may have more by now."""

    @property
    def version(self) -> Version:
        """The version of the file when it was opened."""
        return file_version(self._status)

    @property
    def is_open(self) -> bool:
        """Whether the file can be read."""
        return self.fd >= 0

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``. Raise `DamagedContainer` if the file has no such bytes to read.

        The numbers come from disk: memory is allocated only when they fit the file.
        """
        if offset + length > self._size:  # Checked here too: it saves one call of the twelve that an object takes.
            self._refuse_beyond_end(offset, length)
        try:
            data = os.pread(self.fd, length, offset)
            return data if len(data) == length else posix.read_at(self.fd, offset, length)
        except OSError as error:
            raise _meaning(error, self.path, offset) from error

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer of bytes from ``offset``. Return how many bytes. Raise `DamagedContainer` as `read` does."""
        self._refuse_beyond_end(offset, len(buffer))
        try:
            return posix.read_into(self.fd, offset, buffer)
        except OSError as error:
            raise _meaning(error, self.path, offset) from error

    def _refuse_beyond_end(self, offset: int, length: int) -> None:
        if offset + length > self._size:
            self._size = self.size()
            if offset + length > self._size:
                raise DamagedContainer(self.path, f"the pack is cut short: it has {self._size} bytes", offset)

    def view(self, offset: int, length: int) -> LocalView | LazyView:
        """Return a range as a buffer: mapped; read, if that is as fast; on another machine, read when needed."""
        if length < READ_BELOW or is_local(self._status.st_dev, self.path):
            return LocalView(self.fd, offset, length)
        return LazyView(self.fd, offset, length)

    def is_cached(self, offset: int) -> bool | None:
        """Return whether a byte is in the system's cache; None if that is not known.

        Only Linux can tell, by a read that must not wait; on FUSE and most network file systems it cannot.
        """
        if not hasattr(os, "RWF_NOWAIT"):
            return None
        try:
            os.preadv(self.fd, (bytearray(1),), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:  # Not on this file system.
            return None
        return True

    def will_need(self, offset: int, length: int) -> None:
        """Let the system begin to read bytes from the disk, of which many will be read soon. Do not wait for them."""
        with suppress(OSError):
            os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def size(self) -> int:
        """Return the bytes in the file now, the unfinished tail of a writer included."""
        return os.fstat(self.fd).st_size


def _form_of_any(depth: int) -> Form:
    name = r"[A-Za-z0-9_.-]+"
    return Form(name, ((name, _form_of_any(depth - 1)),) if depth else ())


ANYTHING = _form_of_any(3)
"""Takes every name, up to four directories deep, for ours. For a directory that only this storage uses."""


class LocalStorage(Storage):
    """The files below one directory. Any number of threads and processes; links are never followed below the root."""

    traits = Traits("a directory", appends=True, locks=True, files=True)

    def __init__(self, root: str, form: Form = ANYTHING, links: Links = Links.REFUSE) -> None:
        """``form`` says which names may be removed; ``links`` is for the directories directly in the root."""
        self.root = root
        self.links = links
        self._form = form
        self._prefix = f"{root}/"
        self._is_prompt: bool | None = None
        """The answer of `is_prompt`, once it was asked for."""

    def path(self, name: str) -> str:
        return self._prefix + (name if name in _known else _checked(name))

    # Reading.

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        path = self._prefix + (name if name in _known else _checked(name))
        try:
            data, status = posix.read_with_status(path, most)
        except OSError as error:
            raise _meaning(error, path) from error
        return data, file_version(status)

    def open(self, name: str, length: int | None = None) -> LocalFile:
        return LocalFile(self._prefix + (name if name in _known else _checked(name)))

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        names = os.listdir(self.path(directory))
        if _FOREIGN.search("/".join(names)):  # In one search: there may be thousands, and foreign ones are rare.
            names = list(filter(is_name, names))
        names.sort()
        if not after and most is None:
            return iter(names)
        return islice((name for name in names if name > after) if after else iter(names), most)

    def stat(self, name: str) -> FileInfo | None:
        try:
            status = os.lstat(self.path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileInfo(name, status.st_size, file_version(status), status.st_nlink, status.st_mtime)

    def version(self, name: str) -> Version | None:
        try:
            return file_version(os.lstat(self._prefix + (name if name in _known else _checked(name))))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, name: str) -> bool:
        return os.access(self._prefix + (name if name in _known else _checked(name)), os.F_OK)

    def is_prompt(self) -> bool:
        answer = self._is_prompt
        if answer is None:
            try:
                answer = is_prompt(os.stat(self.root).st_dev, f"{self.root}/")
            except OSError:
                return False
            self._is_prompt = answer
        return answer

    # Writing.

    def may_add(self, directory: str) -> bool:
        return os.access(self.path(directory), os.W_OK)

    def make_directory(self, directory: str) -> None:
        make_directories(self.path(directory))

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """See `Storage.put_new`. A file with a temporary name is written, synced, and linked to its own name."""
        return self._put(name, (data,), still)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        if self._put(name, parts, None, length).outcome is Put.TAKEN:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path(name))

    def _put(
        self, name: str, parts: Iterable[BytesLike], still: Callable[[], bool] | None, length: int | None = None
    ) -> PutResult:
        target = self.path(name)
        temporary = _unfinished(target)
        with posix.NewFile(temporary) as fd:
            done = 0
            for part in parts:
                done += posix.write_at(fd, done, part)
            if length is not None and done != length:
                raise ValueError(f"{target}: {done} bytes came of {length}")
            # Even if the name need not be durable: a name that reaches the disk without its bytes is damage.
            posix.sync_file(fd)
            if still is not None and not still():
                posix.remove(temporary)
                return PutResult(Put.TAKEN)
            try:
                # If the answer was lost, a network file system may report the link that it made itself as existing.
                is_taken = not _link(temporary, target)
                status = os.fstat(fd)
                if not os.path.samestat(status, os.stat(target)):
                    if not is_taken:
                        self._refuse_own_numbers(temporary, name)
                    posix.remove(temporary)
                    return PutResult(Put.TAKEN)
            except FileNotFoundError:
                posix.remove(temporary)
                return PutResult(Put.TAKEN)
            posix.remove(temporary)
        return PutResult(Put.OURS, file_version(status))

    def _refuse_own_numbers(self, temporary: str, name: str) -> None:
        """Remove the file and raise `ReadOnlyContainer` if its two names have different inode numbers.

        No container is made on such a file system; this one was copied there, or is seen through a mount.
        """
        most = os.stat(temporary).st_size
        if posix.read_file(self.path(name), most) == posix.read_file(temporary, most):
            self.remove(name)
            raise ReadOnlyContainer(self.root, OWN_NUMBERS)

    def empty(self, name: str) -> None:
        path = self.path(name)
        with Working(opening(path, posix.WRITE | os.O_NONBLOCK)) as fd:
            posix.refuse_irregular(os.fstat(fd), path)
            os.ftruncate(fd, 0)
            posix.sync_file(fd)

    def remove(self, name: str) -> bool:
        *steps, last = check_name(name).split("/")
        try:
            with open_at(self.root, self._form, tuple(steps), self.links) as directory:
                return directory.remove(last)
        except FileNotFoundError:
            return False

    def link(self, name: str, new: str) -> bool:
        old, target = self.path(name), self.path(new)
        # If the answer was lost, a network file system may report the link that it made itself as existing.
        return _link(old, target) or os.path.samestat(os.lstat(old), os.lstat(target))

    # What only a file system has.

    def sync(self, name: str) -> None:
        posix.sync_path(self.path(name))

    def sync_names(self, directory: str) -> None:
        posix.sync_directory(self.path(directory))

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> LocalAppendFile:
        from rsdos.storage.local_append import LocalAppendFile  # A program that only reads does not need it.

        return LocalAppendFile(self.path(name), new=new, still=still)

    def create(self, name: str) -> LocalNewFile:
        from rsdos.storage.local_append import LocalNewFile

        return LocalNewFile(self.path(name))

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> locks.Lock | None:
        path = self.path(name)
        if shared:
            return locks.acquire_shared(path)
        return locks.acquire(path) if wait else locks.try_acquire(path)

    def holder(self, name: str) -> str:
        return locks.holder(self.path(name))

    def read_note(self, name: str, most: int) -> bytes:
        path = self._prefix + (name if name in _known else _checked(name))
        try:  # `suppress` would be 1 us of the 25 that a lookup of a missing object takes.
            for fd in posix.opening_for_reading(path):
                try:
                    return os.pread(fd, most, 0)
                finally:
                    os.close(fd)
        except OSError:
            pass
        return b""


def _checked(name: str) -> str:
    """Check a name, remember it, and return it. Raise ValueError."""
    check_name(name)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known.add(name)
    return name


def _link(old: str, new: str) -> bool:
    """Give a file a second name. Return False if the name is taken."""
    try:
        os.link(old, new)
    except FileExistsError:
        return False
    return True


def _unfinished(path: str) -> str:
    """Return a unique name in the same directory, for a file while it is being written.

    "manifest-0000000012.json" is first "manifest-<16 hex digits>.new", which shows what a dead writer has left.
    """
    directory, _, name = path.rpartition("/")
    stem = name.partition(".")[0].partition("-")[0]
    return f"{directory}/{stem}-{os.urandom(8).hex()}.new"

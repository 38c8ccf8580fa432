"""The only module that removes the user's files and directories, moves them to quarantine, and sets modes.

It gets an open directory and a name in it. The directory was opened step by step from the root's descriptor, and no
step follows a link: nothing outside is reached, even if a directory is exchanged for a link at that moment. The name
must be one of ours, and its file of the kind that the name says; everything else is refused, and stays. No other module
calls ``unlink``, ``rmdir``, ``rmtree``, ``chmod`` or ``chown``: `tests/test_house.py` checks that.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple, Self

from rsdos.errors import NotOurs
from rsdos.model import Links
from rsdos.storage.descriptors import Descriptor, Opened, opening

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)
"""Errors of opening a link or a file as a directory."""


_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems that can sync files but no directories: CIFS, vboxsf, some of FUSE."""


def sync_entries(fd: int) -> bool:
    """Put the entries of an open directory on stable storage. Return False if its file system cannot do that.

    That is no error, as in databases: the names reach the disk at some later time. Raise OSError if the sync failed.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            with suppress(OSError):
                error.filename = error.filename or os.readlink(f"/proc/self/fd/{fd}")
            raise
        return False
    return True


_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)

_MOST_TRIES = 1000
"""Times that a directory is emptied, because another process put something into it before it could be removed."""


class Form(NamedTuple):
    """The names that are ours in a directory: files that match ``files``, and directories, each with its own form."""

    files: str = ""
    """A regular expression for the whole name; "" if no file is ours."""
    directories: tuple[tuple[str, Form], ...] = ()
    """Regular expressions for the whole name, and what is ours below."""

    def has_file(self, name: str) -> bool:
        """Return whether this is the name of a file of ours."""
        return bool(self.files and _compiled(self.files).fullmatch(name))

    def below(self, name: str) -> Form | None:
        """Return the form of a directory of ours; None if the name is not that of one."""
        return next((form for pattern, form in self.directories if _compiled(pattern).fullmatch(name)), None)


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Directory(Opened):
    """An open directory, and the files in it that are ours. A context manager; closed by `close` or the last reference.

    Names are resolved from its descriptor, so it stays the same directory even if it is moved or its path is taken by
    another. Any number of threads may use it, as long as none of them closes it. Every method raises OSError with the
    path, and `NotOurs` for a name with a slash, "..", and anything that is not ours, before anything is touched.
    """

    __slots__ = ("_links", "form", "path")

    def __init__(self, path: str, form: Form, links: Links = Links.REFUSE) -> None:
        """Open the directory at ``path``, a root. Links on the way there are followed: the caller chose that path.

        ``links`` is for the directories directly in it; links deeper down are never followed.
        """
        self.path = path
        self.form = form
        self._links = links
        super().__init__(opening(path, _DIRECTORY))

    def child(self, name: str) -> Directory:
        """Open a directory of ours in it. Raise FileNotFoundError, and `NotOurs` if it is a link or a file."""
        form = self.form.below(name)
        path = self._path(name)
        if form is None:
            raise NotOurs(path, "rsdos has no directory of this name here")
        child = object.__new__(Directory)
        child.path, child.form, child._links = path, form, Links.REFUSE
        try:
            Opened.__init__(child, opening(name, _DIRECTORY | _flags(self._links), dir_fd=self.fd))
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                raise NotOurs(path, self._what_is(name)) from None
            error.filename = path
            raise
        return child

    def check(self, names: tuple[str, ...]) -> None:
        """Raise `NotOurs` if anything else is in the place of one of these directories. They may be missing."""
        for name in names:
            try:
                mode = os.stat(name, dir_fd=self.fd, follow_symlinks=self._links is Links.FOLLOW).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                raise NotOurs(self._path(name), self._what_is(name))

    def names(self) -> list[str]:
        """Return all names in it, ours or not."""
        # With a descriptor of its own: two threads that list by one descriptor share its position.
        with Descriptor(opening(".", _DIRECTORY, dir_fd=self.fd)) as fd:
            return os.listdir(fd)

    def status(self, name: str) -> os.stat_result:
        """Return the status of a name; of a link, that of the link itself. Raise FileNotFoundError."""
        return os.stat(_plain(self.path, name), dir_fd=self.fd, follow_symlinks=False)

    def sync(self) -> None:
        """Put its entries on stable storage. See `sync_entries`."""
        sync_entries(self.fd)

    # Removing.

    def remove(self, name: str) -> bool:
        """Unlink a file of ours, or anything in its place but a directory. Return whether it was there.

        Of a link the link itself is removed, and its target stays.
        """
        if not self.form.has_file(name):
            raise NotOurs(self._path(name), "rsdos has no file of this name here")
        return self._drop(os.unlink, name)

    def remove_many(self, names: Sequence[str]) -> list[bool]:
        """Do `remove` for each, in order. Return which were there. If one is not ours, nothing is touched."""
        is_ours = _compiled(self.form.files or "(?!)").fullmatch
        for name in names:
            if not is_ours(name):
                raise NotOurs(self._path(name), "rsdos has no file of this name here")
            _plain(self.path, name)
        gone = []
        fd = self.fd
        for name in names:
            try:
                os.unlink(name, dir_fd=fd)
                gone.append(True)
            except FileNotFoundError:
                gone.append(False)
            except OSError as error:
                error.filename = self._path(name)
                raise
        return gone

    def remove_directory(self, name: str) -> bool:
        """Remove an empty directory of ours. Return whether it was there. Raise OSError if it is not empty."""
        if self.form.below(name) is None:
            raise NotOurs(self._path(name), "rsdos has no directory of this name here")
        return self._drop(os.rmdir, name)

    def remove_tree(self, name: str) -> list[str]:
        """Remove a directory of ours and the files in it that are ours. Return the paths of others, which stay.

        If none is returned, the directory is gone. Files of ours that other processes put into it at the same time are
        removed too.
        """
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                with self.child(name) as child:
                    left = child.clear()
            except FileNotFoundError:
                return []
            if left:
                return left
            try:
                self.remove_directory(name)
                return []
            except OSError as error:
                if not tries_left or error.errno not in _NOT_EMPTY:
                    raise
        raise AssertionError("not reached")

    def clear(self) -> list[str]:
        """Remove the files and directories in it that are ours. Return the paths of the rest."""
        left = []
        for name in sorted(self.names()):
            try:
                mode = self.status(name).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(mode) and self.form.below(name) is not None:
                left += self.remove_tree(name)
            elif stat.S_ISREG(mode) and self.form.has_file(name):
                self._drop(os.unlink, name)
            else:
                left.append(self._path(name))
        return left

    def _drop(self, call: Callable[..., None], name: str) -> bool:
        try:
            call(_plain(self.path, name), dir_fd=self.fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            error.filename = self._path(name)
            raise
        return True

    # Moving.

    def move_to_quarantine(self, name: str, to: Directory) -> str:
        """Move a file or directory, ours or not, to another directory, and overwrite nothing. Return its path there.

        If that name is taken, a number is added to it. Neither directory is synced. A kill may leave an empty file or
        directory under the new name.
        """
        is_directory = stat.S_ISDIR(self.status(name).st_mode)
        number, free = 0, name
        while True:
            # An empty file or directory takes the new name first: a rename would overwrite that of another process.
            with suppress(FileExistsError):
                if is_directory:
                    os.mkdir(free, 0o700, dir_fd=to.fd)
                else:
                    Descriptor(opening(free, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, to.fd)).close()
                break
            number += 1
            free = f"{name}.{number}"
        try:
            os.rename(name, free, src_dir_fd=self.fd, dst_dir_fd=to.fd)
        except BaseException:
            with suppress(OSError):
                if is_directory:
                    os.rmdir(free, dir_fd=to.fd)
                else:
                    os.unlink(free, dir_fd=to.fd)
            raise
        return to._path(free)

    # The rest.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, name: str) -> str:
        return f"{self.path}/{_plain(self.path, name)}"

    def _what_is(self, name: str) -> str:
        with suppress(OSError):
            if stat.S_ISLNK(self.status(name).st_mode):
                return "a symbolic link in the place of a directory, which is not followed"
        return "is not a directory, but in the place of one"


def _flags(links: Links) -> int:
    return 0 if links is Links.FOLLOW else os.O_NOFOLLOW


_NO_NAMES = frozenset({"", ".", ".."})


def _plain(path: str, name: str) -> str:
    """Return a name that does not lead out of the directory. Raise `NotOurs` for any other."""
    if name in _NO_NAMES or "/" in name or "\0" in name:
        raise NotOurs(f"{path}/{name}", "not the name of a file in this directory")
    return name


def open_at(path: str, form: Form, steps: tuple[str, ...], links: Links = Links.REFUSE) -> Directory:
    """Open a root and, from there, step by step, a directory below it. Return that directory."""
    directory = Directory(path, form, links)
    for name in steps:
        with directory:
            directory = directory.child(name)
    return directory


def set_mode(fd: int, mode: int) -> None:
    """Set the permissions of an open file or directory."""
    os.fchmod(fd, mode)


def set_owner(fd: int, user: int, group: int) -> None:
    """Set the owner of an open file or directory."""
    os.fchown(fd, user, group)


def remove_own(path: str | bytes, dir_fd: int | None = None) -> bool:
    """Unlink a file that the caller has made itself, or is about to make. Return whether it was there."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return False
    return True


def remove_entry(name: bytes, directory: int) -> bool:
    """Unlink a file or a link of a user's working directory, which is open. Return whether it was there.

    The caller has compared it with what was recorded there, or the user has said that it may go. Of a link the link
    itself is removed. Raise OSError, also for a directory, and `NotOurs` for a name that leads anywhere else.
    """
    try:
        os.unlink(_one_name(name), dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def remove_empty_directory(name: bytes, directory: int) -> bool:
    """Remove an empty directory of a user's working directory. Return False if it is not empty, or not there.

    Raise OSError, and `NotOurs` as `remove_entry` does.
    """
    try:
        os.rmdir(_one_name(name), dir_fd=directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in _NOT_EMPTY:
            return False
        raise
    return True


def _one_name(name: bytes) -> bytes:
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise NotOurs(os.fsdecode(name), "not the name of a file in this directory")
    return name


@contextmanager
def temporary_directory() -> Iterator[str]:
    """Make a directory outside of all containers for the length of a block, and yield its path. Raise OSError.

    It is removed at the end of the block with all its content, but not by a child that was forked in the block. An
    interrupt at any moment leaves nothing behind.
    """
    import secrets  # Only a backup to another machine needs them.
    import tempfile

    # Not `mkdtemp`: an interrupt between its `mkdir` and its return would lose the name (`make storm` met leftovers).
    path, maker = os.path.join(tempfile.gettempdir(), f"rsdos-{secrets.token_hex(16)}"), os.getpid()
    try:
        try:
            os.mkdir(path, 0o700)
        except OSError:
            maker = -1  # What has this name, if anything has, is not ours.
            raise
        yield path
    finally:
        try:
            _remove_whole(path, maker)
        except BaseException:  # It was interrupted.
            _remove_whole(path, maker)
            raise


def _remove_whole(path: str, maker: int) -> None:
    """Remove a directory and all below it, if this is the process that made it."""
    import shutil  # As above.

    from rsdos.storage.signals import uninterrupted

    if os.getpid() == maker:
        with uninterrupted():  # `rmtree` would close a descriptor twice.
            shutil.rmtree(path, ignore_errors=True)

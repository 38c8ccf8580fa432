"""The one door through which files and directories of the user's disk are removed, moved aside, and given modes.

It is handed an open directory and a name in it. The directory was opened step by step from the root's descriptor, and
no step follows a link: nothing outside is reached, also when somebody exchanges a directory for a link at that moment.
The name has to be one of ours, by its form and by what it is; everything else is refused, and stays. No other module
calls ``unlink``, ``rmdir``, ``rmtree``, ``chmod`` or ``chown``: ``make lint`` sees to that.
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
from rsdos.storage.descriptors import Descriptor, Opened, Working, opening

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)
"""What is said of a link, or a file, that was to be opened as a directory."""


_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems say that can sync files but no directories: CIFS, vboxsf, some of FUSE."""


def sync_entries(fd: int) -> bool:
    """Put the entries of an open directory on stable storage; False where its file system cannot do that.

    That is passed over, as databases do: the names go to the disk when the file system sees fit. Raises OSError when
    it failed.
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
"""Times that a directory is emptied because something was put into it before it could be removed."""


class Form(NamedTuple):
    """What is ours in a directory: files whose names match ``files``, and directories, each of a form of its own."""

    files: str = ""
    """A regular expression for the whole name; "" when no file is."""
    directories: tuple[tuple[str, Form], ...] = ()
    """Regular expressions for the whole name, and what is ours below."""

    def has_file(self, name: str) -> bool:
        """Whether this is the name of a file of ours."""
        return bool(self.files and _compiled(self.files).fullmatch(name))

    def below(self, name: str) -> Form | None:
        """The form of a directory of ours; None when it is none by this name."""
        return next((form for pattern, form in self.directories if _compiled(pattern).fullmatch(name)), None)


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Directory(Opened):
    """An open directory, and what is ours in it. A context manager; closed by `close` or with its last reference.

    Names are looked for from its descriptor: it is the same directory still when it was moved, or another stands in its
    place. Any number of threads may use one that none of them closes. Every method raises OSError with the path, and
    `NotOurs` for a name with a slash, "..", and whatever is not ours, before anything is touched.
    """

    __slots__ = ("_links", "form", "path")

    def __init__(self, path: str, form: Form, links: Links = Links.REFUSE) -> None:
        """Open the directory at ``path``, a root: the way there is the caller's, links and all.

        ``links`` is for the directories directly in it; deeper ones are never links.
        """
        self.path = path
        self.form = form
        self._links = links
        super().__init__(opening(path, _DIRECTORY))

    def child(self, name: str) -> Directory:
        """Open a directory of ours in it. Raises FileNotFoundError, and `NotOurs` when it is a link or a file."""
        form = self.form.below(name)
        path = self._path(name)
        if form is None:
            raise NotOurs(path, "no directory of ours has such a name")
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
        """Raises `NotOurs` where something else stands in the place of a directory of ours; one may be missing."""
        for name in names:
            try:
                mode = os.stat(name, dir_fd=self.fd, follow_symlinks=self._links is Links.FOLLOW).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                raise NotOurs(self._path(name), self._what_is(name))

    def names(self) -> list[str]:
        """All that is in it, ours or not."""
        # Of a description of its own: two threads that list by one share where it stands.
        with Descriptor(opening(".", _DIRECTORY, dir_fd=self.fd)) as fd:
            return os.listdir(fd)

    def status(self, name: str) -> os.stat_result:
        """What stands under a name; of a link, that of the link. Raises FileNotFoundError."""
        return os.stat(_plain(self.path, name), dir_fd=self.fd, follow_symlinks=False)

    def sync(self) -> None:
        """Put its entries on stable storage; see `sync_entries`."""
        sync_entries(self.fd)

    # Removing.

    def remove(self, name: str) -> bool:
        """Unlink a file of ours, or what stands in its place and is no directory; whether it was there.

        A link is removed itself, and what it leads to stays.
        """
        if not self.form.has_file(name):
            raise NotOurs(self._path(name), "no file of ours has such a name")
        return self._drop(os.unlink, name)

    def remove_many(self, names: Sequence[str]) -> list[bool]:
        """`remove` for each, in order; which of them were there. Nothing is touched when one of them is not ours."""
        is_ours = _compiled(self.form.files or "(?!)").fullmatch
        for name in names:
            if not is_ours(name):
                raise NotOurs(self._path(name), "no file of ours has such a name")
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
        """Remove an empty directory of ours; whether it was there. Raises OSError when something is in it."""
        if self.form.below(name) is None:
            raise NotOurs(self._path(name), "no directory of ours has such a name")
        return self._drop(os.rmdir, name)

    def remove_tree(self, name: str) -> list[str]:
        """Remove a directory of ours with what is ours in it; returns the paths of what is not, and stays where it is.

        Where nothing is returned the directory is gone, or was not there. What other processes put into it at the same
        time goes too.
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
        """Remove what is ours in it: regular files by their names, and directories; returns the paths of the rest."""
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
        """Move whatever stands under a name to another directory, over nothing; returns its path there.

        Where that name is taken it gets a number. Neither directory is synced. Killed in between, an empty file or
        directory of the new name is left.
        """
        is_directory = stat.S_ISDIR(self.status(name).st_mode)
        number, free = 0, name
        while True:
            # Its place is taken first, by what may be lost: a rename goes over what stands there.
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
        return "no directory, but stands in the place of one"


def _flags(links: Links) -> int:
    return 0 if links is Links.FOLLOW else os.O_NOFOLLOW


_NO_NAMES = frozenset({"", ".", ".."})


def _plain(path: str, name: str) -> str:
    """A name that leads nowhere else."""
    if name in _NO_NAMES or "/" in name or "\0" in name:
        raise NotOurs(f"{path}/{name}", "no name in that directory")
    return name


def open_at(path: str, form: Form, steps: tuple[str, ...], links: Links = Links.REFUSE) -> Directory:
    """Open a root, and from there, step by step, a directory below it."""
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


def remove_own(path: str, dir_fd: int | None = None) -> bool:
    """Unlink a file that the caller has made itself, or is about to make; whether it was there."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def temporary_directory() -> Iterator[str]:
    """A new directory outside of all containers, for one block. Raises OSError.

    It is removed behind the block with all that is in it, but not by a child that the block has forked.
    """
    import shutil  # Only a backup to another machine needs them.
    import tempfile

    for path in map(tempfile.mkdtemp, (None,)):  # As `opening` does: no step between to make it and to keep its name.
        held = Working(iter(()))
        try:
            held.take(opening(path, _DIRECTORY))
            yield path
        finally:
            if held.fd >= 0:
                shutil.rmtree(path, ignore_errors=True)
                held.close()

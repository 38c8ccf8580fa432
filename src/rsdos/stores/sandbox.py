"""The sandbox: the directory of unfinished files. Each writer has a directory in it; its first small file has none.

The name of such a directory or first file identifies the writer (boot id, pid, random). A ``flock`` on it shows that
the writer is alive, also on another host or in another pid namespace; the kernel frees it with the process. Making,
locking and removing a directory costs ten times as much as locking one file: too much for a program that opens a
container to store one object (ADR 13).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from rsdos.layout import Layout
from rsdos.model import BytesLike
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.storage.directory import Directory
from rsdos.storage.permissions import inherit, is_shared, make_directory, share

_MOST_TRIES = 1000
"""Times that a file or directory is made again because a garbage collection removed it before it was locked."""


@lru_cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "noboot"


class _Directory(Working):
    """An open directory. Opening a name relative to it takes half the time of a path.

    It is closed with its last reference, not by a call; and in a forked child, which makes one of its own.
    """

    __slots__ = ("opener", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(posix.opening_directory(path))
        self.opener = posix.opener_in(self.fd)


class WriterDirectory(NamedTuple):
    """A writer's own directory."""

    directory: _Directory
    lock: locks.Lock
    is_shared: bool


class Sandbox:
    """The unfinished files of one writer. The first file makes the directory. Any number of threads.

    A forked child makes its own directory.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._root = layout.sandbox
        self.next_name = map(str, itertools.count()).__next__
        """Returns a name that no other file of this writer has."""
        self._directories: dict[str, WriterDirectory] = {}
        """All directories of this process, by their paths: two threads may each make the first."""
        self.current: WriterDirectory | None = None
        """The directory in which files are made."""
        self._is_begun = False
        """Whether the first file was made since the last `close`."""

    def first_file(self) -> SandboxFile:
        """Return a new file for `write_one`. The first one is locked itself, and gets no directory."""
        if self._is_begun or self.current:
            return self.new_file()
        self._is_begun = True
        return self._lone_file()

    def _lone_file(self) -> LoneFile:
        for _ in range(_MOST_TRIES):
            path = self._own_name()
            try:
                file = LoneFile(path)
            except FileNotFoundError:
                self._layout.make(self._root)
                continue
            try:
                # A garbage collection between these calls removes the file: then begin again.
                if locks.try_lock(file.fd) and os.fstat(file.fd).st_nlink:
                    inherit(path, file.fd)
                    return file
            except BaseException:
                file.close()
                raise
            file.close()
        raise self._never_kept()

    def new_file(self) -> SandboxFile:
        """Return a new empty file; in a new directory if another thread's `close` has just removed the old one."""
        for _ in range(_MOST_TRIES):
            own = self.current
            # A closed directory is the parent's, or the garbage collector has closed it while a finalizer inserts.
            if own is None or own.directory.fd < 0:
                own = self._new_directory()
            directory, _, is_shared = own
            try:
                file = SandboxFile(directory, self.next_name())
            except FileNotFoundError:
                self._forget(own)
                continue
            if is_shared:
                share(file.fd)
            return file
        raise self._never_kept()

    def _own_name(self) -> str:
        return f"{self._root}/{_boot_id()}-{os.getpid()}-{os.urandom(8).hex()}"

    def _new_directory(self) -> WriterDirectory:
        for _ in range(_MOST_TRIES):
            path = self._own_name()
            try:
                make_directory(path)
            except FileNotFoundError:
                # A copy of a container may lack its empty directories. If the container is gone, nothing is made again.
                self._layout.make(self._root)
                continue
            # A garbage collection between these calls removes the directory: then begin again.
            with suppress(FileNotFoundError):
                lock = locks.try_acquire_directory(path)
                if lock:
                    own = WriterDirectory(_Directory(path), lock, is_shared(path))
                    self._directories[path] = self.current = own
                    return own
        raise self._never_kept()

    def _never_kept(self) -> OSError:
        reason = f"what is made here is gone or locked by another at once, {_MOST_TRIES} times"
        return OSError(errno.ESTALE, reason, self._root)

    def collect_garbage(self) -> int:
        """Remove the files of dead writers. Return how many. Files of live writers are never touched."""
        removed = 0
        mine = set(self._directories)
        try:
            root = self._layout.open(self._root)
        except FileNotFoundError:
            return 0
        with root:
            for name in root.names():
                path = f"{self._root}/{name}"
                if path in mine:
                    continue
                with suppress(OSError):  # Also `NotOurs`: a foreign file stays.
                    # Files that may be removed need not be dead: disk-objectstore writes unlocked files here.
                    if root.form.below(name) is not None and stat.S_ISREG(root.status(name).st_mode):
                        removed += _collect_file(root, name)
                        continue
                    lock = locks.try_acquire_directory(path)
                    if lock:
                        with lock, root.child(name) as directory:
                            there = len(directory.names())
                            left = directory.clear()
                            removed += there - len(left)
                            if not left:
                                root.remove_directory(name)
        return removed

    def close(self) -> None:
        """Remove the directories of this process, except one that another thread still uses. Idempotent."""
        self._is_begun = False
        if self._directories:
            for own in list(self._directories.values()):
                if self._give_up(own):
                    self._forget(own)

    def _forget(self, own: WriterDirectory) -> None:
        """Forget a directory that is gone, but not one that another thread has made since."""
        self._directories.pop(own.directory.path, None)
        if self.current is own:
            self.current = None

    def _give_up(self, own: WriterDirectory) -> bool:
        """Remove a directory and release its lock, if it is empty. Only forget that of a parent process."""
        if own.directory.fd < 0:
            return True
        try:
            with self._layout.open(self._root) as root:
                root.remove_directory(os.path.basename(own.directory.path))
        except FileNotFoundError:
            pass
        except OSError:
            return False
        own.lock.release()
        return True


class SandboxFile:
    """A new file in the sandbox, for appending and reading back. `close` removes it unless it was moved away."""

    __slots__ = ("_directory", "_highest", "_name", "fd", "is_moved", "position")

    def __init__(self, directory: _Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._highest = self.position = 0
        self.is_moved = False
        self.fd = -1
        try:
            for fd in posix.opening_new_by(directory.opener, name):
                self.fd = fd
        except OSError as error:
            error.filename = self.path
            raise

    @property
    def path(self) -> str:
        """The path of the file until it is moved."""
        return f"{self._directory.path}/{self._name}"

    def write(self, buffers: Sequence[BytesLike]) -> int:
        """Append the buffers. Return the offset of the first byte."""
        if self._directory.fd < 0:
            self._directory.refuse_closed(self.path)
        offset = self.position
        self.position += posix.write_many_at(self.fd, offset, buffers)
        return offset

    def write_one(self, data: bytes) -> None:
        """Write the whole content of the file."""
        if self._directory.fd < 0:
            self._directory.refuse_closed(self.path)
        self.position = posix.write_at(self.fd, 0, data)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that were written."""
        return posix.read_at(self.fd, offset, length)

    def rewind(self, offset: int) -> None:
        """Append from ``offset`` on next."""
        self._highest = max(self._highest, self.position)
        self.position = offset

    def finish(self) -> None:
        """Cut off the bytes that a rewind has left after the end."""
        if self._highest > self.position:
            os.ftruncate(self.fd, self.position)

    def move(self, target: str) -> None:
        """Rename it, replacing an existing file. Raise FileNotFoundError if the target directory is missing."""
        try:
            os.rename(self._name, target, src_dir_fd=self._directory.fd)
        except OSError as error:
            error.filename = self.path
            raise
        self.is_moved = True

    def close(self) -> None:
        """Close it, and remove the file if it still has its first name, unless it is a parent's. Idempotent."""
        if self.fd >= 0:
            # First: if a later step is interrupted, it is done again with the last reference.
            try:
                if not self.is_moved and self._directory.fd >= 0:
                    posix.remove(self._name, self._directory.fd)
            except OSError:
                self._close()  # If the file cannot be removed, a garbage collection tries again.
                raise
            self._close()
            # A traceback that is kept keeps this object alive. It must not keep the directory open too.
            del self._directory

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            self.close()


class LoneFile(SandboxFile):
    """A new file directly in the sandbox, which its writer locks. In a forked child it is the parent's."""

    __slots__ = ("_file",)

    def __init__(self, path: str) -> None:
        self._name = path
        self._highest = self.position = 0
        self.is_moved = False
        self._file = Working(iter(()))
        self._file.take(posix.opening_new(path))  # From here on it can be closed, whatever this raises.

    @property
    def fd(self) -> int:  # type: ignore[override]
        """The descriptor; -1 once it is closed, and in a forked child."""
        return self._file.fd

    @property
    def path(self) -> str:
        """The path of the file until it is moved."""
        return self._name

    def write_one(self, data: bytes) -> None:
        """Write the whole content of the file."""
        self._file.refuse_closed(self._name)
        posix.write_at(self.fd, 0, data)

    def move(self, target: str) -> None:
        """Rename it, replacing an existing file. Raise FileNotFoundError if the target directory is missing."""
        self._file.refuse_closed(self._name)
        os.rename(self._name, target)
        self.is_moved = True

    def close(self) -> None:
        """Close it, and remove the file if it still has its first name, unless it is a parent's. Idempotent."""
        try:
            if not self.is_moved and self.fd >= 0:
                posix.remove(self._name)
        finally:
            self._file.close()


def _collect_file(root: Directory, name: str) -> bool:
    """Remove the file of a writer if that writer is dead. Return whether it was."""
    # Opened for writing: NFS turns flock into a lock that needs that.
    with Working(opening(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=root.fd)) as fd:
        return locks.try_lock(fd) and root.remove(name)


def replace_without_lock(layout: Layout, path: str, data: BytesLike) -> None:
    """Replace a file like `posix.replace_file`, but without a lock: of any number of processes the last one counts.

    Each writes in a directory of its own. Garbage collection removes what a process that died has left there.
    """
    sandbox = Sandbox(layout)
    try:
        file = sandbox.first_file()
        try:
            file.write_one(bytes(data))
            posix.sync_file(file.fd)
            file.move(path)
        finally:
            file.close()
    finally:
        sandbox.close()

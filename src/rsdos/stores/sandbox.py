"""The sandbox: where unfinished files live, in one directory per writer.

The directory's name says who it is (boot id, pid, random); a ``flock`` on the directory says whether that writer is
alive, whatever the host, the container or the pid namespace. The kernel frees it with the process.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from rsdos import fsio, locks
from rsdos.layout import Layout
from rsdos.model import BytesLike
from rsdos.sharing import is_shared, make_directory, share


@lru_cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "noboot"


class _Directory:
    """An open directory, for as long as anybody has a reference: names in it cost half the way to them.

    It is closed with the last of them and not by hand, so that a number is never that of another directory by then.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self.fd = fsio.open_directory(path)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class _Claim(NamedTuple):
    """A writer's own directory."""

    directory: _Directory
    lock: locks.Lock
    is_shared: bool


class Sandbox:
    """The unfinished files of one writer. Made at the first file; any number of threads; a fork makes its own."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._root = layout.sandbox
        self._counter = itertools.count()
        self._claims: dict[int, _Claim] = {}
        """By pid. ``setdefault`` decides between two threads without a lock that a fork could inherit held."""

    def new_file(self) -> SandboxFile:
        """A new empty file. Another thread's `close` may take the directory away meanwhile: a new one is made then."""
        while True:
            claim = self._claims.get(os.getpid()) or self._new_claim()
            try:
                file = SandboxFile(claim.directory, str(next(self._counter)))
            except FileNotFoundError:
                self._claims.pop(os.getpid(), None)
                continue
            if claim.is_shared:
                share(file.fd)
            return file

    def _new_claim(self) -> _Claim:
        fresh = self._claim()
        claim = self._claims.setdefault(os.getpid(), fresh)
        if claim is not fresh:
            self._give_up(fresh)
        return claim

    def _claim(self) -> _Claim:
        while True:
            path = f"{self._root}/{_boot_id()}-{os.getpid()}-{os.urandom(8).hex()}"
            try:
                make_directory(path)
            except FileNotFoundError:
                # Not every copy of a container has its empty directories. Of one that is gone nothing is made anew.
                self._layout.make(self._root)
                continue
            # A sweep between these calls takes the directory away: begin again then.
            with suppress(FileNotFoundError):
                lock = locks.try_acquire_directory(path)
                if lock:
                    return _Claim(_Directory(path), lock, is_shared(path))

    def sweep(self) -> int:
        """Remove what dead writers left; returns how many of their files. A live writer's are never touched."""
        removed = 0
        mine = {claim.directory.path for claim in self._claims.values()}
        try:
            root = self._layout.open(self._root)
        except FileNotFoundError:
            return 0
        with root:
            for name in root.names():
                path = f"{self._root}/{name}"
                if path in mine:
                    continue
                with suppress(OSError):  # Among them: it is not ours, and stays.
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
        """Give the directory up, if this process has one; one that another thread still uses stays. Idempotent."""
        claim = self._claims.get(os.getpid())
        if claim and self._give_up(claim):
            self._claims.pop(os.getpid(), None)

    def _give_up(self, claim: _Claim) -> bool:
        try:
            with self._layout.open(self._root) as root:
                root.remove_directory(os.path.basename(claim.directory.path))
        except FileNotFoundError:
            pass
        except OSError:
            return False
        claim.lock.release()
        return True


class SandboxFile:
    """A new file in the sandbox, appended to and read back; `close` removes it unless it was moved away."""

    __slots__ = ("_directory", "_highest", "_name", "fd", "is_moved", "position")

    def __init__(self, directory: _Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self.position = 0
        self.fd = -1
        try:
            self.fd = fsio.create_unshared(name, dir_fd=directory.fd)
        except OSError as error:
            error.filename = self.path
            raise
        self._highest = 0
        self.is_moved = False

    @property
    def path(self) -> str:
        """Where it is until it is moved."""
        return f"{self._directory.path}/{self._name}"

    def write(self, buffers: Sequence[BytesLike]) -> int:
        """Append; returns the offset of the first byte."""
        offset = self.position
        self.position += fsio.write_many_at(self.fd, offset, buffers)
        return offset

    def read(self, offset: int, length: int) -> bytes:
        """Read back."""
        return fsio.read_at(self.fd, offset, length)

    def rewind(self, offset: int) -> None:
        """Append from ``offset`` on."""
        self._highest = max(self._highest, self.position)
        self.position = offset

    def finish(self) -> None:
        """Cut off what a rewind left behind the end."""
        if self._highest > self.position:
            os.ftruncate(self.fd, self.position)

    def move(self, target: str) -> None:
        """Rename it, over what stands there. Raises FileNotFoundError when the target's directory is not there."""
        try:
            os.rename(self._name, target, src_dir_fd=self._directory.fd)
        except OSError as error:
            error.filename = self.path
            raise
        self.is_moved = True

    def close(self) -> None:
        """Close, and remove what still has the file's first name. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            if not self.is_moved:
                fsio.remove(self._name, self._directory.fd)
            # Whoever keeps an error keeps its frames, and this with them: not the directory open as well.
            del self._directory

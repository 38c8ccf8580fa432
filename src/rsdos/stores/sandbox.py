"""The sandbox: where unfinished files live, in one directory per writer.

The directory's name says who it is (boot id, pid, random); a ``flock`` on the directory says whether that writer is
alive, whatever the host, the container or the pid namespace. The kernel frees it with the process.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import suppress

from rsdos import fsio, locks
from rsdos.model import BytesLike
from rsdos.sharing import make_directory


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "noboot"


class Sandbox:
    """The unfinished files of one writer. Made at the first file; any number of threads; a fork makes its own."""

    def __init__(self, path: str) -> None:
        self._root = path
        self._counter = itertools.count()
        self._claims: dict[int, tuple[str, locks.Lock]] = {}
        """By pid. ``setdefault`` decides between two threads without a lock that a fork could inherit held."""

    def new_file(self) -> SandboxFile:
        """A new empty file. Another thread's `close` may take the directory away meanwhile: a new one is made then."""
        while True:
            directory = self._directory()
            try:
                return SandboxFile(f"{directory}/{next(self._counter)}")
            except FileNotFoundError:
                self._claims.pop(os.getpid(), None)

    def _directory(self) -> str:
        claim = self._claims.get(os.getpid())
        if claim is None:
            fresh = self._claim()
            claim = self._claims.setdefault(os.getpid(), fresh)
            if claim is not fresh:
                _give_up(*fresh)
        return claim[0]

    def _claim(self) -> tuple[str, locks.Lock]:
        while True:
            path = f"{self._root}/{_boot_id()}-{os.getpid()}-{os.urandom(8).hex()}"
            try:
                make_directory(path)
            except FileNotFoundError:
                # Not every copy of a container has its empty directories. Of one that is gone nothing is made anew.
                make_directory(self._root)
                continue
            # A sweep between these calls takes the directory away: begin again then.
            with suppress(FileNotFoundError):
                lock = locks.try_acquire_directory(path)
                if lock and os.path.exists(path):
                    return path, lock

    def sweep(self) -> int:
        """Remove what dead writers left; returns how many of their files. A live writer's are never touched."""
        import shutil

        removed = 0
        mine = {path for path, _ in self._claims.values()}
        if not os.path.isdir(self._root):
            return 0
        for name in os.listdir(self._root):
            path = os.path.join(self._root, name)
            if path in mine:
                continue
            with suppress(OSError):
                lock = locks.try_acquire_directory(path)
                if lock:
                    with lock:
                        removed += len(os.listdir(path))
                        shutil.rmtree(path)
        return removed

    def close(self) -> None:
        """Give the directory up, if this process has one; one that another thread still uses stays. Idempotent."""
        claim = self._claims.get(os.getpid())
        if claim and _give_up(*claim):
            self._claims.pop(os.getpid(), None)


def _give_up(path: str, lock: locks.Lock) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    lock.release()
    return True


class SandboxFile:
    """A new file in the sandbox, appended to and read back; `close` removes it unless it was moved away."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.position = 0
        self.fd = fsio.create(path)
        self._highest = 0
        self.is_moved = False
        """Set by who renames it: there is nothing to remove then."""

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

    def close(self) -> None:
        """Close, and remove what still has the file's first name. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            if not self.is_moved:
                fsio.remove(self.path)

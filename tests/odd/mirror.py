"""A file system for tests: a directory seen through FUSE, which refuses one call.

Run as a program: ``mirror.py DIRECTORY PLACE CALL NUMBER``, until PLACE is unmounted. CALL is the name of a FUSE
operation, "fsync" included, or one of `tests.odd.places.HABITS`; it fails with the error NUMBER.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import mfusepy

from tests.odd.places import HABITS

REFUSED = ("link", "symlink", "fsyncdir", "fsync", "chown", "chmod", "utimens", "flock", "lock", "statfs", "fallocate")
"""The calls that can be refused; ``rename``, ``unlink`` or ``truncate`` no file system can do without."""

_TIMES = ("st_atime", "st_mtime", "st_ctime")
_OTHERS = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid", "st_blocks")


def _status(status: os.stat_result) -> dict[str, int]:
    found = {name: getattr(status, name) for name in _OTHERS}
    return found | {name: getattr(status, f"{name}_ns") for name in _TIMES}


class Mirror(mfusepy.Operations):  # type: ignore[misc]  # it says nothing of types
    """Passes everything on to a directory."""

    use_ns = True

    def __init__(self, root: str) -> None:
        self._root = root

    def _at(self, path: str) -> str:
        return self._root + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        return _status(os.lstat(self._at(path)) if fh is None else os.fstat(fh))

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        """With their numbers: an entry without one is passed over by who lists."""
        for name in (".", "..", *os.listdir(self._at(path))):
            with suppress(FileNotFoundError):
                yield name, _status(os.lstat(f"{self._at(path)}/{name}")), 0

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)
        return 0

    def mknod(self, path: str, mode: int, dev: int) -> int:
        os.mknod(self._at(path), mode, dev)
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path))
        return 0

    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._at(target))
        return 0

    def link(self, target: str, source: str) -> int:
        os.link(self._at(source), self._at(target), follow_symlinks=False)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._at(new))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path), mode & 0o7777)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        given = (-1 if number == 0xFFFFFFFF else number for number in (uid, gid))
        os.chown(self._at(path), *given, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._at(path), ns=times or (time.time_ns(),) * 2, follow_symlinks=False)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path) if fh is None else fh, length)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_") and name != "f_fsid"}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~(os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.fsync(fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        return 0


def main(root: str, place: str, call: str, number: str) -> None:
    options: dict[str, Any] = {"use_ino": True, "attr_timeout": 0, "entry_timeout": 0}
    mirror = Mirror(root)
    if call in HABITS:
        options |= HABITS[call]
    else:

        def refuse(*_: object) -> int:
            raise OSError(int(number), os.strerror(int(number)))

        setattr(mirror, call, refuse)
    given = {name: value for name, value in options.items() if value is not False}
    mfusepy.FUSE(
        mirror, place, foreground=True, nothreads=True, fsname="rsdos-tests", default_permissions=True, **given
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

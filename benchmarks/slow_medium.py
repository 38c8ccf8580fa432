"""A directory seen through FUSE, which waits before each answer: a medium that is far away.

Run as a program: ``slow_medium.py DIRECTORY PLACE SECONDS [direct]``, until PLACE is unmounted. It answers many
requests at once, as a server does. ``direct``: without the cache of the system. Read only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import mfusepy

_TIMES = ("st_atime", "st_mtime", "st_ctime")
_OTHERS = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid", "st_blocks")


def _status(status: os.stat_result) -> dict[str, int]:
    found = {name: getattr(status, name) for name in _OTHERS}
    return found | {name: getattr(status, f"{name}_ns") for name in _TIMES}


class SlowMedium(mfusepy.Operations):  # type: ignore[misc]  # it says nothing of types
    """Passes the calls that read on to a directory, each after a while."""

    use_ns = True

    def __init__(self, root: str, seconds: float) -> None:
        self._root = root
        self._seconds = seconds

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        time.sleep(self._seconds)
        return _status(os.lstat(self._root + path) if fh is None else os.fstat(fh))

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        time.sleep(self._seconds)
        for name in (".", "..", *os.listdir(self._root + path)):
            with suppress(FileNotFoundError):
                yield name, _status(os.lstat(f"{self._root}{path}/{name}")), 0

    def open(self, path: str, flags: int) -> int:
        time.sleep(self._seconds)
        return os.open(self._root + path, os.O_RDONLY)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        time.sleep(self._seconds)
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0


def main(root: str, place: str, seconds: str, cache: str = "") -> None:
    options: dict[str, Any] = {"direct_io": True} if cache == "direct" else {}
    mfusepy.FUSE(SlowMedium(root, float(seconds)), place, foreground=True, ro=True, use_ino=True, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])

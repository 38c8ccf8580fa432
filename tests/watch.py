"""Watching a directory for changes, by Linux's inotify."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
"""``linux/inotify.h``: modified, another mode or time, closed after it was open for writing, moved, made, removed."""

_EVENT = struct.Struct("iIII")


@contextmanager
def watched(root: Path) -> Iterator[Callable[[], list[str]]]:
    """Watch all directories below ``root``. Yields a function: the names of what changed since its last call."""
    library = ctypes.CDLL(None, use_errno=True)
    fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0
    try:
        places = {library.inotify_add_watch(fd, os.fsencode(path), _CHANGES): path for path, _, _ in os.walk(root)}
        assert -1 not in places
        yield lambda: list(_read(fd, places))
    finally:
        os.close(fd)


def _read(fd: int, places: dict[int, str]) -> Iterator[str]:
    try:
        data = os.read(fd, 1 << 20)
    except BlockingIOError:
        return
    while data:
        watch, _, _, length = _EVENT.unpack_from(data)
        name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
        yield os.path.join(places[watch], os.fsdecode(name))
        data = data[_EVENT.size + length :]

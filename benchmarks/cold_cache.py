"""Having the system forget what it has read of files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_ALL = Path("/proc/sys/vm/drop_caches")


def drop_caches(path: Path) -> None:
    """Let the system forget the files below a path, or one file.

    Everything is dropped where the process may do that. Elsewhere the pages of each file are, but for those that a
    process has mapped, and what is known of directories stays.
    """
    for file in _files(path):
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    if may_drop_all():
        _ALL.write_text("3")


def may_drop_all() -> bool:
    """Return whether the system lets this process drop all caches."""
    return os.access(_ALL, os.W_OK)


def _files(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else filter(Path.is_file, path.rglob("*"))

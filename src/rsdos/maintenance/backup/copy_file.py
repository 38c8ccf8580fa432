"""Copies the beginning of one file over another, block by block."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from rsdos.storage import posix
from rsdos.stores.findings import FilePrefix

_STEP = 4 << 20
"""Bytes that are read and written at once."""

_SECTOR = 4096
"""Bytes that are read one by one in a block that the disk cannot read as a whole."""


@dataclass(frozen=True, slots=True)
class CopiedPrefix:
    """The target has ``length`` bytes, ``written`` of them by this call. ``is_whole`` if all could be read."""

    length: int
    written: int
    is_whole: bool


def copy_prefix(source: int, target: int, length: int, advance: Callable[[int], None]) -> CopiedPrefix:
    """Make ``target`` the first ``length`` bytes of ``source``.

    Bytes that ``target`` has already are compared, and written only where they differ: leftovers of an earlier run are
    corrected. Unreadable sectors become zeros. The target is not synced. Raise OSError.
    """
    have = os.fstat(target).st_size
    at = written = 0
    is_whole = True
    while at < length:
        data, good = _read_with_holes(source, at, min(_STEP, length - at))
        is_whole = is_whole and good
        if not data:
            break
        if at >= have or posix.read_at(target, at, len(data)) != data:
            written += posix.write_at(target, at, data)
        at += len(data)
        advance(len(data))
    if at < have:
        os.ftruncate(target, at)
    return CopiedPrefix(at, written, is_whole and at == length)


def stage_file(piece: FilePrefix, root: str) -> None:
    """Copy an open piece to its place in the directory ``root``, with its time: rsync compares times."""
    with posix.create(os.path.join(root, piece.name)) as target:
        copy_prefix(piece.fd, target, piece.length, lambda amount: None)
        modified = os.fstat(piece.fd).st_mtime_ns
        os.utime(target, ns=(modified, modified))


def _read_with_holes(fd: int, offset: int, length: int) -> tuple[bytes, bool]:
    """Return up to ``length`` bytes, with zeros for unreadable sectors, and whether all could be read."""
    try:
        return posix.read_at(fd, offset, length), True
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    length = min(length, max(os.fstat(fd).st_size - offset, 0))
    parts = []
    for at in range(offset, offset + length, _SECTOR):
        wanted = min(_SECTOR, offset + length - at)
        try:
            part = posix.read_at(fd, at, wanted)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            part = b""
        parts.append(part.ljust(wanted, b"\0"))
    return b"".join(parts), False

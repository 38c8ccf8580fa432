"""The contents of files that a checkout finds on the disk: read only if names and times do not suffice."""

from __future__ import annotations

import os
from contextlib import suppress

from rsdos.hashing import HashType
from rsdos.storage.descriptors import opening
from rsdos.worktree.present import Present
from rsdos.worktree.rows import ROW, ROW_BYTES, SETTLED, SETTLING, pack_row, without_trust

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_PART = 1 << 20

_NEAR = 1 << 10
"""Files that one search looks at: more than change between the two passes. A search in vain costs 5 us."""


class KnownContents:
    """The digests of files that were read, by row. A checkout plans twice, and reads once.

    Files come in the same order both times, so each search in the list begins at the last hit. 72 bytes a file.
    """

    def __init__(self, digest_bytes: int) -> None:
        self._each = ROW_BYTES + digest_bytes
        self._list = bytearray()
        self._next = -1
        """Where to search from; -1 in the first pass."""

    def add(self, row: bytes, digest: bytes) -> None:
        """Remember a digest, in the first pass."""
        if self._next < 0:
            self._list += row + digest

    def begin(self) -> None:
        """Begin the second pass."""
        self._next = 0

    def find(self, row: bytes) -> bytes:
        """Return the digest of the file with this row; b"" if it was not read, or is not near the last hit."""
        at = self._next
        if at < 0:
            return b""
        until = at + _NEAR * self._each
        while (at := self._list.find(row, at, until)) >= 0:
            if at % self._each == 0:
                self._next = at + self._each
                return bytes(self._list[at + ROW_BYTES : self._next])
            at += 1
        return b""


class DirectoryContents:
    """`FoundContents` of one open directory."""

    def __init__(self, directory: int, present: Present, hash_type: HashType, known: KnownContents, clock: int) -> None:
        """``clock`` is the time of the file system before the checkout looked at any entry, in ns."""
        self._directory = directory
        self._present = present
        self._hash = hash_type
        self._known = known
        self._clock = clock

    def key(self, at: int) -> bytes:
        row = self._present.row(at)
        settled = _is_settled(row, self._clock)
        if settled and (digest := self._known.find(row)):
            return digest
        digest = b""
        with suppress(OSError):
            digest = self._read(self._present.names[at], row)
        if settled and digest:
            self._known.add(row, digest)
        return digest

    def _read(self, name: bytes, row: bytes) -> bytes:
        for fd in opening(name, _READ, dir_fd=self._directory):
            try:
                if pack_row(os.fstat(fd), SETTLED) != row:
                    return b""
                hasher = self._hash.new()
                while part := os.read(fd, _PART):
                    hasher.update(part)
                return hasher.digest() if pack_row(os.fstat(fd), SETTLED) == row else b""
            finally:
                os.close(fd)
        raise AssertionError("not reached")

    def target(self, at: int) -> bytes:
        with suppress(OSError):
            return os.readlink(self._present.names[at], dir_fd=self._directory)
        return b""

    def settled(self, at: int) -> bytes:
        row = self._present.row(at)
        return row if _is_settled(row, self._clock) else without_trust(row)


def _is_settled(row: bytes, clock: int) -> bool:
    _, mtime, ctime, _, _, _ = ROW.unpack(row)
    return bool(max(mtime, ctime) + SETTLING <= clock)

"""The number of the manifest that was committed last, kept apart from the manifests: one that goes missing is missed.

The last manifest of all looks as whole as the one before it. Without this, who lost the newest (a file system that was
repaired, an ``index/`` from an older backup) would be told "no such object", and the next writer would cut off, as a
dead writer's, what was acknowledged (ADR 5).

It is one line in ``locks/commit``, which the holder of that lock writes in place once the commit has happened: never
ahead of the manifests, and not synced, so that it may lag behind after a power loss. A line that is missing, torn or
damaged says nothing. ``durable`` is the last that a power loss leaves; one of a relaxed commit, ``last``, counts only
until the machine that made it starts again.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache

from rsdos import fsio
from rsdos.codecs import crc32

_LENGTH = 68
_NO_BOOT = "-" * 36
"""Of a machine that does not say when it was started: what a relaxed commit did there is not noted."""


class Committed:
    """What the line says: 0, where it says nothing. Immutable; no dataclass, since every short command imports it."""

    __slots__ = ("boot", "durable", "last")

    def __init__(self, durable: int = 0, last: int = 0, boot: str = _NO_BOOT) -> None:
        self.durable = durable
        self.last = last
        self.boot = boot

    @property
    def number(self) -> int:
        """No manifest before this one is the newest."""
        return self.last if self.last > self.durable and self.boot == _boot_id() != _NO_BOOT else self.durable

    def followed_by(self, number: int) -> Committed:
        """What it says once a relaxed commit of this number has happened as well."""
        return Committed(self.durable, number, _boot_id())

    def encode(self) -> bytes:
        line = b"%010d %010d %s " % (self.durable, self.last, self.boot.encode())
        return line + b"%08x\n" % crc32(line)


def read_committed(path: str) -> Committed:
    """What the lock file at ``path`` says; nothing, when it is not there or cannot be read."""
    line = b""
    try:  # `suppress` is 1 us, of the 25 that a look for what is not there takes.
        for fd in fsio.opening_for_reading(path):
            try:
                line = os.pread(fd, _LENGTH, 0)
            finally:
                os.close(fd)
    except OSError:
        pass
    return _decode(line)


@lru_cache(8)
def _decode(line: bytes) -> Committed:
    """Kept: who asks for what is not there reads the same line again and again, and this is half of the cost."""
    try:
        durable, last, boot, _ = line.decode("ascii").split(" ")
        committed = Committed(int(durable), int(last), boot)
    except ValueError:
        return Committed()
    # Written again it is the same line, its checksum and its form too.
    return committed if committed.encode() == line else Committed()


@cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(36).ljust(36, "-")
    except OSError:
        return _NO_BOOT

"""The note in the lock on commits: the number of the last commit. With it a lost manifest is noticed."""

from __future__ import annotations

from functools import cache

from rsdos import names
from rsdos.codecs.checksum import crc32
from rsdos.storage.base import Storage

NOTE_LENGTH = 68
_NO_BOOT = "-" * 36
"""The boot id of a machine that does not have one: relaxed commits are not noted there."""


class LastCommit:
    """The numbers in the lock's note; 0 if it has none. No dataclass, which takes time to import. Immutable."""

    __slots__ = ("boot", "durable", "last")

    def __init__(self, durable: int = 0, last: int = 0, boot: str = _NO_BOOT) -> None:
        self.durable = durable
        self.last = last
        self.boot = boot

    @property
    def number(self) -> int:
        """The highest number that is known to be committed: no older manifest is the newest."""
        return self.last if self.last > self.durable and self.boot == _boot_id() != _NO_BOOT else self.durable

    def followed_by(self, number: int) -> LastCommit:
        """Return the note after a relaxed commit of this number."""
        return LastCommit(self.durable, number, _boot_id())

    def encode(self) -> bytes:
        line = b"%010d %010d %s " % (self.durable, self.last, self.boot.encode())
        return line + b"%08x\n" % crc32(line)


def read_committed(storage: Storage) -> LastCommit:
    """Return the note of the lock on commits; without numbers if it is missing or cannot be read."""
    return decode_note(storage.read_note(names.COMMIT_LOCK, NOTE_LENGTH))


def decode_note(line: bytes) -> LastCommit:
    """Return what a note says; without numbers if it is none."""
    try:
        durable, last, boot, _ = line.decode("ascii").split(" ")
        committed = LastCommit(int(durable), int(last), boot)
    except ValueError:
        return LastCommit()
    # Encoded again, a good line is the same, including its checksum and its form.
    return committed if committed.encode() == line else LastCommit()


@cache
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(36).ljust(36, "-")
    except OSError:
        return _NO_BOOT

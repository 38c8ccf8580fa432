"""What a side of the comparison can do. One that has no way of doing it leaves the method as it is here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar


class Side:
    """A store, or what a user would take instead of one, in the directory ``path``.

    Keys are what the side calls its objects. All methods return when the side says it is done: with ``durable`` it is
    asked for stable storage, and ``syncs`` tells what it then really does. Runs in an interpreter of its own.
    """

    title: ClassVar[str]
    """For tables."""
    syncs: ClassVar[str]
    """What it syncs of what it acknowledges, when asked and when not."""
    peers: ClassVar[bool] = False
    """Whether it lives in the virtual environment of the peers."""

    def __init__(self, path: Path, durable: bool) -> None:
        self.path = path
        self.durable = durable

    def create(self, pack_size: int | None = None) -> None:
        """Make it, empty, and open it. ``pack_size``: bytes of a pack, where there is such a thing."""
        raise NotImplementedError

    def open(self) -> None:
        """Open what is there and look for something once: imports and connections are behind it when time counts."""
        raise NotImplementedError

    def limit_threads(self, most: int) -> None:
        """Let no more threads help than these; most sides have none."""
        return

    def close(self) -> None:
        """Give everything back."""

    def fill(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        """Have these objects in packs, for reads that are measured later."""
        return self.insert_packed(payloads, compress)

    def settle(self) -> None:
        """Bring what was inserted into the shape that it has after maintenance."""

    # Size on disk.

    @classmethod
    def is_available(cls) -> bool:
        """Return whether the side is installed."""
        return True

    def stage(self, payloads: Sequence[bytes]) -> None:
        """Make what `store` takes objects from, where it does not take them from memory. Not timed."""

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        """Many objects in one call, compressed as the side does it by itself. Return their keys, if it can read one."""
        return self.insert_packed(payloads, compress=True)

    def shrink(self) -> None:
        """Do what a user does to have all of it take less space."""
        self.settle()

    def stored_bytes(self) -> int:
        """Return the stored bytes of all objects, without what is around them; 0 where it does not say."""
        return 0

    def training_seconds(self) -> tuple[float, float] | None:
        """Return the seconds of `store` that trained dictionaries, and those with the judging of samples.

        None where the side has no dictionaries.
        """
        return None

    # Inserting.

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        """Many objects in one call, to packs."""
        raise NotImplementedError

    def insert_loose(self, payload: bytes) -> str:
        """One object, in a file of its own."""
        raise NotImplementedError

    def insert_many_loose(self, payloads: Sequence[bytes]) -> list[str]:
        """Many objects in one call, in files of their own."""
        return [self.insert_loose(payload) for payload in payloads]

    def insert_files(self, places: Sequence[Path], jobs: int, compress: bool) -> None:
        """All files below some directories, by ``jobs`` processes where it has a say (0: as many as it takes)."""
        raise NotImplementedError

    def insert_stream(self, source: Path, compress: bool) -> str:
        """One large file, to a pack."""
        raise NotImplementedError

    # Reading.

    def extract(self, key: str) -> bytes:
        """One object."""
        raise NotImplementedError

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Many objects, in any order; no one holds more than one at a time."""
        raise NotImplementedError

    def extract_stream(self, key: str) -> int:
        """Read one large object to its end, in parts; returns its size."""
        raise NotImplementedError

    def extract_range(self, key: str, offset: int, length: int) -> bytes:
        """A part of one large object."""
        raise NotImplementedError

    def visit(self, key: str) -> bytes:
        """Open it, ask whether the object is there, open it again, read the object through a stream, close it."""
        raise NotImplementedError

    def has_many(self, keys: Sequence[str]) -> int:
        """How many of the keys are there."""
        raise NotImplementedError

    def list_keys(self) -> int:
        """Go through all keys; returns how many there are."""
        raise NotImplementedError

    # Maintenance.

    def pack(self) -> None:
        """Move all loose objects to packs, and leave their files where they are."""
        raise NotImplementedError

    def pack_and_clean(self) -> None:
        """Move all loose objects to packs, and remove their files."""
        raise NotImplementedError

    def repack(self) -> None:
        """Write all packs anew, stored bytes as they are."""
        raise NotImplementedError

    # The command line.

    def show_version(self) -> None:
        """The command that prints the version."""
        raise NotImplementedError

    def show_status(self) -> None:
        """The command that counts what is there."""
        raise NotImplementedError


def has_verb(side: type[Side], verb: str) -> bool:
    """Whether a side has its own way of a method."""
    return getattr(side, verb) is not getattr(Side, verb)


def key_of(payload: bytes) -> str:
    """The key that most sides have for an object."""
    return hashlib.sha256(payload).hexdigest()

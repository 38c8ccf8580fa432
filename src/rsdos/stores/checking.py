"""What a check of stored objects says, whatever the store and the container version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from rsdos.model import BytesLike


class Depth(Enum):
    """How far a check goes."""

    QUICK = "quick"
    """Structure, sizes and the CRC-32 of stored bytes; of version 1, which has no CRCs, the rows of the index."""
    FULL = "full"
    """All that, and every object is decoded and hashed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, in the file ``path``, relative to the container.

    ``key`` is that of the object concerned, if it is one. ``is_damage``: else a leftover or somebody else's file.
    ``objects`` cannot be read for it, and are named by no other finding; some may have another copy.
    """

    path: str
    reason: str
    key: str | None = None
    offset: int | None = None
    is_damage: bool = True
    objects: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A step of a check: ``objects`` copies of ``length`` stored bytes were looked at, two of an object that has two.

    The check can be taken up again from ``position``: a byte of a pack, or the name of a directory of loose objects;
    0 says nothing new.
    """

    objects: int = 0
    length: int = 0
    findings: tuple[Finding, ...] = ()
    position: int | str = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A share of all keys, from 0 to 1, always the same: those whose bytes 8 to 12, as a number, are small."""

    share: float = 1.0
    bound: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", round(self.share * (1 << 32)))

    def has(self, digest: bytes) -> bool:
        return int.from_bytes(digest[8:12], "big") < self.bound


class Shares:
    """How much of the stored ``length`` of an object of ``size`` its raw parts are, as they come: steps of progress.

    An object of many gigabytes is told of while it is read, and not when it was.
    """

    def __init__(self, length: int, size: int) -> None:
        self._length = length
        self._size = size
        self._done = 0
        self.told = 0
        """Stored bytes of which there was a step."""

    def step(self, part: BytesLike) -> Checked:
        """Of one more part."""
        self._done += len(part)
        share = min(self._length * self._done // max(self._size, 1), self._length) - self.told
        self.told += share
        return Checked(length=share)


class PacksCheck(ABC):
    """A check of the packed objects as they were when it was made. One thread; nothing is written.

    The caller keeps long readers' packs in place (`Engine.reading`) from before it is made until it is done. What
    others do meanwhile is no finding: bytes that were committed stay as they are, or are looked up anew.
    """

    @property
    @abstractmethod
    def lengths(self) -> Mapping[int, int]:
        """The packs to check, ascending, and how many bytes of each; asked again, also those to which objects moved."""

    @abstractmethod
    def structure(self) -> Iterator[Finding]:
        """Check the files of the index. Called once, before `pack`."""

    @abstractmethod
    def pack(self, pack_id: int, start: int) -> Iterator[Checked]:
        """Check one pack in the order of its bytes, the objects in it from ``start`` on; in steps of bounded size."""

    @abstractmethod
    def leftovers(self) -> Iterator[Finding]:
        """What is there and belongs to nothing, from the beginning to now. Called once, at the end."""

"""What checks and maintenance of stored objects report, whatever the store and the container version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from rsdos.model import BytesLike, Codec
from rsdos.storage.descriptors import Descriptor


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

    So an object of many gigabytes makes progress while it is read.
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

    The caller keeps packs in place (`Engine.protect_packs`) from before it is made until it is done. What others do in
    that time is no finding: bytes that were committed stay as they are, or are looked up anew.
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


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a collection of garbage removed: files, whole or their tails, and bytes of them."""

    files: int
    length: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A pack that was written anew: ``objects`` of ``size`` raw bytes were copied, ``freed`` bytes are less on disk.

    ``damaged`` are the keys of those whose bytes were not good: they were copied as they are. ``is_gone`` says whether
    the old pack is unlinked; where a long reader was in the way, the next collection of garbage does it.
    """

    objects: int
    size: int
    freed: int
    is_gone: bool
    damaged: tuple[str, ...] = ()


class FilePrefix(NamedTuple):
    """The first ``length`` bytes of a file, which do not change any more; ``name`` is relative to the container.

    ``file`` is open where the file may be unlinked before it is copied.
    """

    name: str
    length: int
    file: Descriptor | None = None

    @property
    def fd(self) -> int:
        """The number of ``file``, -1 where there is none."""
        return -1 if self.file is None else self.file.fd


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One state of the packed side: ``index`` names the files that the copy of the index is, ``pieces`` the rest."""

    index: tuple[str, ...]
    pieces: tuple[FilePrefix, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild of the index did; ``is_changed``: whether there was anything to do.

    ``packs`` damaged packs were emptied. ``moved`` are the paths, in quarantine, of what was replaced. ``lost`` are the
    keys of objects whose bytes are gone: they are damaged from now on. ``unknown`` more are gone, and not even their
    keys are known.
    """

    is_changed: bool = False
    packs: int = 0
    moved: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unknown: int = 0


class VerifiedObject(NamedTuple):
    """An object of at most one frame, decoded and hashed, beside its stored form.

    ``codec`` is None where only this store reads that form.
    """

    digest: bytes
    raw: bytes
    codec: Codec | None
    stored: bytes

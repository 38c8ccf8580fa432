"""The reports of checks and maintenance of stored objects, for every store and container version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from rsdos.model import BytesLike, Codec, PackKind
from rsdos.storage.descriptors import Descriptor

if TYPE_CHECKING:
    from rsdos.codecs.dictionary import Dictionary


class Depth(Enum):
    """How deep a check goes."""

    QUICK = "quick"
    """Structure, sizes and the CRC-32 of stored bytes; in version 1, which has no CRCs, the rows of the index."""
    FULL = "full"
    """The same, and every object is decoded and hashed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about the file ``path``, relative to the container.

    ``key`` is the key of the damaged object, if the finding is about one. ``is_damage`` is False for leftovers and
    foreign files. ``objects`` is the number of objects that cannot be read because of the damage, and that no other
    finding names. Some of them may have another copy.
    """

    path: str
    reason: str
    key: str | None = None
    offset: int | None = None
    is_damage: bool = True
    objects: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A step of a check: ``objects`` copies of ``length`` stored bytes were checked. An object may have two copies.

    The check can be resumed from ``position``: a byte of a pack, or the name of a directory of loose objects; 0 stands
    for the position of the step before. ``told`` is for the check itself, see `PacksCheck.note`.
    """

    objects: int = 0
    length: int = 0
    findings: tuple[Finding, ...] = ()
    position: int | str = 0
    told: object = None


class Part:
    """A part of a check, small enough to be done at once. It can be sent to another process."""

    in_turn: ClassVar[bool] = False
    """Whether the check's own process does this part, after `PacksCheck.note` has received the steps of all parts
    before."""


Steps: TypeAlias = Iterator[Checked | Part]
"""Steps of a check in their order, and parts that become more steps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A share of all keys, from 0 to 1. It always has the same keys: those whose bytes 8 to 12 are a small number."""

    share: float = 1.0
    bound: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", round(self.share * (1 << 32)))

    def has(self, digest: bytes) -> bool:
        return int.from_bytes(digest[8:12], "big") < self.bound


class Shares:
    """Turns the raw parts of an object of ``size`` into steps of progress, in bytes of its stored ``length``.

    So the progress of an object of many gigabytes shows while it is read.
    """

    def __init__(self, length: int, size: int) -> None:
        self._length = length
        self._size = size
        self._done = 0
        self.told = 0
        """The stored bytes of all steps so far."""

    def step(self, part: BytesLike) -> Checked:
        """Return the step of the next part."""
        self._done += len(part)
        share = min(self._length * self._done // max(self._size, 1), self._length) - self.told
        self.told += share
        return Checked(length=share)


class PacksCheck(ABC):
    """A check of the packed objects as they were when this object was made. One thread; it writes nothing.

    The caller keeps packs in place (`Engine.protect_packs`) from before the check is made until it is done. Changes by
    other processes in that time do not become findings: committed bytes do not change, and moved objects are looked up
    again.

    A check of the same ``moment`` in another process does the same parts with the same steps.
    """

    moment: object = None
    """What a check in another process needs, to check the same objects; see `PackMaintenance.check`."""

    @property
    @abstractmethod
    def lengths(self) -> Mapping[int, int]:
        """Return the packs to check, ascending, with their bytes. A later call adds packs to which objects moved."""

    @abstractmethod
    def index(self) -> Steps:
        """Check the files of the index. Called once; all of its steps come before the first `pack`."""

    @abstractmethod
    def pack(self, pack_id: int, start: int) -> Steps:
        """Check the objects of one pack from byte ``start`` on, in their order. Yield steps of bounded size."""

    @abstractmethod
    def part(self, part: Part) -> Iterator[Checked]:
        """Do a part."""

    def note(self, told: object) -> int:
        """Receive the ``told`` of a step, in the order of the steps. Return the number of index entries it covers."""
        return 0

    @abstractmethod
    def leftovers(self) -> Iterator[Finding]:
        """Yield the files and tails that have belonged to nothing since the check began. Called once, at the end."""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """The result of a garbage collection: the number of files that were removed or cut, and their bytes."""

    files: int
    length: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The result of rewriting a pack: ``objects`` of ``size`` raw bytes were copied, ``freed`` bytes of disk are free.

    ``damaged`` are the keys of objects with damaged bytes, which were copied unchanged. ``is_gone`` says whether the
    old pack is unlinked. If not, a long reader was running, and the next garbage collection unlinks it.
    """

    objects: int
    size: int
    freed: int
    is_gone: bool
    damaged: tuple[str, ...] = ()


class FilePrefix(NamedTuple):
    """The first ``length`` bytes of a file, which do not change any more. ``name`` is relative to the container.

    ``file`` is open if the file may be unlinked before it is copied.
    """

    name: str
    length: int
    file: Descriptor | None = None

    @property
    def fd(self) -> int:
        """The descriptor of ``file``; -1 without one."""
        return -1 if self.file is None else self.file.fd


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One state of the packs, for a backup.

    ``index`` names the files that are written already: a manifest, or in version 1 the index. ``pieces`` are the files
    to copy: segments and packs.
    """

    index: tuple[str, ...]
    pieces: tuple[FilePrefix, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The result of a rebuild of the index. ``is_changed`` is False if there was nothing to do.

    ``packs`` is the number of damaged packs that were emptied. ``moved`` are the paths, in quarantine, of replaced
    files. ``lost`` are the keys of objects whose bytes are gone: they are damaged from now on. ``unknown`` is the
    number of further lost objects, whose keys are lost too. ``left`` are packs of unknown content
    that cannot be read.
    """

    is_changed: bool = False
    packs: int = 0
    moved: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unknown: int = 0
    left: tuple[Finding, ...] = ()


class CopyKinds(NamedTuple):
    """The kinds of the packs that have copies of an object, and of those that have good ones."""

    present: frozenset[PackKind]
    good: frozenset[PackKind]


class IntactObject(NamedTuple):
    """An object of at most one frame in its stored form, which has the checksum that it was written with.

    ``size`` is that of its raw bytes. ``dictionary`` is what a zstd frame needs, if it needs one.
    """

    digest: bytes
    size: int
    codec: Codec | None
    stored: bytes
    dictionary: Dictionary | None = None


class VerifiedObject(NamedTuple):
    """An object of at most one frame, decoded and hashed, together with its stored form.

    ``codec`` is None if only this store reads that form. ``dictionary`` is what a zstd frame needs, if it needs one.
    """

    digest: bytes
    raw: bytes
    codec: Codec | None
    stored: bytes
    dictionary: Dictionary | None = None

    @property
    def size(self) -> int:
        """The raw bytes of the object."""
        return len(self.raw)

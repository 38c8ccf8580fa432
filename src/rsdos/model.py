"""The nouns of the store: small immutable values that every floor uses.

**Size** is always raw bytes, **length** is always stored bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from rsdos.errors import DamagedObject, InvalidOption

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Readable(Protocol):
    """A binary stream that an insert can read."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""


Source: TypeAlias = "ReadableBuffer | str | os.PathLike[str] | Readable"
"""What can be inserted: bytes, the path of a regular file, or a readable binary stream (from its position on).

Any C-contiguous buffer counts as bytes, numpy arrays and Arrow buffers included.
"""

Missing: TypeAlias = Literal["raise", "skip", "none"]
"""How a bulk read treats a key that the store does not have."""

DIGEST_BYTES = 32
"""Bytes of a SHA-256 digest; a key is its 64 lower-case hex characters."""

FRAME_SIZE = 1 << 20
"""Raw bytes in one frame. A larger object is stored as frames, so that a range can be read by itself.

1 MiB: reading 64 KiB decodes at most two frames (about 1 ms each), and zstd loses under 1 % of its ratio.
"""


class Codec(IntEnum):
    """How stored bytes become raw bytes. The numbers are on disk."""

    RAW = 0
    ZLIB = 1
    ZSTD = 2
    MIXED = 3
    """Frames, each of them raw or a zstd frame: an object of more than one frame, in a pack of version 2."""


FIRST_DICTIONARY = 16
"""The codec byte of an entry whose zstd frame needs the first dictionary of its pack; the next byte is of the second.

To users such an object has the codec `Codec.ZSTD`.
"""


class Compression(NamedTuple):
    """A codec and its level, parsed from a specification such as ``zstd:+3`` or ``zlib+1``."""

    codec: Codec
    level: int = 0


_Choice = TypeVar("_Choice", bound=Enum)


def choice(kind: type[_Choice], value: _Choice | str) -> _Choice:
    """Return the member of an enumeration that is given as itself or as its string. Raise `InvalidOption`."""
    try:
        return kind(value)
    except ValueError:
        name = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip()
        choices = " or ".join(f'"{member.value}"' for member in kind)
        raise InvalidOption(f"{name} is {choices}, not {value!r:.40}") from None


class CompressMode(Enum):
    """Whether an insert or a maintenance operation compresses."""

    NO = "no"
    """Store raw."""
    YES = "yes"
    """Compress every object, even if it does not become smaller."""
    KEEP = "keep"
    """Keep the stored form. A new object is stored raw."""
    AUTO = "auto"
    """Compress objects that become clearly smaller (by 10 % or more)."""


class Durability(Enum):
    """What an acknowledged insert survives."""

    FULL = "full"
    """A power loss: the object is on stable storage."""
    RELAXED = "relaxed"
    """The death of the process. A power loss may lose the latest inserts."""


class ReadableBy(Enum):
    """Which programs must be able to read a container of version 1."""

    ALL = "all"
    """disk-objectstore and rsdos."""
    RSDOS = "rsdos"
    """Only rsdos."""


class Sharing(Enum):
    """Who may write a container."""

    UMASK = "umask"
    """Files get the permissions of the writer's umask."""
    GROUP = "group"
    """Every member of the group that the container's directory belongs to."""


class Trust(Enum):
    """When an existing copy counts as stored, so that an insert writes nothing."""

    VERIFY = "verify"
    """When its bytes were read and verified."""
    INDEX = "index"
    """When the index lists it. For bulk imports of known content."""


class WhenBusy(Enum):
    """What a maintenance operation does while another one runs."""

    RAISE = "raise"
    """Raise `Busy`, which names the holder of the lock."""
    WAIT = "wait"
    """Wait until the other one has ended."""


class Verify(Enum):
    """What a read of a packed object checks in container version 2."""

    CHECKSUM = "checksum"
    """The CRC-32. It finds damage by disks and programs, but not bytes that somebody exchanged on purpose."""
    HASH = "hash"
    """The hash, which is the key (0.6 us for each KB). Nobody can make it return other bytes under a key."""


class Links(Enum):
    """How symbolic links in the place of a container's own directories are treated."""

    REFUSE = "refuse"
    """Raise `NotOurs`, which names the link: a container never leads to files outside of it."""
    FOLLOW = "follow"
    """Follow them. For a caller who has made the links, for example to have packs on a larger disk."""


class Copy(Enum):
    """The state of a store's copy of an object."""

    MISSING = "missing"
    DAMAGED = "damaged"
    GOOD = "good"


class Place(Enum):
    """The store of a container that an object is in, or goes to."""

    LOOSE = "loose"
    PACKED = "packed"


class PackKind(IntEnum):
    """What the objects of a pack are stored for: it decides how long they live. The numbers are on disk.

    Of the copies of a key the one with the smallest (kind, pack id, offset) counts; the others are dead bytes.
    """

    PLAIN = 0
    """For their keys' sake: deleted by key."""
    HELD = 1
    """Contents of files, for snapshots: collected when no snapshot needs them."""
    TREES = 2
    """Pages, snapshots and refs documents. They are read by key, and never listed or counted."""

    @property
    def stand_ins(self) -> tuple[PackKind, ...]:
        """The kinds whose copy of an object makes another copy of this kind needless.

        A held copy never stands in for a plain one: it goes when no snapshot needs it. A page is in a pack of trees
        whatever else has its bytes, so that these packs alone have all pages.
        """
        return _STAND_INS[self]


_STAND_INS = (
    (PackKind.PLAIN,),
    (PackKind.PLAIN, PackKind.HELD),
    (PackKind.TREES,),
)

LISTED = PackKind.HELD.stand_ins
"""The kinds of packs whose objects are listed and counted."""


class RecordFlag(IntFlag):
    """Special properties of an index record. The numbers are on disk."""

    NONE = 0
    FRAMED = 1
    """The stored bytes end with a table of frames (``streams.frames``)."""
    TOMBSTONE = 2
    """The record kills the extent (pack_id, offset) of its key; it has no bytes of its own."""


class Extent(NamedTuple):
    """The place of stored bytes: ``length`` bytes from ``offset`` of a pack."""

    pack_id: int
    offset: int
    length: int


class Record(NamedTuple):
    """An index entry. A named tuple, because making ten million dataclasses takes four times as long."""

    digest: bytes
    pack_id: int
    offset: int
    length: int
    size: int
    crc: int
    codec: int
    flags: int

    @property
    def key(self) -> str:
        return self.digest.hex()

    @property
    def extent(self) -> Extent:
        return Extent(self.pack_id, self.offset, self.length)


class Counts(NamedTuple):
    """A number of ``objects``, their raw bytes (``size``) and their stored bytes (``length``)."""

    objects: int = 0
    size: int = 0
    length: int = 0

    def __add__(self, other: Counts) -> Counts:  # type: ignore[override]  # of a tuple
        return Counts(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self[0] - other[0], self[1] - other[1], self[2] - other[2])

    def within(self, most: Counts) -> Counts:
        """Return these counts, each at least 0 and at most that of ``most``."""
        objects, size, length = (min(max(count, 0), limit) for count, limit in zip(self, most, strict=True))
        return Counts(objects, size, length)

    @classmethod
    def sum(cls, counts: Iterable[Counts]) -> Counts:
        """Return the sum of many counts."""
        return cls(*map(sum, zip(*counts, strict=True)))


class Stored(NamedTuple):
    """The stored form of an object, loose or packed."""

    codec: Codec
    flags: RecordFlag
    length: int
    size: int


class ObjectMeta(NamedTuple):
    """The metadata of an object, which the store knows without reading it.

    ``size`` is raw bytes, ``length`` stored bytes. ``extent`` is None for a loose object.
    """

    key: str
    place: Place
    size: int
    length: int
    codec: Codec
    extent: Extent | None = None


class MetaColumns(NamedTuple):
    """The metadata of objects that are all in one place, as columns; see `ObjectMeta`.

    ``errors`` are of other objects, and say why their metadata are not known.
    """

    place: Place
    keys: Sequence[str]
    sizes: Sequence[int]
    lengths: Sequence[int]
    codecs: Sequence[Codec]
    errors: Sequence[DamagedObject] = ()

    @classmethod
    def of(cls, metas: Sequence[ObjectMeta | DamagedObject]) -> MetaColumns:
        """Return the columns of metadata and of errors."""
        known = [meta for meta in metas if isinstance(meta, ObjectMeta)]
        errors = [meta for meta in metas if not isinstance(meta, ObjectMeta)]
        if not known:
            return cls(Place.PACKED, (), (), (), (), errors)
        keys, places, sizes, lengths, codecs, _ = zip(*known, strict=True)
        return cls(places[0], keys, sizes, lengths, codecs, errors)

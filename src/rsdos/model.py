"""The nouns of the store: small immutable values that every floor speaks.

**Size** is always raw bytes, **length** is always stored bytes.
"""

from __future__ import annotations

import os
from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Readable(Protocol):
    """A binary stream, as far as an insert needs one."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


Source: TypeAlias = "ReadableBuffer | str | os.PathLike[str] | Readable"
"""What can be inserted: bytes, the path of a regular file, or a readable binary stream (from where it stands).

Bytes are whatever has a C-contiguous buffer: also arrays of numpy, and buffers of Arrow.
"""

Missing: TypeAlias = Literal["raise", "skip", "none"]
"""What a bulk read does about a key that the store does not have."""

DIGEST_BYTES = 32
"""Bytes of a SHA-256 digest; a key is its 64 lower-case hex characters."""

FRAME_SIZE = 1 << 20
"""Raw bytes in one frame. An object larger than this is stored as frames, so that a range is read alone.

1 MiB: a 64 KiB range costs at most one frame of decoding (about 1 ms), and zstd loses under 1 % to the cut.
"""


class Codec(IntEnum):
    """How stored bytes become raw bytes. The numbers are on disk."""

    RAW = 0
    ZLIB = 1
    ZSTD = 2


class Compression(NamedTuple):
    """A codec and its level: what a specification such as ``zstd:+3`` or ``zlib+1`` means."""

    codec: Codec
    level: int = 0


class CompressMode(Enum):
    """Whether an insert or a maintenance operation compresses."""

    NO = "no"
    """Store raw."""
    YES = "yes"
    """Compress whatever comes, smaller or not."""
    KEEP = "keep"
    """Leave the stored form as it is; a fresh object is stored raw."""
    AUTO = "auto"
    """Compress what becomes clearly smaller by it."""


class Durability(Enum):
    """What an acknowledged insert has survived."""

    FULL = "full"
    """It is on stable storage: it survives a power loss."""
    RELAXED = "relaxed"
    """It survives the death of the process; a power loss may lose the latest inserts."""


class Readers(Enum):
    """Which programs have to be able to read a container of version 1."""

    ALL = "all"
    """disk-objectstore too."""
    RSDOS = "rsdos"
    """rsdos alone."""


class Sharing(Enum):
    """Who may write a container."""

    UMASK = "umask"
    """Whom the umask of each writer allows to, of whose files it is."""
    GROUP = "group"
    """The group of the container's directory."""


class Trust(Enum):
    """What makes a copy that the store already has good enough to answer an insert with."""

    VERIFY = "verify"
    """Its bytes are read and checked."""
    INDEX = "index"
    """The index says it is there: for bulk imports of known content."""


class WhenBusy(Enum):
    """What a maintenance operation does when another one is at work."""

    RAISE = "raise"
    """It raises `Busy`, which says who is."""
    WAIT = "wait"
    """It waits for its turn."""


class Verify(Enum):
    """What a read compares before it returns bytes of a packed object of container version 2."""

    CHECKSUM = "checksum"
    """A CRC-32: no disk and no program that fails returns wrong bytes. Whoever wrote the container could."""
    HASH = "hash"
    """The hash that the key is as well, 0.6 us for each KB: nobody can give other bytes under a key."""


class Links(Enum):
    """What is done about symbolic links in the place of a container's own directories."""

    REFUSE = "refuse"
    """They are refused, by name: a container says nothing of what is outside."""
    FOLLOW = "follow"
    """They are followed: the caller has put them there, say to have packs on a larger disk."""


class Copy(Enum):
    """What a store says of the copy it may have of an object."""

    MISSING = "missing"
    DAMAGED = "damaged"
    GOOD = "good"


class Place(Enum):
    """Which of a container's two stores an object stands in, or goes to."""

    LOOSE = "loose"
    PACKED = "packed"


class RecordFlag(IntFlag):
    """What is special about an index record. The numbers are on disk."""

    NONE = 0
    FRAMED = 1
    """The stored bytes end with a table of frames (``streams.frames``)."""
    TOMBSTONE = 2
    """The record kills the extent (pack_id, offset) of its key; it has no bytes of its own."""


class Extent(NamedTuple):
    """Where stored bytes stand: ``length`` bytes from ``offset`` of a pack."""

    pack_id: int
    offset: int
    length: int


class Record(NamedTuple):
    """An index entry. A named tuple and not a dataclass: ten million are made, at a quarter of the cost."""

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


class Stored(NamedTuple):
    """The stored form of an object, wherever it stands."""

    codec: Codec
    flags: RecordFlag
    length: int
    size: int


class ObjectMeta(NamedTuple):
    """What the store knows of an object without reading it.

    ``size`` is raw bytes, ``length`` stored bytes. ``extent`` is None for a loose object.
    """

    key: str
    place: Place
    size: int
    length: int
    codec: Codec
    extent: Extent | None = None

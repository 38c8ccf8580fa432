"""The packed store of every container version: lookups and inserts, and inspection; see also `pack_maintenance`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rsdos import names
from rsdos.config import Config
from rsdos.errors import Busy, InvalidOption
from rsdos.index.dictionaries import PackDictionary
from rsdos.layout import Layout
from rsdos.migration import Original
from rsdos.model import BytesLike, Codec, Copy, Durability, Extent, ObjectMeta, PackKind, Stored, Trust, Verify
from rsdos.stores.base import MOST_LOOKUPS, KnownCheck, Store
from rsdos.stores.batch import BatchWriter
from rsdos.stores.head import Head
from rsdos.stores.lifetime import Live

if TYPE_CHECKING:
    from rsdos.index.digests import Digests, Positions
    from rsdos.index.entries import Entries
    from rsdos.pack.scanning import Scan
    from rsdos.stores.findings import IntactObject, VerifiedObject
    from rsdos.stores.pack_maintenance import PackMaintenance
    from rsdos.stores.publisher import Publisher
    from rsdos.stores.remote.collect import CollectOptions, Collector

WINDOW = 1 << 20
"""Bytes of a pack that a bulk read reads in one call."""

GAP = 1 << 14
"""Bytes between two wanted objects that are read and dropped, not skipped: a ``pread`` costs as much as 16 KiB."""

_ALL = frozenset(Codec)

NO_REMOTE = "a container of version 1 is not pushed, pulled or compared: migrate it first (rsdos migrate), or transfer"


class Packing(NamedTuple):
    """How writers of version 3 make packs: of ``target`` stored bytes, ``uploads`` of them under way at a time."""

    target: int
    uploads: int = 4
    """128 MiB of memory at the usual target."""


MOST_OPEN = 128
"""Packs that are kept open: 512 GiB of packs at the default target, and an eighth of the usual limit of descriptors."""


class Listed(NamedTuple):
    """The objects of one pack at one moment, with an estimate of their number.

    ``digests`` yields them once, in storage order, in lists of bounded size.
    """

    pack_id: int
    objects: int
    digests: Iterator[list[bytes]]


class PackStore(Store):
    """The packed objects of a container: lookups and writers. Any number of threads and processes.

    A question for a ``kind`` is about the copies that stand in for one of that kind (`PackKind.stand_ins`); without a
    kind, about all copies. In version 1 all packs are plain, and the kind is ignored.
    """

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self.durability = durability
        """What an acknowledged insert survives."""
        self.compression = config.codec
        """The compression of packed objects."""
        self.original = Original(layout, config.version, config.container_id)
        layout.refuse_another = self.original.check
        self.codecs = _ALL
        """The codecs in which objects can be stored. With `Codec.MIXED`, objects of several frames in all of them."""
        self.packing = Packing(config.pack_size_target)
        """What writers that begin from now on do. Versions 1 and 2 have no use for it."""
        self._directory = layout.packed

    @property
    def packs_grow(self) -> bool:
        """Whether later batches go into the packs that are there. Where not, small ones stay small until a repack."""
        return True

    def collector(self, options: CollectOptions) -> Collector:
        """Return what collects dead objects of the medium. Raise `InvalidOption` in all versions but 3."""
        raise InvalidOption("collect: only a container of version 3 has something to collect; see rsdos optimize")

    def never_still(self) -> Busy:
        """Return the error for an object that moved to another pack at every lookup."""
        return Busy(self._directory, f"others, which have changed it during each of {MOST_LOOKUPS} lookups")

    @property
    @abstractmethod
    def maintenance(self) -> PackMaintenance:
        """The maintenance of this store."""

    @property
    @abstractmethod
    def inspection(self) -> PackInspection:
        """The inspection of this store."""

    @property
    def publisher(self) -> Publisher:
        """What publishes refs. Raise `InvalidOption` in a version that has no snapshots."""
        raise InvalidOption("a container of version 1 has no snapshots: migrate it to version 2 first (rsdos migrate)")

    def live(self) -> Live:
        """Return what publishers and deleters compare, by the newest manifest. Raise `DamagedContainer`."""
        return Live()

    def head(self, seen: int = 0) -> Head:
        """Return what tells the newest state from any other. Raise `DamagedContainer`; `InvalidOption` in version 1.

        ``seen`` is the number of a state that was the newest once: behind a network that saves a request.
        """
        raise InvalidOption(f"{self._directory}: {NO_REMOTE}")

    def head_of_lookups(self) -> Head:
        """Return what tells the state that lookups go to: behind a commit of this object it is that, or a newer one."""
        return self.head()

    def load(self, head: Head) -> None:
        """Load the state that `head` has just told, or a newer one."""
        self.refresh()

    def commit_of(self, number: int) -> str | None:
        """Return the name of the commit that made the manifest of a number; None if that is not known any more."""
        return None

    def tables(self, kind: PackKind, prefix: str = "", head: Head | None = None) -> Callable[[], Iterator[Entries]]:
        """Return a function that yields the objects of this moment that stand in for those of a kind, sorted by key.

        One entry of each, only of keys that begin with ``prefix``, of 16 characters at most. The function raises
        `DamagedContainer` at its end if damage hides some. Raise `InvalidOption` in version 1. ``head``: of the state
        that `head` has just told, or of a newer one.
        """
        raise InvalidOption(f"{self._directory}: {NO_REMOTE}")

    def lacking(self, keys: Digests, kind: PackKind) -> Positions:
        """Return the positions of those keys that no visible copy stands in for. Raise as `tables` does."""
        raise InvalidOption(f"{self._directory}: {NO_REMOTE}")

    def verify(self, verify: Verify) -> None:
        """Set what reads compare from now on. Version 1 always compares the hash."""
        return

    def storage_order(self, digests: Sequence[bytes]) -> list[int]:
        """Return the positions of the digests in the order of their objects in the packs; those not packed last."""
        extents = [meta.extent if (meta := self.describe(digest)) else None for digest in digests]
        return sorted(range(len(digests)), key=lambda at: (extents[at] is None, extents[at] or (), at))

    @abstractmethod
    def close(self) -> None:
        """Close packs and index. The next use opens them again. Afterwards no file of the file system is in use."""

    @abstractmethod
    def let_go(self) -> None:
        """Do `close`, except for what `rest` has kept, of this or another object of the same container."""

    @abstractmethod
    def rest(self) -> None:
        """Do `close`, but keep a little that makes the next opening in this process cheap; see ADR 4."""

    # Inserting.

    @abstractmethod
    def writer(
        self,
        known: KnownCheck | None = None,
        durability: Durability | None = None,
        trust: Trust = Trust.VERIFY,
        kind: PackKind = PackKind.PLAIN,
    ) -> BatchWriter:
        """Return a writer to packs of a kind, of objects that ``known`` does not have (default: that `own_copies` does
        not have).

        ``trust`` says when a copy counts as good. Raise `InvalidOption` for a kind that the container cannot have.
        """

    @abstractmethod
    def own_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        /,
        raws: Sequence[BytesLike] | None = None,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[Copy]:
        """Do `check_copies` for a writer of this store, which itself makes the copies durable that it relies on."""

    @abstractmethod
    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[Copy]:
        """See `Store.check_copies`. Without a kind only plain copies count: what was inserted by key needs one."""

    @abstractmethod
    def contains_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> list[bool]:
        """Return which of the objects are visible."""

    # Reading.

    @abstractmethod
    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """See `Store.read_many`. ``read`` is called for objects that cannot be read in bulk (default: `read`)."""

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """See `Store.read_lists`; ``read`` is as in `read_many`."""
        for at, data in self.read_many(digests, read):
            yield (at,), (data,)

    @abstractmethod
    def read_verified_many(self, digests: Sequence[bytes]) -> Iterator[VerifiedObject]:
        """Yield the objects of at most one frame whose copy is good by its hash, in storage order.

        Larger, damaged and missing objects are left out: read their `frames` one by one.
        """

    def read_intact_many(self, digests: Sequence[bytes]) -> Iterator[IntactObject]:
        """Yield the objects of at most one frame whose stored bytes are those that were written, in storage order.

        Nothing is decoded: the checksums of the stored bytes are compared. Larger, damaged and missing objects are left
        out. A version without such checksums yields none.
        """
        return iter(())

    def intact_frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        """Return the stored form and the stored bytes of an object of several frames; None for any other object.

        Their checksum is verified at the end: raises `DecodeError`, as for damage that hides the object.
        """
        return None

    def stored_frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        """Return the stored form and the stored bytes of an object of several frames, if its first copy is good.

        The copy was decoded and hashed; its CRC-32 is verified once more at the end: raises `DecodeError`. None for any
        other object, and where objects are stored without frames.
        """
        return None

    def describe_many(self, digests: Sequence[bytes]) -> list[ObjectMeta | None]:
        """Return `describe` of each. Raise `DamagedObject`, `DamagedContainer`; `describe` says for which object."""
        return [self.describe(digest) for digest in digests]

    def verify_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> list[bool]:
        """Return which of the objects have a packed copy that decodes to the bytes of their key."""
        good = {whole.digest for whole in self.read_verified_many(digests)}
        return [digest in good or self.has_hash(digest) for digest in digests]

    @abstractmethod
    def count(self) -> int:
        """Return how many objects are visible."""

    def count_held(self) -> int:
        """Return how many of them are stored for snapshots, and not by key."""
        return 0

    def __len__(self) -> int:
        self.refresh()
        return self.count()

    @abstractmethod
    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the visible keys that begin with ``prefix``."""


class PackInspection(Protocol):
    """Reads packs and index entry by entry. Any number of threads; it writes nothing."""

    def listed(self, kind: PackKind | None = None) -> Iterator[Listed]:
        """Yield the objects of one moment, that of the first answer, each once, even if they move to other packs later.

        To get all objects of a container list the loose ones first: those that are packed in between are listed here.
        """

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        """Yield the objects of one pack in storage order, in lists of bounded size."""

    def kinds(self) -> Mapping[int, PackKind]:
        """Return the kinds of the packs that are not plain, by their ids."""

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        """Return every copy of one object that the index lists."""

    def dictionaries_of(self, digest: bytes) -> dict[Extent, PackDictionary]:
        """Return the dictionary of every copy of one object that needs one, by the extent of the copy."""

    def scan(self, pack_id: int) -> Scan:
        """Return the structure of one pack, read from the pack file.

        A pack of version 1 has no structure: only the ranges that no row leads to are returned. Raise
        FileNotFoundError, `DamagedContainer`.
        """


def unlink_pack(layout: Layout, pack_id: int) -> bool:
    """Unlink a pack that no manifest needs, unless a long reader may need it. Return whether it is gone. No sync."""
    lock = layout.storage.lock(names.READERS_LOCK, wait=False)
    if lock is None:
        return False
    with lock:
        return layout.storage.remove(layout.relative(layout.pack(pack_id)))

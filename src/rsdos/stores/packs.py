"""The packed store of every container version, in three parts: lookups and inserts, inspection, and maintenance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from rsdos import names
from rsdos.config import Config
from rsdos.errors import Busy, InvalidOption
from rsdos.index.dictionaries import PackDictionary
from rsdos.layout import Layout
from rsdos.migration import Original
from rsdos.model import BytesLike, Codec, Copy, Durability, Extent, ObjectMeta, PackKind, Stored, Trust, Verify
from rsdos.pack.scanning import Scan
from rsdos.stores.base import MOST_LOOKUPS, KnownCheck, Store
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import (
    Checkpoint,
    CopyKinds,
    Depth,
    Finding,
    IntactObject,
    PacksCheck,
    Rebuilt,
    Reclaimed,
    Rewritten,
    Sample,
    VerifiedObject,
)
from rsdos.stores.head import Head
from rsdos.stores.lifetime import Live
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats

if TYPE_CHECKING:
    from rsdos.index.digests import Digests, Positions, Prefixes
    from rsdos.index.entries import Entries
    from rsdos.index.manifest import Manifest
    from rsdos.index.view import IndexView
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


FindRefs: TypeAlias = "Callable[[Manifest, IndexView], str]"
"""Returns the key of the newest refs document that can be read, "" for none, given a manifest and what it leads to."""


def keep_refs(manifest: Manifest, view: IndexView) -> str:
    """Return the refs that a manifest has."""
    return manifest.refs


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

    def head(self) -> Head:
        """Return what tells the newest state from any other. Raise `DamagedContainer`; `InvalidOption` in version 1."""
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

    def tables(self, kind: PackKind, prefix: str = "") -> Callable[[], Iterator[Entries]]:
        """Return a function that yields the objects of this moment that stand in for those of a kind, sorted by key.

        One entry of each, only of keys that begin with ``prefix``, of 16 characters at most. The function raises
        `DamagedContainer` at its end if damage hides some. Raise `InvalidOption` in version 1.
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


class SeenPart(NamedTuple):
    """Some objects of a `SeenObjects`, in the order of their keys, each once."""

    digests: Sequence[bytes]
    copies: object
    """Their copies at that moment, and perhaps others: for `PackMaintenance.delete`."""


class SeenObjects(Protocol):
    """The objects that had a plain copy in a pack at one moment. Some of them can be marked. One thread."""

    def mark(self, keys: Prefixes) -> None:
        """Mark the objects with these first 8 bytes of their keys, given sorted. Most lead to one object, or to none.

        What is inserted or deleted since that moment changes nothing here.
        """

    def unmarked(self, most: int) -> Iterator[SeenPart]:
        """Yield the objects that are not marked, at most ``most`` together."""


class PackMaintenance(Protocol):
    """The maintenance of the packs of a container. Any number of threads and processes.

    Where a method says so, the caller must hold the maintenance lock. Every method may be killed at any moment.
    """

    def stats(self) -> PackedStats:
        """Return the counts of the newest state, without reading an object."""

    def note(self, name: str, note: object) -> None:
        """Write a note for operators, durably, in place of an older one of that name.

        Raise `DamagedContainer` if the newest manifest is damaged, and OSError.
        """

    def notes(self) -> Mapping[str, object]:
        """Return the notes by name. They come from disk: each may be any JSON value."""

    def delete(self, digests: Sequence[bytes], seen: object = None, refs: str = "") -> Sequence[bytes]:
        """Delete the plain copies of some objects, durably. Return the objects that had one. Their bytes become dead.

        With ``seen``, the copies of a `SeenPart`, only these are deleted; later ones stay. The caller holds the
        maintenance lock. A call that is killed has deleted a part of the objects. What the refs of the key
        ``refs`` lead to has other copies: raise `Outdated` if others are the newest, and delete no more.
        """

    def kinds_of(self, digests: Sequence[bytes]) -> list[CopyKinds]:
        """Return which kinds of packs have a copy of each object, and which a good one. Each copy is hashed."""

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        """Drop, durably, the damaged copies of some objects. Each copy is read, decoded and hashed.

        A copy stays if no good one here stands in for it, unless ``even_the_last``: then there is a good copy
        elsewhere, or the object is given up. Copies that are inserted at the same time stay. The caller holds the
        maintenance lock.
        """

    def present(self) -> SeenObjects:
        """Return the objects that have a plain copy at this moment."""

    def rewrite(
        self,
        pack_ids: Sequence[int],
        encoding: Encoding | None,
        advance: Callable[[int], None],
        spared: Collection[int] = (),
    ) -> Rewritten:
        """Write the live objects of a pack to another pack, and unlink the old one.

        The other pack is of the same kind. Several packs of a kind go to one new pack together, in version 3 alone:
        there the old ones stay in the medium until they are collected, and a call raises `Busy`, too, if other machines
        have deleted or moved each time what it has copied.
        Stored bytes are copied unchanged or, with an ``encoding``, decoded and encoded again. ``advance`` receives the
        stored bytes that are done. Readers, writers and deletes are not blocked; the caller holds the maintenance lock.
        In version 2 nothing is written to ``spared`` packs: they are rewritten next. After a kill `collect_garbage`
        cleans up, and the pack can be rewritten again. Raise `Busy` if a writer has the
        pack, `DamagedContainer` if its structure is damaged, and OSError; the pack is then unchanged.
        """

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        """Free the space of dead writers' leftovers, and of repacked packs that a long reader kept in place.

        ``known`` says which objects are safe anywhere in the container, on stable storage. A live writer's files are
        never touched. The caller holds the maintenance lock. After a kill the next call continues.
        """

    def merge_index(self) -> None:
        """Bring the index into its shortest form: merge its segments; in version 1 sort its rows and free their space.

        The caller holds the maintenance lock.
        """

    def index_faults(self, find_refs: FindRefs = keep_refs) -> list[Finding]:
        """Return the damage that `rebuild_index` would repair. Read no object, but for ``find_refs``."""

    def rebuild_index(self, quarantine: Quarantine, find_refs: FindRefs = keep_refs) -> Rebuilt:
        """Repair the index, from the packs alone if they describe themselves, and empty damaged packs.

        Replaced files are not removed: they go to ``quarantine``. The new index leads to the refs document that
        ``find_refs`` has found. Readers are not blocked, nor are writers that could
        write before. The caller holds the maintenance lock. After a kill it can be run again. Raise `DamagedContainer`
        if nothing can be repaired, and OSError.
        """

    def check(self, depth: Depth, sample: Sample, moment: object = None) -> PacksCheck:
        """Return a check of the packed objects of this moment, or of that of another check; see `PacksCheck`.

        Raise FileNotFoundError, `DamagedContainer` if the index of that moment cannot be opened any more.
        """

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        """Write a synced copy of the present index to its place in ``root``. Return the files of this state.

        The caller is inside `Engine.protect_packs` from before this call until it has copied the files, so that no pack
        is removed. In a damaged container a file may be missing or shorter. Raise `DamagedContainer` if the index is
        damaged.
        """


def unlink_pack(layout: Layout, pack_id: int) -> bool:
    """Unlink a pack that no manifest needs, unless a long reader may need it. Return whether it is gone. No sync."""
    lock = layout.storage.lock(names.READERS_LOCK, wait=False)
    if lock is None:
        return False
    with lock:
        return layout.storage.remove(layout.relative(layout.pack(pack_id)))

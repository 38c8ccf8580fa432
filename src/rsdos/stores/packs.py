"""What the packed store of every container version can do, in three parts: lookups, inspection and maintenance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from rsdos import names
from rsdos.config import Config
from rsdos.errors import Busy
from rsdos.layout import Layout
from rsdos.migration import Original
from rsdos.model import BytesLike, Codec, Copy, Durability, ObjectMeta, Trust, Verify
from rsdos.pack.scanning import Scan
from rsdos.stores.base import MOST_LOOKUPS, KnownCheck, Store
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import (
    Checkpoint,
    Depth,
    Finding,
    PacksCheck,
    Rebuilt,
    Reclaimed,
    Rewritten,
    Sample,
    VerifiedObject,
)
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats

WINDOW = 1 << 20
"""Bytes of a pack that a bulk read reads at once."""

GAP = 1 << 14
"""Bytes between two wanted objects that are read and dropped, not skipped: a ``pread`` costs as much as 16 KiB."""

_ALL = frozenset(Codec)

MOST_OPEN = 128
"""Packs kept open: at the default target 512 GiB of them, an eighth of the usual limit of descriptors."""


class Listed(NamedTuple):
    """The objects that one pack had at a moment, about so many; ``digests`` in storage order, to be read once.

    They come in lists of bounded size.
    """

    pack_id: int
    objects: int
    digests: Iterator[list[bytes]]


class PackStore(Store):
    """The packed objects of a container: lookups, and a way in. Any number of threads and processes."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self.durability = durability
        """What an acknowledged insert survives."""
        self.compression = config.codec
        """What compressing an object for a pack means here."""
        self.original = Original(layout, config.version, config.container_id)
        layout.refuse_another = self.original.check
        self.codecs = _ALL
        """In which an object of at most one frame can be stored here."""
        self._directory = layout.packed

    def never_still(self) -> Busy:
        """Return the error for an object that moved again whenever it was looked up."""
        return Busy(self._directory, f"others: {MOST_LOOKUPS} times it had changed when it was looked at again")

    @property
    @abstractmethod
    def maintenance(self) -> PackMaintenance:
        """The store, for maintenance."""

    @property
    @abstractmethod
    def inspection(self) -> PackInspection:
        """The store, for a look at its packs."""

    def verify(self, verify: Verify) -> None:
        """Say what reads compare from now on. In version 1 it is the hash, always."""
        return

    @abstractmethod
    def close(self) -> None:
        """Let go of packs and index; the next use opens them again. Nothing of the file system is kept in use."""

    @abstractmethod
    def let_go(self) -> None:
        """`close`, but for what `rest` has kept, of this or another object of the same container."""

    @abstractmethod
    def rest(self) -> None:
        """`close`, but for a little that makes the next opening cheap, in this process; see ADR 4."""

    # Inserting.

    @abstractmethod
    def writer(
        self, known: KnownCheck | None = None, durability: Durability | None = None, trust: Trust = Trust.VERIFY
    ) -> BatchWriter:
        """Return a way in for objects that ``known`` does not have (default: those that this store does not have).

        ``trust`` says what it takes for a good copy.
        """

    @abstractmethod
    def own_copies(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> list[Copy]:
        """`check_copies` for a writer of this store, which sees to the durability of what it leans on."""

    # Reading.

    @abstractmethod
    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """As promised; ``read`` is asked for what cannot be had in bulk (default: the store's own)."""

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """As promised; ``read`` as in `read_many`."""
        for at, data in self.read_many(digests, read):
            yield (at,), (data,)

    @abstractmethod
    def read_verified_many(self, digests: Sequence[bytes]) -> Iterator[VerifiedObject]:
        """Yield the objects of at most one frame of which the copy is good, hash and all, in storage order.

        Those that are larger or damaged or missing are left out: ask for their `frames` one by one.
        """

    def describe_many(self, digests: Sequence[bytes]) -> list[ObjectMeta | None]:
        """`describe` of each. Raises `DamagedObject`, `DamagedContainer`; `describe` tells of which object."""
        return [self.describe(digest) for digest in digests]

    def verify_many(self, digests: Sequence[bytes]) -> list[bool]:
        """Return which of the objects have a packed copy that decodes to the bytes of their key."""
        good = {whole.digest for whole in self.read_verified_many(digests)}
        return [digest in good or self.has_hash(digest) for digest in digests]

    @abstractmethod
    def count(self) -> int:
        """Return how many objects are visible."""

    def __len__(self) -> int:
        self.refresh()
        return self.count()

    @abstractmethod
    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the visible keys that begin with ``prefix``."""


class PackInspection(Protocol):
    """Looks at packs and index entry by entry. Any number of threads; nothing is written."""

    def listed(self) -> Iterator[Listed]:
        """Yield the objects of one moment, that of the first answer, each once, whatever moves to another pack since.

        To get all objects of a container list the loose ones before: what is packed in between is met here.
        """

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        """Yield the objects of one pack in storage order, in lists of bounded size."""

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        """Return every copy of one object that the index has."""

    def scan(self, pack_id: int) -> Scan:
        """Return the structure of one pack, from its own bytes where it says so itself.

        A pack of version 1 has none: only the ranges that no row leads to are returned. Raises FileNotFoundError,
        `DamagedContainer`.
        """


class PackMaintenance(Protocol):
    """What maintenance does to the packs of a container. Any number of threads and processes.

    Where a method says so, the caller holds the maintenance lock. All of them may be killed at any moment.
    """

    def stats(self) -> PackedStats:
        """Return the newest state, counted without reading an object."""

    def note(self, name: str, note: object) -> None:
        """Note something for operators, durably, in the place of what was noted under that name.

        Raises `DamagedContainer` when the newest manifest is damaged, and OSError.
        """

    def notes(self) -> Mapping[str, object]:
        """Return what was noted, by name. It comes from disk: expect anything that JSON has."""

    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        """Delete what is there of some objects, durably; return which were. The space stays, as dead bytes.

        With ``seen``, from `snapshot_keys`, only what was there then: a copy that was inserted since stays. The caller
        holds the maintenance lock. Killed, it has deleted a part of the objects.
        """

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        """Let go, durably, of those copies of some objects that are not good: each is read, decoded and hashed.

        Of an object that has no good copy here, all stay, unless ``even_the_last`` says that there is one elsewhere, or
        no good copy at all. What is inserted at the same time stays. The caller holds the maintenance lock.
        """

    def snapshot_keys(self) -> object:
        """Return what is there now, for `keys_of` and `delete` later."""

    def keys_of(self, seen: object) -> Iterator[list[bytes]]:
        """Yield the digests of the objects that were there at a `snapshot_keys`, in lists of bounded size."""

    def rewrite(self, pack_id: int, encoding: Encoding | None, advance: Callable[[int], None]) -> Rewritten:
        """Write what lives in a pack to another, and unlink it; ``advance`` is told stored bytes that are done.

        Stored bytes are copied as they are, or, with an ``encoding``, decoded and encoded anew. Readers, writers and
        deletes go on; the caller holds the maintenance lock. Killed at any moment, `collect_garbage` cleans up, and the
        pack can be rewritten again. Raises `Busy` when somebody is writing to the pack, `DamagedContainer` when its
        structure is damaged, and OSError; the pack stays as it was then.
        """

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        """Give back the space of what dead writers left, and of repacked packs that a long reader kept in place.

        ``known`` says which objects are safe anywhere in the container, on stable storage. A live writer's files are
        never touched. The caller holds the maintenance lock. Killed at any moment, the next call goes on.
        """

    def merge_index(self) -> None:
        """Bring the index into its shortest form, where it has one. The caller holds the maintenance lock."""

    def index_faults(self) -> list[Finding]:
        """Return what `rebuild_index` would put right. Reads no object."""

    def rebuild_index(self, quarantine: Quarantine) -> Rebuilt:
        """Put the index right, from the packs alone where they say what is in them, and empty damaged packs.

        Nothing that is replaced is removed: it goes to ``quarantine``. Readers go on, and writers as far as they could
        before. The caller holds the maintenance lock. Killed at any moment, it can be run again. Raises
        `DamagedContainer` when nothing can be done, and OSError.
        """

    def check(self, depth: Depth, sample: Sample) -> PacksCheck:
        """Return a check of all that is here now; see `PacksCheck`."""

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        """Write a synced copy of the index, as it is now, to its place in ``root``; return what the state is made of.

        The caller is in `Engine.protect_packs` since before this, and until it has copied the files: no pack goes
        before. A file may be missing or shorter, where the container is damaged. Raises `DamagedContainer` when the
        index is.
        """


def unlink_pack(layout: Layout, pack_id: int) -> bool:
    """Unlink a pack that no manifest needs, unless a long reader may need it; return whether it is gone. Not synced."""
    lock = layout.storage.lock(names.READERS_LOCK, wait=False)
    if lock is None:
        return False
    with lock:
        return layout.storage.remove(layout.relative(layout.pack(pack_id)))

"""What the packed store of every container version can do: what the container and its maintenance build on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

from rsdos.config import Config
from rsdos.layout import Layout
from rsdos.migration import Original
from rsdos.model import BytesLike, Codec, CompressMode, Copy, Durability, ObjectMeta, Source, Trust, Verify
from rsdos.pack.scanning import Scan
from rsdos.storage import locks
from rsdos.stores.base import Store, ask_for_rest
from rsdos.stores.batch import BatchWriter, KnownCheck
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
from rsdos.stores.stats import PackedStats
from rsdos.streams.groups import Group, grouped

BUFFER = 8 << 20
"""Raw bytes of small objects that a bulk insert holds at a time."""

GROUP = 1 << 13
"""Objects that are hashed, compressed and written together; beyond it the calls around them no longer show."""

WINDOW = 1 << 20
"""Bytes of a pack that a bulk read reads at once."""

GAP = 1 << 14
"""Bytes between two wanted objects that are read and dropped rather than skipped: a ``pread`` costs what 16 KiB do."""

_ALL = frozenset(Codec)

MOST_OPEN = 128
"""Packs kept open: at the default target 512 GiB of them, an eighth of the usual limit of descriptors."""


class Listed(NamedTuple):
    """The objects that one pack had at a moment, about so many; ``digests`` in lists of bounded size, to be read once.

    In storage order.
    """

    pack_id: int
    objects: int
    digests: Iterator[list[bytes]]


class PackStore(Store):
    """The packed objects of a container. Any number of threads and processes; the appender has the commit protocol."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self._layout = layout
        self._config = config
        self._durability = durability
        self.original = Original(layout, config.version, config.container_id)
        layout.refuse_another = self.original.check
        self.codecs = _ALL
        """In which an object of at most one frame can be stored here."""
        self.elsewhere: Store | None = None
        """The container's other store: what has a good copy there is not inserted here again."""

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
    def appender(
        self, look: KnownCheck | None = None, durability: Durability | None = None, trust: Trust = Trust.VERIFY
    ) -> BatchWriter:
        """A way in for objects that ``look`` does not find (default: those that this store does not have).

        ``trust`` says what it takes for a good copy by default.
        """

    def _own_copies(
        self, trust: Trust, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None
    ) -> list[Copy]:
        """Which of the objects are packed. Its appender makes those durable, or else this does."""
        return self.check_copies(digests, trust, Durability.RELAXED, raws)

    def _all_copies(
        self, trust: Trust, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None
    ) -> list[Copy]:
        answers = self._own_copies(trust, digests, raws)
        if self.elsewhere is None:
            return answers
        return ask_for_rest(
            answers, digests, partial(self.elsewhere.check_copies, trust=trust, durability=self._durability)
        )

    def insert_many(
        self, sources: Iterable[Source], *, compress: CompressMode = CompressMode.AUTO, trust: Trust = Trust.VERIFY
    ) -> list[str]:
        """Append many objects to a pack; returns their keys in the order given, once all are durable.

        One sync for every 262,144 objects or GiB. Memory: 8 MiB of small objects at a time (twice that while they
        are compressed), three frames of one that is larger, and 200 bytes for every object of the batch. When it
        raises, what an earlier batch of the call committed stays, and the rest has left nothing behind.
        """
        return self.append_many(sources, self.appender(partial(self._all_copies, trust)), compress)

    def append_many(self, sources: Iterable[Source], appender: BatchWriter, compress: CompressMode) -> list[str]:
        """`insert_many` through an appender, which is closed by it and says what counts as known already."""
        encoding = Encoding(compress, self._config.codec)
        keys: list[str] = []
        with appender:
            for group in grouped(sources, lambda: min(BUFFER, appender.room), GROUP, self.hash):
                if isinstance(group, Group):
                    appender.add_group(group, encoding)
                    keys += group.keys
                else:
                    with group:
                        keys.append(appender.add_frames(group, encoding).hex())
            appender.commit()
        # 7. Only now are the keys returned.
        return keys

    # What maintenance asks.

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
        """The objects of at most one frame of which the copy is good, hash and all, in storage order.

        Those that are larger or damaged or missing are passed over: ask for their `frames` one by one.
        """

    def describe_many(self, digests: Sequence[bytes]) -> list[ObjectMeta | None]:
        """`describe` of each. Raises `DamagedObject`, `DamagedContainer`; of which, `describe` tells."""
        return [self.describe(digest) for digest in digests]

    def verify_many(self, digests: Sequence[bytes]) -> list[bool]:
        """Which of the objects have a packed copy that decodes to the bytes of their key."""
        good = {whole.digest for whole in self.read_verified_many(digests)}
        return [digest in good or self.has_hash(digest) for digest in digests]

    @abstractmethod
    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        """Every copy of one object that the index has."""

    @abstractmethod
    def stats(self) -> PackedStats:
        """The newest state, counted without reading an object."""

    @abstractmethod
    def listed(self) -> Iterator[Listed]:
        """The objects of one moment, that of the first answer, each once, whatever moves to another pack since.

        Who wants all objects of a container lists the loose ones before, which are met here when they are packed.
        """

    @abstractmethod
    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        """The objects of one pack in storage order, in lists of bounded size."""

    @abstractmethod
    def check(self, depth: Depth, sample: Sample) -> PacksCheck:
        """A check of all that is here now; see `PacksCheck`."""

    @abstractmethod
    def note(self, name: str, note: object) -> None:
        """Note something for operators, durably, in the place of what was noted under that name.

        Raises `DamagedContainer` when the newest manifest is damaged, and OSError.
        """

    @abstractmethod
    def notes(self) -> Mapping[str, object]:
        """What was noted, by name. It comes from disk: expect anything that JSON has."""

    @abstractmethod
    def scan(self, pack_id: int) -> Scan:
        """The structure of one pack, from its own bytes where it says so itself.

        Raises FileNotFoundError, `DamagedContainer`.
        """

    @abstractmethod
    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        """Write a synced copy of the index, as it is now, to its place in ``root``; what the newest state is made of.

        The caller is `Engine.protect_packs` since before this, and until it has copied the pieces: no pack goes
        meanwhile. A piece may be missing or shorter, where the container is damaged. Raises `DamagedContainer` when
        the index is.
        """

    @abstractmethod
    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        """Delete what is there of some objects, durably; returns which were. The space stays, as dead bytes.

        With ``seen``, a `moment`, only what was there then: a copy that was inserted since stays. The caller holds the
        maintenance lock. Killed, it has deleted a part of the objects.
        """

    @abstractmethod
    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        """Let go, durably, of those copies of some objects that are not good: each is read, decoded and hashed.

        Of an object that has no good copy here, all stay, unless ``even_the_last`` says that there is one elsewhere, or
        that there is no help. What is inserted meanwhile stays. The caller holds the maintenance lock.
        """

    @abstractmethod
    def snapshot_keys(self) -> object:
        """What is there now, for a `listing` of it later."""

    @abstractmethod
    def keys_of(self, seen: object) -> Iterator[list[bytes]]:
        """The digests of the objects that were there at a `moment`, in lists of bounded size."""

    @abstractmethod
    def rewrite(self, pack_id: int, encoding: Encoding | None, advance: Callable[[int], None]) -> Rewritten:
        """Write what lives in a pack to another, and unlink it; ``advance`` is told stored bytes that are done.

        Stored bytes are copied as they are, or, with an ``encoding``, decoded and encoded anew. Readers, writers and
        deletes go on; the caller holds the maintenance lock. Killed at any moment, the next sweep cleans up, and the
        pack can be rewritten again. Raises `Busy` when somebody is writing to the pack, `DamagedContainer` when its
        structure is damaged, and OSError; the pack stays as it was then.
        """

    @abstractmethod
    def merge_index(self) -> None:
        """Bring the index into its shortest form, where it has one. The caller holds the maintenance lock."""

    @abstractmethod
    def index_faults(self) -> list[Finding]:
        """What `rebuild_index` would put right. Reads no object."""

    @abstractmethod
    def rebuild_index(self, aside: Callable[[], str]) -> Rebuilt:
        """Put the index right, from the packs alone where they say what is in them, and empty damaged packs.

        Nothing that is replaced is removed: it goes to the directory that ``aside`` makes and names. Readers go on,
        and writers as far as they could before. The caller holds the maintenance lock. Killed at any moment, it can
        be run again. Raises `DamagedContainer` when nothing can be done, and OSError.
        """

    @abstractmethod
    def collect_garbage(self) -> Reclaimed:
        """Give back what writers left that died, and repacks that a long reader was in the way of.

        A live writer's files are never touched. The caller holds the maintenance lock. Killed at any moment, the next
        sweep goes on.
        """

    def unlink(self, pack_id: int) -> bool:
        """Unlink a pack that no manifest needs any more, unless a long reader may; whether it is gone. Not synced."""
        lock = locks.try_acquire(self._layout.readers_lock)
        if lock is None:
            return False
        with lock:
            return self._layout.remove(self._layout.pack(pack_id))

    @abstractmethod
    def count(self) -> int:
        """How many objects are in sight."""

    def __len__(self) -> int:
        self.refresh()
        return self.count()

    @abstractmethod
    def with_prefix(self, prefix: str) -> Iterator[str]:
        """The keys in sight that begin with ``prefix``."""

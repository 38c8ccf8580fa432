"""The packed store: many objects in one file, found through the index."""

from __future__ import annotations

import errno
import io
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from rsdos.config import Config
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, log_warning
from rsdos.index.view import key_range
from rsdos.layout import Layout
from rsdos.model import (
    FIRST_DICTIONARY,
    BytesLike,
    Codec,
    Copy,
    Durability,
    MetaColumns,
    ObjectMeta,
    PackKind,
    Record,
    Stored,
    Trust,
    Verify,
)
from rsdos.stores.base import MOST_LOOKUPS, KnownCheck, first_good
from rsdos.stores.head import Head
from rsdos.stores.lifetime import Live
from rsdos.stores.packed.copy_check import CopyCheck
from rsdos.stores.packed.reader import RecordReader, codec_or_none, meta_columns_of, meta_of, metas_of
from rsdos.stores.packed.stats import open_index
from rsdos.stores.packs import PackStore

if TYPE_CHECKING:
    from rsdos.index.digests import Digests, Positions
    from rsdos.index.entries import Entries
    from rsdos.index.index import Index
    from rsdos.stores.batch import BatchWriter
    from rsdos.stores.findings import IntactObject, VerifiedObject
    from rsdos.stores.packed.context import PackedContext
    from rsdos.stores.packed.inspection import PackedInspection
    from rsdos.stores.packed.maintenance import PackedMaintenance
    from rsdos.stores.publisher import Publisher
    from rsdos.stores.remote.collect import CollectOptions, Collector

_T = TypeVar("_T")

_DESCRIBED = 1 << 8
"""Objects whose metadata are made together. Each takes 0.6 us; with 131,072, which Python searches for cycles, 1.8."""


class PackedStore(PackStore):
    """The packed objects of a container of version 2; `rsdos.stores.packed.writer` has the commit protocol."""

    def __init__(
        self,
        layout: Layout,
        config: Config,
        durability: Durability,
        opening: Callable[[Layout, Config], Index] = open_index,
    ) -> None:
        """``opening`` opens the index; nothing is read yet."""
        super().__init__(layout, config, durability)
        self._layout = layout
        self._config = config
        self._container_id = bytes.fromhex(config.container_id)
        self.index = opening(layout, config)
        self.records = RecordReader(layout, self._container_id, self.hash, weakref.ref(self.index))
        self.index.commits.original = self.original
        self.index.replaced = self.records.close
        # Made by the first use, which an opening for one read never gets to: 2 of its 50 us.
        self._context: PackedContext | None = None
        self._maintenance: PackedMaintenance | None = None
        self._inspection: PackedInspection | None = None

    @property
    def context(self) -> PackedContext:
        """The parts of the store for writers and maintenance."""
        if self._context is None:
            from rsdos.stores.packed.context import PackedContext

            self._context = PackedContext(self._layout, self._config, self._container_id, self.index, self.records)
        return self._context

    @property
    def packs_grow(self) -> bool:
        return self.index.appends

    def collector(self, options: CollectOptions) -> Collector:
        from rsdos.index.remote_index import RemoteIndex
        from rsdos.stores.remote.collect import Collector
        from rsdos.stores.remote.placed import PlacedStorage

        storage = self._layout.storage
        if not isinstance(storage, PlacedStorage) or not isinstance(self.index, RemoteIndex):
            return super().collector(options)
        return Collector(storage.inner, self.index.commits, options)

    @property
    def maintenance(self) -> PackedMaintenance:
        """The store, for maintenance."""
        if self._maintenance is None:
            from rsdos.stores.packed.maintenance import PackedMaintenance

            self._maintenance = PackedMaintenance(self.context, self.durability)
        return self._maintenance

    @property
    def inspection(self) -> PackedInspection:
        """The store, for a look at its packs."""
        if self._inspection is None:
            from rsdos.stores.packed.inspection import PackedInspection

            self._inspection = PackedInspection(self.context)
        return self._inspection

    def version(self) -> object:
        return self.index.state

    def has_version(self) -> bool:
        return self.index.is_loaded

    def is_latest(self, version: object) -> bool:
        return self.index.is_latest(version)

    def refresh(self) -> None:
        self.records.keep(self.index.refresh().manifest.packs.live)

    def rest(self) -> None:
        self.records.close()
        self.index.rest()

    def let_go(self) -> None:
        self.records.close()
        self.index.let_go()

    def close(self) -> None:
        self.records.close()
        self.index.close()

    # Reading one object.

    def read(self, digest: bytes) -> bytes | None:
        record = self.index.find(digest)
        if record is None:
            return None
        try:
            return self.records.read_object(record)
        except (DecodeError, OSError):
            return self._from_good_copy(digest, self.records.read_object)

    def _from_good_copy(self, digest: bytes, use: Callable[[Record], _T]) -> _T | None:
        """Return the result of ``use`` for the first good copy; None if there is no copy at all."""
        reason = ""
        for _ in self.look_again(MOST_LOOKUPS, self.never_still):
            reason = ""
            for record in self.index.find_all(digest):
                try:
                    result = use(record)
                except (DecodeError, OSError) as error:
                    if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.ENOENT):
                        raise
                    # Another file may have its name by now.
                    self.records.forget(record.pack_id)
                    reason = f"{error} (pack {record.pack_id}, byte {record.offset})"
                else:
                    if reason:
                        log_warning("object %s: passed over a damaged copy: %s", digest.hex(), reason)
                    return result
        # What was not there in an older version was repacked, or deleted, since.
        if reason:
            self.index.commits.check()  # While a container is cleared, its packs are gone before its index is.
            raise DamagedObject(digest.hex(), reason)
        return None

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if record.flags:
            return first_good(digest, (partial(self.records.frames, copy) for copy in self._all_copies(digest)))
        data = self.read(digest)
        return None if data is None else iter((data,))

    def _all_copies(self, digest: bytes) -> Iterator[Record]:
        """Yield all visible copies, and after them those of the latest version, if it differs."""
        for _ in self.look_again(MOST_LOOKUPS, self.never_still):
            yield from self.index.find_all(digest)
        self.index.commits.check()  # No copy was good: see `_from_good_copy`.

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if record.flags:
            return self._from_good_copy(digest, self.records.stream)
        data = self.read(digest)
        return None if data is None else io.BufferedReader(io.BytesIO(data))

    def describe(self, digest: bytes) -> ObjectMeta | None:
        record = self.index.find(digest)
        if record is None:
            return None
        return meta_of(record)

    # Reading many.

    def may_have(self, digest: bytes) -> bool:
        try:
            return self.index.find(digest) is not None
        except DamagedContainer:
            return True

    def contains_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> list[bool]:
        if len(digests) == 1:
            digest = digests[0]
            return [(self.index.find(digest) if kind is None else self.index.find_for(kind, digest)) is not None]
        present = bytearray(b"\1") * len(digests)
        for at in self.index.find_many(digests, kind).missing.tolist():
            present[at] = 0
        return list(map(bool, present))

    def storage_order(self, digests: Sequence[bytes]) -> list[int]:
        found = self.index.find_many(digests)
        return [*found.positions[found.entries.storage_order()].tolist(), *found.missing.tolist()]

    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests, read):
            yield from zip(positions, payloads, strict=True)

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        for run, stored in self.records.found_runs(self.index.find_many(digests)):
            raws = [None] * len(run.positions) if stored is None else self.records.decoded(run, stored)
            if self.records.hashes and not self.records.are_good(digests, run, raws):
                raws = [None] * len(run.positions)
            if None not in raws:
                yield run.positions, cast(Sequence[bytes], raws)
                continue
            for at, raw in zip(run.positions, raws, strict=True):
                data = (read or self.read)(digests[at]) if raw is None else raw
                if data is not None:
                    yield (at,), (data,)

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[Copy]:
        """As promised. Nothing is known of a damaged part of the index: what it may have had counts as missing.

        So does what is in doubt because others commit all the time while the copies are read.
        """
        return CopyCheck(self.index, self.records, durability, kind).check(digests, trust, raws)

    def verify(self, verify: Verify) -> None:
        self.records.verify(verify)

    def read_verified_many(self, digests: Sequence[bytes]) -> Iterator[VerifiedObject]:
        from rsdos.stores.findings import VerifiedObject

        for run, stored in self.records.found_runs(self.index.find_many(digests)):
            if stored is None:
                continue
            dictionaries = self.records.dictionaries_of(run)
            raws = self.records.decoded(run, stored)
            for at, raw, codec, form in zip(run.positions, raws, run.codec, stored, strict=True):
                if raw is not None and self.hash.digest_of(raw) == digests[at]:
                    dictionary = dictionaries.get(codec)
                    own = Codec.ZSTD if dictionary is not None else Codec(codec)
                    yield VerifiedObject(digests[at], raw, own, form, dictionary)

    def read_intact_many(self, digests: Sequence[bytes]) -> Iterator[IntactObject]:
        from rsdos.stores.findings import IntactObject

        for run, stored in self.records.found_runs(self.index.find_many(digests)):
            if stored is None:
                continue
            dictionaries = self.records.dictionaries_of(run)
            for at, size, codec, form in zip(run.positions, run.size, run.codec, stored, strict=True):
                if codec < FIRST_DICTIONARY:
                    yield IntactObject(digests[at], size, codec_or_none(codec), form)
                elif codec in dictionaries:
                    yield IntactObject(digests[at], size, Codec.ZSTD, form, dictionaries[codec])

    def intact_frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        try:
            record = self.index.find(digest)
        except DamagedContainer as error:
            raise DecodeError(str(error)) from error
        return self.records.stored_form(record) if record is not None and record.flags else None

    def stored_frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        record = self.index.find(digest)
        if record is None or not record.flags or not self.records.is_good(record):
            return None
        return self.records.stored_form(record)

    def verify_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> list[bool]:
        good = [False] * len(digests)
        for run, stored in self.records.found_runs(self.index.find_many(digests, kind)):
            raws = () if stored is None else self.records.decoded(run, stored)
            if stored is None or None in raws:
                continue
            for at, key in zip(run.positions, self.hash.keys_of(cast(Sequence[bytes], raws)), strict=True):
                good[at] = digests[at].hex() == key
        is_good = self.has_hash if kind is None else partial(self._has_good, kind=kind)
        return [hit or is_good(digest) for hit, digest in zip(good, digests, strict=True)]

    def _has_good(self, digest: bytes, kind: PackKind) -> bool:
        """Return whether any copy that stands in for one of a kind decodes to the bytes of its key."""
        for _ in self.look_again(MOST_LOOKUPS, self.never_still):
            if any(map(self.records.is_good, self.index.find_all(digest, kind))):
                return True
        return False

    # Inserting.

    def writer(
        self,
        known: KnownCheck | None = None,
        durability: Durability | None = None,
        trust: Trust = Trust.VERIFY,
        kind: PackKind = PackKind.PLAIN,
    ) -> BatchWriter:
        from rsdos.stores.batch import BatchWriter
        from rsdos.stores.packed.writer import PackedBatch

        if self.packs_grow:
            batch = PackedBatch(self.context, durability or self.durability, kind)
        else:
            from rsdos.stores.remote.batch import RemoteBatch

            batch = RemoteBatch(self.context, self.packing, kind)
        return BatchWriter(batch, self.hash, known or partial(self.own_copies, kind=kind), trust)

    def own_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        /,
        raws: Sequence[BytesLike] | None = None,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[Copy]:
        return self.check_copies(digests, trust, Durability.RELAXED, raws, kind)

    # Snapshots.

    @property
    def publisher(self) -> Publisher:
        from rsdos.stores.packed.publisher import PackedPublisher

        return PackedPublisher(self.context, self.durability, partial(self.own_copies, kind=PackKind.TREES))

    def live(self) -> Live:
        newest = self.index.newest()
        return Live(newest.refs, newest.epoch)

    # Beside another container.

    def head(self, seen: int = 0) -> Head:
        self.index.commits.begin_at(seen)
        return Head.of(self.index.newest())

    def head_of_lookups(self) -> Head:
        return Head.of(self.index.view.manifest)

    def load(self, head: Head) -> None:
        self.records.keep(self.index.load(head.number).manifest.packs.live)

    def commit_of(self, number: int) -> str | None:
        try:
            remote = self.index.commits.read(number).remote
        except (FileNotFoundError, DamagedContainer):
            return None  # It was emptied, or pruned; or nobody can tell.
        return None if remote is None else remote.commit

    def tables(self, kind: PackKind, prefix: str = "", head: Head | None = None) -> Callable[[], Iterator[Entries]]:
        view = self.index.load(head.number) if head else self.index.refresh()
        return partial(self.index.tables_of, view, *key_range(prefix), kind)

    def lacking(self, keys: Digests, kind: PackKind) -> Positions:
        return self.index.find_keys(keys, kind).missing

    # The whole.

    def key_lists(self) -> Iterator[Sequence[str]]:
        return self.index.key_lists(kind=PackKind.HELD)

    def meta_lists(self) -> Iterator[Sequence[ObjectMeta | DamagedObject]]:
        for entries in self.index.tables(kind=PackKind.HELD):
            for at in range(0, len(entries), _DESCRIBED):
                yield metas_of(entries.take(slice(at, at + _DESCRIBED)))

    def meta_columns(self) -> Iterator[MetaColumns]:
        for entries in self.index.tables(kind=PackKind.HELD):
            for at in range(0, len(entries), _DESCRIBED):
                yield meta_columns_of(entries.take(slice(at, at + _DESCRIBED)))

    def with_prefix(self, prefix: str) -> Iterator[str]:
        for keys in self.index.key_lists(prefix):
            yield from keys

    def count(self) -> int:
        return self.index.view.manifest.objects

    def count_held(self) -> int:
        sums = self.index.view.manifest.packs.sums((PackKind.HELD,))
        return (sums.total - sums.dead).objects

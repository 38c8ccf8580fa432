"""The packed store: many objects in one file, found through the index."""

from __future__ import annotations

import errno
import io
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import add
from typing import TYPE_CHECKING, TypeVar, cast

from rsdos.config import Config
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, log_warning
from rsdos.index.snapshot import Found, ReadRange
from rsdos.index.state import IndexState
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, Copy, Durability, ObjectMeta, Record, Stored, Trust, Verify
from rsdos.stores.base import LOOKUPS, MOST_LOOKUPS, KnownCheck, first_good
from rsdos.stores.findings import VerifiedObject
from rsdos.stores.packed.reader import RecordReader, meta_of, metas_of
from rsdos.stores.packed.stats import open_index
from rsdos.stores.packs import GAP, WINDOW, PackStore

if TYPE_CHECKING:
    from rsdos.stores.batch import BatchWriter
    from rsdos.stores.packed.context import PackedContext
    from rsdos.stores.packed.inspection import PackedInspection
    from rsdos.stores.packed.maintenance import PackedMaintenance

_T = TypeVar("_T")

_DESCRIBED = 1 << 8
"""Objects whose metadata are made together. Each takes 0.6 us; of 131,072, which Python searches for cycles, 1.8."""


class PackedStore(PackStore):
    """The packed objects of a container of version 2; `rsdos.stores.packed.writer` has the commit protocol."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        self._layout = layout
        self._config = config
        self._container_id = bytes.fromhex(config.container_id)
        self.index = open_index(layout, config)
        self.records = RecordReader(layout, self._container_id, self.hash, weakref.ref(self.index))
        self.index.commits.original = self.original
        self.index.replaced = self.records.close
        # Made by the first use, which an opening for one read never gets to: 2 of its 50 us.
        self._context: PackedContext | None = None
        self._maintenance: PackedMaintenance | None = None
        self._inspection: PackedInspection | None = None

    @property
    def context(self) -> PackedContext:
        """What writers and maintenance work on."""
        if self._context is None:
            from rsdos.stores.packed.context import PackedContext

            self._context = PackedContext(self._layout, self._config, self._container_id, self.index, self.records)
        return self._context

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
        self.records.keep(set(self.index.refresh().manifest.pack_ids))

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
        """Return what ``use`` makes of the first good copy; None when there is no copy at all."""
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
        """Yield all visible copies; when none of them will do, those of the latest version, if that is another."""
        for _ in self.look_again(MOST_LOOKUPS, self.never_still):
            yield from self.index.find_all(digest)

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

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        if len(digests) == 1:
            return [self.index.find(digests[0]) is not None]
        present = bytearray(b"\1") * len(digests)
        for at in self.index.find_many(digests).missing.tolist():
            present[at] = 0
        return list(map(bool, present))

    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests, read):
            yield from zip(positions, payloads, strict=True)

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        for run, stored in self.records.stored_runs(self.index.find_many(digests).runs(GAP, WINDOW)):
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
    ) -> list[Copy]:
        """As promised. Nothing is known of a damaged part of the index: what it may have had counts as missing.

        So does what is in doubt because others commit all the time while the copies are read.
        """
        for _ in range(LOOKUPS):
            state = self.index.state
            answers = self._visible_copies(state, digests, trust, durability, raws)
            if Copy.GOOD not in answers:
                return answers
            if durability is Durability.FULL:
                self.index.make_durable()
            # What was found may have been deleted since this state was loaded.
            if self.index.is_latest(state):
                return answers
            self.index.refresh()
        return [Copy.MISSING] * len(digests)

    def _visible_copies(
        self,
        state: IndexState,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None,
    ) -> list[Copy]:
        count = len(digests)
        # How much of each pack is on stable storage.
        synced = {pack.id: pack.synced for pack in state.snapshot.manifest.packs}
        try:
            if count == 1:  # A tenth of the cost of what follows.
                record = self.index.find(digests[0])
                if record is None:
                    return [Copy.MISSING]
                is_safe = durability is Durability.RELAXED or record.offset + record.length <= synced.get(
                    record.pack_id, 0
                )
                if trust is Trust.INDEX and is_safe:
                    return [Copy.GOOD]
                return [self._copy(digests[0], synced, durability)]
            found = self.index.find_many(digests)
        except DamagedContainer:
            return [self._copy(digest, synced, durability) for digest in digests]
        if len(found.missing) == count:
            return [Copy.MISSING] * count
        good = partial(self._are_good, digests, raws) if trust is Trust.VERIFY else None
        return self._copies_of(found, digests, good, synced, durability)

    def _copies_of(
        self,
        found: Found,
        digests: Sequence[bytes],
        are_good: Callable[[ReadRange, list[bytes] | None], bool] | None,
        synced: Mapping[int, int],
        durability: Durability,
    ) -> list[Copy]:
        answers = [Copy.MISSING] * len(digests)
        runs = found.runs(GAP, WINDOW)
        for run, stored in self.records.stored_runs(runs) if are_good else zip(runs, repeat(None)):
            good = are_good is None or are_good(run, stored)
            ends = map(add, run.offset, run.length)
            if good and (durability is Durability.RELAXED or max(ends) <= synced.get(run.pack_id, 0)):
                for at in run.positions:
                    answers[at] = Copy.GOOD
            else:
                for at in run.positions:
                    answers[at] = self._copy(digests[at], synced, durability)
        return answers

    def _are_good(
        self,
        digests: Sequence[bytes],
        raws: Sequence[BytesLike] | None,
        run: ReadRange,
        stored: list[bytes] | None,
    ) -> bool:
        """Whether the stored bytes of a run are those of their keys: a checksum alone does not do here (ADR 12)."""
        if stored is None:
            return False
        if raws is None:
            return self.records.are_good(digests, run, self.records.decoded(run, stored))
        return self.records.decoded(run, stored) == [raws[at] for at in run.positions]

    def _copy(self, digest: bytes, synced: Mapping[int, int], durability: Durability) -> Copy:
        """Return the best of the copies of one object; under full durability one that a power loss may take is none."""
        try:
            records = self.index.find_all(digest)
        except DamagedContainer:
            return Copy.MISSING
        best = Copy.MISSING
        for record in records:
            if durability is Durability.FULL and record.offset + record.length > synced.get(record.pack_id, 0):
                continue
            if self.records.is_good(record):
                return Copy.GOOD
            best = Copy.DAMAGED
        return best

    def verify(self, verify: Verify) -> None:
        self.records.hashes = verify is Verify.HASH

    def read_verified_many(self, digests: Sequence[bytes]) -> Iterator[VerifiedObject]:
        for run, stored in self.records.stored_runs(self.index.find_many(digests).runs(GAP, WINDOW)):
            if stored is None:
                continue
            dictionaries = self.records.dictionaries_of(run)
            raws = self.records.decoded(run, stored)
            for at, raw, codec, form in zip(run.positions, raws, run.codec, stored, strict=True):
                if raw is not None and self.hash.digest_of(raw) == digests[at]:
                    dictionary = dictionaries.get(codec)
                    own = Codec.ZSTD if dictionary is not None else Codec(codec)
                    yield VerifiedObject(digests[at], raw, own, form, dictionary)

    def stored_frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        record = self.index.find(digest)
        if record is None or not record.flags or not self.records.is_good(record):
            return None
        return self.records.stored_form(record)

    def verify_many(self, digests: Sequence[bytes]) -> list[bool]:
        good = [False] * len(digests)
        for run, stored in self.records.stored_runs(self.index.find_many(digests).runs(GAP, WINDOW)):
            raws = () if stored is None else self.records.decoded(run, stored)
            if stored is None or None in raws:
                continue
            for at, key in zip(run.positions, self.hash.keys_of(cast(Sequence[bytes], raws)), strict=True):
                good[at] = digests[at].hex() == key
        return [hit or self.has_hash(digest) for hit, digest in zip(good, digests, strict=True)]

    # Inserting.

    def writer(
        self, known: KnownCheck | None = None, durability: Durability | None = None, trust: Trust = Trust.VERIFY
    ) -> BatchWriter:
        from rsdos.stores.batch import BatchWriter
        from rsdos.stores.packed.writer import PackedBatch

        batch = PackedBatch(self.context, durability or self.durability)
        return BatchWriter(batch, self.hash, known or self.own_copies, trust)

    def own_copies(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> list[Copy]:
        return self.check_copies(digests, trust, Durability.RELAXED, raws)

    # The whole.

    def key_lists(self) -> Iterator[Sequence[str]]:
        return self.index.key_lists()

    def meta_lists(self) -> Iterator[Sequence[ObjectMeta | DamagedObject]]:
        for entries in self.index.tables():
            for at in range(0, len(entries), _DESCRIBED):
                yield metas_of(entries.take(slice(at, at + _DESCRIBED)))

    def with_prefix(self, prefix: str) -> Iterator[str]:
        for keys in self.index.key_lists(prefix):
            yield from keys

    def count(self) -> int:
        return self.index.snapshot.manifest.objects

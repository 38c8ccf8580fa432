"""The packed store: many objects in one file, found through the index."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import add
from typing import TYPE_CHECKING, TypeVar, cast

from rsdos.config import Config
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DecodeError, log_warning
from rsdos.index.snapshot import Found, ReadRange, Snapshot
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, Copy, Durability, ObjectMeta, Place, Record, Trust, Verify
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import Scan, scan
from rsdos.stores.base import LOOKUPS, MOST_LOOKUPS, first_good
from rsdos.stores.batch import KnownCheck
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Checkpoint, Depth, Finding, Rebuilt, Reclaimed, Rewritten, Sample, VerifiedObject
from rsdos.stores.packed.checkpoint import open_checkpoint
from rsdos.stores.packed.garbage import collect_garbage
from rsdos.stores.packed.reader import RecordReader, codec_of_record, decoded
from rsdos.stores.packed.stats import open_index, stats_of
from rsdos.stores.packs import GAP, WINDOW, Listed, PackStore
from rsdos.stores.stats import PackedStats

if TYPE_CHECKING:
    from rsdos.stores.packed.check import NativeCheck
    from rsdos.stores.packed.rebuild import Rebuild
    from rsdos.stores.packed.writer import PackedBatchWriter

_T = TypeVar("_T")


class PackedStore(PackStore):
    """The packed objects of a container of version 2; `PackedBatchWriter` has the commit protocol."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        self._container_id = bytes.fromhex(config.container_id)
        self.records = RecordReader(layout, self._container_id, self.hash)
        self.index = open_index(layout, config)
        self.index.commits.original = self.original
        self.index.replaced = self.records.close

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
        """What ``use`` makes of the first good copy; None when there is no copy at all."""
        for _ in range(MOST_LOOKUPS):
            reason = ""
            version = self.version()
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
            if self.is_latest(version):
                if reason:
                    raise DamagedObject(digest.hex(), reason)
                return None
            self.index.refresh()  # What was not there has been repacked, or deleted, since.
        raise self._never_still()

    def _never_still(self) -> Busy:
        return Busy(self._layout.packed, f"others: {MOST_LOOKUPS} times it had changed when it was looked at again")

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if record.flags:
            return first_good(
                digest, (partial(self.records.frames, copy) for copy in self._copies_until_current(digest))
            )
        data = self.read(digest)
        return None if data is None else iter((data,))

    def _copies_until_current(self, digest: bytes) -> Iterator[Record]:
        """All copies in sight; when none of those would do, those of the newest sight, if that is another."""
        for _ in range(MOST_LOOKUPS):
            version = self.version()
            yield from self.index.find_all(digest)
            if self.is_latest(version):
                return
            self.index.refresh()
        raise self._never_still()

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
        return _meta(record)

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
        for run in self.records.ahead(self.index.find_many(digests).runs(GAP, WINDOW)):
            stored = None if run.flags else self.records.stored_run(run)
            raws = [None] * len(run.positions) if stored is None else decoded(run, stored)
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
        """As promised. Of a damaged part of the index nothing is known: what it may have had is missing.

        So is what is in doubt because others commit all the time while the copies are read.
        """
        for _ in range(LOOKUPS):
            state = self.index.state
            answers = self._copies_in_sight(digests, trust, durability, raws)
            if Copy.GOOD not in answers:
                return answers
            if durability is Durability.FULL:
                self.index.make_durable()
            # What was found may have been deleted since this state was loaded.
            if self.index.is_latest(state):
                return answers
            self.index.refresh()
        return [Copy.MISSING] * len(digests)

    def _copies_in_sight(
        self, digests: Sequence[bytes], trust: Trust, durability: Durability, raws: Sequence[BytesLike] | None
    ) -> list[Copy]:
        try:
            if len(digests) == 1:  # A tenth of the cost of what follows.
                record, synced = self.index.find(digests[0]), self._synced()
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
            return [self._copy(digest, self._synced(), durability) for digest in digests]
        good = partial(self._are_good, digests, raws) if trust is Trust.VERIFY else None
        return self._copies_of(found, digests, good, self._synced(), durability)

    def _synced(self) -> dict[int, int]:
        """How much of each pack is on stable storage."""
        return {pack.id: pack.synced for pack in self.index.snapshot.manifest.packs}

    def _copies_of(
        self,
        found: Found,
        digests: Sequence[bytes],
        are_good: Callable[[ReadRange], bool] | None,
        synced: Mapping[int, int],
        durability: Durability,
    ) -> list[Copy]:
        answers = [Copy.MISSING] * len(digests)
        for run in found.runs(GAP, WINDOW):
            good = are_good is None or are_good(run)
            ends = map(add, run.offset, run.length)
            if good and (durability is Durability.RELAXED or max(ends) <= synced.get(run.pack_id, 0)):
                for at in run.positions:
                    answers[at] = Copy.GOOD
            else:
                for at in run.positions:
                    answers[at] = self._copy(digests[at], synced, durability)
        return answers

    def _are_good(self, digests: Sequence[bytes], raws: Sequence[BytesLike] | None, run: ReadRange) -> bool:
        """Whether what is there of a run is what their keys say: a checksum is no reason to write nothing (ADR 12)."""
        stored = None if run.flags else self.records.stored_run(run)
        if stored is None:
            return False
        if raws is None:
            return self.records.are_good(digests, run, decoded(run, stored))
        return decoded(run, stored) == [raws[at] for at in run.positions]

    def _copy(self, digest: bytes, synced: Mapping[int, int], durability: Durability) -> Copy:
        """The best of the copies of one object; one that a power loss could take is none under full durability."""
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
        for run in self.index.find_many(digests).runs(GAP, WINDOW):
            stored = None if run.flags else self.records.stored_run(run)
            if stored is None:
                continue
            for at, raw, codec, form in zip(run.positions, decoded(run, stored), run.codec, stored, strict=True):
                if raw is not None and self.hash.digest_of(raw) == digests[at]:
                    yield VerifiedObject(digests[at], raw, Codec(codec), form)

    def verify_many(self, digests: Sequence[bytes]) -> list[bool]:
        good = [False] * len(digests)
        for run in self.index.find_many(digests).runs(GAP, WINDOW):
            stored = None if run.flags else self.records.stored_run(run)
            raws = () if stored is None else decoded(run, stored)
            if stored is None or None in raws:
                continue
            for at, key in zip(run.positions, self.hash.keys_of(cast(Sequence[bytes], raws)), strict=True):
                good[at] = digests[at].hex() == key
        return [hit or self.has_hash(digest) for hit, digest in zip(good, digests, strict=True)]

    # Inserting.

    def appender(
        self, look: KnownCheck | None = None, durability: Durability | None = None, trust: Trust = Trust.VERIFY
    ) -> PackedBatchWriter:
        from rsdos.stores.packed.writer import PackedBatchWriter

        return PackedBatchWriter(
            self._layout,
            self._config,
            self.index,
            durability or self._durability,
            look or partial(self._own_copies, trust),
        )

    # Copying.

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        return open_checkpoint(self._layout, self.index, root)

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        from rsdos.stores.packed.delete import MOST_TOMBSTONES, write_tombstones

        self.index.refresh()
        copies = self.index.live_copies(digests)
        if isinstance(seen, Snapshot):
            copies = copies.take(copies.of_extents(seen.live_copies(digests)))
        for at in range(0, len(copies), MOST_TOMBSTONES):
            some = copies.take(slice(at, at + MOST_TOMBSTONES))
            write_tombstones(self._layout, self._config, self.index, self._durability, some)
        return copies.take(copies.distinct()).digests()

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        self.index.refresh()
        copies = self.index.live_copies(digests)
        good = [self.records.is_good(record) for record in copies]
        whole = {digest for digest, is_good in zip(copies.digests(), good, strict=True) if is_good}
        dropped = [
            not is_good and (even_the_last or digest in whole)
            for digest, is_good in zip(copies.digests(), good, strict=True)
        ]
        if any(dropped):
            from rsdos.stores.packed.delete import write_tombstones

            write_tombstones(self._layout, self._config, self.index, Durability.FULL, copies.take(dropped))

    def snapshot_keys(self) -> object:
        return self.index.refresh()

    def keys_of(self, seen: object) -> Iterator[list[bytes]]:
        assert isinstance(seen, Snapshot)
        for entries in seen.tables():
            yield entries.digests()

    # Repacking.

    def rewrite(self, pack_id: int, encoding: Encoding | None, advance: Callable[[int], None]) -> Rewritten:
        from rsdos.stores.packed.repack import Repack

        own = self._layout, self._config, self.index, self.records, self.unlink
        rewritten = Repack(*own, encoding, advance).run(pack_id)
        self.records.forget(pack_id)
        return rewritten

    def merge_index(self) -> None:
        self.index.merge(self._durability)

    def index_faults(self) -> list[Finding]:
        self.close()
        return self._rebuild().faults()

    def rebuild_index(self, aside: Callable[[], str]) -> Rebuilt:
        self.close()
        return self._rebuild().run(aside)

    def _rebuild(self) -> Rebuild:
        from rsdos.stores.packed.rebuild import Rebuild

        return Rebuild(self._layout, self._config, self.index, self.unlink)

    def collect_garbage(self) -> Reclaimed:
        return collect_garbage(self._layout, self.index.commits, self.unlink)

    # The whole.

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        return list(map(_meta, self.index.find_all(digest)))

    def stats(self) -> PackedStats:
        return stats_of(self._layout, self.index)

    def listed(self) -> Iterator[Listed]:
        snapshot = self.index.refresh()
        for pack in snapshot.manifest.packs:
            digests = (entries.digests() for entries in snapshot.in_storage_order(pack))
            yield Listed(pack.id, pack.objects - pack.dead_objects, digests)

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        return self.index.digests_of(pack_id)

    def check(self, depth: Depth, sample: Sample) -> NativeCheck:
        from rsdos.stores.packed.check import NativeCheck

        self.close()  # What was checked once is read again.
        return NativeCheck(self._layout, self._config, self.index, self.records, depth, sample)

    def note(self, name: str, note: object) -> None:
        self.index.commit(lambda newest: newest.with_note(name, note), self._durability)

    def notes(self) -> Mapping[str, object]:
        return self.index.refresh().manifest.notes

    def scan(self, pack_id: int) -> Scan:
        return scan(PackFile(self._layout.pack(pack_id), pack_id, self._container_id))

    def __iter__(self) -> Iterator[str]:
        for keys in self.index.key_lists():
            yield from keys

    def with_prefix(self, prefix: str) -> Iterator[str]:
        for keys in self.index.key_lists(prefix):
            yield from keys

    def count(self) -> int:
        return self.index.snapshot.manifest.objects


def _meta(record: Record) -> ObjectMeta:
    try:
        codec = codec_of_record(record)
    except DecodeError as error:
        raise DamagedObject(record.key, str(error)) from None
    return ObjectMeta(record.key, Place.PACKED, record.size, record.length, codec, record.extent)

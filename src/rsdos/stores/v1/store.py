"""The packed store of container version 1."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from typing import TypeVar

from rsdos.config import Config
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DecodeError
from rsdos.layout import V1Layout
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Copy, Durability, Extent, ObjectMeta, Place, Trust
from rsdos.pack.scanning import Scan
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.stores import order
from rsdos.stores.base import CHUNK, LOOKUPS, MOST_LOOKUPS, Store
from rsdos.stores.batch import KnownCheck
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import (
    Checkpoint,
    Depth,
    FilePrefix,
    Finding,
    Rebuilt,
    Reclaimed,
    Rewritten,
    Sample,
    VerifiedObject,
)
from rsdos.stores.loose.sandbox import replace_without_lock
from rsdos.stores.packs import Listed, PackStore
from rsdos.stores.stats import PackedStats, PackStats
from rsdos.stores.v1.check import V1PacksCheck
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.garbage import collect_garbage, of_keys, settle_duplicates, sweep_unused
from rsdos.stores.v1.reader import RowReader
from rsdos.stores.v1.repack import V1Repack
from rsdos.stores.v1.row import Row
from rsdos.stores.v1.salvage import faults, rebuild
from rsdos.stores.v1.seen import SeenRows, place_of
from rsdos.stores.v1.writer import V1BatchWriter

_log = logging.getLogger("rsdos")
_T = TypeVar("_T")


class V1PackStore(PackStore):
    """The packed objects of a container of version 1; `V1BatchWriter` has the commit protocol.

    Packs have no checksums: an object is verified by its hash. disk-objectstore may pack, repack and delete meanwhile:
    what a row led to is verified, and on damage the row is looked up anew and the pack opened anew before it is said.
    """

    _layout: V1Layout

    def __init__(self, layout: V1Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        # zstd only where the configuration says that it is not for disk-objectstore.
        self.codecs = frozenset({Codec.RAW, Codec.ZLIB, config.codec.codec})
        self.reader = RowReader(layout, self.hash)
        self._synced: dict[int, int] = {}
        """How much of each pack this process has synced, or found synced."""
        self.database = Database(layout, self.original)

    def version(self) -> object:
        return self.database.version()

    def has_version(self) -> bool:
        return self.database.is_connected

    def is_latest(self, version: object) -> bool:
        return self.database.version() == version and self.database.is_in_place()

    def refresh(self) -> None:
        self.database.renew()
        self.reader.close()

    def rest(self) -> None:
        self.reader.close()
        self.database.rest()

    def let_go(self) -> None:
        self.reader.close()
        self.database.let_go()

    def close(self) -> None:
        self.reader.close()
        self.database.close()

    # Reading one object.

    def _use(self, digest: bytes, use: Callable[[Row], _T]) -> _T | None:
        """What ``use`` makes of the row of an object; None when there is none. Raises `DamagedObject`."""
        row = self.database.find(digest.hex())
        looks = 0
        while row is not None:
            looks += 1
            if looks > MOST_LOOKUPS:
                raise Busy(
                    self._layout.packed, f"others: {MOST_LOOKUPS} times it had changed when it was looked at again"
                )
            fresh = not self.reader.has_open(row.pack_id)
            try:
                if not row.makes_sense:
                    raise DecodeError("its row in packs.idx makes no sense")
                return use(row)
            except (DecodeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.ENOENT):
                    raise
                # A repack gives other bytes to a pack's name, and other places to its objects.
                self.reader.forget(row.pack_id)
                now = self.database.find(digest.hex())
                if now == row and fresh:
                    self.database.renew()  # It may be that of a container that is another by now.
                    reason = error.reason if isinstance(error, DamagedObject) else str(error)
                    raise DamagedObject(digest.hex(), f"{reason} (pack {row.pack_id}, byte {row.offset})") from error
                row = now
        return None

    def read(self, digest: bytes) -> bytes | None:
        return self._use(digest, self.reader.read_object)

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        row = self.database.find(digest.hex())
        if row is None or not row.makes_sense or row.size <= FRAME_SIZE:
            data = self.read(digest)
            return None if data is None else iter((data,))
        parts = self._use(digest, self.reader.parts)
        return None if parts is None else self._named(digest, parts)

    def _named(self, digest: bytes, parts: Iterator[BytesLike]) -> Iterator[BytesLike]:
        """The same parts; damage gets the object's name."""
        try:
            yield from parts
        except (DecodeError, DamagedContainer, FileNotFoundError) as error:
            raise DamagedObject(digest.hex(), str(error)) from error

    def has_hash(self, digest: bytes) -> bool:
        try:
            parts = self.frames(digest)
            # They are verified by their hash at their end, and need no second one.
            return parts is not None and all(True for _ in parts)
        except DamagedObject:
            return False

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        return self._use(digest, self.reader.stream)

    def describe(self, digest: bytes) -> ObjectMeta | None:
        row = self.database.find(digest.hex())
        return None if row is None else self._meta(row)

    def describe_many(self, digests: Sequence[bytes]) -> list[ObjectMeta | None]:
        metas = {row.key: self._meta(row) for row in self._rows(digests)}
        return [metas.get(digest.hex()) for digest in digests]

    def _meta(self, row: Row) -> ObjectMeta:
        if not row.makes_sense:
            raise DamagedObject(row.key, "its row in packs.idx makes no sense")
        codec = Codec.ZLIB if row.compressed else Codec.RAW
        if row.compressed and Codec.ZSTD in self.codecs:
            with suppress(OSError):  # Its pack is missing or cut short: who reads it is told.
                codec = self.reader.stored(row).codec
        extent = Extent(row.pack_id, row.offset, row.length)
        return ObjectMeta(row.key, Place.PACKED, row.size, row.length, codec, extent)

    # Reading many.

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        if len(digests) == 1:
            return [self.database.find(digests[0].hex()) is not None]
        found = {row.key for row in self._rows(digests)}
        return [digest.hex() in found for digest in digests]

    def _rows(self, digests: Sequence[bytes]) -> list[Row]:
        return self.database.find_many([digest.hex() for digest in digests])

    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests, read):
            yield from zip(positions, payloads, strict=True)

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        read = read or self.read
        rows = self._rows(digests)
        positions = {digest: at for at, digest in enumerate(digests)}
        rest = {bytes.fromhex(row.key) for row in rows}
        for wholes in self.reader.wholes(rows):
            rest.difference_update(whole.digest for whole in wholes)
            yield [positions[whole.digest] for whole in wholes], [whole.raw for whole in wholes]
        for digest in rest:
            data = read(digest)
            if data is not None:
                yield (positions[digest],), (data,)

    def read_verified_many(self, digests: Sequence[bytes]) -> Iterator[VerifiedObject]:
        return chain.from_iterable(self.reader.wholes(self._rows(digests)))

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        rows: dict[bytes, Row] = {}
        for _ in range(LOOKUPS):
            rows = {bytes.fromhex(row.key): row for row in self._rows(digests)}
            good = (
                {whole.digest for wholes in self.reader.wholes(list(rows.values())) for whole in wholes}
                if trust is Trust.VERIFY
                else set(rows)
            )
            answers = [self._copy(digest, digest in good) if digest in rows else Copy.MISSING for digest in digests]
            hits = (rows[digest] for digest, copy in zip(digests, answers, strict=True) if copy is Copy.GOOD)
            is_durable = durability is not Durability.FULL or not self._make_durable(hits)
            if is_durable and (not rows or self.database.is_of_now()):
                return answers
            # A sync takes time, and another index may have come: what is there is asked once more.
        # In doubt: others have appended all the time, or a pack is missing. What is stored anew takes its row's place.
        return [Copy.DAMAGED if digest in rows else Copy.MISSING for digest in digests]

    def _copy(self, digest: bytes, is_good: bool) -> Copy:
        return Copy.GOOD if is_good or self.has_hash(digest) else Copy.DAMAGED

    def _make_durable(self, rows: Iterable[Row]) -> bool:
        """Sync the packs of some objects, which disk-objectstore does not, on Linux, and the rows, of relaxed writers.

        Returns whether the rows are to be looked up anew: one was not synced yet, or is gone, with a repack behind it.
        """
        synced = False
        ends: dict[int, int] = {}
        for row in rows:
            ends[row.pack_id] = max(ends.get(row.pack_id, 0), row.offset + row.length)
        for pack_id, end in ends.items():
            if self._synced.get(pack_id, 0) < end:
                synced = True
                path = self._layout.pack(pack_id)
                length = posix.length_of(path)
                with suppress(FileNotFoundError):
                    posix.sync_path(path)
                    posix.sync_directory(self._layout.packed)
                    self._synced[pack_id] = length
        return (bool(ends) and self.database.sync_log()) or synced

    # Inserting.

    def appender(
        self, look: KnownCheck | None = None, durability: Durability | None = None, trust: Trust = Trust.VERIFY
    ) -> V1BatchWriter:
        durability = durability or self._durability
        look = look or partial(self.check_copies, trust=trust, durability=durability)
        return V1BatchWriter(self._layout, self._config, self.database, durability, look, self._make_durable)

    def _own_copies(
        self, trust: Trust, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None
    ) -> list[Copy]:
        return self.check_copies(digests, trust, self._durability)

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        # Synced: a copy that a power loss brings back would be put in the place of the object by the next sweep.
        if sum(map(self._layout.remove, of_keys(self._layout, {digest.hex() for digest in digests}))):
            posix.sync_directory(self._layout.duplicates)
        keys = [digest.hex() for digest in digests]
        if not self.database.find_many(keys):
            return []
        planned = seen.of(digests) if isinstance(seen, SeenRows) else None
        with self.database.writing(self._durability) as transaction:
            rows = [row for row in self.database.find_many(keys) if order.may_bury(planned, place_of(row))]
            there = sorted(row.key for row in rows)
            transaction.delete(there)
        return list(map(bytes.fromhex, there))

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        if even_the_last:  # There is never more than one copy.
            bad = [row for row in self._rows(digests) if not self.has_hash(bytes.fromhex(row.key))]
            with self.database.writing() as transaction:
                for row in bad:
                    transaction.delete_exactly(row)

    def snapshot_keys(self) -> object:
        self.database.renew()
        return SeenRows(self.hash, self.database.places())

    def keys_of(self, seen: object) -> Iterator[list[bytes]]:
        assert isinstance(seen, SeenRows)
        yield from seen.digests(CHUNK)

    def _cut(self, joined: bytearray) -> Iterator[list[bytes]]:
        """Digests that were joined, in lists of bounded size."""
        step = self.hash.digest_bytes
        for start in range(0, len(joined), CHUNK * step):
            some = bytes(joined[start : start + CHUNK * step])
            yield [some[at : at + step] for at in range(0, len(some), step)]

    # Copying.

    @contextmanager
    def checkpoint(self, root: str) -> Iterator[Checkpoint]:
        target = V1Layout(root)
        for path in target.database_files:
            posix.remove(path)
        # SQLite's own copy: the file and its log change together, and are not copied one after the other.
        self.database.copy_to(target.database)
        posix.sync_path(target.database)
        copy = Database(target)
        try:
            ends = copy.ends()
        finally:
            copy.close()
        name = os.path.basename(target.packed)
        # The packs only after the index: what a row leads to was written before the row.
        pieces = (FilePrefix(f"{name}/{os.path.basename(target.pack(pack_id))}", end) for pack_id, end in ends.items())
        yield Checkpoint((os.path.basename(target.database),), tuple(pieces))

    # Repacking.

    def rewrite(self, pack_id: int, encoding: Encoding | None, advance: Callable[[int], None]) -> Rewritten:
        repack = V1Repack(self._layout, self._config, self.database, self.frames, self.unlink, encoding, advance)
        rewritten = repack.run(pack_id)
        self.reader.forget(pack_id)
        return rewritten

    def merge_index(self) -> None:
        # Rows come to stand in order again, and the space of deleted ones is given back (disk-objectstore's issue 94).
        self.database.vacuum()

    def index_faults(self) -> list[Finding]:
        return faults(self._layout, self.database, self.hash)

    def rebuild_index(self, aside: Callable[[], str]) -> Rebuilt:
        self.reader.close()
        return rebuild(self._layout, self.database, self.hash, aside)

    def collect_garbage(self) -> Reclaimed:
        files, length = collect_garbage(self._layout, self.database), 0
        files += settle_duplicates(self._layout, self.hash, self._has_good_copy)
        swept = sweep_unused(self._layout, self.database, self.unlink)
        files, length = files + swept.files, length + swept.length
        if files:
            posix.sync_directory(self._layout.packed)
        return Reclaimed(files, length)

    def _has_good_copy(self, digest: bytes) -> bool:
        """Whether an object is safe somewhere in the container, on stable storage."""
        ask: list[Store] = [self] if self.elsewhere is None else [self, self.elsewhere]
        return any(store.check_copies([digest], Trust.VERIFY, Durability.FULL)[0] is Copy.GOOD for store in ask)

    # The whole.

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        meta = self.describe(digest)
        return [] if meta is None else [meta]

    def stats(self) -> PackedStats:
        self.database.renew()
        sums = self.database.stats()
        packs = []
        for pack_id in sorted({*self._layout.pack_ids(), *sums}):
            length = posix.length_of(self._layout.pack(pack_id))
            objects, size, stored = sums.get(pack_id, (0, 0, 0))
            # What no row leads to is dead, whatever it was; overlapping rows may say more than there is.
            dead = max(length - stored, 0)
            is_full = length >= self._config.pack_size_target
            packs.append(
                PackStats(
                    pack_id, length, self._synced.get(pack_id, 0), is_full, objects, size, stored + dead, 0, 0, dead
                )
            )
        return PackedStats(tuple(packs), sum(map(posix.length_of, self._layout.database_files)))

    def listed(self) -> Iterator[Listed]:
        # All of it at once, as for a `moment`: a query that stays open keeps writers out where there is no log.
        packs: dict[int, bytearray] = {}
        for pack_id, key in self.database.in_storage_order():
            if self.hash.is_key(key):
                packs.setdefault(pack_id, bytearray()).extend(bytes.fromhex(key))
        for pack_id, joined in packs.items():
            yield Listed(pack_id, len(joined) // self.hash.digest_bytes, self._cut(joined))

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        for rows in self.database.rows(pack_id):
            yield [bytes.fromhex(row.key) for row in rows if self.hash.is_key(row.key)]

    def check(self, depth: Depth, sample: Sample) -> V1PacksCheck:
        self.database.renew()
        read = self.reader.wholes, self.frames
        return V1PacksCheck(self._layout, self.hash, self.database, read, depth, sample)

    def note(self, name: str, note: object) -> None:
        write_notes(self._layout, {**self.notes(), name: note})

    def notes(self) -> Mapping[str, object]:
        return read_notes(self._layout.notes)

    def scan(self, pack_id: int) -> Scan:
        """No batches, and as uncovered what no row leads to."""
        end = os.stat(self._layout.pack(pack_id)).st_size
        uncovered = []
        at = 0
        for rows in self.database.rows(pack_id):
            for row in rows:
                if row.offset > at:
                    uncovered.append((at, row.offset))
                at = max(at, row.offset + row.length)
        if at < end:
            uncovered.append((at, end))
        return Scan((), tuple(uncovered))

    def __iter__(self) -> Iterator[str]:
        return self.with_prefix("")

    def with_prefix(self, prefix: str) -> Iterator[str]:
        self.database.renew()
        for keys in self.database.keys(prefix):
            yield from filter(self.hash.is_key, keys)

    def count(self) -> int:
        self.database.renew()
        return self.database.count()


_MOST_BYTES = 1 << 20


def read_notes(path: str) -> Mapping[str, object]:
    """All notes; none where there is no such file or it is not whole: nothing depends on them."""
    try:
        return decode_document(posix.read_file(path, _MOST_BYTES))
    except (OSError, ValueError):
        return {}


def write_notes(layout: V1Layout, notes: Mapping[str, object]) -> None:
    """Put these notes, synced, in the place of those that are there."""
    replace_without_lock(layout, layout.notes, encode_document({**notes}))
    posix.sync_directory(layout.root)

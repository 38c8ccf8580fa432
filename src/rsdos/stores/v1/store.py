"""The packed store of container version 1."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TypeVar

from rsdos.config import Config
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, InvalidOption
from rsdos.layout import V1Layout
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Copy, Durability, Extent, ObjectMeta, PackKind, Place, Trust
from rsdos.storage import posix
from rsdos.stores.base import LOOKUPS, MOST_LOOKUPS, KnownCheck
from rsdos.stores.batch import BatchWriter
from rsdos.stores.findings import VerifiedObject
from rsdos.stores.packs import PackStore
from rsdos.stores.v1.context import V1Context
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.inspection import V1Inspection
from rsdos.stores.v1.maintenance import V1Maintenance
from rsdos.stores.v1.reader import RowReader
from rsdos.stores.v1.row import Row
from rsdos.stores.v1.writer import V1Batch

_T = TypeVar("_T")


class V1PackStore(PackStore):
    """The packed objects of a container of version 1; `rsdos.stores.v1.writer` has the commit protocol.

    Packs have no checksums: an object is verified by its hash. disk-objectstore may pack, repack and delete at any
    time. So before damage is reported, the row is looked up and the pack opened once more.
    """

    def __init__(self, layout: V1Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        self._layout = layout
        # zstd only if the configuration says that disk-objectstore need not read the container.
        self.codecs = frozenset({Codec.RAW, Codec.ZLIB, config.codec.codec})
        self.reader = RowReader(layout, self.hash)
        self.database = Database(layout, self.original)
        self._context = V1Context(layout, config, durability, self.database, self.reader)
        self._synced = self._context.synced
        self._maintenance: V1Maintenance | None = None
        self._inspection: V1Inspection | None = None

    @property
    def maintenance(self) -> V1Maintenance:
        """The maintenance of this store."""
        if self._maintenance is None:
            self._maintenance = V1Maintenance(self._context, self.frames, self.has_hash)
        return self._maintenance

    @property
    def inspection(self) -> V1Inspection:
        """The inspection of this store."""
        if self._inspection is None:
            self._inspection = V1Inspection(self._context, self.describe)
        return self._inspection

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
        """Return what ``use`` returns for the row of an object; None without a row. Raise `DamagedObject`."""
        row = self.database.find(digest.hex())
        looks = 0
        while row is not None:
            looks += 1
            if looks > MOST_LOOKUPS:
                raise self.never_still()
            fresh = not self.reader.has_open(row.pack_id)
            try:
                if not row.makes_sense:
                    raise DecodeError("its row in packs.idx makes no sense")
                return use(row)
            except (DecodeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.ENOENT):
                    raise
                # After a repack the pack's name has other bytes, and its objects have other places.
                self.reader.forget(row.pack_id)
                now = self.database.find(digest.hex())
                if now == row and fresh:
                    self.database.renew()  # Another container may be at the path by now.
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
        """Yield the same parts. Add the object's key to an error of damage."""
        try:
            yield from parts
        except (DecodeError, DamagedContainer, FileNotFoundError) as error:
            raise DamagedObject(digest.hex(), str(error)) from error

    def has_hash(self, digest: bytes) -> bool:
        try:
            parts = self.frames(digest)
            # The parts are verified by their hash at their end. A second hash is not needed.
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
            raise _senseless(row)
        codec = Codec.ZLIB if row.compressed else Codec.RAW
        if row.compressed and Codec.ZSTD in self.codecs:
            with suppress(OSError):  # If its pack is missing or cut short, a read will report it.
                codec = self.reader.stored(row).codec
        extent = Extent(row.pack_id, row.offset, row.length)
        return ObjectMeta(row.key, Place.PACKED, row.size, row.length, codec, extent)

    # Reading many.

    def contains_many(self, digests: Sequence[bytes], kind: PackKind | None = None) -> list[bool]:
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
        kind: PackKind = PackKind.PLAIN,
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
            # A sync takes time, and the index may have been replaced: look up once more.
        # No stable answer: others never stopped writing, or a pack is missing. A new copy will replace the row.
        return [Copy.DAMAGED if digest in rows else Copy.MISSING for digest in digests]

    def _copy(self, digest: bytes, is_good: bool) -> Copy:
        return Copy.GOOD if is_good or self.has_hash(digest) else Copy.DAMAGED

    def _make_durable(self, rows: Iterable[Row]) -> bool:
        """Sync the packs of some objects (on Linux disk-objectstore does not), and the rows of relaxed writers.

        Return whether the rows must be looked up again: something had to be synced, or a pack is gone after a repack.
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

    def writer(
        self,
        known: KnownCheck | None = None,
        durability: Durability | None = None,
        trust: Trust = Trust.VERIFY,
        kind: PackKind = PackKind.PLAIN,
    ) -> BatchWriter:
        if kind is not PackKind.PLAIN:
            raise InvalidOption("a container of version 1 has no snapshots: migrate it to version 2 first")
        durability = durability or self.durability
        batch = V1Batch(self._layout, self._context.config, self.database, durability, self._make_durable)
        return BatchWriter(batch, self.hash, known or partial(self._own_copies, durability), trust)

    def own_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        /,
        raws: Sequence[BytesLike] | None = None,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[Copy]:
        return self.check_copies(digests, trust, self.durability)

    def _own_copies(
        self,
        durability: Durability,
        digests: Sequence[bytes],
        trust: Trust,
        /,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        return self.check_copies(digests, trust, durability)

    # The whole.

    def key_lists(self) -> Iterator[Sequence[str]]:
        return self._key_lists("")

    def _key_lists(self, prefix: str) -> Iterator[Sequence[str]]:
        self.database.renew()
        for keys in self.database.keys(prefix):
            yield list(filter(self.hash.is_key, keys))

    def metas_of(self, keys: Sequence[str]) -> list[ObjectMeta | DamagedObject]:
        rows = self.database.find_many(keys)
        return [self._meta(row) if row.makes_sense else _senseless(row) for row in rows]

    def with_prefix(self, prefix: str) -> Iterator[str]:
        for keys in self._key_lists(prefix):
            yield from keys

    def count(self) -> int:
        self.database.renew()
        return self.database.count()


def _senseless(row: Row) -> DamagedObject:
    return DamagedObject(row.key, "its row in packs.idx makes no sense")

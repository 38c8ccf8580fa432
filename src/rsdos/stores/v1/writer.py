"""Appending objects to the packs of container version 1: the commit protocol, its steps numbered as in version 2.

1. Lock a pack: by ``flock`` against writers of rsdos, and by ``packs/<id>.lock`` against disk-objectstore. If either
   lock is held, skip the pack; never take a lock from its holder.
2. Only now read the length of the pack. Append after that, even if another program wrote the last bytes.
3. Look up duplicates.
4. Write. Sync the pack, and ``packs/`` if the pack is new.
5. Check that no other program has appended since (disk-objectstore deletes a lock that it was refused) and, within the
   transaction of 6, that no duplicate was deleted since.
6. In one transaction, with ``synchronous=FULL``, add the rows.
7. Only now return the keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain
from types import TracebackType
from typing import Self

from rsdos.codecs.dictionary import Dictionary
from rsdos.config import Config
from rsdos.errors import WriterPoisoned, log_warning
from rsdos.hashing import spell_digests
from rsdos.layout import V1Layout
from rsdos.model import BytesLike, Codec, Durability, Stored
from rsdos.storage import posix
from rsdos.stores.base import LOOKUPS
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES, Absent, Duplicates, Large, settle_packed
from rsdos.stores.encoding import Encoding, Forms, Framing
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.pack import V1Pack, fresh_ids, try_pack
from rsdos.stores.v1.row import Row
from rsdos.stores.v1.sqlite_error import left_nothing


class V1Batch:
    """The batch of a writer of container version 1; see `rsdos.stores.batch.OpenBatch`."""

    def __init__(
        self,
        layout: V1Layout,
        config: Config,
        database: Database,
        durability: Durability,
        make_durable: Callable[[Iterable[Row]], bool],
    ) -> None:
        """``make_durable`` syncs the packs of some rows, and returns whether the rows must be looked up again."""
        self.keys: set[str] = set()
        self.damaged: set[bytes] = set()
        self.pack_ids: list[int] = []
        self._make_durable = make_durable
        self._layout = layout
        self._config = config
        self._database = database
        self._durability = durability
        self._pack: V1Pack | None = None
        self._failed = False
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = self._failed or kind is not None
        pack, self._pack = self._pack, None
        if pack:
            pack.close()

    def _refuse_failed(self) -> None:
        if self._failed:
            raise WriterPoisoned("this writer has failed before")

    def _open(self) -> V1Pack:
        self._refuse_failed()
        if self._pack is None:
            self._layout.make(self._layout.locks)
            candidates = chain(self._layout.pack_ids(), fresh_ids(self._layout, self._database))
            self._pack = next(pack for pack in map(self._try, candidates) if pack)
        return self._pack

    def _try(self, pack_id: int) -> V1Pack | None:
        with suppress(FileNotFoundError):
            status = os.stat(self._layout.pack(pack_id), follow_symlinks=False)
            # A file with two names is also in a backup or a copy by ``cp -al``; during a migration it is also a pack
            # of version 2.
            if status.st_size >= self._config.pack_size_target or status.st_nlink > 1:
                return None
        # 1. Lock the pack against other writers of rsdos and of disk-objectstore.
        try:
            pack = try_pack(self._layout, pack_id)
        except PermissionError as error:
            path = self._layout.pack(pack_id)
            if error.filename != path or not os.path.lexists(path) or not os.access(self._layout.packed, os.W_OK):
                raise
            log_warning("%s: cannot be written (%s): another pack is taken", path, error.strerror)
            return None
        if pack is None:
            return None
        if pack.position >= self._config.pack_size_target:
            pack.close()
            return None
        return pack

    @property
    def room(self) -> int:
        position = self._pack.position if self._pack else 0
        return max(self._config.pack_size_target - position, 1)

    @property
    def is_full(self) -> bool:
        pack = self._open()
        full = self.room == 1 or len(self._rows) >= MOST_ENTRIES
        return full or pack.position - pack.committed >= MOST_BATCH

    def open(self) -> int:
        self._open()
        return self.room

    def begin(self) -> None:
        self._refuse_failed()  # A pack is locked only when there is something to write.

    # 4. Writing.

    def dictionary_for(self, payloads: Sequence[bytes], encoding: Encoding) -> None:
        return None  # disk-objectstore knows no dictionaries.

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        return False

    def put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        offset = self._open().write(forms.stored)
        lengths = list(map(len, forms.stored))
        offsets = list(accumulate(lengths[:-1], initial=offset))
        self._record(digests, forms.codecs, sizes, offsets, lengths)

    def put_large(self, large: Large) -> None:
        stored = large.stored
        self._record([large.digest], [stored.codec], [stored.size], [large.start], [stored.length])

    def _record(
        self,
        digests: Sequence[bytes],
        codecs: Sequence[int],
        sizes: Sequence[int],
        offsets: Sequence[int],
        lengths: Sequence[int],
    ) -> None:
        pack = self._open()
        keys = spell_digests(digests)
        columns = zip(keys, codecs, sizes, offsets, lengths, strict=True)
        self._rows += (
            Row(key, int(codec != Codec.RAW), size, offset, length, pack.id)
            for key, codec, size, offset, length in columns
        )
        self.keys.update(keys)

    def write_large(self, source: Iterator[BytesLike], encoding: Encoding) -> Large:
        pack = self._open()
        start = pack.position
        try:
            written = encoding.write_frames(source, pack, self._config.hash, Framing.NONE)
        except BaseException:
            pack.rewind(start)
            raise
        return Large(written.digest, start, written.stored, written.crc)

    def write_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> Large:
        assert not stored.flags, "version 1 has no frames"
        pack = self._open()
        start = pack.position
        try:
            for part in parts:
                pack.write([part])
        except BaseException:
            pack.rewind(start)
            raise
        return Large(digest, start, stored, 0)

    def rewind(self, offset: int) -> None:
        self._open().rewind(offset)

    # The last lookup of duplicates.

    def absent(self, digests: Sequence[bytes]) -> Absent:
        keys = list(map(bytes.hex, digests))
        there: set[str] = set()
        for _ in range(LOOKUPS):
            rows = self._database.find_many(keys)
            there = {row.key for row in rows}
            # A sync takes time. A repack may remove packs in it, and a clearing or restore may replace the index.
            is_durable = self._durability is not Durability.FULL or not self._make_durable(rows)
            if is_durable and (not rows or self._database.is_of_now()):
                return Absent([digest for digest in digests if digest.hex() not in there])
        # No stable answer, as in `V1PackStore.check_copies`.
        self.damaged.update(digest for digest in digests if digest.hex() in there)
        return Absent(digests)

    def settle(self, digests: Sequence[bytes]) -> Absent:
        return self.absent(digests) if digests else Absent(())

    # 5 and 6. The commit.

    def commit(self, duplicates: Duplicates) -> None:
        pack = self._open()
        synced = -1
        if duplicates.large is None:
            synced = self._sync(pack)
        elif self._durability is Durability.FULL:
            # Whether the large object belongs to the batch is known only in the transaction. Little is left to sync
            # there.
            posix.sync_file(pack.fd)
        try:
            with self._database.writing(self._durability) as transaction:
                if duplicates:
                    # 5. Duplicates that were deleted since step 3 are recorded after all: no other process can write
                    # to the index now.
                    settle_packed(self, duplicates, set(self.absent(duplicates.digests()).digests))
                if pack.position != synced:
                    self._sync(pack)
                # 6. Add the rows.
                damaged = {digest.hex() for digest in self.damaged}
                pack.is_kept = True
                if transaction.insert(self._rows) < len(self._rows) and self._durability is Durability.FULL:
                    # A row of a relaxed writer may have come since step 3, and a power loss may take its bytes.
                    transaction.replace(self._rows)
                else:
                    transaction.replace(row for row in self._rows if row.key in damaged)
        except OSError as error:
            # On a full disk, or over a quota, there is no commit. Cutting the pack makes the room that a delete needs.
            pack.is_kept = pack.is_kept and not left_nothing(error)
            raise
        if pack.id not in self.pack_ids:
            self.pack_ids.append(pack.id)
        pack.committed, pack.is_new, pack.is_kept = pack.position, False, False
        self._rows.clear()
        self.keys.clear()
        self.damaged.clear()
        if pack.position >= self._config.pack_size_target:
            self._pack = None
            pack.close()

    def _sync(self, pack: V1Pack) -> int:
        """Check that the end of the pack is ours, and put it on stable storage. Return its offset."""
        pack.finish()
        if self._durability is Durability.FULL:
            # 4. The bytes are on stable storage before the index names them. disk-objectstore does not sync them.
            posix.sync_file(pack.fd)
            if pack.is_new:
                posix.sync_directory(self._layout.packed)
        return pack.position

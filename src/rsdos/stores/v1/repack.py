"""Rewriting a pack of version 1: the objects of its rows are copied to another pack, and the old one is unlinked.

disk-objectstore may read at the same time: a pack that it has open stays readable, and if a pack is gone it looks up
the row again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from rsdos.config import Config
from rsdos.errors import Busy, DamagedContainer, DamagedObject
from rsdos.layout import V1Layout
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Durability
from rsdos.storage import posix
from rsdos.storage.local import LocalFile
from rsdos.stores.encoding import Encoding, Framing
from rsdos.stores.findings import Rewritten
from rsdos.stores.packs import WINDOW, unlink_pack
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.pack import V1Pack, fresh_ids, try_pack
from rsdos.stores.v1.row import Row
from rsdos.stores.v1.transaction import Transaction

Frames = Callable[[bytes], Iterator[BytesLike] | None]
"""The verified bytes of an object, in parts."""


class V1Repack:
    """The repack of one pack. The caller holds the maintenance lock.

    1. Lock the pack, and a new one with an id that no pack has had, against writers, also those of disk-objectstore.
    2. Copy the objects that rows lead to.
    3. Sync the new pack.
    4. In one transaction, point the rows that still exist to their new places.
    5. Unlink the old pack, if there is no long reader, and sync the directory. A pack to which no row leads is garbage.
    """

    def __init__(
        self,
        layout: V1Layout,
        config: Config,
        database: Database,
        frames: Frames,
        encoding: Encoding | None,
        advance: Callable[[int], None],
    ) -> None:
        self._layout = layout
        self._config = config
        self._database = database
        self._frames = frames
        self._encoding = encoding
        self._advance = advance
        # Old offset and length, new offset and length, and whether it is compressed: 40 bytes an object.
        self._old, self._old_length = array("q"), array("q")
        self._new, self._new_length, self._compressed = array("q"), array("q"), array("q")
        self._size = 0
        self._damaged: list[str] = []

    def run(self, pack_id: int) -> Rewritten:
        """Rewrite one pack. See `PackMaintenance.rewrite`."""
        with ExitStack() as stack:
            # 1. From here on no other process appends to either pack.
            old = self._lock(pack_id)
            old.is_kept = True
            stack.enter_context(closing(old))
            other = next(pack for pack in map(self._try, fresh_ids(self._layout, self._database)) if pack)
            new = stack.enter_context(closing(other))
            self._copy(pack_id, new)
            if self._old:
                new.finish()
                # 3. The bytes are on stable storage before a row leads to them.
                posix.sync_file(new.fd)
                posix.sync_directory(self._layout.packed)
            new.is_kept = True
            # 4. The rows, all or none.
            with self._database.writing(Durability.FULL) as transaction:
                self._move_rows(transaction, pack_id, new.id)
            new.committed, new.is_kept = new.position, False
            if self._old:
                new.is_new = False  # Rows lead to the pack, even if all are of the empty object.
            # 5. Only now, and only without a long reader.
            is_gone = unlink_pack(self._layout, pack_id)
            if is_gone:
                posix.sync_directory(self._layout.packed)
            freed = old.committed - new.committed
        return Rewritten(len(self._old), self._size, freed, is_gone, tuple(self._damaged))

    def _try(self, pack_id: int) -> V1Pack | None:
        return try_pack(self._layout, pack_id)

    def _lock(self, pack_id: int) -> V1Pack:
        path = self._layout.pack(pack_id)
        if not posix.length_of(path):
            raise DamagedContainer(path, "the pack is missing or empty")
        pack = self._try(pack_id)
        if pack is None:
            raise Busy(path)
        return pack

    # 2. Copying.

    def _copy(self, pack_id: int, new: V1Pack) -> None:
        file = LocalFile(self._layout.pack(pack_id))
        size = file.size()
        for rows in self._database.rows(pack_id):
            for row in rows:
                if row.offset + row.length > size:
                    raise DamagedContainer(file.path, f"cut short: object {row.key} ends after it", row.offset)
            if self._encoding is None:
                for run in _runs(rows):
                    self._copy_run(file, run, new)
            else:
                for row in rows:
                    self._recode(file, row, new)
            self._advance(sum(row.length for row in rows))

    def _copy_run(self, file: LocalFile, run: list[Row], new: V1Pack) -> None:
        """Copy neighbours unchanged."""
        start = run[0].offset
        length = run[-1].offset + run[-1].length - start
        offset = new.position
        for at in range(0, length, WINDOW):
            new.write([file.read(start + at, min(WINDOW, length - at))])
        for row in run:
            self._note(row, offset + row.offset - start, row.length, row.compressed)

    def _recode(self, file: LocalFile, row: Row, new: V1Pack) -> None:
        assert self._encoding is not None
        start = new.position
        digest = bytes.fromhex(row.key)
        hasher = self._config.hash.new()
        try:
            if row.size > FRAME_SIZE:
                parts = self._frames(digest) or iter(())
                written = self._encoding.write_frames(parts, new, self._config.hash, Framing.NONE)
                good, codec = written.digest == digest, written.stored.codec
            else:
                raw = b"".join(self._frames(digest) or ())
                hasher.update(raw)
                good = hasher.digest() == digest
                forms = self._encoding.encode_many([raw])
                codec = Codec(forms.codecs[0])
                new.write(forms.stored)
        except DamagedObject:
            good, codec = False, Codec.RAW
        if good:
            self._note(row, start, new.position - start, int(codec is not Codec.RAW))
            return
        new.rewind(start)
        self._damaged.append(row.key)
        self._copy_run(file, [row], new)

    def _note(self, row: Row, offset: int, length: int, compressed: int) -> None:
        self._old.append(row.offset)
        self._old_length.append(row.length)
        self._new.append(offset)
        self._new_length.append(length)
        self._compressed.append(compressed)
        self._size += row.size

    # 4. The rows.

    def _move_rows(self, transaction: Transaction, pack_id: int, other: int) -> None:
        """Point rows to their new places. Deleted rows stay deleted. Raise `Busy` if a row was added since the copy."""
        for rows in transaction.rows(pack_id):
            transaction.place([(number, *self._placed(offset, length), other) for number, offset, length in rows])

    def _placed(self, offset: int, length: int) -> tuple[int, int, int]:
        at = bisect_left(self._old, offset)
        while at < len(self._old) and self._old[at] == offset:
            if self._old_length[at] == length:
                return self._compressed[at], self._new[at], self._new_length[at]
            at += 1
        raise Busy(self._layout.packed)


def _runs(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows, in the order of their offsets, in runs of direct neighbours."""
    run: list[Row] = []
    for row in rows:
        if run and row.offset != run[-1].offset + run[-1].length:
            yield run
            run = []
        run.append(row)
    if run:
        yield run

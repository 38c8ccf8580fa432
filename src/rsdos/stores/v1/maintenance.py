"""The maintenance of the packs of version 1."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rsdos.errors import DamagedContainer
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.layout import V1Layout
from rsdos.model import BytesLike, Copy, PackKind, Trust
from rsdos.storage import posix
from rsdos.stores import order
from rsdos.stores.base import KnownCheck
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import (
    Checkpoint,
    CopyKinds,
    Depth,
    FilePrefix,
    Finding,
    PacksCheck,
    Rebuilt,
    Reclaimed,
    Rewritten,
    Sample,
)
from rsdos.stores.pack_maintenance import FindRefs, keep_refs
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats
from rsdos.stores.v1.check import V1PacksCheck
from rsdos.stores.v1.context import V1Context
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.garbage import collect_garbage, collect_unused_packs, of_keys, settle_duplicates
from rsdos.stores.v1.notes import read_notes, write_notes
from rsdos.stores.v1.repack import V1Repack
from rsdos.stores.v1.salvage import faults, rebuild
from rsdos.stores.v1.seen import SeenRows, place_of

Frames = Callable[[bytes], Iterator[BytesLike] | None]
"""The verified bytes of an object, in parts."""


class V1Maintenance:
    """See `rsdos.stores.pack_maintenance.PackMaintenance`."""

    def __init__(self, context: V1Context, frames: Frames, has_hash: Callable[[bytes], bool]) -> None:
        """``has_hash`` returns whether there is a packed copy with the bytes of its key."""
        self._context = context
        self._layout = context.layout
        self._database = context.database
        self._hash = context.config.hash
        self._frames = frames
        self._has_hash = has_hash

    def packs(self) -> Packs:
        self._database.renew()
        sums = self._database.stats()
        packs = []
        for pack_id in sorted({*self._layout.pack_ids(), *sums}):
            length = posix.length_of(self._layout.pack(pack_id))
            objects, size, stored = sums.get(pack_id, (0, 0, 0))
            # Bytes to which no row leads are dead, whatever they were. Overlapping rows may exceed the file.
            dead = max(length - stored, 0)
            is_full = length >= self._context.config.pack_size_target
            synced = self._context.synced.get(pack_id, 0)
            packs.append(PackEntry(pack_id, length, synced, is_full, objects, size, stored + dead, 0, 0, dead))
        return Packs.of(packs)

    def stats(self) -> PackedStats:
        return PackedStats(self.packs(), sum(map(posix.length_of, self._layout.database_files)))

    def note(self, name: str, note: object) -> None:
        write_notes(self._layout, {**self.notes(), name: note})

    def notes(self) -> Mapping[str, object]:
        return read_notes(self._layout.notes)

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None, refs: str = "") -> list[bytes]:
        # Synced: otherwise the next garbage collection could publish a duplicate that a power loss has brought back.
        if sum(map(self._layout.remove, of_keys(self._layout, {digest.hex() for digest in digests}))):
            posix.sync_directory(self._layout.duplicates)
        keys = [digest.hex() for digest in digests]
        if not self._database.find_many(keys):
            return []
        planned = seen.of(digests) if isinstance(seen, SeenRows) else None
        with self._database.writing(self._context.durability) as transaction:
            rows = [row for row in self._database.find_many(keys) if order.may_bury(planned, place_of(row))]
            there = sorted(row.key for row in rows)
            transaction.delete(there)
        return list(map(bytes.fromhex, there))

    def kinds_of(self, digests: Sequence[bytes]) -> list[CopyKinds]:
        rows = {row.key for row in self._database.find_many([digest.hex() for digest in digests])}
        none, plain = frozenset[PackKind](), frozenset({PackKind.PLAIN})
        return [
            CopyKinds(plain if digest.hex() in rows else none, plain if self._has_hash(digest) else none)
            for digest in digests
        ]

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        if even_the_last:  # There is never more than one copy.
            rows = self._database.find_many([digest.hex() for digest in digests])
            bad = [row for row in rows if not self._has_hash(bytes.fromhex(row.key))]
            with self._database.writing() as transaction:
                for row in bad:
                    transaction.delete_exactly(row)

    def present(self) -> SeenRows:
        self._database.renew()
        seen = SeenRows(self._hash, self._database.places())
        if not seen.is_sorted:  # SQLite takes the order from its index, without a look at the keys.
            raise DamagedContainer(self._layout.database, "SQLite's index of the keys is not in the order of the keys")
        return seen

    # Packs and index.

    def rewrite(
        self,
        pack_ids: Sequence[int],
        encoding: Encoding | None,
        advance: Callable[[int], None],
        spared: Collection[int] = (),
    ) -> Rewritten:
        repack = V1Repack(self._layout, self._context.config, self._database, self._frames, encoding, advance)
        (pack_id,) = pack_ids
        rewritten = repack.run(pack_id)
        self._context.reader.forget(pack_id)
        return rewritten

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        def is_safe(digest: bytes) -> bool:
            return known([digest], Trust.VERIFY)[0] is Copy.GOOD

        files = collect_garbage(self._layout, self._database)
        files += settle_duplicates(self._layout, self._hash, is_safe)
        unused = collect_unused_packs(self._layout, self._database)
        files, length = files + unused.files, unused.length
        if files:
            posix.sync_directory(self._layout.packed)
        return Reclaimed(files, length)

    def merge_index(self) -> None:
        # Sorts the rows again, and frees the space of deleted ones (issue 94 of disk-objectstore).
        self._database.vacuum()

    def index_faults(self, find_refs: FindRefs = keep_refs) -> list[Finding]:
        return faults(self._layout, self._database, self._hash)

    def rebuild_index(self, quarantine: Quarantine, find_refs: FindRefs = keep_refs) -> Rebuilt:
        self._context.reader.close()
        return rebuild(self._layout, self._database, self._hash, quarantine)

    # Checking and copying.

    def check(self, depth: Depth, sample: Sample, moment: object = None) -> PacksCheck:
        self._database.renew()
        read = self._context.reader.wholes, self._frames
        return V1PacksCheck(self._layout, self._hash, self._database, read, depth, sample)

    @contextmanager
    def checkpoint(self, root: str) -> Iterator[Checkpoint]:
        target = V1Layout(root)
        for path in target.database_files:
            posix.remove(path)
        # Copied by SQLite: the file and its log change together, so they cannot be copied one after the other.
        self._database.copy_to(target.database)
        posix.sync_path(target.database)
        copy = Database(target)
        try:
            ends = copy.ends()
        finally:
            copy.close()
        name = os.path.basename(target.packed)
        # The packs come after the index: the bytes of a row were written before the row.
        pieces = (FilePrefix(f"{name}/{os.path.basename(target.pack(pack_id))}", end) for pack_id, end in ends.items())
        yield Checkpoint((os.path.basename(target.database),), tuple(pieces))

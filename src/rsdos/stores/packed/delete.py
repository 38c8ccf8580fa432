"""Deleting packed objects: a batch without payloads, whose records are tombstones (design, section 3)."""

from __future__ import annotations

from rsdos.errors import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.index.liveness import live_mask, with_dead_counts
from rsdos.index.manifest import WHOLE_PACK, Manifest
from rsdos.model import DIGEST_BYTES, Durability, RecordFlag
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext

MOST_TOMBSTONES = 1 << 16
"""Tombstones in one batch: 4.3 MB of it, and a few times that in memory."""


def write_tombstones(context: PackedContext, durability: Durability, copies: Entries) -> None:
    """Commit a batch that kills some live copies, given sorted. No power loss undoes it, under full durability.

    Steps as of an insert (`rsdos.stores.packed.writer`): lock a pack (1, 2), write and sync the batch (4), commit (5,
    6). There is no step 3. The caller holds the maintenance lock: nobody else deletes or repacks at the same time.
    """
    index = context.index
    tombstones = copies.as_tombstones()
    with ActivePack(context) as pack:
        # 4. Write the tombstones.
        segment = pack.finish_batch(tombstones)
        synced = pack.sync(durability)

        def change(newest: Manifest) -> Manifest:
            manifest = newest.with_pack(pack.entry_after(newest, synced)).with_segments((), segment)
            try:
                before = index.open(newest).copies_like(copies)
            except (DamagedContainer, FileNotFoundError):
                before = copies  # A repair counts anew.
            both = Entries.joined((before, tombstones)).sort()
            return with_dead_counts(manifest, before, both.take(live_mask(both, newest.pack_ids)))

        # 5 and 6.
        pack.committed(index.commit(change, durability, pack.fresh))


def tombstone_of_pack(pack_id: int) -> Entries:
    """Return the entry that says that no entry of a whole pack counts any more."""
    return Entries.of(
        [bytes(DIGEST_BYTES)],
        pack_id=pack_id,
        offset=WHOLE_PACK,
        length=0,
        size=0,
        crc=0,
        codec=0,
        flags=RecordFlag.TOMBSTONE,
    )

"""Deleting packed objects: a batch without payloads, whose records are tombstones (docs/design.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rsdos.errors import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.index.liveness import live_mask, with_dead_counts
from rsdos.index.manifest import WHOLE_PACK, Manifest
from rsdos.index.view import IndexView
from rsdos.model import DIGEST_BYTES, Durability, PackKind, RecordFlag
from rsdos.stores import lifetime
from rsdos.stores.lifetime import Live
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.publisher import Outdated

MOST_TOMBSTONES = 1 << 16
"""Tombstones in one batch: 4.3 MB of it, and a few times that in memory."""


def _as_is(newest: Manifest, manifest: Manifest) -> Manifest:
    return manifest


def while_marked(refs: str) -> Callable[[Manifest, Manifest], Manifest]:
    """Return the last step of a commit that deletes objects to which these refs do not lead; see `lifetime`.

    It raises `Outdated` if others are the newest.
    """

    def finish(newest: Manifest, manifest: Manifest) -> Manifest:
        live = live_of(newest)
        if not lifetime.may_delete(refs, live.refs):
            raise Outdated(live)
        return manifest._replace(epoch=lifetime.after_delete(live.epoch))

    return finish


def live_of(manifest: Manifest) -> Live:
    """Return what publishers and deleters compare of a manifest."""
    return Live(manifest.refs, manifest.epoch)


class _Moved(Exception):
    """Repacks have moved some of the copies to be killed, and have committed first."""

    def __init__(self, copies: Entries) -> None:
        super().__init__()
        self.copies = copies
        """Those to be killed now."""


def write_tombstones(
    context: PackedContext,
    durability: Durability,
    copies: Entries,
    finish: Callable[[Manifest, Manifest], Manifest] = _as_is,
    kinds: Collection[PackKind] = (),
) -> None:
    """Commit a batch that kills some live copies, given sorted. No power loss undoes it, under full durability.

    ``finish`` gets the newest manifest and the next one within the commit, and returns the next one. It may raise;
    nothing is committed then.

    Steps as of an insert (`rsdos.stores.packed.writer`): lock a pack (1, 2), write and sync the batch (4), commit (5,
    6). There is no step 3. The caller holds the maintenance lock: nobody else deletes or repacks at the same time.
    Other machines do, where locks do not reach them. If a repack of theirs has moved some of the copies before the
    commit, the batch is written again, and kills what has their keys in packs of ``kinds`` then.
    """
    while len(copies):
        try:
            _write_tombstones(context, durability, copies, finish, kinds)
        except _Moved as moved:
            copies = moved.copies
        else:
            return


def _write_tombstones(
    context: PackedContext,
    durability: Durability,
    copies: Entries,
    finish: Callable[[Manifest, Manifest], Manifest],
    kinds: Collection[PackKind],
) -> None:
    index = context.index
    tombstones = copies.as_tombstones()
    with ActivePack(context) as pack:
        # 4. Write the tombstones.
        segment = pack.finish_batch(tombstones)
        synced = pack.sync(durability)

        def change(newest: Manifest) -> Manifest:
            if not (index.appends or copies.of_packs(newest.pack_ids).all()):
                raise _Moved(followed(index.open(newest), copies, kinds))
            manifest = newest.with_pack(pack.entry_after(newest, synced)).with_segments((), segment)
            try:
                before = index.open(newest).copies_like(copies)
            except (DamagedContainer, FileNotFoundError):
                before = copies  # A repair counts anew.
            both = Entries.joined((before, tombstones)).sort()
            after = both.take(live_mask(both, newest.pack_ids))
            return finish(newest, with_dead_counts(newest, manifest, before, after))

        # 5 and 6.
        pack.committed(index.commit(change, durability, pack.fresh, pack.tables))


def followed(view: IndexView, copies: Entries, kinds: Collection[PackKind]) -> Entries:
    """Return some copies, sorted, with those of packs that are gone replaced by what has their keys now.

    A pack goes when a repack has moved what lived in it: to where, nobody has noted. So it is every copy of such a key
    in packs of ``kinds``. Raise `DamagedContainer` and FileNotFoundError.
    """
    there = copies.of_packs(view.manifest.pack_ids)
    left = copies.take(there)
    moved = view.of_kinds(kinds).copies_like(copies.take(~there))
    return Entries.joined((left, moved.take(~moved.of_extents(left)))).sort()


def tombstones_of_packs(pack_ids: Sequence[int]) -> Entries:
    """Return the entries that say that no entry of whole packs counts any more."""
    return Entries.of(
        [bytes(DIGEST_BYTES)] * len(pack_ids),
        pack_id=list(pack_ids),
        offset=WHOLE_PACK,
        length=0,
        size=0,
        crc=0,
        codec=0,
        flags=RecordFlag.TOMBSTONE,
    )

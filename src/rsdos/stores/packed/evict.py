"""Dropping the oldest packs of a cache, whose objects can be read again from elsewhere.

1. lock the pack against writers; 2. commit a manifest without it; 3. unlink it, if no long reader runs. A process that
is killed after 2 leaves a file, which the next `evict` or `rsdos.stores.packed.garbage` removes.
"""

from __future__ import annotations

from contextlib import suppress

from rsdos.errors import Busy
from rsdos.index.manifest import Manifest
from rsdos.index.segment_files import without_dead
from rsdos.model import Durability
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.garbage import collect_garbage
from rsdos.stores.packed.rewrite import lock_pack
from rsdos.stores.packs import unlink_pack

_QUARTER = 4


def evict(context: PackedContext, budget: int) -> None:
    """Drop the oldest packs until all together have at most ``budget`` stored bytes; the newest stays.

    Packs that are being written to are passed over. Raise OSError.
    """
    index = context.index
    is_changed = False
    for pack in sorted(index.refresh().manifest.packs, key=lambda pack: pack.id)[:-1]:
        if index.view.manifest.packs_length <= budget:
            break
        with suppress(Busy), lock_pack(context, pack.id):  # 1.
            is_changed = True

            def change(newest: Manifest, pack_id: int = pack.id) -> Manifest:
                return without_dead(newest.without_pack(pack_id), index.open_segment)

            index.commit(change, Durability.RELAXED)  # 2.
            context.records.forget(pack.id)
            unlink_pack(context.layout, pack.id)  # 3.
    if is_changed:
        collect_garbage(context)


def old_packs(context: PackedContext, budget: int) -> frozenset[int]:
    """Return the oldest quarter of the packs, of a cache that has three quarters of its budget or more."""
    manifest = context.index.view.manifest
    if manifest.packs_length * _QUARTER < budget * (_QUARTER - 1):
        return frozenset()
    ids = sorted(manifest.pack_ids)
    return frozenset(ids[: len(ids) // _QUARTER])

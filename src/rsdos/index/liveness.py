"""Which entries are alive: a tombstone kills one extent of its key, and the entries of a removed pack are dead.

Everything is decided within a sorted table that has all entries of the keys in it: a tombstone has the key of what it
kills, and so is right beside it, in whatever segment each of them was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsdos.index.digests import Mask, Positions
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest
from rsdos.index.pack_entry import PackEntry
from rsdos.model import Counts, PackKind


def live_mask(table: Entries, packs: Sequence[int]) -> Mask:
    """The entries that no tombstone of this table kills, and whose pack is one of ``packs``; the table is sorted."""
    here = np.isin(table.records["pack_id"], packs)
    tombstone = table.is_tombstone()
    if not tombstone.any():
        return here
    extent = _extents(table)
    killed = np.zeros(len(table), np.bool_)
    killed[extent[tombstone]] = True
    return here & ~tombstone & ~killed[extent]


def kept_by_merge(table: Entries, packs: Sequence[int]) -> Mask:
    """What a merge of the segments that this table is from keeps of it: what lives, and tombstones of what may.

    An entry goes together with the tombstone that kills it; a tombstone of an entry that is not in this table stays,
    once, because the entry is in another segment, unless its pack is gone.
    """
    here = np.isin(table.records["pack_id"], packs)
    tombstone = table.is_tombstone()
    if not tombstone.any():
        return here
    extent = _extents(table)
    killed, known = np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
    killed[extent[tombstone]] = True
    known[extent[~tombstone]] = True
    first = np.append(True, extent[1:] != extent[:-1])
    return here & np.where(tombstone, first & ~known[extent], ~killed[extent])


def _extents(table: Entries) -> Positions:
    """For each entry the number of its extent: neighbours that have key, pack and offset in common are of one."""
    same = table.prefixes[1:] == table.prefixes[:-1]
    for name in ("tail", "pack_id", "offset"):
        same &= table.records[name][1:] == table.records[name][:-1]
    return np.append(0, np.cumsum(~same))


def counting_mask(table: Entries, kinds: Mapping[int, PackKind]) -> Mask:
    """The copies that count, one of each key: that of the smallest (kind, pack_id, offset). The others are dead bytes.

    The table is sorted, and has all living copies of its keys. ``kinds`` are those of the packs that are not plain.
    """
    mask = table.distinct()
    if not kinds or mask.all():
        return mask
    first = np.flatnonzero(mask)
    key = np.cumsum(mask) - 1
    # By the column's own numbers, since few packs are not plain.
    rank = np.zeros(len(table), np.uint8)
    for kind in set(kinds.values()):
        rank[table.of_packs([pack_id for pack_id, own in kinds.items() if own is kind])] = kind
    best = np.flatnonzero(rank == np.minimum.reduceat(rank, first)[key])
    mask[:] = False
    mask[best[np.append(True, key[best][1:] != key[best][:-1])]] = True
    return mask


def with_dead_counts(newest: Manifest, manifest: Manifest, before: Entries, after: Entries) -> Manifest:
    """``manifest`` with its packs' dead bytes as they are once ``after`` lives where, in ``newest``, ``before`` did.

    Both are sorted tables with all living copies of the same keys; see `counting_mask`.
    """
    gone = before.take(counting_mask(before, newest.packs.kinds)).counts()
    come = after.take(counting_mask(after, manifest.packs.kinds)).counts()
    none = Counts()
    packs = filter(None, map(manifest.pack, sorted({*gone, *come})))
    return manifest.with_packs(
        [_recount_dead(pack, gone.get(pack.id, none), come.get(pack.id, none)) for pack in packs]
    )


def _recount_dead(pack: PackEntry, gone: Counts, come: Counts) -> PackEntry:
    # Within bounds, whatever was counted before: a manifest that contradicts itself counts as damaged.
    return pack.counting(pack.total, (pack.dead + gone - come).within(pack.total))

"""Which entries are alive: a tombstone kills one extent of its key, and the entries of a removed pack are dead.

Everything is decided within a sorted table that has all entries of its keys. A tombstone has the key of the entry that
it kills. So the two are neighbours, whatever segments they come from.
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
    """Return a mask of the entries of ``packs`` that no tombstone of this table kills; the table is sorted."""
    here = np.isin(table.records["pack_id"], packs)
    tombstone = table.is_tombstone()
    if not tombstone.any():
        return here
    extent = _extents(table)
    killed = np.zeros(len(table), np.bool_)
    killed[extent[tombstone]] = True
    return here & ~tombstone & ~killed[extent]


def kept_by_merge(table: Entries, packs: Sequence[int]) -> Mask:
    """Return a mask of what a merge keeps of its segments' table: live entries, and tombstones that are still needed.

    An entry is dropped together with the tombstone that kills it. A tombstone whose entry is not in this table is kept,
    once, because the entry is in another segment. Entries and tombstones of packs that are gone are dropped.
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
    """Return the number of the extent of each entry: neighbours with the same key, pack and offset have one number."""
    same = table.prefixes[1:] == table.prefixes[:-1]
    for name in ("tail", "pack_id", "offset"):
        same &= table.records[name][1:] == table.records[name][:-1]
    return np.append(0, np.cumsum(~same))


def counting_mask(table: Entries, kinds: Mapping[int, PackKind]) -> Mask:
    """Return a mask of the copies that count: of each key the one with the smallest (kind, pack_id, offset).

    The table is sorted, and has all living copies of its keys. ``kinds`` are those of the packs that are not plain.
    """
    mask = table.distinct()
    if not kinds or mask.all():
        return mask
    first = np.flatnonzero(mask)
    key = np.cumsum(mask) - 1
    # Kind by kind, since few packs are not plain.
    rank = np.zeros(len(table), np.uint8)
    for kind in set(kinds.values()):
        rank[table.of_packs([pack_id for pack_id, own in kinds.items() if own is kind])] = kind
    best = np.flatnonzero(rank == np.minimum.reduceat(rank, first)[key])
    mask[:] = False
    mask[best[np.append(True, key[best][1:] != key[best][:-1])]] = True
    return mask


def with_dead_counts(newest: Manifest, manifest: Manifest, before: Entries, after: Entries) -> Manifest:
    """Return ``manifest`` with new counts of dead bytes: ``before`` lived in ``newest``, and ``after`` lives now.

    Both are sorted tables with all living copies of the same keys; see `counting_mask`.
    """
    gone = before.take(counting_mask(before, newest.packs.kinds)).counts()
    come = after.take(counting_mask(after, manifest.packs.kinds)).counts()
    none = Counts()
    packs = filter(None, map(manifest.packs.find, sorted({*gone, *come})))
    return manifest.with_packs(
        [_recount_dead(pack, gone.get(pack.id, none), come.get(pack.id, none)) for pack in packs]
    )


def _recount_dead(pack: PackEntry, gone: Counts, come: Counts) -> PackEntry:
    # Keep the counts within bounds, whatever was counted before: a manifest that contradicts itself counts as damaged.
    return pack.counting(pack.total, (pack.dead + gone - come).within(pack.total))

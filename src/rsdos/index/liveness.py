"""Which entries are alive: a tombstone kills one extent of its key, and a pack that is gone takes all of its own along.

Everything is decided within a sorted table that has all entries of the keys in it: a tombstone has the key of what it
kills, and so stands right beside it, in whatever segment each of them was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsdos.index.entries import Entries, Mask, Positions
from rsdos.index.manifest import Manifest, PackEntry
from rsdos.model import Counts


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


def with_dead_counts(manifest: Manifest, before: Entries, after: Entries) -> Manifest:
    """The same with its packs' dead bytes as they are once ``after`` lives where ``before`` did.

    Both are sorted tables with all living copies of the same keys. Of the copies of a key the first, by (pack_id,
    offset), is the one that counts; the others are dead bytes.
    """
    gone, come = (table.take(table.distinct()).counts() for table in (before, after))
    none = Counts()
    packs = (_recount_dead(pack, gone.get(pack.id, none), come.get(pack.id, none)) for pack in manifest.packs)
    return manifest._replace(packs=tuple(packs))


def _recount_dead(pack: PackEntry, gone: Counts, come: Counts) -> PackEntry:
    # Within bounds, whatever was counted before: a manifest that contradicts itself counts as damaged.
    return pack.counting(pack.total, (pack.dead + gone - come).within(pack.total))

"""A set of keys that takes 8 bytes for each: for bulk lookups where "yes" is the safe answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from rsdos.hashing import join_digests
from rsdos.index.digests import PREFIX, Mask, Prefixes, prefixes_in
from rsdos.index.entries import Entries
from rsdos.model import DIGEST_BYTES

_SLACK = 8
"""A growing set has room for one in so many more of its keys. On Linux a large array grows without being copied."""


class KeySet:
    """Knows keys by their first 8 bytes. With n members, one other key in 10^19 / n counts as a member.

    Memory: 8 bytes a key, 9 while the set is made: 90 MB for ten million.
    """

    def __init__(self, joined: Iterable[bytes]) -> None:
        """Make the set of digests that follow one another in pieces of any size. A key may come twice."""
        known = np.empty(0, PREFIX)
        count = 0
        for piece in joined:
            prefixes = prefixes_in(piece, DIGEST_BYTES)
            end = count + len(prefixes)
            if end > len(known):
                known.resize(end + end // _SLACK, refcheck=False)
            known[count:end] = prefixes
            count = end
        known.resize(count, refcheck=False)
        known.sort()
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    def without(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of the digests that are not members, in their order."""
        members = self._members(prefixes_in(join_digests(digests), DIGEST_BYTES)).tolist()
        return [digest for digest, member in zip(digests, members, strict=True) if not member]

    def others(self, entries: Entries) -> Entries:
        """Return those of the entries whose keys are not members."""
        return entries.take(~self._members(entries.prefixes))

    def _members(self, wanted: Prefixes) -> Mask:
        if not len(self._known):
            return np.zeros(len(wanted), np.bool_)
        at = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        return np.equal(self._known[at], wanted)

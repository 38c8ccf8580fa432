"""A set of keys that takes 8 bytes for each: for bulk lookups where "yes" is the safe answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rsdos.hashing import join_digests
from rsdos.index.digests import Mask, Prefixes, prefixes_in


class KeySet:
    """Knows keys by their first 8 bytes. With n members, one other key in 10^19 / n counts as a member."""

    def __init__(self) -> None:
        self.parts: list[Prefixes] = []
        """The members, sorted in each part."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def add(self, keys: Prefixes) -> None:
        """Add keys, given sorted. A key that comes twice counts twice."""
        if len(keys):
            self.parts.append(keys.copy())

    def among(self, keys: Prefixes) -> Mask:
        """Return a mask of the members among some keys, given sorted."""
        mask = np.zeros(len(keys), np.bool_)
        for known in self.parts:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            mask |= known[at] == keys
        return mask


def picked(digests: Sequence[bytes], digest_bytes: int, among: Callable[[Prefixes], Mask]) -> list[bytes]:
    """Return those of the digests, in their order, that ``among`` picks. It is given their first 8 bytes, sorted."""
    prefixes = prefixes_in(join_digests(digests), digest_bytes)
    order = np.argsort(prefixes)
    return [digests[at] for at in np.sort(order[among(prefixes[order])]).tolist()]

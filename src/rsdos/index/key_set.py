"""A set of keys that takes 8 bytes for each: for bulk lookups where "yes" is the safe answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from rsdos.hashing import join_digests
from rsdos.index.digests import PREFIX, Mask, Prefixes
from rsdos.index.entries import Entries
from rsdos.model import DIGEST_BYTES


class KeySet:
    """Knows keys by their first 8 bytes. With n members, one other key in 10^19 / n counts as a member.

    Memory: 8 bytes a key, twice that while the set is made: 160 MB for ten million.
    """

    def __init__(self, digests: Iterable[Sequence[bytes]]) -> None:
        """Make the set of digests, which are given in lists of any size."""
        self._fill([_prefixes(some) for some in digests])

    @classmethod
    def of_joined(cls, joined: Iterable[bytes], digest_bytes: int = DIGEST_BYTES) -> Self:
        """Return the set of digests that follow one another in pieces of any size. A key may come twice."""
        made = cls(())
        made._fill([_prefixes_in(piece, digest_bytes) for piece in joined])
        return made

    def _fill(self, parts: list[Prefixes]) -> None:
        self._known = np.concatenate(parts) if parts else np.empty(0, PREFIX)
        parts.clear()
        self._known.sort()

    def __len__(self) -> int:
        return len(self._known)

    def without(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of the digests that are not members, in their order."""
        members = self._members(_prefixes(digests)).tolist()
        return [digest for digest, member in zip(digests, members, strict=True) if not member]

    def others(self, entries: Entries) -> Entries:
        """Return those of the entries whose keys are not members."""
        return entries.take(~self._members(entries.prefixes))

    def _members(self, wanted: Prefixes) -> Mask:
        if not len(self._known):
            return np.zeros(len(wanted), np.bool_)
        at = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        return np.equal(self._known[at], wanted)


def _prefixes(digests: Sequence[bytes]) -> Prefixes:
    return _prefixes_in(join_digests(digests), len(digests[0])) if digests else np.empty(0, PREFIX)


def _prefixes_in(joined: bytes, digest_bytes: int) -> Prefixes:
    kind = np.dtype([("prefix", ">u8"), ("rest", f"V{digest_bytes - 8}")])
    return np.frombuffer(joined, kind)["prefix"].astype(PREFIX)

"""Digests as columns, and the search for many of them in a sorted table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from rsdos.hashing import JoinedDigests, join_digests
from rsdos.model import DIGEST_BYTES

PREFIX = np.dtype("<u8")
"""The first 8 bytes of a key as a big-endian number, so that a dense array of them can be searched."""

DIGEST = np.dtype([("prefix", ">u8"), ("tail", "V24")])
assert PREFIX.itemsize == 8 and DIGEST.itemsize == DIGEST_BYTES

Positions: TypeAlias = npt.NDArray[np.intp]
Records: TypeAlias = npt.NDArray[Any]
Prefixes: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Digests:
    """Many digests as columns, for searching."""

    prefixes: Prefixes
    tails: Records

    @classmethod
    def of(cls, digests: Sequence[bytes]) -> Self:
        raw = np.frombuffer(join_digests(digests), DIGEST)
        return cls(raw["prefix"].astype(PREFIX), raw["tail"])

    def __len__(self) -> int:
        return len(self.prefixes)

    def joined(self) -> JoinedDigests:
        """Return the digests as one bytes object."""
        return JoinedDigests(digest_rows(self.prefixes, self.tails).tobytes(), DIGEST_BYTES)

    def to_list(self) -> list[bytes]:
        """Return the digests one by one."""
        data = self.joined().joined
        return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]

    def take(self, at: Positions | Mask) -> Digests:
        return Digests(self.prefixes[at], self.tails[at])


def digest_rows(prefixes: Prefixes, tails: Records) -> Records:
    """Return the columns of digests as a table of `DIGEST`."""
    rows = np.empty(len(prefixes), DIGEST)
    rows["prefix"], rows["tail"] = prefixes, tails
    return rows


def prefixes_in(joined: bytes, record_bytes: int) -> Prefixes:
    """Return the first 8 bytes of records that follow one another, as numbers."""
    kind = np.dtype([("prefix", ">u8"), ("rest", f"V{record_bytes - 8}")])
    return np.frombuffer(joined, kind)["prefix"].astype(PREFIX)


_SLICE = 1 << 13
"""Digests that are searched together: the arrays of the search stay in a core's caches, and need no fresh memory."""

_IN_ORDER_FROM = 1 << 16
"""Prefixes of a table from which on wanted prefixes are sorted first: 512 KiB, about the size of a core's cache."""


_STEP = 1 << 10
"""Prefixes that a search for the end of a range looks ahead at first, and then twice as many each time."""


def places(prefixes: Prefixes, wanted: Prefixes) -> Positions:
    """Return where each wanted prefix belongs. For 5 million, 0.4 us each with the sort, 0.9 without it."""
    if len(prefixes) < _IN_ORDER_FROM:
        return np.searchsorted(prefixes, wanted)
    order = np.argsort(wanted)
    at = np.empty(len(wanted), np.intp)
    at[order] = np.searchsorted(prefixes, wanted[order])
    return at


def place_from(prefixes: Prefixes, bound: int, start: int = 0) -> int:
    """Return the position of the first prefix from ``start`` on that is not below ``bound``.

    A search of the whole column maps pages all over it: a scan of 500,000 entries left 2.8 MB mapped, and leaves 0.5.
    """
    wanted, step = np.uint64(bound), _STEP
    while start + step < len(prefixes) and prefixes[start + step] < wanted:
        start += step
        step *= 2
    return start + int(np.searchsorted(prefixes[start : start + step], wanted))


def search(
    prefixes: Prefixes,
    records: Records,
    wanted: Digests,
    touch: Callable[[Positions], None] | None = None,
    find: Callable[[Prefixes, Prefixes], Positions] = places,
) -> Positions:
    """Return for each wanted digest the position of its first entry in a sorted table, or -1.

    ``touch``, if any, is called with the positions of records before they are read. ``find`` is `places`, or like it.
    """
    count = len(wanted.prefixes)
    found = np.full(count, -1, np.intp)
    if count <= _SLICE:
        if len(prefixes):
            _search(prefixes, records, wanted, touch, find, found)
        return found
    for start in range(0, count if len(prefixes) else 0, _SLICE):
        part = slice(start, start + _SLICE)
        _search(prefixes, records, Digests(wanted.prefixes[part], wanted.tails[part]), touch, find, found[part])
    return found


def _search(
    prefixes: Prefixes,
    records: Records,
    wanted: Digests,
    touch: Callable[[Positions], None] | None,
    find: Callable[[Prefixes, Prefixes], Positions],
    found: Positions,
) -> None:
    """Do `search` in a table that is not empty, and fill ``found`` in."""
    count = len(prefixes)
    at = find(prefixes, wanted.prefixes)
    todo = np.flatnonzero(prefixes[np.minimum(at, count - 1)] == wanted.prefixes)
    todo = todo[at[todo] < count]
    while len(todo):
        here = at[todo]
        if touch is not None:
            touch(here)
        match = records["tail"][here] == wanted.tails[todo]
        found[todo[match]] = here[match]
        # Another key with the same first 8 bytes is here: look one further.
        todo = todo[~match]
        at[todo] += 1
        todo = todo[at[todo] < count]
        todo = todo[prefixes[at[todo]] == wanted.prefixes[todo]]


def all_differ(digests: Sequence[bytes]) -> bool:
    """Return whether all first 8 bytes of the digests differ, so that no digest is there twice: 0.04 us each."""
    if not digests:
        return True
    row = np.dtype([("prefix", PREFIX), ("tail", "V", len(digests[0]) - PREFIX.itemsize)])
    prefixes = np.sort(np.frombuffer(join_digests(digests), row)["prefix"])
    return not (prefixes[1:] == prefixes[:-1]).any()

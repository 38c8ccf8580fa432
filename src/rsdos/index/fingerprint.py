"""Fingerprints of tables: whether two of them have the same entries, without looking any of them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rsdos.index.digests import Prefixes
    from rsdos.index.entries import Entries

FINGERPRINTS = 1 << 64
"""How many fingerprints there are."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: odd, so that a product loses nothing."""
_HALF = np.uint64(32)
_NUMBERS = ("offset", "length", "size", "pack_id", "crc", "codec", "flags")

_TOGETHER = 1 << 14
"""Entries that are hashed together: the arrays stay in a core's cache, and need no fresh memory.

200,000 entries take 93 ns each together, and 25 in parts.
"""


def fingerprints(entries: Entries) -> dict[int, int]:
    """Return the fingerprint of the entries of each pack, a number below 2^64.

    It is the sum of a hash of each entry, modulo 2^64. So the order of entries does not matter, and the fingerprint of
    two parts together is the sum of both. It takes 0.03 us an entry, where a lookup takes 0.5. It finds damage and
    mistakes, but not forgery.
    """
    total: dict[int, int] = {}
    for start in range(0, len(entries), _TOGETHER):
        some = entries.take(slice(start, start + _TOGETHER))
        hashes = _hashes(some)
        add_fingerprints(total, {pack_id: int(hashes[at].sum(dtype=np.uint64)) for pack_id, at in some.by_pack()})
    return total


def add_fingerprints(total: dict[int, int], part: Mapping[int, int]) -> None:
    """Add the fingerprints of more entries to ``total``."""
    for pack_id, number in part.items():
        total[pack_id] = (total.get(pack_id, 0) + number) % FINGERPRINTS


def _hashes(entries: Entries) -> Prefixes:
    records = entries.records
    tails = np.ascontiguousarray(records["tail"]).view("<u8").reshape(-1, 3)
    columns = [tails[:, at] for at in range(3)] + [records[name].astype(np.uint64) for name in _NUMBERS]
    hashes = entries.prefixes * _FACTOR
    for column in columns:
        hashes ^= hashes >> _HALF
        hashes += column
        hashes *= _FACTOR
    hashes ^= hashes >> _HALF
    return hashes

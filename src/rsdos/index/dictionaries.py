"""Where the dictionaries of a pack are: in its entry of a manifest, and in the tables of contents of its batches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from rsdos.model import DIGEST_BYTES

MOST_DICTIONARIES = 240
"""Dictionaries of one pack: those that one byte of an entry, its codec, can name from 16 on."""

MOST_LENGTH = 1 << 20
"""Bytes of a dictionary, at most: those that zstd trains have 112,640 unless told otherwise."""

_KEY = re.compile(r"[0-9a-f]{64}")


class PackDictionary(NamedTuple):
    """A dictionary of a pack: SHA-256 and length of its bytes, and the offsets of its two copies in the pack."""

    digest: bytes
    length: int
    offsets: tuple[int, int]

    @property
    def key(self) -> str:
        """The digest in hex."""
        return self.digest.hex()

    @property
    def end(self) -> int:
        """The offset behind its last copy."""
        return max(self.offsets) + self.length


UNKNOWN = PackDictionary(bytes(DIGEST_BYTES), 1, (0, 0))
"""In the place of a dictionary of which the table that brought it in is lost: no bytes have its hash."""


def dictionary_rows(dictionaries: Iterable[PackDictionary]) -> list[dict[str, object]]:
    """Return the dictionaries of a pack as a manifest has them."""
    return [{"key": one.key, "length": one.length, "offsets": [*one.offsets]} for one in dictionaries]


def dictionaries_of(rows: object, end: int) -> tuple[PackDictionary, ...]:
    """Return the dictionaries of a pack of ``end`` bytes from what a manifest has. Raise ValueError for nonsense."""
    if not isinstance(rows, list) or len(rows) > MOST_DICTIONARIES:
        raise ValueError(f"dictionaries is not a list of at most {MOST_DICTIONARIES}")
    return tuple(_dictionary(row, end) for row in rows)


def _dictionary(row: object, end: int) -> PackDictionary:
    members: dict[str, Any] = row if isinstance(row, dict) else {}
    key, length, offsets = members.get("key"), members.get("length"), members.get("offsets")
    if isinstance(key, str) and _KEY.fullmatch(key) and isinstance(offsets, list) and len(offsets) == 2:
        one, two = offsets
        if type(length) is type(one) is type(two) is int:
            dictionary = PackDictionary(bytes.fromhex(key), length, (one, two))
            if is_in_bounds(dictionary, end):
                return dictionary
    raise ValueError(f"not a dictionary of its pack: {row!r:.200}")


def is_in_bounds(dictionary: PackDictionary, end: int) -> bool:
    """Return whether a dictionary is no longer than one may be, and within the first ``end`` bytes of its pack."""
    return 0 < dictionary.length <= MOST_LENGTH and min(dictionary.offsets) >= 0 and dictionary.end <= end


def numbered(brought: Iterable[tuple[int, Iterable[PackDictionary]]], end: int) -> tuple[PackDictionary, ...]:
    """Return the dictionaries of a pack of ``end`` bytes, in the order of their numbers.

    From the number of the first, and the dictionaries, of each batch. What none of them has, or is not in the pack, is
    `UNKNOWN`.
    """
    found = {number: one for first, some in brought for number, one in enumerate(some, first) if is_in_bounds(one, end)}
    return tuple(found.get(number, UNKNOWN) for number in range(max(found, default=-1) + 1))

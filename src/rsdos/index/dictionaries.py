"""Where the dictionaries of a pack are: in its entry of a manifest, and in the tables of contents of its batches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from rsdos.model import DIGEST_BYTES

MOST_DICTIONARIES = 240
"""The most dictionaries of one pack: the codec of an entry, one byte, names them by the numbers from 16 on."""

MOST_LENGTH = 1 << 20
"""The most bytes of a dictionary. Those that zstd trains have 112,640 by default."""

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
        """The offset of the end of its last copy."""
        return max(self.offsets) + self.length


UNKNOWN = PackDictionary(bytes(DIGEST_BYTES), 1, (0, 0))
"""Takes the place of a dictionary whose table is lost: no bytes have its hash."""


def dictionary_rows(dictionaries: Iterable[PackDictionary]) -> list[dict[str, object]]:
    """Return the dictionaries of a pack as a manifest has them."""
    return [{"key": one.key, "length": one.length, "offsets": [*one.offsets]} for one in dictionaries]


def dictionaries_of(rows: object, end: int) -> tuple[PackDictionary, ...]:
    """Return the dictionaries of a pack of ``end`` bytes from the rows of a manifest. Raise ValueError for bad rows."""
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
    """Return whether a dictionary has an allowed length, and is within the first ``end`` bytes of its pack."""
    return 0 < dictionary.length <= MOST_LENGTH and min(dictionary.offsets) >= 0 and dictionary.end <= end


def numbered(brought: Iterable[tuple[int, Iterable[PackDictionary]]], end: int) -> tuple[PackDictionary, ...]:
    """Return the dictionaries of a pack of ``end`` bytes, in the order of their numbers.

    ``brought`` has, for each batch, the number of its first dictionary, and its dictionaries. A number that no batch
    has, or whose dictionary is not within the pack, gets `UNKNOWN`.
    """
    found = {number: one for first, some in brought for number, one in enumerate(some, first) if is_in_bounds(one, end)}
    return tuple(found.get(number, UNKNOWN) for number in range(max(found, default=-1) + 1))

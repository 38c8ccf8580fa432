"""The packed objects of a container of version 1 at one moment."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rsdos.hashing import HashType
from rsdos.stores.pack_maintenance import SeenPart
from rsdos.stores.v1.row import Row

_PLACE = struct.Struct("<qQ")


class RowPlace(NamedTuple):
    """The identity of a row: a later row of the same object has another place, because no place is written twice.

    The row's id does not identify it: SQLite gives the id of a deleted row to the next one.
    """

    digest: bytes
    pack_id: int
    offset: int


def place_of(row: Row) -> RowPlace:
    return RowPlace(bytes.fromhex(row.key), row.pack_id, row.offset)


class SeenRows:
    """The places of all objects, in 44 or 56 bytes each. See `rsdos.stores.pack_maintenance.SeenObjects`."""

    def __init__(self, hash_type: HashType, rows: Iterable[Sequence[Row]]) -> None:
        """``rows`` are in the order of their keys, in lists of any size."""
        from rsdos.index.key_marks import RecordMarks  # It imports numpy, which other maintenance does not need.

        self._digest_bytes = hash_type.digest_bytes
        self._step = self._digest_bytes + _PLACE.size
        self._records = b"".join(
            b"".join(bytes.fromhex(row.key) + _PLACE.pack(row.pack_id, row.offset) for row in some)
            for some in ([row for row in rows_of if hash_type.is_key(row.key)] for rows_of in rows)
        )
        self._marks = RecordMarks(self._records, self._step)
        self.mark = self._marks.mark
        self.is_sorted = self._marks.is_sorted
        """Whether the rows were in the order of their keys. If not, neither marks nor places are right."""

    def __len__(self) -> int:
        return len(self._records) // self._step

    def _digest(self, at: int) -> bytes:
        return self._records[at * self._step : at * self._step + self._digest_bytes]

    def unmarked(self, most: int) -> Iterator[SeenPart]:
        for some in self._marks.unmarked(most):
            yield SeenPart(list(map(self._digest, some)), self)

    def of(self, digests: Sequence[bytes]) -> set[RowPlace]:
        """Return the places of some objects."""
        places = set()
        for digest in digests:
            at = bisect_left(range(len(self)), digest, key=self._digest)
            if at < len(self) and self._digest(at) == digest:
                places.add(RowPlace(digest, *_PLACE.unpack_from(self._records, at * self._step + self._digest_bytes)))
        return places

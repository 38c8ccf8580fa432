"""Entries as the columns of a compact table, and back; see `rsdos.index.compact`."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rsdos.index.digests import DIGEST, PREFIX, Records, digest_rows
from rsdos.index.entries import RECORD, Entries
from rsdos.model import DIGEST_BYTES, BytesLike

CRC_BYTES = 4
_COLUMNS = (("offset", 8), ("length", 8), ("size", 8), ("pack_id", 4), ("codec", 1), ("flags", 1))
"""The compressed columns, in their order. The gap takes the place of the offset."""

SHUFFLED_BYTES = sum(width for _, width in _COLUMNS)
"""The bytes of an entry in the compressed columns."""

assert PREFIX.itemsize + RECORD.itemsize == DIGEST_BYTES + CRC_BYTES + SHUFFLED_BYTES


class Columns(NamedTuple):
    """The columns of some entries in storage order: by (pack id, offset)."""

    keys: BytesLike
    crcs: BytesLike
    shuffled: BytesLike
    """The other columns, not compressed. Each has the first bytes of all entries, then the second bytes, and so on."""


def columns_of(entries: Entries) -> Columns:
    """Return the columns of some entries, in any order. Entries in storage order take the least time."""
    table = entries.in_storage_order()
    keys = digest_rows(table.prefixes, table.records["tail"])
    crcs = np.ascontiguousarray(table.records["crc"])
    return Columns(keys.view("u1").data, crcs.view("u1").data, _shuffled(table.records))


def _shuffled(records: Records) -> memoryview:
    count = len(records)
    raw = np.zeros(count * SHUFFLED_BYTES, np.uint8)
    starts = accumulate((width * count for _, width in _COLUMNS), initial=0)
    for (name, width), start in zip(_COLUMNS, starts, strict=False):
        column = _gaps(records) if name == "offset" else np.ascontiguousarray(records[name])
        highest = int(column.max(initial=0))
        for at in range(width):
            if not highest >> 8 * at:
                break  # The others are zeros.
            raw[start + at * count : start + (at + 1) * count] = column.view("u1").reshape(count, width)[:, at]
    return raw.data


def _gaps(records: Records) -> npt.NDArray[np.uint64]:
    """Return the distance of each entry from the end of the entry before it, modulo 2^64."""
    offsets, lengths = np.ascontiguousarray(records["offset"]), np.ascontiguousarray(records["length"])
    gaps = offsets.copy()
    gaps[1:] -= offsets[:-1] + lengths[:-1]
    return gaps


def entries_of(columns: Columns) -> Entries:
    """Return the entries of columns of matching lengths, in their order."""
    keys = np.frombuffer(columns.keys, DIGEST)
    count = len(keys)
    records = np.empty(count, RECORD)
    records["tail"] = keys["tail"]
    records["crc"] = np.frombuffer(columns.crcs, "<u4")
    raw = np.frombuffer(columns.shuffled, np.uint8)
    at = 0
    for name, width in _COLUMNS:
        planes = raw[at : at + width * count].reshape(width, count)
        records[name] = np.ascontiguousarray(planes.T).view(f"<u{width}").reshape(count)
        at += width * count
    # The offset of an entry is the sum of the gaps up to it and of the lengths before it.
    ends = np.cumsum(records["offset"] + records["length"], dtype=np.uint64)
    records["offset"] = ends - records["length"]
    return Entries(keys["prefix"].astype(PREFIX), records)

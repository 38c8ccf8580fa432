"""Finding the batches of a pack from its bytes alone."""

from __future__ import annotations

from typing import NamedTuple

from rsdos.pack.format import ALIGNMENT, FOOTER_SIZE, Batch, decode_footer
from rsdos.pack.reader import PackFile
from rsdos.storage.base import says_nothing

PIECE = 1 << 22
"""Bytes that are read together where a footer is looked for. Each read of a remote is a request, and one for each place
would be 256 for a MiB."""


class Scan(NamedTuple):
    """The batches of a pack in the order of their offsets, and the ranges (start, end) that no footer covers."""

    batches: tuple[Batch, ...]
    uncovered: tuple[tuple[int, int], ...]


def scan(pack: PackFile, length: int | None = None) -> Scan:
    """Find all batches in the first ``length`` bytes (default: the file's size).

    Follows the footers backwards; where that chain breaks it looks for one at every 4096-byte boundary below. Memory:
    `PIECE` bytes.
    """
    end = pack.size() if length is None else min(length, pack.size())
    batches: list[Batch] = []
    uncovered: list[tuple[int, int]] = []
    gap_end = end
    at = end // ALIGNMENT * ALIGNMENT
    while at > ALIGNMENT:
        batch = _batch_to(pack, at) or _last_batch(pack, at)
        if batch is None:
            break
        if batch.end < gap_end:
            uncovered.append((batch.end, gap_end))
        batches.append(batch)
        gap_end = at = batch.start
    if gap_end > ALIGNMENT:
        uncovered.append((ALIGNMENT, gap_end))
    return Scan(tuple(reversed(batches)), tuple(reversed(uncovered)))


def _batch_to(pack: PackFile, end: int) -> Batch | None:
    """Return the batch that ends at a boundary, if there is one."""
    offset = end - FOOTER_SIZE
    try:
        footer = pack.read(offset, FOOTER_SIZE)
    except OSError as error:
        if says_nothing(error):
            raise
        return None  # A bad sector.
    return decode_footer(footer, pack.container_id, pack.pack_id, offset)


def _last_batch(pack: PackFile, end: int) -> Batch | None:
    """Return the last batch that ends at a boundary or before it, if there is one.

    One at ``end`` itself counts, which a caller has looked for: behind a network a bit may have flipped on its way.
    """
    for high in range(end, ALIGNMENT, -PIECE):
        low = max(high - PIECE, ALIGNMENT)
        try:
            piece = pack.read(low, high - low)
        except OSError:
            # One bad sector says nothing of the other places. Where there is no answer, this raises the same.
            found = (_batch_to(pack, at) for at in range(high, low, -ALIGNMENT))
        else:
            found = (_batch_in(piece, low, at, pack) for at in range(high, low, -ALIGNMENT))
        if batch := next(filter(None, found), None):
            return batch
    return None


def _batch_in(piece: bytes, start: int, end: int, pack: PackFile) -> Batch | None:
    """Return the batch that ends at a boundary in, or behind, the bytes of a pack from ``start`` on."""
    offset = end - FOOTER_SIZE
    return decode_footer(piece[offset - start : end - start], pack.container_id, pack.pack_id, offset)

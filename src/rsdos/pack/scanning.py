"""Finding the batches of a pack from its bytes alone."""

from __future__ import annotations

from dataclasses import dataclass

from rsdos.pack.format import ALIGNMENT, FOOTER_SIZE, Batch, decode_footer
from rsdos.pack.reader import PackFile


@dataclass(frozen=True, slots=True)
class Scan:
    """The batches of a pack in the order of their offsets, and the ranges (start, end) that no footer covers."""

    batches: tuple[Batch, ...]
    uncovered: tuple[tuple[int, int], ...]


def scan(pack: PackFile, length: int | None = None) -> Scan:
    """Find all batches in the first ``length`` bytes (default: the file's size).

    Follows the footers backwards; where that chain breaks it looks for one at every 4096-byte boundary below.
    """
    end = pack.size() if length is None else min(length, pack.size())
    batches: list[Batch] = []
    uncovered: list[tuple[int, int]] = []
    gap_end = end
    at = end // ALIGNMENT * ALIGNMENT
    while at > ALIGNMENT:
        offset = at - FOOTER_SIZE
        batch = decode_footer(pack.read(offset, FOOTER_SIZE), pack.container_id, pack.pack_id, offset)
        if batch is None:
            at -= ALIGNMENT
            continue
        if batch.end < gap_end:
            uncovered.append((batch.end, gap_end))
        batches.append(batch)
        gap_end = at = batch.start
    if gap_end > ALIGNMENT:
        uncovered.append((ALIGNMENT, gap_end))
    return Scan(tuple(reversed(batches)), tuple(reversed(uncovered)))

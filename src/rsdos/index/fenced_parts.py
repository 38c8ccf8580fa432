"""Making fenced segments: see `rsdos.index.segment_layout` for their form."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np

from rsdos.codecs.checksum import crc32
from rsdos.index.digests import PREFIX, Prefixes
from rsdos.index.entries import Entries
from rsdos.index.key_filter import BITS, ROUND, block_of
from rsdos.index.segment_layout import (
    FENCE,
    FENCED_FROM,
    MAGIC,
    FencedLayout,
    SegmentHeader,
    block_table,
    column_bytes,
    segment_parts,
)
from rsdos.model import BytesLike

_TOGETHER = 16
"""Blocks of a filter that are made together, for 6,500 entries: with a byte for each bit they take 64 KiB."""


def file_parts(entries: Entries) -> list[BytesLike]:
    """Return the bytes of a segment file with these entries, which are sorted, in parts: fenced if they are many."""
    if len(entries) >= FENCED_FROM:
        return fenced_segment_parts(entries)
    return list(segment_parts(entries, entries.tombstones))


def fenced_segment_parts(entries: Entries) -> list[BytesLike]:
    """Return the bytes of a fenced segment with these entries, which are sorted, in parts."""
    columns = column_bytes(entries)
    layout = FencedLayout(len(entries))
    filter_ = list(filter_parts(layout.filter_blocks, (entries.prefixes,)))
    fences = entries.prefixes[::FENCE].tobytes()
    table = block_table(columns, layout.block_size)
    head, tail = fenced_ends(layout, table, fences, crc_of(filter_), entries.tombstones)
    return [head, *columns, b"".join((tail, *filter_))]


def crc_of(parts: Iterable[BytesLike], crc: int = 0) -> int:
    """Return the CRC-32 of some parts together; ``crc`` is the CRC-32 of the bytes before them."""
    for part in parts:
        crc = crc32(part, crc)
    return crc


def fenced_ends(
    layout: FencedLayout, table: bytes, fences: bytes, filter_crc: int, tombstones: int
) -> tuple[bytes, bytes]:
    """Return the bytes before the columns, and the bytes between the columns and the filter."""
    tail = table + fences
    tail += bytes(layout.filter - layout.table - len(tail))
    counts = layout.block_size, layout.count, tombstones
    header = SegmentHeader(MAGIC, layout.version, 0, *counts, crc32(tail), filter_crc)
    return header.encode().ljust(layout.start, b"\0"), tail


def filter_parts(blocks: int, tables: Iterable[Prefixes]) -> Iterator[bytes]:
    """Yield the bytes of a filter of ``blocks`` blocks, in parts. The ``tables`` have all prefixes, in their order."""
    first = 0
    rest = np.empty(0, PREFIX)
    for table in tables:
        prefixes = np.concatenate((rest, table)) if len(rest) else table
        last = int(prefixes[-1]) * blocks >> 64 if len(prefixes) else first
        until = first + (last - first) // _TOGETHER * _TOGETHER
        cut = yield from _blocks(prefixes, blocks, first, until)
        first, rest = until, prefixes[cut:]
    if blocks:  # With fewer than 410 entries there are none.
        yield from _blocks(rest, blocks, first, blocks)


def _blocks(prefixes: Prefixes, blocks: int, first: int, last: int) -> Generator[bytes, None, int]:
    """Yield the blocks from ``first`` to before ``last``. Return how many prefixes they took."""
    # All arrays are small and used again: fresh memory would take as long as everything else.
    bits = np.empty(_TOGETHER * BITS, np.uint8)
    starts = range(first, last, _TOGETHER)
    if not starts:
        return 0
    # The least prefix of each, see `block_of`.
    bounds = [-(-(start << 64) // blocks) for start in (*starts[1:], last)]
    cuts = [0, *(len(prefixes) if bound >> 64 else int(prefixes.searchsorted(np.uint64(bound))) for bound in bounds)]
    for number, start in enumerate(starts):
        part = prefixes[cuts[number] : cuts[number + 1]]
        # Use the type that numpy indexes with: it would convert shorter numbers first.
        at = part.astype(np.intp)
        base = (block_of(part, blocks).astype(np.intp) - start) << 12
        step = at >> 12 & (BITS - 1) | 1
        at &= BITS - 1
        bits.fill(0)
        for _ in ROUND:
            bits[base | (at & (BITS - 1))] = 1
            at += step
        yield np.packbits(bits[: min(_TOGETHER, last - start) * BITS], bitorder="little").tobytes()
    return cuts[-1]

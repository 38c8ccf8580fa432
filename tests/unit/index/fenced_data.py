"""The bytes of a fenced segment, of keys that a seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rsdos.index.entries import Entries
from rsdos.index.fenced_parts import fenced_segment_parts


def digests(count: int, seed: int) -> list[bytes]:
    data = random.Random(seed).randbytes(32 * count)
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def fenced_data(keys: Sequence[bytes]) -> bytes:
    """A segment in which the offset of each key is its number."""
    numbers = range(len(keys))
    entries = Entries.of(keys, pack_id=1, offset=numbers, length=1, size=1, crc=numbers, codec=0, flags=0)
    return b"".join(fenced_segment_parts(entries.sort()))

"""The one CRC-32 (that of zlib and gzip) of the package."""

from collections.abc import Iterable

from isal.isal_zlib import crc32

from rsdos.cpu import clear_vectors
from rsdos.model import BytesLike

__all__ = ["crc32", "crc32_of_each"]
# ``crc32(data, seed=0, /) -> int``. isal's own function and not a wrapper: 0.20 us for 1 KB where a call of ours on
# top is 0.05 more. zlib's takes 0.31 us for 1 KB and 12 us for 60 KB, where this one takes 0.8 us.


def crc32_of_each(parts: Iterable[BytesLike]) -> list[int]:
    """`crc32` of many, with the vector registers cleared behind it: hashing goes on after this."""
    sums = list(map(crc32, parts))
    clear_vectors()
    return sums

"""The zlib codec: one zlib stream (RFC 1950) for each payload, written and read by isal where its ratio is as good.

Ratio and speed for 5,986 files of /usr (59 MB): isal's level 1 has 47.9 % at 315 MB/s, zlib's level 1 47.8 % at 81;
isal's level 3 has 47.0 % at 238 MB/s, zlib's level 2 46.9 % at 77. zlib's level 3 (46.3 %) is better than all of isal.
"""

import zlib
from collections.abc import Iterable
from types import MappingProxyType
from typing import cast

from isal import isal_zlib

from rsdos.errors import DecodeError
from rsdos.model import BytesLike

_ISAL_LEVELS = MappingProxyType({1: 1, 2: 3})

# Deflate's bound is 1032 raw bytes for each stored one (258 bytes from 2 bits).
_MAX_RATIO = 1032

# isal's type stubs declare the exception class as an instance of Exception.
IsalError = cast(type[Exception], isal_zlib.error)

_RAW_DEFLATE = -15
_HEADER_LENGTH = 2


def compress(data: BytesLike, level: int) -> bytes:
    """Return one zlib stream of level 1 to 9."""
    isal_level = _ISAL_LEVELS.get(level)
    return zlib.compress(data, level) if isal_level is None else isal_zlib.compress(data, isal_level)


def decompress_many(stored: Iterable[BytesLike], sizes: Iterable[int]) -> list[bytes]:
    """Return the raw bytes of each zlib stream. Raise `DecodeError` unless they have exactly the given sizes."""
    decompressor = isal_zlib.decompressobj
    payloads = []
    try:
        for stream, size in zip(stored, sizes, strict=True):
            _check_ratio(stream, size)
            inflater = decompressor()
            # Room for one byte more: otherwise a longer stream would look as if it ended here.
            raw = inflater.decompress(stream, size + 1)
            if len(raw) != size or not inflater.eof or inflater.unused_data:
                raise DecodeError(f"zlib: the stream is not the {size} raw bytes it should be")
            payloads.append(raw)
    except IsalError as error:
        raise DecodeError(f"zlib: {error}") from error
    return payloads


class PieceEncoder:
    """Writes one zlib stream in pieces, each of which can be decoded by itself. For one thread at a time.

    All pieces and then the end, one after another, are a stream that any zlib decodes.
    """

    def __init__(self, level: int) -> None:
        isal_level = _ISAL_LEVELS.get(level)
        self._deflater = zlib.compressobj(level) if isal_level is None else isal_zlib.compressobj(isal_level)

    def piece(self, data: BytesLike) -> bytes:
        """Return the next piece, up to a full flush. The first piece begins with the 2 bytes of zlib's header."""
        return self._deflater.compress(data) + self._deflater.flush(zlib.Z_FULL_FLUSH)

    def finish(self) -> bytes:
        """Return the end of the stream: an empty last block, and the Adler-32 of all raw bytes."""
        return self._deflater.flush()


def decode_piece(piece: BytesLike, size: int, index: int) -> bytes:
    """Return the ``size`` raw bytes of piece ``index`` of a `PieceEncoder`. A piece has no checksum: verify its CRC."""
    data = memoryview(piece)[_HEADER_LENGTH if index == 0 else 0 :]
    _check_ratio(data, size)
    inflater = isal_zlib.decompressobj(_RAW_DEFLATE)
    try:
        raw = inflater.decompress(data, size + 1)
    except IsalError as error:
        raise DecodeError(f"zlib: {error}") from error
    if len(raw) != size:
        raise DecodeError(f"zlib: a piece is not the {size} raw bytes it should be")
    return raw


def _check_ratio(stored: BytesLike, size: int) -> None:
    if not 0 <= size <= len(stored) * _MAX_RATIO:
        raise DecodeError(f"zlib: {len(stored)} stored bytes cannot be {size} raw bytes")

"""Documents in one zstd frame."""

from __future__ import annotations

from functools import partial

import zstandard

from rsdos.codecs.zstd import compress_each, compressor, meaning
from rsdos.errors import DecodeError

_LEVEL = 3


def seal(data: bytes) -> bytes:
    """Return the bytes as one frame, which says how many they are."""
    return compress_each((data,), partial(compressor, _LEVEL))[0]


def unseal(frame: bytes, most: int) -> bytes:
    """Return the bytes in a frame. Raise `DecodeError` if it is damaged, or has more than ``most`` bytes.

    Memory is taken for what the frame says that it has, up to ``most``.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 < size <= most:
            raise DecodeError(f"zstd: a document of {size} bytes")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise meaning(error) from error

"""Hashes and compression by the names of disk-objectstore."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any

from rsdos.compat.disk_objectstore.streams import ZlibStreamDecompresser
from rsdos.model import CompressMode

_HASHES = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}

_CHUNK = 1 << 19

_WORTH_IT = 0.9
"""The largest share of the raw bytes that a stored form may have, to be worth its decompression."""

_SAMPLE = 1 << 10
_MOST_SAMPLED = 1 << 17


def is_known_hash(hash_type: str) -> bool:
    """Return whether a container can have keys of this hash."""
    return hash_type in _HASHES


def get_hash_cls(hash_type: str) -> Callable[..., Any]:
    """Return the function that makes a hasher. Raise ValueError."""
    try:
        return _HASHES[hash_type]
    except KeyError:
        raise ValueError(f"Unknown or unsupported hash type '{hash_type}'") from None


def compute_hash_and_size(stream: Any, hash_type: str) -> tuple[str, int]:
    """Return the hex digest of the rest of a stream, and its number of bytes."""
    hasher = get_hash_cls(hash_type)()
    size = 0
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def get_compressobj_instance(algorithm: str) -> Any:
    """Return a new compressor for ``zlib+1`` to ``zlib+9``. Raise ValueError."""
    return zlib.compressobj(level=_level(algorithm))


def get_stream_decompresser(algorithm: str) -> type[ZlibStreamDecompresser]:
    """Return the class of streams that decompress this algorithm. Raise ValueError."""
    _level(algorithm)
    return ZlibStreamDecompresser


def _level(algorithm: str) -> int:
    name, _, variant = algorithm.partition("+")
    if name != "zlib":
        raise ValueError(f"Unknown or unsupported compression algorithm '{name}'")
    if len(variant) != 1 or variant not in "123456789":
        raise ValueError(f"Invalid variant '{variant}' for compression algorithm '{name}'")
    return int(variant)


def should_compress(
    source_stream: Any, compress_mode: CompressMode, source_compressed: bool, source_length: int, source_size: int
) -> bool:
    """Return whether to store an object compressed. Only AUTO reads the stream, and restores its position."""
    match compress_mode:
        case CompressMode.NO:
            return False
        case CompressMode.YES:
            return True
        case CompressMode.KEEP:
            return source_compressed
        case CompressMode.AUTO if source_compressed:
            return source_size > 0 and source_length / source_size < _WORTH_IT
        case CompressMode.AUTO:
            return estimate_compression(source_stream, source_size) < _WORTH_IT
    raise NotImplementedError(f"Unknown {compress_mode=}")


def estimate_compression(stream: Any, size: int) -> float:
    """Estimate the ratio of stored to raw bytes from samples of 128 KiB at most; 1.0 for an empty stream."""
    if size == 0:
        return 1.0
    before = stream.tell()
    step = max(size // (_MOST_SAMPLED // _SAMPLE), _SAMPLE)
    samples = []
    for at in range(0, size, step):
        stream.seek(at)
        samples.append(stream.read(_SAMPLE))
    stream.seek(before)
    sampled = b"".join(samples)
    return len(zlib.compress(sampled, 1)) / (len(sampled) or 1)

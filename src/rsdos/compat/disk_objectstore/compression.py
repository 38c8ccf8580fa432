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
"""A stored form that is no smaller than this part of the raw one is not worth its decompression."""

_SAMPLE = 1 << 10
_MOST_SAMPLED = 1 << 17


def is_known_hash(hash_type: str) -> bool:
    """Whether a container can have keys of this hash."""
    return hash_type in _HASHES


def get_hash_cls(hash_type: str) -> Callable[..., Any]:
    """What makes a new hasher. Raises ValueError."""
    try:
        return _HASHES[hash_type]
    except KeyError:
        raise ValueError(f"Unknown or unsupported hash type '{hash_type}'") from None


def compute_hash_and_size(stream: Any, hash_type: str) -> tuple[str, int]:
    """The hex digest of what is left of a stream, and how many bytes these are."""
    hasher = get_hash_cls(hash_type)()
    size = 0
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def get_compressobj_instance(algorithm: str) -> Any:
    """A new compressor for ``zlib+1`` to ``zlib+9``. Raises ValueError."""
    return zlib.compressobj(level=_level(algorithm))


def get_stream_decompresser(algorithm: str) -> type[ZlibStreamDecompresser]:
    """The class that decompresses what such an algorithm has made. Raises ValueError."""
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
    """Whether an object should be stored compressed. The stream is read only for AUTO, and put back to where it was."""
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
    """The stored part of the raw bytes, estimated from samples of 128 KiB at most; 1.0 for no bytes."""
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

"""Encodes and decodes by codec. Decoding never produces more bytes than asked for, whatever the stored bytes say."""

from collections.abc import Sequence

from rsdos.codecs import deflate, zstd
from rsdos.errors import DecodeError, InvalidOption
from rsdos.model import BytesLike, Codec, Compression


def encode(data: BytesLike, compression: Compression) -> bytes:
    """Return the stored form of one object: its raw bytes, one zlib stream, or one zstd frame without checksum."""
    return encode_many((data,), compression)[0]


def encode_many(payloads: Sequence[BytesLike], compression: Compression) -> list[bytes]:
    """Return `encode` of each payload."""
    match compression.codec:
        case Codec.RAW:
            return [bytes(payload) for payload in payloads]
        case Codec.ZLIB:
            return [deflate.compress(payload, compression.level) for payload in payloads]
        case Codec.ZSTD:
            return zstd.compress_many(payloads, compression.level)
        case Codec.MIXED:
            raise InvalidOption("an object of one frame is not stored as mixed frames")


def decode(stored: BytesLike, codec: Codec, size: int) -> bytes:
    """Return the ``size`` raw bytes of one stored object that is not framed.

    Raise `DecodeError` if the stored bytes are anything else: too short, too long, followed by other bytes, or damaged,
    as far as the codec can tell. Memory is at most ``size`` bytes, and a part of them again while they are joined.
    """
    return decode_many((stored,), codec, (size,))[0]


def decode_many(stored: Sequence[BytesLike], codec: Codec, sizes: Sequence[int]) -> list[bytes]:
    """Return `decode` of each pair of stored bytes and size, all of one codec. Raise for the first bad pair."""
    match codec:
        case Codec.RAW:
            for payload, size in zip(stored, sizes, strict=True):
                if len(payload) != size:
                    raise DecodeError(f"raw: {len(payload)} stored bytes where {size} should be")
            return [bytes(payload) for payload in stored]
        case Codec.ZLIB:
            return deflate.decompress_many(stored, sizes)
        case Codec.ZSTD:
            return zstd.decompress_many(stored, sizes)
        case Codec.MIXED:
            raise DecodeError("mixed frames in an object of one frame")

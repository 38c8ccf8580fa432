"""Encodes and decodes one stream per object in bounded memory. Decoding accepts streams that are not terminated.

Container version 1 stores compressed objects so: as one zlib stream, or as zstd frames by rsdos 0.1, which contain all
bytes but are not terminated. The caller verifies size and hash.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import zstandard
from isal import isal_zlib

from rsdos.codecs.deflate import IsalError
from rsdos.codecs.zstd import meaning
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Compression

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_SLICE = 1 << 10
"""Stored bytes in one call of zstd. It makes at most 32 MiB of them (128 KiB of 4 bytes), and mostly a few KiB."""

_READY = 1 << 18
"""Raw bytes that are yielded together."""


def codec_of(head: BytesLike) -> Codec:
    """Return the codec of compressed stored bytes, by their first four bytes."""
    return Codec.ZSTD if bytes(head[:4]) == _ZSTD_MAGIC else Codec.ZLIB


def decode_sequence(stored: Iterable[BytesLike], codec: Codec, size: int) -> Iterator[bytes]:
    """Yield exactly ``size`` raw bytes in parts of at most `FRAME_SIZE`. Raise `DecodeError` for more or fewer.

    ``stored`` comes in parts of any size. Never more than ``size`` bytes and one part are produced.
    """
    done = 0
    try:
        for part in _inflate(stored) if codec is Codec.ZLIB else _decompress(stored):
            done += len(part)
            if done > size:
                break
            if part:
                yield part
    except zstandard.ZstdError as error:
        raise meaning(error) from error
    except (IsalError, zlib.error) as error:
        raise DecodeError(f"zlib: {error}") from error
    if done != size:
        raise DecodeError(
            f"{codec.name.lower()}: {'more' if done > size else 'fewer'} than the {size} raw bytes it says"
        )


def _inflate(stored: Iterable[BytesLike]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj()
    for part in stored:
        data: BytesLike = part
        while len(data) and not inflater.eof:
            yield inflater.decompress(data, FRAME_SIZE)
            data = inflater.unconsumed_tail
    while not inflater.eof and (rest := inflater.decompress(b"", FRAME_SIZE)):
        yield rest


def _decompress(stored: Iterable[BytesLike]) -> Iterator[bytes]:
    # A new context: a thread's own would keep the window that a foreign frame asks for, up to 128 MiB. Not a
    # stream_reader: it stops at the last stored byte of an unterminated frame, and loses raw bytes.
    decoder = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    ready: list[bytes] = []
    length = 0
    for part in stored:
        view = memoryview(part)
        for at in range(0, len(view), _SLICE):
            ready.append(decoder.decompress(view[at : at + _SLICE]))
            length += len(ready[-1])
            if length >= _READY:
                raw = b"".join(ready)
                ready.clear()
                length = 0
                yield from (raw[start : start + FRAME_SIZE] for start in range(0, len(raw), FRAME_SIZE))
    yield b"".join(ready)


class SequenceEncoder:
    """Encodes one object part by part. For one thread at a time.

    The stored bytes are what each `add` returned, and then what `finish` returned.
    """

    def __init__(self, compression: Compression) -> None:
        self.codec = compression.codec
        self._encoder: Any = None
        match compression.codec:
            case Codec.ZLIB:
                self._encoder = zlib.compressobj(compression.level)
            case Codec.ZSTD:
                self._encoder = zstandard.ZstdCompressor(level=compression.level).compressobj()

    def add(self, part: BytesLike) -> BytesLike:
        """Return the stored bytes that are ready. For raw they are ``part`` itself."""
        if self._encoder is None:
            return part
        encoded: bytes = self._encoder.compress(part)
        return encoded

    def finish(self) -> bytes:
        """Return the remaining stored bytes."""
        if self._encoder is None:
            return b""
        rest: bytes = self._encoder.flush()
        return rest

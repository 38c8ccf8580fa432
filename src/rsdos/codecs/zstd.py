"""The zstd codec: one frame per payload, with its content size in the header."""

import threading
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import cast

import zstandard

from rsdos.codecs.cores import threads_for
from rsdos.codecs.workers import in_shares
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike

_TOGETHER = 16
"""Payloads from which on they are worth a call for all of them."""

_CALL = 1 << 9
"""Payloads in one call: 8,000 of 1 KB take 6.5 us each in one, for the fresh memory, and 6.0 in calls of 500."""

_RLE_BLOCK = 1
_RESERVED_BLOCK = 3


class _Contexts(threading.local):
    """zstd's contexts, which are neither thread-safe nor cheap: 19 us to make and use one, 3 us to use one again.

    A fork is no danger: the child inherits those of the thread that forked, which was in Python and so not in zstd.
    """

    def __init__(self) -> None:
        self.plain: dict[int, zstandard.ZstdCompressor] = {}
        self.checked: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compressor(level: int) -> zstandard.ZstdCompressor:
    """This thread's compressor of that level; its frames carry no checksum.

    Every small object has a CRC-32 in the index or a hash for its name; 4 bytes more are 0.8 % of a stored 1 KB object.
    """
    context = _contexts.plain.get(level)
    if context is None:
        context = _contexts.plain[level] = zstandard.ZstdCompressor(level=level)
    return context


def compress_many(payloads: Sequence[BytesLike], level: int) -> list[bytes]:
    """A frame for each payload, as `compressor` makes it. Many together, by as many threads as `threads_for` says.

    1,000 objects of 1 KB take 6.3 us each one by one, 6.0 in one call, and 3.4 in one call for each of two threads.
    """
    if len(payloads) < _TOGETHER or 0 in map(len, payloads):  # zstandard takes no empty one in bulk.
        return list(map(compressor(level).compress, payloads))

    def compress(share: slice) -> list[bytes]:
        frames: list[bytes] = []
        for at in range(share.start, share.stop, _CALL):
            some = list(payloads[at : min(at + _CALL, share.stop)])
            frames += _bytes_of(compressor(level).multi_compress_to_buffer(some, threads=1))
        return frames

    return in_shares(compress, len(payloads), threads_for(sum(map(len, payloads))))


def _bytes_of(segments: zstandard.BufferWithSegmentsCollection) -> list[bytes]:
    # Iterated, where its type says that it cannot be: 0.23 us each, by number 0.26.
    return [segment.tobytes() for segment in cast(Iterable[zstandard.BufferSegment], segments)]


def encode_checked(data: BytesLike, level: int) -> bytes:
    """One zstd frame that ends with its own checksum (the low 32 bits of XXH64 of the raw bytes, little-endian)."""
    context = _contexts.checked.get(level)
    if context is None:
        context = _contexts.checked[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return context.compress(data)


def context_size(level: int) -> int:
    """Bytes of memory that compressing a frame takes in each thread, beside the frame: 0.6 MB at level 1, 18 at 19."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=FRAME_SIZE)
    return parameters.estimated_compression_context_size()


def decompress_many(stored: Sequence[BytesLike], sizes: Sequence[int]) -> list[bytes]:
    """The raw bytes of each zstd frame: exactly as many as its size says, or `DecodeError`.

    Of many at once, it is not seen whether bytes stand behind a frame; one after another all is.
    """
    if len(stored) >= _TOGETHER:
        with suppress(zstandard.ZstdError, DecodeError):
            return _decompress_together(stored, sizes)
    return _decompress_each(stored, sizes)


def _decompress_together(stored: Sequence[BytesLike], sizes: Sequence[int]) -> list[bytes]:
    """Small frames, by as many threads as `threads_for` says: 2,000 of 1 KB take 2.9 us each with one, 1.3 with two.

    Threads of ours with a call each. With two of zstandard's own in one call it is 2.4: often they come to run on the
    same processor, as the caller only waits.
    """
    # What declares its size is decoded straight into the room for it, without a window of its own.
    declared = list(map(zstandard.frame_content_size, stored))
    if declared != sizes or not 0 < min(sizes) <= max(sizes) <= FRAME_SIZE:
        raise DecodeError("zstd: some are to be decoded one by one")

    def decompress(share: slice) -> list[bytes]:
        room = array("Q", sizes[share])
        # A context of its own: it keeps what it has taken.
        decompressor = zstandard.ZstdDecompressor()
        return _bytes_of(
            decompressor.multi_decompress_to_buffer(list(stored[share]), decompressed_sizes=room.tobytes(), threads=1)
        )

    return in_shares(decompress, len(stored), threads_for(sum(sizes)))


def _decompress_each(stored: Sequence[BytesLike], sizes: Sequence[int]) -> list[bytes]:
    decompress_one = _contexts.decompressor.decompress
    content_size = zstandard.frame_content_size
    payloads = []
    try:
        for frame, size in zip(stored, sizes, strict=True):
            # zstandard allocates the content size that the frame declares, and its max_output_size does not stop it.
            # It also takes a declared size of 0 on trust, without looking further.
            if 0 < size <= FRAME_SIZE and content_size(frame) == size:
                payloads.append(decompress_one(frame, allow_extra_data=False))
            else:
                payloads.append(_decompress_slowly(frame, size))
    except zstandard.ZstdError as error:
        raise DecodeError(f"zstd: {error}") from error
    return payloads


def _decompress_slowly(stored: BytesLike, size: int) -> bytes:
    """Decode what declares no size, or another, or more than a frame: memory grows only with what really comes out."""
    if size < 0:
        raise DecodeError(f"zstd: {size} is no size")
    if _frame_length(stored) != len(stored):
        raise DecodeError("zstd: bytes after the end of the frame")
    chunks = []
    room = size + 1
    # A context of its own: this thread's would keep the window that a foreign frame asks for, up to 128 MiB.
    with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
        while room and (chunk := reader.read(min(room, FRAME_SIZE))):
            chunks.append(chunk)
            room -= len(chunk)
    if room != 1:
        raise DecodeError(f"zstd: the frame is not the {size} raw bytes it should be")
    return b"".join(chunks)


def _frame_length(stored: BytesLike) -> int:
    """Where the frame ends, found by its block headers (RFC 8878, 3.1.1): the stream reader does not tell."""
    at = zstandard.frame_header_size(stored)
    last = False
    while not last:
        if at + 3 > len(stored):
            raise DecodeError("zstd: the frame is cut short")
        header = int.from_bytes(stored[at : at + 3], "little")
        last, kind, block_size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED_BLOCK:
            raise DecodeError("zstd: a block of an unknown kind")
        at += 3 + (1 if kind == _RLE_BLOCK else block_size)
    return at + 4 * zstandard.get_frame_parameters(stored).has_checksum

"""The zstd codec: one frame for each payload, with its content size in the header."""

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import cast

import zstandard

from rsdos.codecs.cores import threads_for
from rsdos.codecs.workers import in_shares
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike

TOGETHER = 16
"""Frames from which on one call for all of them is faster, and payloads that are divided between threads."""

_BULK = 1 << 8
"""Payloads from which on one call for all of them is faster in one thread: the call makes a context of its own.

With a dictionary 16 records of 180 B take 1.8 us each in one call and 0.8 one by one, 256 take 0.75 and 0.77.
"""

_CALL = 1 << 9
"""Payloads in one call. 8,000 of 1 KB take 6.5 us each in one call, for fresh memory, and 6.0 in calls of 500."""

_NO_MEMORY = ("Allocation error", "unable to precompute dictionary")
"""What zstandard says when it gets no memory. A dictionary that it precomputes was decoded with before."""

_RLE_BLOCK = 1
_RESERVED_BLOCK = 3


class _Contexts(threading.local):
    """The zstd contexts of one thread. They are not thread-safe; making and using one takes 19 us, using it again 3 us.

    A fork is safe: the child inherits the contexts of the thread that forked, which was not inside zstd.
    """

    def __init__(self) -> None:
        self.plain: dict[int, zstandard.ZstdCompressor] = {}
        self.checked: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compressor(level: int) -> zstandard.ZstdCompressor:
    """Return this thread's compressor of a level. Its frames have no checksum.

    Every small object has a CRC-32 in the index or a hash as its name. 4 bytes are 0.8 % of a stored object of 1 KB.
    """
    context = _contexts.plain.get(level)
    if context is None:
        context = _contexts.plain[level] = zstandard.ZstdCompressor(level=level)
    return context


def compress_many(payloads: Sequence[BytesLike], level: int) -> list[bytes]:
    """Return a frame for each payload, as `compressor` makes it, with the threads of `threads_for`.

    1,000 objects of 1 KB take 6.3 us each one by one, 6.0 in one call, and 3.4 in one call for each of two threads.
    """
    if 0 in map(len, payloads):  # zstandard does not compress empty payloads in bulk.
        return compress_each(payloads, partial(compressor, level))
    return compress_together(payloads, partial(compressor, level))


def compress_each(payloads: Iterable[BytesLike], context: Callable[[], zstandard.ZstdCompressor]) -> list[bytes]:
    """Compress payloads one by one. Raise `MemoryError`."""
    try:
        return list(map(context().compress, payloads))
    except zstandard.ZstdError as error:
        raise meaning(error) from error


def compress_together(payloads: Sequence[BytesLike], context: Callable[[], zstandard.ZstdCompressor]) -> list[bytes]:
    """Compress payloads of at least a byte each with the threads of `threads_for`; ``context`` returns a thread's."""
    threads = threads_for(sum(map(len, payloads)))
    if len(payloads) < (_BULK if threads == 1 else TOGETHER):
        return compress_each(payloads, context)

    def compress(share: slice) -> list[bytes]:
        frames: list[bytes] = []
        for at in range(share.start, share.stop, _CALL):
            some = list(payloads[at : min(at + _CALL, share.stop)])
            try:
                frames += _bytes_of(context().multi_compress_to_buffer(some, threads=1))
            except zstandard.ZstdError as error:
                raise meaning(error) from error
        return frames

    return in_shares(compress, len(payloads), threads)


def _bytes_of(segments: zstandard.BufferWithSegmentsCollection) -> list[bytes]:
    # Iterating (its type does not declare it) takes 0.23 us each, indexing 0.26.
    return [segment.tobytes() for segment in cast(Iterable[zstandard.BufferSegment], segments)]


def encode_checked(data: BytesLike, level: int) -> bytes:
    """Return one zstd frame that ends with its checksum (the low 32 bits of XXH64 of the raw bytes, little-endian)."""
    context = _contexts.checked.get(level)
    if context is None:
        context = _contexts.checked[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return compress_each((data,), lambda: context)[0]


def meaning(error: zstandard.ZstdError) -> Exception:
    """Return what an error of zstd means: that bytes are bad, or a lack of memory, which says nothing of them."""
    if any(words in str(error) for words in _NO_MEMORY):
        return MemoryError(f"zstd: {error}")
    return DecodeError(f"zstd: {error}")


def context_size(level: int) -> int:
    """Return the bytes of memory that a thread needs to compress a frame: 0.6 MB at level 1, 18 MB at level 19."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=FRAME_SIZE)
    return parameters.estimated_compression_context_size()


def decompress_many(stored: Sequence[BytesLike], sizes: Sequence[int]) -> list[bytes]:
    """Return the raw bytes of each zstd frame. Raise `DecodeError` unless they have exactly the given sizes.

    Bytes behind a frame are an error only if fewer than 16 frames are given: the bulk call of zstd ignores them.
    """
    if len(stored) >= TOGETHER:
        with suppress(zstandard.ZstdError, DecodeError):
            return decompress_together(stored, sizes, zstandard.ZstdDecompressor)
    return _decompress_each(stored, sizes)


def decompress_together(
    stored: Sequence[BytesLike], sizes: Sequence[int], new_context: Callable[[], zstandard.ZstdDecompressor]
) -> list[bytes]:
    """Decompress small frames with the threads of `threads_for`. 2,000 of 1 KB take 2.9 us each, with two threads 1.3.

    Each thread makes a call of its own. One call with two threads of zstandard takes 2.4 us: its threads often run on
    the same processor, because the caller only waits. Raise `DecodeError` or ZstdError for the first bad frame, and for
    one that does not declare its size.
    """
    # A frame that declares its size is decoded directly into its buffer, without a window.
    declared = list(map(zstandard.frame_content_size, stored))
    if declared != sizes or not 0 < min(sizes) <= max(sizes) <= FRAME_SIZE:
        raise DecodeError("zstd: some frames must be decoded one by one")

    def decompress(share: slice) -> list[bytes]:
        room = array("Q", sizes[share])
        # A new context for each call: a context keeps the memory that it has taken.
        decompressor = new_context()
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
            # zstandard allocates the content size that the frame declares; its max_output_size does not prevent it.
            # It also accepts a declared size of 0 without decoding.
            if 0 < size <= FRAME_SIZE and content_size(frame) == size:
                payloads.append(decompress_one(frame, allow_extra_data=False))
            else:
                payloads.append(_decompress_slowly(frame, size))
    except zstandard.ZstdError as error:
        raise meaning(error) from error
    return payloads


def _decompress_slowly(stored: BytesLike, size: int) -> bytes:
    """Decode a frame of no or another declared size, or a large one. Memory grows only with the bytes produced."""
    if size < 0:
        raise DecodeError(f"zstd: {size} is no size")
    if _frame_length(stored) != len(stored):
        raise DecodeError("zstd: bytes after the end of the frame")
    chunks = []
    room = size + 1
    # A new context: this thread's own would keep the window that a foreign frame asks for, up to 128 MiB.
    with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
        while room and (chunk := reader.read(min(room, FRAME_SIZE))):
            chunks.append(chunk)
            room -= len(chunk)
    if room != 1:
        raise DecodeError(f"zstd: the frame is not the {size} raw bytes it should be")
    return b"".join(chunks)


def _frame_length(stored: BytesLike) -> int:
    """Return the end of the frame by its block headers (RFC 8878, 3.1.1): the stream reader does not know it."""
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

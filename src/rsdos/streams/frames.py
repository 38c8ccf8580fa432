"""The stored form of an object larger than one frame. This page is its description; all numbers are little-endian.

The raw bytes are cut into **frames** of `FRAME_SIZE` bytes (1 MiB); only the last may be shorter, and none is empty.
Each frame is encoded to a **piece**. The pieces follow one another from the first stored byte. After them comes a
table, whose length follows from the object's size. Pieces, end and table together are the object's ``length``.

zstd: a piece is a zstd frame that declares its content size and ends with its checksum. The table is the seek table of
the zstd seekable format (version 0.1.0), a skippable frame, so that the whole is decoded by any zstd program:

    offset    size  meaning
    0         4     0x184D2A5E
    4         4     bytes that follow: 12 n + 9
    8 + 12 i  4     length of piece i
    12 + 12 i 4     size of frame i
    16 + 12 i 4     low 32 bits of the XXH64 of frame i: the last four bytes of its piece
    8 + 12 n  4     n, the number of frames
    12 + 12 n 1     0x80: there are checksums
    13 + 12 n 4     0x8F92EAB1

raw and zlib: a raw piece is its frame. A zlib piece is a part of a zlib stream up to a full flush, so that inflation
can begin after it; the first piece begins with the two bytes of zlib's header. After the last piece of zlib come six
bytes, the end of the stream (an empty last block, and the Adler-32 of all): pieces and end are one zlib stream.
The table:

    offset    size  meaning
    0 + 8 i   4     length of piece i
    4 + 8 i   4     CRC-32 of frame i (of its raw bytes)
    8 n       4     `FRAME_SIZE`
    8 n + 4   4     n, the number of frames
    8 n + 8   4     CRC-32 of the table up to here
    8 n + 12  4     "RSFT"

mixed: as raw, but that a piece may be shorter than its frame. It is then a zstd frame that declares its content size,
without a checksum of its own.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from rsdos.codecs.auto import MIN_SIZE, clearly_smaller, looks_compressible
from rsdos.codecs.checksum import crc32
from rsdos.codecs.coding import decode, encode
from rsdos.codecs.deflate import PieceEncoder, decode_piece
from rsdos.codecs.zstd import context_size, encode_checked
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Compression, Stored

Fetch: TypeAlias = Callable[[int, int], BytesLike]
"""``fetch(offset, length)`` returns a range of the stored bytes of one object. Fewer bytes are damage."""

Fill: TypeAlias = Callable[[int, memoryview], int]
"""``fill(offset, buffer)`` reads stored bytes into a buffer and returns their number. Fewer bytes are damage."""

MAX_PIECE_LENGTH = FRAME_SIZE + FRAME_SIZE // 8
"""The longest piece: zstd adds 0.4 % at most, deflate 0.1 %. A table with a longer piece is damaged."""

_MOST_MEMORY = 56 << 20
"""Bytes for all threads that encode one object, including the caller's context: 64 MiB are promised.

15 threads at zstd 1, three at 9, one from 15 on. Each needs a context, a frame, its piece and the buffer for the piece.
"""

_SEEK_HEADER = struct.Struct("<II")
_SEEK_ENTRY = struct.Struct("<III")
_SEEK_FOOTER = struct.Struct("<IBI")
_SKIPPABLE_MAGIC = 0x184D2A5E
_SEEKABLE_MAGIC = 0x8F92EAB1
_WITH_CHECKSUMS = 0x80

_ENTRY = struct.Struct("<II")
_FOOTER = struct.Struct("<II")
_SEAL = struct.Struct("<I4s")
_MAGIC = b"RSFT"

_ZLIB_END_LENGTH = 6
_U32 = "I"
assert array(_U32).itemsize == 4


class FrameEncoder:
    """Encodes one object frame by frame. For one thread at a time.

    The stored bytes are the results of all `add` calls, followed by that of `finish`.
    """

    def __init__(self, compression: Compression) -> None:
        """With `Codec.MIXED` each frame is encoded by itself: as zstd of that level, or raw."""
        self._compression = compression
        self._pieces = PieceEncoder(compression.level) if compression.codec is Codec.ZLIB else None
        self._lengths = array(_U32)
        self._checks = array(_U32)
        self._last_size = FRAME_SIZE
        self._is_smaller = False

    @property
    def codec(self) -> Codec:
        """The codec of the object, once all frames are appended: mixed frames that are all raw are a raw object."""
        is_raw = self.is_mixed and not self._is_smaller
        return Codec.RAW if is_raw else self._compression.codec

    @property
    def is_mixed(self) -> bool:
        """Whether each frame is encoded by itself."""
        return self._compression.codec is Codec.MIXED

    @property
    def most_threads(self) -> int:
        """The number of threads that may call `encode` at once, in any order, within the memory for one object.

        0 where a frame depends on the one before it: only zstd frames are independent.
        """
        if self._compression.codec not in (Codec.ZSTD, Codec.MIXED):
            return 0
        context = context_size(self._compression.level)
        return (_MOST_MEMORY - context) // (context + 3 * FRAME_SIZE)

    def is_tried(self, frame: BytesLike) -> bool:
        """Return whether to call `encode` for the next frame. If not, its piece is the frame itself.

        Mixed frames are tried if they look compressible: for noise the look takes 10 us, zstd 1 takes 900, and zstd 19
        140,000.
        """
        if self.is_mixed:
            return len(frame) >= MIN_SIZE and looks_compressible(frame)
        return self._compression.codec is not Codec.RAW

    def encode(self, frame: BytesLike) -> BytesLike:
        """Return the piece of the next frame; pass it to `append`. For a raw piece it is ``frame`` itself."""
        if self._compression.codec is Codec.ZSTD:
            return encode_checked(frame, self._compression.level)
        if self.is_mixed:
            piece = encode(frame, Compression(Codec.ZSTD, self._compression.level))
            return piece if clearly_smaller(len(piece), len(frame)) else frame
        return frame if self._pieces is None else self._pieces.piece(frame)

    def append(self, frame: BytesLike, piece: BytesLike) -> None:
        """Add the next frame and its piece to the table."""
        assert self._last_size == FRAME_SIZE and 0 < len(frame) <= FRAME_SIZE, "only the last frame may be shorter"
        is_zstd = self._compression.codec is Codec.ZSTD
        self._last_size = len(frame)
        self._is_smaller = self._is_smaller or len(piece) < len(frame)
        self._lengths.append(len(piece))
        self._checks.append(int.from_bytes(piece[-4:], "little") if is_zstd else crc32(frame))

    def add(self, frame: BytesLike) -> BytesLike:
        """Encode and append the next frame. Return its piece."""
        piece = self.encode(frame) if self.is_tried(frame) else frame
        self.append(frame, piece)
        return piece

    def finish(self) -> bytes:
        """Return the bytes that follow the last piece."""
        assert self._lengths, "an object without frames is not framed"
        if self._compression.codec is Codec.ZSTD:
            return self._seek_table()
        end = b"" if self._pieces is None else self._pieces.finish()
        assert len(end) in (0, _ZLIB_END_LENGTH)
        table = b"".join(map(_ENTRY.pack, self._lengths, self._checks)) + _FOOTER.pack(FRAME_SIZE, len(self._lengths))
        return end + table + _SEAL.pack(crc32(table), _MAGIC)

    def _seek_table(self) -> bytes:
        count = len(self._lengths)
        sizes = [FRAME_SIZE] * (count - 1) + [self._last_size]
        entries = b"".join(map(_SEEK_ENTRY.pack, self._lengths, sizes, self._checks))
        header = _SEEK_HEADER.pack(_SKIPPABLE_MAGIC, len(entries) + _SEEK_FOOTER.size)
        return header + entries + _SEEK_FOOTER.pack(count, _WITH_CHECKSUMS, _SEEKABLE_MAGIC)


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The places of the frames of one object, in 12 bytes of memory each. Any thread may use it."""

    codec: Codec
    size: int
    offsets: array[int]
    """The offset of each piece in the stored bytes, and the end of the last one."""
    checks: array[int]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.checks)

    def frame_size(self, index: int) -> int:
        """Return the raw bytes of a frame."""
        return min(FRAME_SIZE, self.size - index * FRAME_SIZE)

    def is_raw(self, index: int) -> bool:
        """Return whether a piece is its frame: in a raw object, and in mixed frames if it is as long."""
        if self.codec is Codec.MIXED:
            return self.offsets[index + 1] - self.offsets[index] == self.frame_size(index)
        return self.codec is Codec.RAW

    def read(self, fetch: Fetch, index: int) -> BytesLike:
        """Fetch, decode and verify one frame. Raise `DecodeError`."""
        offset = self.offsets[index]
        length = self.offsets[index + 1] - offset
        piece = fetch(offset, length)
        size = self.frame_size(index)
        _check_length(index, len(piece), length)
        if self.codec is Codec.ZSTD:
            # The decoder verifies the frame's own checksum; comparing the table's finds exchanged frames.
            if int.from_bytes(piece[-4:], "little") != self.checks[index]:
                raise DecodeError(f"frame {index}: its checksum is not that of the table")
            return decode(piece, Codec.ZSTD, size)
        frame = piece if self.is_raw(index) else self._decoded(piece, size, index)
        self._check_crc(index, frame)
        return frame

    def _decoded(self, piece: BytesLike, size: int, index: int) -> bytes:
        return decode_piece(piece, size, index) if self.codec is Codec.ZLIB else decode(piece, Codec.ZSTD, size)

    def read_into(self, fill: Fill, index: int, buffer: memoryview) -> None:
        """Read a raw frame into a buffer of its size. After an error the content of the buffer is undefined."""
        assert self.is_raw(index) and len(buffer) == self.frame_size(index)
        _check_length(index, fill(self.offsets[index], buffer), len(buffer))
        self._check_crc(index, buffer)

    def read_raw(self, fetch: Fetch, first: int) -> bytes:
        """Fetch and verify all raw frames from ``first`` on, as one bytes object. Raise `DecodeError`."""
        assert self.codec is Codec.RAW
        start = first * FRAME_SIZE
        data = bytes(fetch(start, self.size - start))
        view = memoryview(data)
        _check_length(first, len(data), self.size - start)
        for index in range(first, len(self)):
            at = index * FRAME_SIZE - start
            self._check_crc(index, view[at : at + FRAME_SIZE])
        return data

    def _check_crc(self, index: int, frame: BytesLike) -> None:
        if crc32(frame) != self.checks[index]:
            raise DecodeError(f"frame {index}: its CRC-32 is not that of the table")


def _check_length(index: int, have: int, length: int) -> None:
    if have != length:
        raise DecodeError(f"frame {index}: {have} stored bytes where {length} should be")


def read_table(fetch: Fetch, stored: Stored) -> FrameTable:
    """Fetch and check the table of one object, in one `fetch`. Raise `DecodeError`.

    Nothing is fetched or allocated before ``stored.length`` is known to be large enough for the table.
    """
    count = -(-stored.size // FRAME_SIZE)
    table_length = stored.length - plain_length(stored)
    end_length = _ZLIB_END_LENGTH if stored.codec is Codec.ZLIB else 0
    pieces_length = stored.length - table_length - end_length
    if not 0 < count < 1 << 32 or pieces_length < count:
        raise DecodeError(f"{stored.length} stored bytes cannot be the frames of {stored.size} raw bytes")
    table = bytes(fetch(stored.length - table_length, table_length))
    if len(table) != table_length:
        raise DecodeError(f"the frame table has {len(table)} bytes where {table_length} should be")
    sizes = [FRAME_SIZE, stored.size - (count - 1) * FRAME_SIZE]
    if stored.codec is Codec.ZSTD:
        lengths, checks = _parse_seek_table(table, count, sizes)
    else:
        lengths, checks = _parse_table(table, count)
    if min(lengths) < 1 or max(lengths) > MAX_PIECE_LENGTH or sum(lengths) != pieces_length:
        raise DecodeError("the frame table does not add up to the stored bytes")
    if stored.codec is Codec.RAW and not _are_frame_sizes(lengths, *sizes):
        raise DecodeError("the frame table has raw pieces of a wrong size")
    if stored.codec is Codec.MIXED and (max(lengths) > FRAME_SIZE or lengths[-1] > sizes[-1]):
        raise DecodeError("the frame table has pieces that are longer than their frames")
    return FrameTable(stored.codec, stored.size, array("Q", accumulate(lengths, initial=0)), checks)


def plain_length(stored: Stored) -> int:
    """Return the length of a framed object's stored bytes without its table.

    They are the raw bytes, or one stream that any program for the codec can decode; for mixed frames, the pieces.
    """
    count = -(-stored.size // FRAME_SIZE)
    if stored.codec is Codec.ZSTD:
        return stored.length - (_SEEK_HEADER.size + count * _SEEK_ENTRY.size + _SEEK_FOOTER.size)
    return stored.length - (count * _ENTRY.size + _FOOTER.size + _SEAL.size)


def frames(fetch: Fetch, stored: Stored) -> Iterator[BytesLike]:
    """Yield the frames of one object in order, each verified. Raise `DecodeError`. Holds one frame and its piece."""
    table = read_table(fetch, stored)
    for index in range(len(table)):
        yield table.read(fetch, index)


def _parse_table(table: bytes, count: int) -> tuple[array[int], array[int]]:
    """Return the lengths and checksums of a table of raw or zlib."""
    sealed = len(table) - _SEAL.size
    if _SEAL.unpack_from(table, sealed) != (crc32(table[:sealed]), _MAGIC):
        raise DecodeError("the frame table is damaged: its CRC-32 or magic is wrong")
    if _FOOTER.unpack_from(table, sealed - _FOOTER.size) != (FRAME_SIZE, count):
        raise DecodeError("the frame table has another frame size or object size")
    columns = _u32s(table[: sealed - _FOOTER.size])
    return columns[0::2], columns[1::2]


def _parse_seek_table(table: bytes, count: int, sizes: list[int]) -> tuple[array[int], array[int]]:
    """Return the lengths and checksums of a table of zstd."""
    foot = len(table) - _SEEK_FOOTER.size
    if _SEEK_HEADER.unpack_from(table) != (
        _SKIPPABLE_MAGIC,
        len(table) - _SEEK_HEADER.size,
    ) or _SEEK_FOOTER.unpack_from(table, foot) != (count, _WITH_CHECKSUMS, _SEEKABLE_MAGIC):
        raise DecodeError("the seek table is damaged")
    columns = _u32s(table[_SEEK_HEADER.size : foot])
    if not _are_frame_sizes(columns[1::3], *sizes):
        raise DecodeError("the seek table has another frame size or object size")
    return columns[0::3], columns[2::3]


def _are_frame_sizes(sizes: array[int], full: int, last: int) -> bool:
    return sizes[-1] == last and sizes[:-1].count(full) == len(sizes) - 1


def _u32s(data: bytes) -> array[int]:
    numbers = array(_U32, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers

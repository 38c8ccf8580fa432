"""The stored bytes of single rows, read from packs of version 1 and verified by their hash."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby, pairwise

from rsdos.codecs.coding import decode
from rsdos.codecs.sequential import codec_of, decode_sequence
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError
from rsdos.hashing import HashType
from rsdos.layout import V1Layout
from rsdos.model import FRAME_SIZE, BytesLike, Codec, RecordFlag, Stored
from rsdos.storage.local import LocalFile
from rsdos.stores.findings import VerifiedObject
from rsdos.stores.packs import GAP, MOST_OPEN, WINDOW
from rsdos.stores.v1.row import Row
from rsdos.streams.buffers import AT_ONCE, join_parts, room_for
from rsdos.streams.plain import PlainReader, plain_parts

_MOST_AT_ONCE = 8 << 20
"""The most raw bytes of small objects that are kept at a time: a run of well compressed ones may be a gigabyte."""


class RowReader:
    """Reads the objects of rows of the index. Any number of threads.

    If the bytes are not as the row says, raise `DecodeError`, or `DamagedContainer` if the pack is cut short.
    """

    def __init__(self, layout: V1Layout, hash_type: HashType) -> None:
        self._layout = layout
        self._hash = hash_type
        self._packs: dict[int, LocalFile] = {}

    def close(self) -> None:
        """Close all packs."""
        self._packs = {}

    def forget(self, pack_id: int) -> None:
        """Close one pack."""
        self._packs.pop(pack_id, None)

    def has_open(self, pack_id: int) -> bool:
        """Return whether a pack is open. Another file may have its name by now."""
        return pack_id in self._packs

    def _pack(self, pack_id: int) -> LocalFile:
        pack = self._packs.get(pack_id)
        # A kept pack is closed if Python's garbage collector has closed the container while a finalizer reads.
        if pack is None or pack.fd < 0:
            pack = LocalFile(self._layout.pack(pack_id))
            if len(self._packs) >= MOST_OPEN:
                self._packs = {}
            self._packs[pack_id] = pack
        return pack

    def _fetch(self, row: Row) -> Callable[[int, int], bytes]:
        pack = self._pack(row.pack_id)
        if row.offset + row.length > pack.size():
            raise DamagedContainer(pack.path, f"the pack is cut short: it has {pack.size()} bytes", row.offset)

        def fetch(offset: int, length: int) -> bytes:
            return pack.read(row.offset + offset, length)

        return fetch

    def stored(self, row: Row) -> Stored:
        """Return the stored form of an object. Its first bytes show the codec."""
        codec = Codec.RAW
        if row.compressed:
            codec = codec_of(self._pack(row.pack_id).read(row.offset, min(row.length, 4)))
        return Stored(codec, RecordFlag.NONE, row.length, row.size)

    def read_object(self, row: Row) -> bytes:
        """Return the raw bytes of an object."""
        if row.size > (FRAME_SIZE if row.compressed else AT_ONCE):
            return join_parts(self.parts(row), room_for(self.stored(row)))
        if row.compressed and row.length > 2 * FRAME_SIZE:
            raise DecodeError(f"{row.length} stored bytes cannot be {row.size} raw ones")
        if not row.compressed and row.length != row.size:
            raise DecodeError(f"{row.length} stored bytes cannot be {row.size} raw ones")
        _, raw = _decode_row(self._pack(row.pack_id).read(row.offset, row.length), row)
        if self._hash.digest_of(raw).hex() != row.key:
            raise DecodeError("its bytes have another hash than its key")
        return raw

    def parts(self, row: Row) -> Iterator[BytesLike]:
        """Yield the raw bytes of an object in parts of at most one frame, and verify the hash at the end."""
        return plain_parts(self._fetch(row), self.stored(row), bytes.fromhex(row.key), self._hash)

    def stream(self, row: Row) -> io.BufferedReader:
        """Return a seekable stream of an object."""
        if row.size <= FRAME_SIZE:
            return io.BufferedReader(io.BytesIO(self.read_object(row)))
        digest = bytes.fromhex(row.key)
        damage = partial(DamagedObject, row.key)
        pack = self._pack(row.pack_id)

        def fill(offset: int, buffer: memoryview) -> int:
            return pack.read_into(row.offset + offset, buffer)

        reader = PlainReader(self._fetch(row), fill, self.stored(row), digest, self._hash, damage)
        return io.BufferedReader(reader, 1 << 16)

    def wholes(self, rows: list[Row]) -> Iterator[list[VerifiedObject]]:
        """Yield those objects of at most one frame that are good. Read them in runs, in storage order."""
        room = bytearray()
        for run in _runs([row for row in rows if row.size <= FRAME_SIZE and 0 <= row.length <= 2 * FRAME_SIZE]):
            start = run[0].offset
            length = max(row.offset + row.length for row in run) - start
            if len(room) < length:
                room = bytearray(length)  # Reused: fresh memory for each run would take as long as the hash.
            data = memoryview(room)[:length]
            try:
                if self._pack(run[0].pack_id).read_into(start, data) < length:
                    continue
            except OSError:
                continue
            found: list[tuple[Row, VerifiedObject]] = []
            size = 0
            for row in run:
                if size + row.size > _MOST_AT_ONCE:
                    yield self._good(found)
                    found, size = [], 0
                size += row.size
                begin = row.offset - start
                stored = bytes(data[begin : begin + row.length])
                with suppress(DecodeError):
                    codec, raw = _decode_row(stored, row)
                    found.append((row, VerifiedObject(bytes.fromhex(row.key), raw, codec, stored)))
            yield self._good(found)

    def _good(self, found: Sequence[tuple[Row, VerifiedObject]]) -> list[VerifiedObject]:
        keys = self._hash.keys_of([whole.raw for _, whole in found])
        return [whole for (row, whole), key in zip(found, keys, strict=True) if row.key == key]


def _decode_row(stored: bytes, row: Row) -> tuple[Codec | None, bytes]:
    """Return the codec and the raw bytes of an object of at most one frame. The codec is None if nothing is encoded.

    Raise `DecodeError`.
    """
    if len(stored) != row.length:
        raise DecodeError(f"its stored bytes end after {len(stored)} of {row.length}")
    if not row.compressed:
        if row.length != row.size:
            raise DecodeError(f"{row.length} raw stored bytes where {row.size} should be")
        return Codec.RAW, stored
    if not stored and not row.size:
        return None, b""  # rsdos 0.1 stores the empty object like this.
    codec = codec_of(stored)
    try:
        return codec, decode(stored, codec, row.size)
    except DecodeError:
        if codec is not Codec.ZSTD:
            raise
        # The frames of rsdos 0.1 have no end mark.
        return None, b"".join(decode_sequence((stored,), codec, row.size))


def _runs(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows in storage order, in runs that are worth one read each: see `rsdos.index.runs.Found.runs`."""
    rows.sort(key=lambda row: (row.pack_id, row.offset))
    numbers = [0]
    end = 0
    for before, row in pairwise(rows):
        end = max(end, before.offset + before.length)
        near = row.pack_id == before.pack_id and row.offset <= end + GAP
        if not near or row.offset // WINDOW != before.offset // WINDOW:
            end = 0
            numbers.append(numbers[-1] + 1)
        else:
            numbers.append(numbers[-1])
    for _, run in groupby(zip(numbers, rows, strict=False), key=lambda pair: pair[0]):
        yield [row for _, row in run]

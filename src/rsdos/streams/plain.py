"""Objects that are stored without frames: as raw bytes, or as one compressed stream.

Loose raw objects are stored so, and all objects in container version 1. A part has no checksum: an object is verified
by its hash, at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from rsdos.codecs.sequential import decode_sequence
from rsdos.errors import DecodeError
from rsdos.hashing import HashType
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Stored
from rsdos.streams.buffers import AT_ONCE, join_parts, room_for
from rsdos.streams.frames import Fetch, Fill
from rsdos.streams.seekable import Seekable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


OTHER_HASH = "its bytes have another hash than its key"


def pieces(fetch: Fetch, length: int) -> Iterator[BytesLike]:
    """Yield the stored bytes in parts of at most one frame. Raise `DecodeError` when there are fewer."""
    for at in range(0, length, FRAME_SIZE):
        want = min(FRAME_SIZE, length - at)
        piece = fetch(at, want)
        if len(piece) != want:
            raise DecodeError(f"its stored bytes end at {at + len(piece)} of {length}")
        yield piece


def plain_parts(fetch: Fetch, stored: Stored, digest: bytes, hash_type: HashType) -> Iterator[BytesLike]:
    """Return the object in parts of at most one frame; its hash is verified at the end. Raise `DecodeError`."""
    return hashed(_decoded_parts(fetch, stored), digest, hash_type)


def hashed(parts: Iterator[BytesLike], digest: bytes, hash_type: HashType) -> Iterator[BytesLike]:
    """Yield the same parts, and raise `DecodeError` at the end if they have another hash than ``digest``."""
    hasher = hash_type.new()
    for part in parts:
        hasher.update(part)
        yield part
    if hasher.digest() != digest:
        raise DecodeError(OTHER_HASH)


def _decoded_parts(fetch: Fetch, stored: Stored) -> Iterator[BytesLike]:
    parts = pieces(fetch, stored.length)
    if stored.codec is not Codec.RAW:
        return decode_sequence(parts, stored.codec, stored.size)
    if stored.length != stored.size:
        raise DecodeError(f"{stored.length} raw stored bytes where {stored.size} should be")
    return parts


class PlainReader(Seekable):
    """Reads an object without frames; wrap it in `io.BufferedReader`. For one thread at a time.

    The hash is verified when the object is read from beginning to end; of a range only the length is checked. In a
    compressed object, seeking back decodes from the beginning again, and seeking forward decodes the bytes between. At
    most two frames are held in memory. ``fill`` reads raw bytes directly into the caller's buffer. ``on_damage`` makes
    an exception of a reason; ``on_close`` is called when the reader is closed.
    """

    def __init__(
        self,
        fetch: Fetch,
        fill: Fill,
        stored: Stored,
        digest: bytes,
        hash_type: HashType,
        on_damage: Callable[[str], Exception],
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(stored.size)
        self._fetch = fetch
        self._fill = fill
        self._stored = stored
        self._digest = digest
        self._hash = hash_type
        self._on_damage = on_damage
        self._on_close = on_close
        self._hasher = hash_type.new()
        self._hashed = 0
        self._parts: Iterator[BytesLike] | None = None
        self._bad: int | None = None
        """The position of the read that found another hash: every read at this position raises."""
        self._part: BytesLike = b""
        self._start = 0
        """The position at which ``_part`` begins."""

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a part of the buffer; 0 bytes only at the end. After an error its content is undefined."""
        self._refuse_closed()
        target = memoryview(buffer).cast("B")
        want = min(len(target), self._size - self._position)
        if want <= 0:
            return 0
        try:
            copy = self._raw if self._stored.codec is Codec.RAW else self._decompressed
            is_next = self._is_next()
            done = copy(target[: min(want, FRAME_SIZE)])
            if is_next:
                self._update(target[:done])
        except DecodeError as error:
            raise self._on_damage(str(error)) from error
        self._position += done
        return done

    def readall(self) -> bytes:
        """Return all remaining bytes: raw ones with a single read."""
        self._refuse_closed()
        left = self._size - self._position
        if left <= 0:
            return b""
        try:
            is_next = self._is_next()
            if self._stored.codec is not Codec.RAW or left > AT_ONCE:
                return join_parts(iter(partial(self.read, FRAME_SIZE), b""), min(room_for(self._stored), left))
            data = bytes(self._fetch(self._position, left))
            if len(data) != left:
                raise self._cut_short()
            if is_next:
                self._update(data)
        except DecodeError as error:
            raise self._on_damage(str(error)) from error
        self._position = self._size
        return data

    def _is_next(self) -> bool:
        """Return whether the next bytes are to be hashed: they follow the hashed ones, or are the first."""
        if not self._position and self._hashed:
            self._hasher, self._hashed, self._bad = self._hash.new(), 0, None
        if self._position == self._bad:
            raise DecodeError(OTHER_HASH)
        return self._position == self._hashed

    def _raw(self, target: memoryview) -> int:
        done = self._fill(self._position, target)
        if not done:
            raise self._cut_short()
        return done

    def _cut_short(self) -> DecodeError:
        return DecodeError(f"its stored bytes end at {self._position} of {self._size}")

    def _decompressed(self, target: memoryview) -> int:
        if self._parts is None or self._position < self._start:
            self._parts, self._part, self._start = _decoded_parts(self._fetch, self._stored), b"", 0
        while self._position >= self._start + len(self._part):
            self._start += len(self._part)
            self._part = b""  # Release the old part first: at most one is held.
            # The decoder raises `DecodeError` where it ends too early.
            self._part = next(self._parts)
        begin = self._position - self._start
        part = memoryview(self._part)[begin : begin + len(target)]
        target[: len(part)] = part
        return len(part)

    def _update(self, data: BytesLike) -> None:
        self._hasher.update(data)
        self._hashed += len(data)
        if self._hashed == self._size:
            for _ in self._parts or ():
                pass  # The decoder raises if more bytes follow.
            if self._hasher.digest() != self._digest:
                self._bad = self._position
                raise DecodeError(OTHER_HASH)

    def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        self._parts, self._part = None, b""
        super().close()
        if on_close:
            on_close()

"""A seekable stream of an object that is stored in frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Stored
from rsdos.streams.buffers import AT_ONCE, join_parts, room_for
from rsdos.streams.frames import Fetch, Fill, read_table
from rsdos.streams.seekable import Seekable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FramedReader(Seekable):
    """Reads a framed object, decoding only the frames that it touches; wrap it in `io.BufferedReader`.

    It holds one decoded frame at most, and the stored piece while it is decoded. Every returned byte is verified.
    ``fill`` reads whole raw frames directly into the caller's buffer, where they are verified. ``on_damage`` makes the
    exception for a reason. Closing the reader closes nothing else. For one thread at a time.
    """

    def __init__(self, fetch: Fetch, fill: Fill, stored: Stored, on_damage: Callable[[str], Exception]) -> None:
        self._fetch = fetch
        self._fill = fill
        self._on_damage = on_damage
        try:
            self._table = read_table(fetch, stored)
        except DecodeError as error:
            raise on_damage(str(error)) from error
        self._room = room_for(stored)
        super().__init__(self._table.size)
        self._index = -1
        self._frame: BytesLike = b""

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer, frame by frame; less only at the end. After an error its content is undefined."""
        self._refuse_closed()
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and (copied := self._copy_into(target[filled:])):
            filled += copied
        return filled

    def readall(self) -> bytes:
        """Return all remaining bytes, without an extra copy of each frame."""
        self._refuse_closed()
        table = self._table
        index, start = divmod(self._position, FRAME_SIZE)
        left = table.size - self._position
        if table.codec is not Codec.RAW or start or not 0 < left <= AT_ONCE:
            return join_parts(self._parts(), max(min(self._room, left), 0))
        try:
            data = table.read_raw(self._fetch, index)
        except DecodeError as error:
            raise self._on_damage(str(error)) from error
        self._position = table.size
        return data

    def _parts(self) -> Iterator[memoryview]:
        while part := self._rest_of_frame(FRAME_SIZE):
            self._position += len(part)
            yield part
            del part  # Release the frame before the next one is decoded.

    def close(self) -> None:
        self._frame = b""
        super().close()

    def _copy_into(self, target: memoryview) -> int:
        """Copy from one frame. A separate method, so that no view keeps the frame while the next one is decoded."""
        done = self._fill_with_frame(target)
        if not done:
            part = self._rest_of_frame(len(target))
            done = len(part)
            target[:done] = part
        self._position += done
        return done

    def _fill_with_frame(self, target: memoryview) -> int:
        """Read a whole raw frame directly into the target, if it fits there. Return its size, or 0."""
        table = self._table
        index, start = divmod(self._position, FRAME_SIZE)
        if start or index >= len(table) or index == self._index or not table.is_raw(index):
            return 0
        size = table.frame_size(index)
        if len(target) < size:
            return 0
        try:
            table.read_into(self._fill, index, target[:size])
        except DecodeError as error:
            raise self._on_damage(str(error)) from error
        return size

    def _rest_of_frame(self, limit: int) -> memoryview:
        """Return the bytes from the position to the end of its frame, at most ``limit``; none at the end."""
        index, start = divmod(self._position, FRAME_SIZE)
        if self._position >= self._table.size:
            return memoryview(b"")
        if index != self._index:
            # Release the old frame first: at most one is held.
            self._index, self._frame = -1, b""
            try:
                self._frame = self._table.read(self._fetch, index)
            except DecodeError as error:
                raise self._on_damage(str(error)) from error
            self._index = index
        return memoryview(self._frame)[start : start + limit]

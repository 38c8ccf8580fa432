"""Memory for frames that is used again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

from rsdos.model import FRAME_SIZE, BytesLike, Stored

AT_ONCE = 1 << 30
"""Bytes that are read into one piece by one call, at most: Linux gives 2 GiB, and more calls would mean a copy more.

20 MB that are cached take 4 ms so, and 7 to 18 frame by frame.
"""


def join_parts(parts: Iterable[BytesLike], room: int = 0) -> bytes:
    """All parts in one piece. `bytes.join` would hold all of them until it has it: twice the memory of a large object.

    ``room`` is made for so many bytes first, and may be more or less than there are: 20 MB take 8 ms then, and 18
    without, growing. What is got in the end is no copy.
    """
    whole = io.BytesIO()
    if room:
        whole.seek(room - 1)
        whole.write(b"\0")
        whole.seek(0)
    for part in parts:
        whole.write(part)
    whole.truncate()
    return whole.getvalue()


def room_for(stored: Stored) -> int:
    """Bytes to make room for before an object is decoded: numbers that come from disk may say anything."""
    return min(stored.size, 8 * stored.length, AT_ONCE)


class Buffers:
    """Buffers of one frame each; one is read into again when nobody has a view of it any more. For one thread.

    Several fresh frames at a time are given back to the system, and asked for again, each time: of 256 MiB that go in
    with the help of threads, 134 MiB were page faults.
    """

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []

    def fill(self, readinto: Callable[[memoryview], int | None]) -> memoryview:
        """A frame of what ``readinto`` gives; less only at its end. It stays as it is for as long as it is held."""
        view = memoryview(self._free())
        length = 0
        while length < len(view) and (done := readinto(view[length:])):
            length += done
        return view[:length]

    def _free(self) -> bytearray:
        for buffer in self._buffers:
            try:
                # Refused as long as there is a view of it, by the rules of the language.
                buffer.pop()
                buffer.append(0)
            except BufferError:
                continue
            return buffer
        self._buffers.append(bytearray(FRAME_SIZE))
        return self._buffers[-1]

"""Buffers for whole objects and for frames."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

from rsdos.model import FRAME_SIZE, BytesLike, Stored

AT_ONCE = 1 << 30
"""Bytes that one call reads at most. Linux reads up to 2 GiB at once; more calls would need another copy.

One call for 20 MB in the page cache takes 4 ms; reading them frame by frame takes 7 to 18.
"""


def join_parts(parts: Iterable[BytesLike], room: int = 0) -> bytes:
    """Return all parts as one bytes object. `bytes.join` would hold the parts too: twice the memory of a large object.

    ``room`` bytes are allocated first; it may be too many or too few. 20 MB take 8 ms with it, and 18 ms when the
    buffer grows. The result is not copied.
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
    """Return the bytes to allocate before an object is decoded: sizes from disk are not trusted."""
    return min(stored.size, 8 * stored.length, AT_ONCE)


class Buffers:
    """Buffers of one frame each, which are reused when no view of them is left. For one thread.

    Without reuse, the memory of several frames is returned to the system and requested again each time: inserting 256
    MiB with threads took page faults for 134 MiB.
    """

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []

    def fill(self, readinto: Callable[[memoryview], int | None]) -> memoryview:
        """Read one frame with ``readinto``; less only at the end. Its buffer is not reused while the view is held."""
        view = memoryview(self._free())
        length = 0
        while length < len(view) and (done := readinto(view[length:])):
            length += done
        return view[:length]

    def _free(self) -> bytearray:
        for buffer in self._buffers:
            try:
                # Python refuses to resize a buffer while a view of it exists.
                buffer.pop()
                buffer.append(0)
            except BufferError:
                continue
            return buffer
        self._buffers.append(bytearray(FRAME_SIZE))
        return self._buffers[-1]

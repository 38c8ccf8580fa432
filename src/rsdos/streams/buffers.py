"""Memory for frames that is used again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

from rsdos.model import FRAME_SIZE, BytesLike


def joined(parts: Iterable[BytesLike]) -> bytes:
    """All parts in one piece. `bytes.join` would hold all of them until it has it: twice the memory of a large object.

    The piece grows in place, and what is got of it in the end is no copy.
    """
    whole = io.BytesIO()
    for part in parts:
        whole.write(part)
    return whole.getvalue()


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

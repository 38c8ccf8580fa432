"""Tables in memory that are used like segments in files: decoded ones, and those that this process has just written."""

from __future__ import annotations

from collections.abc import Iterable

from rsdos.index.segment import Segment
from rsdos.model import BytesLike
from rsdos.storage.base import Version


class TableBytes:
    """Bytes in the place of an open file, and of a view of it: see `rsdos.storage.opened`."""

    keeps_open = False
    is_open = True

    def __init__(self, path: str, version: Version, data: bytes) -> None:
        self.path = path
        self.version = version
        self.data = memoryview(data)

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        buffer[:] = self.data[offset : offset + len(buffer)]
        return len(buffer)

    def view(self, offset: int, length: int) -> TableBytes:
        return self

    def need(self, start: int, end: int) -> None:
        return

    def copy(self, start: int, end: int) -> bytes:
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        return

    def is_cached(self, offset: int) -> bool:
        return True

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        return


class OwnTable(Segment):
    """A table that this process has made."""

    _is_own = True


def written_segment(path: str, version: Version, offset: int, parts: Iterable[BytesLike]) -> Segment:
    """Return the segment whose parts were just written to a pack at an offset, without reading it back."""
    table = TableBytes(path, version, b"".join(parts))
    return OwnTable(table, offset, table.size(), table)

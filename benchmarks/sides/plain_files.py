"""Plain files: one for each object, named by its hash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from benchmarks.sides.side import Side, key_of

_MOST, _MOST_SYNCED = 10_000, 500
"""So many are enough to see its rate; 100,000 that are synced one by one take minutes."""


class PlainFiles(Side):
    """A directory, its 256 subdirectories, and ``open``."""

    title = "plain files"
    syncs = "as asked: the file and its directory"

    def create(self, pack_size: int | None = None) -> None:
        for number in range(256):
            (self.path / f"{number:02x}").mkdir(parents=True)

    def open(self) -> None:
        pass

    def _name(self, key: str) -> str:
        return f"{self.path}/{key[:2]}/{key[2:]}"

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        if compress:
            raise NotImplementedError
        return self.insert_many_loose(payloads[: _MOST_SYNCED if self.durable else _MOST])

    def insert_loose(self, payload: bytes) -> str:
        key = key_of(payload)
        name = self._name(key)
        with open(f"{name}.new", "xb") as file:
            file.write(payload)
            if self.durable:
                file.flush()
                os.fdatasync(file.fileno())
        os.rename(f"{name}.new", name)
        if self.durable:
            fd = os.open(os.path.dirname(name), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        return key

    def extract(self, key: str) -> bytes:
        with open(self._name(key), "rb") as file:
            return file.read()

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        return map(self.extract, keys)

    def has_many(self, keys: Sequence[str]) -> int:
        return sum(map(os.path.exists, map(self._name, keys)))

"""A zip file: what people put many small files in."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

from benchmarks.sides.side import Side, key_of


class ZipFile(Side):
    """One archive, a member for each object, named by its key; deflate."""

    title = "zip"
    syncs = "never, whatever is asked"

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)

    def open(self) -> None:
        self._archive = zipfile.ZipFile(self.path / "objects.zip")

    def close(self) -> None:
        self._archive.close()

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        keys = list(map(key_of, payloads))
        self._archive = zipfile.ZipFile(self.path / "objects.zip", "w", zipfile.ZIP_DEFLATED)
        for key, payload in zip(keys, payloads, strict=True):
            self._archive.writestr(key, payload)
        return keys

    def extract(self, key: str) -> bytes:
        return self._archive.read(key)

"""SQLite: one table of blobs."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence

from benchmarks.sides.side import Side, key_of


class SqliteBlobs(Side):
    """A table ``key, data`` without row ids, in WAL mode."""

    title = "SQLite blobs"
    syncs = "as asked: synchronous=FULL, once a transaction, or OFF"

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)
        self.open()
        self._database.execute("CREATE TABLE objects (key BLOB PRIMARY KEY, data BLOB) WITHOUT ROWID")

    def open(self) -> None:
        self._database = sqlite3.connect(self.path / "objects.db")
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={'FULL' if self.durable else 'OFF'}")

    def close(self) -> None:
        self._database.close()

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys = list(map(key_of, payloads))
        data = (zlib.compress(payload, 1) for payload in payloads) if compress else payloads
        rows = zip(map(bytes.fromhex, keys), data, strict=True)
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?)", rows)
        return keys

    def extract(self, key: str) -> bytes:
        row = self._database.execute("SELECT data FROM objects WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        data: bytes = row[0]
        return data

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        return map(self.extract, keys)

    def has_many(self, keys: Sequence[str]) -> int:
        ask = "SELECT 1 FROM objects WHERE key = ?"
        return sum(self._database.execute(ask, (bytes.fromhex(key),)).fetchone() is not None for key in keys)

    def list_keys(self) -> int:
        return sum(1 for _ in self._database.execute("SELECT key FROM objects"))

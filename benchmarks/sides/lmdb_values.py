"""LMDB: keys and values in one memory map."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.sides.side import Side, key_of

_MAP = 8 << 30


class LmdbValues(Side):
    """One environment, one transaction for each call."""

    title = "LMDB"
    syncs = "as asked: once a transaction, or never"
    peers = True

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)
        self.open()

    def open(self) -> None:
        lmdb: Any = importlib.import_module("lmdb")
        self._environment = lmdb.open(str(self.path), map_size=_MAP, sync=self.durable)

    def close(self) -> None:
        self._environment.close()

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys = list(map(key_of, payloads))
        data = (zlib.compress(payload, 1) for payload in payloads) if compress else payloads
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(zip(map(bytes.fromhex, keys), data, strict=True))
        return keys

    def extract(self, key: str) -> bytes:
        with self._environment.begin() as transaction:
            data: bytes = transaction.get(bytes.fromhex(key))
        return data

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        with self._environment.begin() as transaction:
            for key in keys:
                yield transaction.get(bytes.fromhex(key))

    def has_many(self, keys: Sequence[str]) -> int:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            return sum(cursor.set_key(bytes.fromhex(key)) for key in keys)

    def list_keys(self) -> int:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            return sum(1 for _ in cursor.iternext(keys=True, values=False))

"""Reading packs and rows of version 1 one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from rsdos.index.dictionaries import PackDictionary
from rsdos.model import Extent, ObjectMeta, PackKind
from rsdos.pack.scanning import Scan
from rsdos.stores.base import CHUNK
from rsdos.stores.packs import Listed
from rsdos.stores.v1.context import V1Context


class V1Inspection:
    """See `rsdos.stores.packs.PackInspection`."""

    def __init__(self, context: V1Context, describe: Callable[[bytes], ObjectMeta | None]) -> None:
        self._layout = context.layout
        self._hash = context.config.hash
        self._database = context.database
        self._describe = describe

    def listed(self, kind: PackKind | None = None) -> Iterator[Listed]:
        # All rows at once, as for `snapshot_keys`: without a write-ahead log an open query keeps writers out.
        packs: dict[int, bytearray] = {}
        for pack_id, key in self._database.in_storage_order():
            if self._hash.is_key(key):
                packs.setdefault(pack_id, bytearray()).extend(bytes.fromhex(key))
        for pack_id, joined in packs.items():
            yield Listed(pack_id, len(joined) // self._hash.digest_bytes, self._cut(joined))

    def _cut(self, joined: bytearray) -> Iterator[list[bytes]]:
        """Yield joined digests, in lists of bounded size."""
        step = self._hash.digest_bytes
        for start in range(0, len(joined), CHUNK * step):
            some = bytes(joined[start : start + CHUNK * step])
            yield [some[at : at + step] for at in range(0, len(some), step)]

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        for rows in self._database.rows(pack_id):
            yield [bytes.fromhex(row.key) for row in rows if self._hash.is_key(row.key)]

    def kinds(self) -> Mapping[int, PackKind]:
        return {}

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        meta = self._describe(digest)
        return [] if meta is None else [meta]

    def dictionaries_of(self, digest: bytes) -> dict[Extent, PackDictionary]:
        return {}

    def scan(self, pack_id: int) -> Scan:
        end = os.stat(self._layout.pack(pack_id)).st_size
        uncovered = []
        at = 0
        for rows in self._database.rows(pack_id):
            for row in rows:
                if row.offset > at:
                    uncovered.append((at, row.offset))
                at = max(at, row.offset + row.length)
        if at < end:
            uncovered.append((at, end))
        return Scan((), tuple(uncovered))

"""The packed store of a remote, with the objects that were read from it and are kept on this machine.

The remote's index is asked first: an object that was deleted there is not found, even if it is kept here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from rsdos.config import Config
from rsdos.index.index import Index
from rsdos.layout import Layout
from rsdos.model import BytesLike, Durability, PackKind, Record
from rsdos.stores.base import first_good
from rsdos.stores.keeper import Keeper
from rsdos.stores.packed.stats import open_index
from rsdos.stores.packed.store import PackedStore


class KeptPackedStore(PackedStore):
    """See the module. Any number of threads."""

    def __init__(
        self,
        layout: Layout,
        config: Config,
        durability: Durability,
        keeper: Keeper,
        opening: Callable[[Layout, Config], Index] = open_index,
    ) -> None:
        super().__init__(layout, config, durability, opening)
        self.keeper = keeper

    def rest(self) -> None:
        self.keeper.close()
        super().rest()

    def close(self) -> None:
        self.keeper.close()
        super().close()

    def _kind_of(self, pack_id: int) -> PackKind:
        return self.index.view.kinds.get(pack_id, PackKind.PLAIN)

    def read(self, digest: bytes) -> bytes | None:
        record = self.index.find(digest)
        if record is None:
            return None
        data = self.keeper.read(digest)
        if data is None:
            data = super().read(digest)
            if data is not None:
                self.keeper.keep(digest, data, self._kind_of(record.pack_id))
        return data

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if not record.flags:
            data = self.read(digest)
            return None if data is None else iter((data,))
        return first_good(digest, self._copies(digest, record))

    def _copies(self, digest: bytes, record: Record) -> Iterator[Callable[[], Iterator[BytesLike]]]:
        """Yield the copy that is here, fetched first if it is not, and that of the remote."""
        if not self.keeper.has(digest):
            parts = super().frames(digest)
            if parts is None:
                return
            self.keeper.keep_parts(digest, parts, record.size, self._kind_of(record.pack_id))
        here = self.keeper.frames(digest)
        if here is not None:
            kept = here
            yield lambda: kept
        there = super().frames(digest)
        if there is not None:
            yield lambda: there

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if not record.flags:
            data = self.read(digest)
            return None if data is None else io.BufferedReader(io.BytesIO(data))
        # A part of a large object is no reason to fetch all of it.
        return self.keeper.stream(digest) or super().stream(digest)

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        found = self.index.find_many(digests)
        at = found.positions.tolist()
        kinds = dict(zip(at, self._kinds_of(found.entries.records["pack_id"].tolist()), strict=True))
        here = bytearray(len(digests))
        for positions, payloads in self.keeper.read_lists([digests[i] for i in at]):
            for i in positions:
                here[at[i]] = 1
            yield [at[i] for i in positions], payloads
        rest = [i for i in at if not here[i]]
        for positions, payloads in super().read_lists([digests[i] for i in rest], read):
            places = [rest[i] for i in positions]
            for place, data in zip(places, payloads, strict=True):
                self.keeper.keep(digests[place], data, kinds[place])
            yield places, payloads

    def _kinds_of(self, pack_ids: Sequence[int]) -> Iterator[PackKind]:
        kinds: Mapping[int, PackKind] = self.index.view.kinds
        return (kinds.get(pack_id, PackKind.PLAIN) for pack_id in pack_ids)

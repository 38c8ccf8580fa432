"""Inspecting packs and index of version 2 entry by entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rsdos.index.dictionaries import PackDictionary
from rsdos.model import FIRST_DICTIONARY, Extent, ObjectMeta, PackKind
from rsdos.pack.scanning import Scan, scan
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.reader import meta_of
from rsdos.stores.packs import Listed


class PackedInspection:
    """See `rsdos.stores.packs.PackInspection`."""

    def __init__(self, context: PackedContext) -> None:
        self._context = context
        self._index = context.index

    def listed(self, kind: PackKind | None = None) -> Iterator[Listed]:
        view = self._index.refresh().for_kind(kind)
        for pack in view.manifest.packs:
            digests = (entries.digests() for entries in view.in_storage_order(pack))
            yield Listed(pack.id, pack.live.objects, digests)

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        return self._index.digests_of(pack_id)

    def kinds(self) -> Mapping[int, PackKind]:
        return self._index.view.kinds

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        return list(map(meta_of, self._index.find_all(digest)))

    def dictionaries_of(self, digest: bytes) -> dict[Extent, PackDictionary]:
        view = self._index.view
        found = {}
        for record in self._index.find_all(digest):
            places = view.dictionaries_of(record.pack_id)
            number = record.codec - FIRST_DICTIONARY
            if 0 <= number < len(places):
                found[record.extent] = places[number]
        return found

    def scan(self, pack_id: int) -> Scan:
        return scan(self._context.open_pack(pack_id))

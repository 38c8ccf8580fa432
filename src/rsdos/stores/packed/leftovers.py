"""What belongs to nothing in a container: files that no manifest names, and bytes behind what was committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.stores.findings import Finding
from rsdos.stores.packed.context import PackedContext


class NotedLeftovers:
    """The leftovers of dead writers, and of those at work, as they were when this object was made."""

    def __init__(self, context: PackedContext) -> None:
        self._layout = context.layout
        self._index = context.index
        self._noted = dict(self._all())

    def still_there(self) -> Iterator[Finding]:
        """Yield those that are there still and have not grown: their writers have died, or do nothing."""
        for path, (extra, what) in self._all():
            if path in self._noted and self._noted[path][0] == extra:
                yield Finding(self._layout.relative(path), what, is_damage=False)

    def _all(self) -> Iterator[tuple[str, tuple[int, str]]]:
        """Yield the path of a file, the number of its bytes that the newest manifest does not have, and their kind."""
        try:
            manifest = self._index.newest()
        except DamagedContainer:
            return
        for pack_id in self._layout.pack_ids():
            path = self._layout.pack(pack_id)
            pack = manifest.packs.find(pack_id)
            extra = self._length(names.pack(pack_id)) - (pack.length if pack else 0)
            if extra > 0:
                what = "is not in the manifest" if pack is None else "is behind what was committed"
                yield path, (extra, f"{extra} bytes: it {what} (a writer is at work, or has died)")
        named = {name for number in self._layout.manifest_numbers() for name in self._named(number)}
        files = map(names.segment, self._layout.segment_numbers()), map(names.pack_table, self._layout.table_numbers())
        for name in chain.from_iterable(files):
            if name not in named:
                yield self._layout.storage.path(name), (self._length(name), "no manifest names it")

    def _length(self, name: str) -> int:
        info = self._layout.storage.stat(name)
        return info.length if info else 0

    def _named(self, number: int) -> Iterator[str]:
        """Yield the names of the files of the index that a manifest names."""
        with suppress(FileNotFoundError, DamagedContainer):
            manifest = self._index.commits.read(number)
            yield from (names.segment(segment.number) for segment in manifest.segments)
            yield from (names.pack_table(table.number) for table in manifest.packs.tables.entries)

"""What the packed side of a container holds, counted, and how that is found out without the rest of the store."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from rsdos import fsio
from rsdos.config import Config
from rsdos.index import Index, Losses, Manifest, Snapshot
from rsdos.layout import Layout

MIN_DEAD = 0.2
"""At a fifth of dead bytes a repack writes four bytes to win one: about what a log-structured store settles at."""


class PackSums(NamedTuple):
    """One pack. ``length`` of its bytes belong to the container, ``stored`` of these to objects, dead ones included.

    ``synced`` bytes are known to be on stable storage. A ``sealed`` pack is never appended to again.
    """

    id: int
    length: int
    synced: int
    sealed: bool = False
    objects: int = 0
    size: int = 0
    stored: int = 0
    dead_objects: int = 0
    dead_size: int = 0
    dead_stored: int = 0

    def is_worth_a_repack(self, min_dead: float = MIN_DEAD) -> bool:
        """Whether enough of it is dead."""
        if self.objects and self.objects == self.dead_objects:
            return True
        return self.dead_stored > 0 and self.dead_stored >= min_dead * self.stored


class PackedSums(NamedTuple):
    """The packed side of a container, each key counted once. ``index_length`` are the bytes of the index's files.

    ``is_recovered`` says that the index was read from the packs, because a part of it is damaged; ``damage`` is what
    was wrong with one of these, if anything was. ``manifest`` is the number of the newest manifest and ``segments`` how
    many are live, 0 where there is no such thing.
    """

    packs: tuple[PackSums, ...]
    index_length: int
    manifest: int = 0
    segments: int = 0
    is_recovered: bool = False
    damage: str = ""

    @property
    def objects(self) -> int:
        return sum(pack.objects - pack.dead_objects for pack in self.packs)

    @property
    def size(self) -> int:
        """Raw bytes of the packed objects."""
        return sum(pack.size - pack.dead_size for pack in self.packs)

    @property
    def stored(self) -> int:
        """Stored bytes of the packed objects."""
        return sum(pack.stored - pack.dead_stored for pack in self.packs)

    @property
    def dead_objects(self) -> int:
        return sum(pack.dead_objects for pack in self.packs)

    @property
    def dead_stored(self) -> int:
        """Stored bytes that no key leads to any more."""
        return sum(pack.dead_stored for pack in self.packs)


# An entry of a manifest has the same members.
_members = attrgetter(*PackSums._fields)


def open_index(layout: Layout, config: Config) -> Index:
    """The index of a container of version 2; nothing is opened yet."""
    container_id = bytes.fromhex(config.container_id)

    # Imported only where there is need: most looks at an index have none of either.
    def recovered(manifest: Manifest | None) -> Snapshot:
        from rsdos.stores.recover import recover

        return recover(layout, config.container_id, manifest)

    def check_pack(fd: int, path: str, pack_id: int) -> None:
        from rsdos.pack import check_header

        check_header(fd, path, pack_id, container_id)

    def without_cut(manifest: Manifest) -> Manifest:
        from rsdos.stores.lost import without_cut

        return without_cut(layout, manifest)

    def without_unwritten(manifest: Manifest) -> Manifest:
        from rsdos.stores.lost import without_unwritten

        return without_unwritten(layout, container_id, manifest)

    return Index(layout, config.container_id, recovered, check_pack, Losses(without_cut, without_unwritten))


def sums_of(layout: Layout, index: Index) -> PackedSums:
    """The newest state of an index, counted."""
    snapshot = index.refresh()
    manifest = snapshot.manifest
    return PackedSums(
        tuple(PackSums(*_members(pack)) for pack in manifest.packs),
        _length_of_index(layout),
        manifest.number,
        len(manifest.segments),
        index.is_recovered,
        str(snapshot.damage or ""),
    )


def _length_of_index(layout: Layout) -> int:
    try:
        return fsio.length_of_files(layout.index)
    except FileNotFoundError:
        layout.refuse_gone()
        raise


def look(layout: Layout, config: Config) -> tuple[PackedSums, Mapping[str, object]]:
    """The sums of a container of version 2, and what was noted in it; see `Packs.notes`."""
    index = open_index(layout, config)
    return sums_of(layout, index), index.snapshot.manifest.notes

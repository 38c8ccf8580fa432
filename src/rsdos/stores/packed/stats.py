"""Counting what the packed side of a container holds, without the rest of the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rsdos import names
from rsdos.config import Config
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, SegmentName
from rsdos.index.snapshot import Snapshot
from rsdos.index.state import Losses
from rsdos.layout import Layout
from rsdos.storage.base import RandomAccess
from rsdos.stores.stats import PackedStats


def open_index(layout: Layout, config: Config) -> Index:
    """Return the index of a container of version 2; nothing is opened yet."""
    container_id = bytes.fromhex(config.container_id)

    # Imported only where they are needed: most lookups need neither.
    def recovered(manifest: Manifest | None) -> Snapshot:
        from rsdos.stores.packed.recovery import snapshot_from_packs

        return snapshot_from_packs(layout, config.container_id, manifest)

    def check_pack(file: RandomAccess, pack_id: int) -> None:
        from rsdos.pack.reader import check_header

        check_header(file, pack_id, container_id)

    def without_cut(manifest: Manifest) -> Manifest:
        from rsdos.stores.packed.lost import without_cut

        return without_cut(layout, manifest)

    def without_unwritten(manifest: Manifest, known: Collection[SegmentName]) -> Manifest:
        from rsdos.stores.packed.lost import without_unwritten

        return without_unwritten(layout, container_id, manifest, known)

    return Index(layout, config.container_id, recovered, check_pack, Losses(without_cut, without_unwritten))


def stats_of(layout: Layout, index: Index) -> PackedStats:
    """Return the newest state of an index, counted."""
    snapshot = index.refresh()
    manifest = snapshot.manifest
    return PackedStats(
        manifest.packs,
        _length_of_index(layout),
        manifest.number,
        len(manifest.segments),
        index.is_recovered,
        str(snapshot.damage or ""),
    )


def _length_of_index(layout: Layout) -> int:
    try:
        found = (layout.storage.stat(f"{names.INDEX}/{name}") for name in layout.storage.list(names.INDEX))
        return sum(info.length for info in found if info)
    except FileNotFoundError:
        layout.refuse_gone()
        raise


def read_stats(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    """Return the counts of a container of version 2, and its notes; see `PackMaintenance`."""
    index = open_index(layout, config)
    return stats_of(layout, index), index.snapshot.manifest.notes

"""Counting the packed objects of a container, without the rest of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.config import Config
from rsdos.errors import DamagedContainer, UnsupportedContainer
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, SegmentName
from rsdos.index.state import CheckPack, Losses, Recover
from rsdos.index.view import IndexView
from rsdos.layout import Layout
from rsdos.stores.stats import PackedStats

if TYPE_CHECKING:
    from rsdos.storage.opened import RandomAccess


def recoverers(layout: Layout, config: Config) -> tuple[Recover, CheckPack, Losses]:
    """Return what an index asks where a file is damaged, or may be."""
    container_id = bytes.fromhex(config.container_id)

    # Imported only where they are needed: most lookups need neither.
    def recovered(manifest: Manifest | None) -> IndexView:
        from rsdos.stores.packed.recovery import view_from_packs

        return view_from_packs(layout, config.container_id, manifest)

    def check_pack(file: RandomAccess, pack_id: int) -> None:
        from rsdos.pack.reader import check_header

        check_header(file, pack_id, container_id)

    def without_cut(manifest: Manifest) -> Manifest:
        from rsdos.stores.packed.lost import without_cut

        return without_cut(layout, manifest)

    def without_unwritten(manifest: Manifest, known: Collection[SegmentName]) -> Manifest:
        from rsdos.stores.packed.lost import without_unwritten

        return without_unwritten(layout, container_id, manifest, known)

    return recovered, check_pack, Losses(without_cut, without_unwritten)


def open_index(layout: Layout, config: Config) -> Index:
    """Return the index of a container of version 2; nothing is opened yet."""
    return Index(layout, config.container_id, *recoverers(layout, config))


def stats_of(layout: Layout, index: Index) -> PackedStats:
    """Return the newest state of an index, counted."""
    view = index.refresh()
    manifest, is_recovered = view.manifest, index.is_recovered
    return PackedStats(
        manifest.packs,
        _length_of_files(layout) if index.appends else _length_of_live(layout, manifest),
        manifest.number,
        len(manifest.segments),
        is_recovered,
        str(view.damage or "") or (_unsupported(index) if is_recovered else ""),
        manifest.refs,
    )


def _unsupported(index: Index) -> str:
    """Return what is said of a newest manifest that a later release has written, "" for any other."""
    try:
        index.commits.newest()
    except UnsupportedContainer as error:
        return str(error)
    except DamagedContainer:
        pass
    return ""


def _length_of_live(layout: Layout, manifest: Manifest) -> int:
    """Return the bytes of a manifest and its segment files, for a medium that keeps every manifest."""
    files = (names.segment(segment.number) for segment in manifest.segments if segment.number)
    asked = (names.manifest(manifest.number), *files) if manifest.number else ()
    return sum(info.length for info in map(layout.storage.stat, asked) if info)


def _length_of_files(layout: Layout) -> int:
    found = (layout.storage.stat(f"{names.INDEX}/{name}") for name in layout.index_names())
    return sum(info.length for info in found if info)


def read_stats(
    layout: Layout, config: Config, opening: Callable[[Layout, Config], Index] = open_index
) -> tuple[PackedStats, Mapping[str, object]]:
    """Return the counts of a container of version 2 or 3, and its notes; see `PackMaintenance`."""
    index = opening(layout, config)
    return stats_of(layout, index), index.view.manifest.notes

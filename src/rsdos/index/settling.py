"""What relaxed commits have left unsynced is put on stable storage: before a full commit, and before a merge."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.layout import Layout
from rsdos.storage import posix


def settled(layout: Layout, manifest: Manifest) -> Manifest:
    """Sync what relaxed commits, and this one, left unsynced, and the names: packs, and segment files.

    So a manifest that survives a power loss names nothing that does not. Before it has its own name: a power loss may
    keep one name of a directory and not another that was made before it. The entries of a segment file would then be
    read from the packs, and one of these may be damaged.
    """
    if all(segment.synced for segment in manifest.segments) and not any(p.synced < p.length for p in manifest.packs):
        return manifest
    segments = tuple(_synced(layout, segment) for segment in manifest.segments)
    if segments != manifest.segments:
        posix.sync_directory(layout.index)
    return with_synced(layout, manifest, manifest.pack_ids)._replace(segments=segments)


def with_synced(layout: Layout, manifest: Manifest, pack_ids: Collection[int]) -> Manifest:
    """The manifest with those packs, and their names, on stable storage."""
    packs = list(manifest.packs)
    for at, pack in enumerate(packs):
        if pack.synced < pack.length and pack.id in pack_ids:
            with suppress(FileNotFoundError):  # Damage, which stays what it is.
                posix.sync_path(layout.pack(pack.id))
                packs[at] = pack._replace(synced=pack.length)
    if packs != list(manifest.packs):
        posix.sync_directory(layout.packed)
        return manifest._replace(packs=tuple(packs))
    return manifest


def _synced(layout: Layout, segment: SegmentEntry) -> SegmentEntry:
    if segment.synced:
        return segment
    try:
        posix.sync_path(layout.segment(segment.number))
    except FileNotFoundError:
        return segment  # Its entries are read from the packs.
    return segment._replace(synced=True)

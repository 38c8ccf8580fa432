"""What relaxed commits have left unsynced is put on stable storage: before a full commit, and before a merge."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from rsdos import names
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.storage.base import Storage


def settled(storage: Storage, manifest: Manifest) -> Manifest:
    """Sync what relaxed commits, and this one, left unsynced, and the names: packs, and segment files.

    So a manifest that survives a power loss names nothing that does not. Before it has its own name: a power loss may
    keep one name of a directory and not another that was made before it. The entries of a segment file would then be
    read from the packs, and one of these may be damaged.
    """
    if all(segment.synced for segment in manifest.segments) and not any(p.synced < p.length for p in manifest.packs):
        return manifest
    segments = tuple(_synced(storage, segment) for segment in manifest.segments)
    if segments != manifest.segments:
        storage.sync_names(names.INDEX)
    return with_synced(storage, manifest, manifest.pack_ids)._replace(segments=segments)


def with_synced(storage: Storage, manifest: Manifest, pack_ids: Collection[int]) -> Manifest:
    """The manifest with those packs, and their names, on stable storage."""
    packs = list(manifest.packs)
    for at, pack in enumerate(packs):
        if pack.synced < pack.length and pack.id in pack_ids:
            with suppress(FileNotFoundError):  # Damage, which stays what it is.
                storage.sync(names.pack(pack.id))
                packs[at] = pack._replace(synced=pack.length)
    if packs != list(manifest.packs):
        storage.sync_names(names.PACKED)
        return manifest._replace(packs=tuple(packs))
    return manifest


def _synced(storage: Storage, segment: SegmentEntry) -> SegmentEntry:
    if segment.synced:
        return segment
    try:
        storage.sync(names.segment(segment.number))
    except FileNotFoundError:
        return segment  # Its entries are read from the packs.
    return segment._replace(synced=True)

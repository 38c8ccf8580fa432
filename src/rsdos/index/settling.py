"""Syncs the files that relaxed commits have left unsynced: before a full commit, and before a merge."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from rsdos import names
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.storage.base import Storage


def settled(storage: Storage, manifest: Manifest) -> Manifest:
    """Sync all packs and segment files of a manifest, and their names. Return the manifest with them marked as synced.

    So a manifest that survives a power loss names nothing that does not survive. The sync comes before the manifest
    gets its own name, because a power loss may keep one name of a directory and lose another that was made before it.
    The entries of a lost segment file would have to be read from the packs, and a pack may be damaged.
    """
    if all(segment.synced for segment in manifest.segments) and not manifest.packs.behind:
        return manifest
    segments = tuple(_synced(storage, segment) for segment in manifest.segments)
    if segments != manifest.segments:
        storage.sync_names(names.INDEX)
    return with_synced(storage, manifest, manifest.packs.behind)._replace(segments=segments)


def with_synced(storage: Storage, manifest: Manifest, behind: Iterable[PackEntry]) -> Manifest:
    """Sync some packs of a manifest and their names. Return the manifest with them marked as synced."""
    synced = []
    for pack in behind:
        with suppress(FileNotFoundError):  # A missing pack is damage, which a sync does not change.
            storage.sync(names.pack(pack.id))
            synced.append(pack._replace(synced=pack.length))
    if synced:
        storage.sync_names(names.PACKED)
        return manifest.with_packs(synced)
    return manifest


def _synced(storage: Storage, segment: SegmentEntry) -> SegmentEntry:
    if segment.synced:
        return segment
    try:
        storage.sync(names.segment(segment.number))
    except FileNotFoundError:
        return segment  # Its entries are read from the packs.
    return segment._replace(synced=True)

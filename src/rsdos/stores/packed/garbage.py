"""Removing the files that dead writers, and repacks beside a long reader, have left among the packs of version 2."""

from __future__ import annotations

from rsdos import names
from rsdos.index.manifest import Manifest
from rsdos.index.merge_lock import collect_unfinished
from rsdos.layout import Layout
from rsdos.stores.findings import Reclaimed
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packs import unlink_pack


def collect_garbage(context: PackedContext) -> Reclaimed:
    """Remove packs that the newest manifest does not have, and bytes beyond the committed length of those it has.

    Also remove the files of dead merges.

    See `PackMaintenance.collect_garbage`. A live writer holds the lock of its pack, and a long reader that of all that
    may go.
    """
    layout, index = context.layout, context.index
    files, length = collect_unfinished(layout.storage), 0
    has_gone = False
    manifest = index.commits.newest()
    for pack_id in layout.pack_ids():
        if _leftover(layout, manifest, pack_id) is None:
            continue
        if lock := layout.storage.lock(names.pack_lock(pack_id), wait=False):
            with lock:
                # Look once more, now that nobody writes to it.
                freed = _collect_pack(layout, index.commits.newest(), pack_id)
            if freed is not None:
                files, length, has_gone = files + 1, length + freed, True
    if has_gone:
        # A tombstone may be forgotten when the pack it points into is gone for good.
        layout.storage.sync_names(names.PACKED)
    return Reclaimed(files, length)


def _leftover(layout: Layout, manifest: Manifest, pack_id: int) -> int | None:
    """Return the bytes of a pack file that the manifest knows nothing of; None where it knows all, or they may not go.

    The bytes behind the end of a pack of two names may belong to the other container that has it.
    """
    pack = manifest.packs.find(pack_id)
    info = layout.storage.stat(names.pack(pack_id))
    if info is None:
        return None
    if pack is None:
        return info.length
    return info.length - pack.length if info.length > pack.length and info.names <= 1 else None


def _collect_pack(layout: Layout, manifest: Manifest, pack_id: int) -> int | None:
    freed = _leftover(layout, manifest, pack_id)
    if freed is None:
        return None
    try:
        file = layout.storage.append(names.pack(pack_id), new=False)
    except OSError:
        return None  # Gone by now, another user's, or it has a writer, whose lock file was removed: it stays.
    try:
        pack = manifest.packs.find(pack_id)
        if pack is not None and freed:
            file.cut(pack.length)
        elif pack is None and not unlink_pack(layout, pack_id):
            return None
        return freed
    finally:
        file.end()

"""What writers that died, and repacks that a long reader was in the way of, left among the packs of version 2."""

from __future__ import annotations

import os

from rsdos.index.manifest import Manifest
from rsdos.layout import Layout
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.stores.findings import Reclaimed
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packs import unlink_pack


def collect_garbage(context: PackedContext) -> Reclaimed:
    """Remove packs that the newest manifest does not have, and bytes behind the committed length of those it has.

    See `rsdos.stores.packs.PackMaintenance.collect_garbage`. A live writer holds the lock of its pack, and a long
    reader that of all that may go.
    """
    layout, index = context.layout, context.index
    files = length = 0
    manifest = index.commits.newest()
    for pack_id in layout.pack_ids():
        if _leftover(layout, manifest, pack_id) is None:
            continue
        if lock := locks.try_acquire(layout.pack_lock(pack_id)):
            with lock:
                # Once more, now that nobody writes to it.
                freed = _collect_pack(layout, index.commits.newest(), pack_id)
            files, length = files + (freed is not None), length + (freed or 0)
    if files:
        # A tombstone may be forgotten when the pack it points into is gone for good.
        posix.sync_directory(layout.packed)
    return Reclaimed(files, length)


def _leftover(layout: Layout, manifest: Manifest, pack_id: int) -> int | None:
    """Return the bytes of a pack file that the manifest knows nothing of; None where it knows all, or they may not go.

    The bytes behind the end of a pack of two names may belong to the other container that has it.
    """
    pack = manifest.pack(pack_id)
    try:
        status = os.stat(layout.pack(pack_id), follow_symlinks=False)
    except FileNotFoundError:
        return None
    if pack is None:
        return status.st_size
    return status.st_size - pack.length if status.st_size > pack.length and status.st_nlink <= 1 else None


def _collect_pack(layout: Layout, manifest: Manifest, pack_id: int) -> int | None:
    freed = _leftover(layout, manifest, pack_id)
    if freed is None:
        return None
    try:
        file = Working(opening(layout.pack(pack_id), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError:
        return None  # Gone by now, or another user's: it stays.
    with file as fd:
        if not locks.try_lock(fd):
            return None  # It has a writer, whose lock file was removed.
        pack = manifest.pack(pack_id)
        if pack is not None and freed:
            os.ftruncate(fd, pack.length)
        elif pack is None and not unlink_pack(layout, pack_id):
            return None
        return freed

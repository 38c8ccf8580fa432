"""What writers that died, and repacks that a long reader was in the way of, left among the packs of version 2."""

from __future__ import annotations

import os
from collections.abc import Callable

from rsdos.index.commits import CommitLog
from rsdos.index.manifest import Manifest
from rsdos.layout import Layout
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.stores.findings import Reclaimed


def collect_garbage(layout: Layout, history: CommitLog, unlink: Callable[[int], bool]) -> Reclaimed:
    """See `rsdos.stores.packs.PackStore.collect_garbage`; ``unlink`` says whether it has removed a pack.

    Packs that the newest manifest does not have, and what stands behind the committed length of those it has. A live
    writer holds the lock of its pack, and a long reader that of all that may go.
    """
    files = length = 0
    manifest = history.newest()
    for pack_id in layout.pack_ids():
        if _leftover(layout, manifest, pack_id) is None:
            continue
        if lock := locks.try_acquire(layout.pack_lock(pack_id)):
            with lock:
                # Once more, now that nobody writes to it.
                freed = _sweep_pack(layout, history.newest(), pack_id, unlink)
            files, length = files + (freed is not None), length + (freed or 0)
    if files:
        # A tombstone may be forgotten when the pack it points into is gone for good.
        posix.sync_directory(layout.packed)
    return Reclaimed(files, length)


def _leftover(layout: Layout, manifest: Manifest, pack_id: int) -> int | None:
    """Bytes of a pack file that the manifest knows nothing of; None where it knows all, or they may not go.

    Behind the end of a pack that has another name there may be what the container that has that one knows.
    """
    pack = manifest.pack(pack_id)
    try:
        status = os.stat(layout.pack(pack_id), follow_symlinks=False)
    except FileNotFoundError:
        return None
    if pack is None:
        return status.st_size
    return status.st_size - pack.length if status.st_size > pack.length and status.st_nlink <= 1 else None


def _sweep_pack(layout: Layout, manifest: Manifest, pack_id: int, unlink: Callable[[int], bool]) -> int | None:
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
        elif pack is None and not unlink(pack_id):
            return None
        return freed

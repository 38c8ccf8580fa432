"""What programs that died left in a container of version 1, put right."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import closing, suppress

from rsdos import fsio, locks
from rsdos.layout import LegacyLayout
from rsdos.stores.legacy.appender import is_ours, try_pack
from rsdos.stores.legacy.database import Database
from rsdos.stores.packs import Swept

_PATIENCE = 24 * 3600.0
"""Seconds after which a lock file of disk-objectstore, and the pack it is for, are taken for abandoned.

The file says nothing of who holds it. A living holder appends to the pack; a day without a byte is no living holder.
"""


def sweep(layout: LegacyLayout, database: Database) -> int:
    """Put right what a repack and packers that died have left; returns how many files were removed."""
    removed = _remove_old_locks(layout)
    if layout.REPACKED not in layout.peer_locks():
        removed += _finish_repack(layout, database)
    return removed


def _remove_old_locks(layout: LegacyLayout) -> int:
    removed = 0
    limit = time.time() - _PATIENCE
    for pack_id in layout.peer_locks():
        if is_ours(layout.peer_lock(pack_id)):
            removed += _remove_own(layout, pack_id)
            continue
        paths = [layout.peer_lock(pack_id), layout.pack(pack_id)]
        with suppress(FileNotFoundError):
            newest = os.stat(paths[0]).st_mtime
            with suppress(FileNotFoundError):
                newest = max(newest, os.stat(paths[1]).st_mtime)
            if newest < limit:
                removed += layout.remove(paths[0])
    return removed


def _remove_own(layout: LegacyLayout, pack_id: int) -> bool:
    """Remove the lock file that one of us made and left: whoever has the kernel's lock as well is alive."""
    lock = locks.try_acquire(layout.pack_lock(pack_id)) if pack_id >= 0 else None
    if lock is None:
        return False
    with lock:
        return layout.remove(layout.peer_lock(pack_id))


def _finish_repack(layout: LegacyLayout, database: Database) -> int:
    """Give the objects of a pack ``-1`` an id, or remove it when there are none.

    disk-objectstore writes ``packs/-1``, points the rows to it, removes the old pack, links ``-1`` to that one's id,
    points the rows there and removes ``-1``. It may have died after each of these; afterwards it opens nothing.
    """
    path = layout.pack(layout.REPACKED)
    if not os.path.lexists(path):
        return 0
    if any(database.rows(layout.REPACKED)):
        pack_id = _linked(layout, path)
        if pack_id is None:
            # A number that no pack has had: a reader may still hold the one that was repacked.
            pack_id = max([-1, *layout.pack_ids(), *database.sums()]) + 1
            os.link(path, layout.pack(pack_id))
        fsio.sync_path(path)
        fsio.sync_directory(layout.packed)
        with database.writing() as transaction:
            transaction.move(layout.REPACKED, pack_id)
    removed = layout.remove(path)
    fsio.sync_directory(layout.packed)
    return int(removed)


def _linked(layout: LegacyLayout, path: str) -> int | None:
    """The pack that is the same file already."""
    own = os.stat(path, follow_symlinks=False)
    for pack_id in layout.pack_ids():
        try:
            if os.path.samestat(own, os.stat(layout.pack(pack_id), follow_symlinks=False)):
                return pack_id
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return None


def sweep_unused(layout: LegacyLayout, database: Database, unlink: Callable[[int], bool]) -> Swept:
    """Unlink packs that nobody writes to and no row leads to: of a repack, or all was deleted. Not synced."""
    files = length = 0
    used = database.sums()
    for pack_id in layout.pack_ids():
        if pack_id >= 0 and pack_id not in used and (pack := try_pack(layout, pack_id)):
            pack.is_kept = True
            with closing(pack):
                database.settle()
                if not any(database.rows(pack_id)) and unlink(pack_id):
                    files, length = files + 1, length + pack.committed
    return Swept(files, length)

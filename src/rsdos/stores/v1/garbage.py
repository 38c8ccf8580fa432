"""Cleaning up after programs that died, in a container of version 1."""

from __future__ import annotations

import errno
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from functools import partial

from rsdos.errors import DecodeError
from rsdos.hashing import HashType
from rsdos.layout import V1Layout
from rsdos.model import Codec, RecordFlag, Stored
from rsdos.storage import locks, posix
from rsdos.storage.permissions import make_directory
from rsdos.stores.findings import Reclaimed
from rsdos.stores.packs import unlink_pack
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.pack import is_ours, try_pack
from rsdos.streams.plain import plain_parts

_PATIENCE = 24 * 3600.0
"""Seconds without a write to its pack after which a lock file of disk-objectstore counts as abandoned.

The file does not say which process holds it. A living holder appends to the pack; after a day without it is dead.
"""


def collect_garbage(layout: V1Layout, database: Database) -> int:
    """Clean up after repacks and packers that died. Return how many files were removed."""
    removed = _remove_old_locks(layout)
    if layout.REPACKED not in layout.peer_locks():
        removed += _finish_repack(layout, database)
    return removed


def _remove_old_locks(layout: V1Layout) -> int:
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


def _remove_own(layout: V1Layout, pack_id: int) -> bool:
    """Remove a lock file that rsdos has left, unless its holder is alive: a living holder has the kernel's lock too."""
    lock = locks.try_acquire(layout.pack_lock(pack_id)) if pack_id >= 0 else None
    if lock is None:
        return False
    with lock:
        return layout.remove(layout.peer_lock(pack_id))


def _finish_repack(layout: V1Layout, database: Database) -> int:
    """Give the pack ``-1`` an id, or remove the pack if no row leads to it.

    disk-objectstore writes ``packs/-1``, points the rows to it, removes the old pack, links ``-1`` to that one's id,
    points the rows there and removes ``-1``. It may have died after each of these; afterwards it opens nothing.
    """
    path = layout.pack(layout.REPACKED)
    if not os.path.lexists(path):
        return 0
    if any(database.rows(layout.REPACKED)):
        pack_id = _linked(layout, path)
        if pack_id is None:
            # Not the id of the repacked pack: a reader may still have that pack open.
            pack_id = max([-1, *layout.pack_ids(), *database.stats()]) + 1
            os.link(path, layout.pack(pack_id))
        posix.sync_path(path)
        posix.sync_directory(layout.packed)
        with database.writing() as transaction:
            transaction.move(layout.REPACKED, pack_id)
    removed = layout.remove(path)
    posix.sync_directory(layout.packed)
    return int(removed)


def _linked(layout: V1Layout, path: str) -> int | None:
    """Return the id of the pack that is already the same file, or None."""
    own = os.stat(path, follow_symlinks=False)
    for pack_id in layout.pack_ids():
        try:
            if os.path.samestat(own, os.stat(layout.pack(pack_id), follow_symlinks=False)):
                return pack_id
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return None


def collect_unused_packs(layout: V1Layout, database: Database) -> Reclaimed:
    """Unlink packs that no row leads to and no writer has, after a repack or a delete. Do not sync."""
    files = length = 0
    used = database.stats()
    for pack_id in layout.pack_ids():
        if pack_id >= 0 and pack_id not in used and (pack := try_pack(layout, pack_id)):
            pack.is_kept = True
            with closing(pack):
                database.settle()
                if not any(database.rows(pack_id)) and unlink_pack(layout, pack_id):
                    files, length = files + 1, length + pack.committed
    return Reclaimed(files, length)


def of_keys(layout: V1Layout, keys: Collection[str]) -> Iterator[str]:
    """Yield the files in ``duplicates/`` of some objects."""
    for name in _names(layout):
        if name.partition(".")[0] in keys:
            yield os.path.join(layout.duplicates, name)


def settle_duplicates(layout: V1Layout, hash_type: HashType, has_good_copy: Callable[[bytes], bool]) -> int:
    """Remove duplicates of objects with a good copy in the container. For others publish the first good duplicate.

    Return how many files were removed. Damaged duplicates stay if there is no good copy elsewhere. After a kill the
    next call continues.
    """
    files = defaultdict(list)
    for name in _names(layout):
        key = name.partition(".")[0]
        if hash_type.is_key(key):
            files[key].append(os.path.join(layout.duplicates, name))
    removed = 0
    for key, paths in files.items():
        digest = bytes.fromhex(key)
        if not has_good_copy(digest):
            good = next((path for path in paths if _is_good(path, digest, hash_type)), None)
            if good is None:
                continue
            _publish(layout, key, good)
            paths.remove(good)
        removed += sum(map(layout.remove, paths))
    return removed


def _names(layout: V1Layout) -> list[str]:
    with suppress(FileNotFoundError):
        return [name for name in os.listdir(layout.duplicates) if "." in name and not name.startswith(".")]
    return []


def _is_good(path: str, digest: bytes, hash_type: HashType) -> bool:
    with posix.open_for_reading(path) as fd:
        size = os.fstat(fd).st_size
        stored = Stored(Codec.RAW, RecordFlag.NONE, size, size)
        try:
            for _ in plain_parts(partial(posix.read_at, fd), stored, digest, hash_type):
                pass
        except DecodeError:
            return False
    return True


def _publish(layout: V1Layout, key: str, path: str) -> None:
    posix.sync_path(path)
    directory = layout.loose_directory(key)
    layout.make(layout.loose)
    if directory != layout.loose:
        with suppress(FileExistsError):
            make_directory(directory)
        layout.check_loose(directory)
    os.rename(path, layout.loose_file(key))
    posix.sync_directory(directory)
    posix.sync_directory(layout.loose)

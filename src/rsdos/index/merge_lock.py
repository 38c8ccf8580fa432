"""The lock of a merge that runs beside commits: its note lists the segments that commits do not merge (ADR 38).

It protects progress alone. If the files in ``locks/`` were removed, a commit may merge segments that a running merge
has read. The merge notices that when it commits, and drops what it has written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rsdos import names
from rsdos.index.manifest import SegmentEntry, SegmentName, segment_name
from rsdos.storage.base import Storage
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.storage.opened import HeldLock

_MOST_BYTES = 1 << 20
"""The most bytes of the note."""


def note_segments(lock: HeldLock, segments: Iterable[SegmentEntry]) -> None:
    """Write into the lock which segments are merged."""
    lock.describe("")  # The note of an earlier merge may be longer.
    lock.write_note(encode_document({"segments": list(map(segment_name, segments))}))


def segments_in_merge(storage: Storage) -> Collection[SegmentName]:
    """Return the names of the segments that a running merge has noted."""
    lock = storage.lock(names.MERGE_LOCK, wait=False)
    if lock is not None:
        lock.release()
        return ()
    try:
        rows = decode_document(storage.read_note(names.MERGE_LOCK, _MOST_BYTES))["segments"]
        return {(int(number), int(pack_id), int(offset)) for number, pack_id, offset in rows}
    except (ValueError, KeyError, TypeError, OverflowError):
        return ()


def _unfinished(storage: Storage) -> list[str]:
    """Return the names of the files that merges write, or have left."""
    try:
        return [name for name in storage.list(names.INDEX) if names.is_unfinished_segment(name)]
    except FileNotFoundError:
        return []  # The directory is gone: the caller finds no manifest, and says so.


def remove_unfinished(storage: Storage) -> int:
    """Remove the files that dead merges have left, and return how many. The caller holds ``locks/merge``."""
    return sum(storage.remove(f"{names.INDEX}/{name}") for name in _unfinished(storage))


def collect_unfinished(storage: Storage) -> int:
    """Do `remove_unfinished`, unless a merge runs. The lock is taken only if there is such a file."""
    if not _unfinished(storage):
        return 0
    lock = storage.lock(names.MERGE_LOCK, wait=False)
    if lock is None:
        return 0
    with lock:
        return remove_unfinished(storage)

"""The index states of the containers that this process closed last, for the next opening of the same container.

AiiDA opens and closes a container for each object. Without this cache every opening reads the manifest and its
segments anew. A lookup and a read, each in an opening of its own, take 470 us without the cache and 75 us with it
(ADR 4). A cached state holds memory and mappings of segments. Each mapping keeps its file on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rsdos import names
from rsdos.index.state import IndexState
from rsdos.storage.base import Storage, Version

if TYPE_CHECKING:
    from rsdos.index.manifest import SegmentName
    from rsdos.index.partial import PartialView
    from rsdos.index.segment import Segment

_MOST = 4

_MOST_BYTES = 64 << 20
"""The most bytes of the segments of one cached state: a removed file takes its space until the next opening."""


class _CachedState(NamedTuple):
    state: IndexState | PartialView
    named: Mapping[SegmentName, Segment]
    """The segments of the state that were open when it was cached."""
    files: Mapping[str, Version]
    """The version of each segment file, by its name, to notice that a file was replaced or changed."""


_cache: dict[str, _CachedState] = {}
"""The cached states, by the root of the storage. Two memory storages of one root never have files of the same
version."""


def keep(storage: Storage, state: IndexState | PartialView) -> None:
    """Cache the state of the index in a storage. Drop the oldest cached state if there are too many."""
    kept = _cache.pop(storage.root, None)
    if kept is None or kept.state is not state or len(kept.named) != len(state.named):
        kept = _cacheable(state)
    if kept is not None:
        _cache[storage.root] = kept
        for oldest in list(_cache)[:-_MOST]:  # A copy: another thread may change the cache.
            _cache.pop(oldest, None)


def _cacheable(state: IndexState | PartialView) -> _CachedState | None:
    if state.file is None or (isinstance(state, IndexState) and (state.is_recovered or state.lost)):
        return None
    named = state.named
    segments = list(named.values())
    if sum(segment.length for segment in segments) > _MOST_BYTES:
        return None
    if any(segment.keeps_open for segment in segments):
        return None
    # The versions from when the files were opened: another process may have changed them since.
    tables = [names.table(number, pack_id) for number, pack_id, _ in named]
    files = dict(zip(tables, (segment.version for segment in segments), strict=True))
    if any(files[table] != segment.version for table, segment in zip(tables, segments, strict=True)):
        return None
    return _CachedState(state, named, files)


def forget(storage: Storage) -> None:
    """Drop the cached state of an index."""
    _cache.pop(storage.root, None)


def kept_state(storage: Storage) -> IndexState | PartialView | None:
    """Return the cached state of an index if its segment files are still the same; else None.

    The caller checks that its manifest is still the newest.
    """
    kept = _cache.get(storage.root)
    if kept is None:
        return None
    try:
        for name, known in kept.files.items():  # No generator: that would take 0.4 us.
            if storage.version(name) != known:
                return None
    except OSError:
        return None
    return kept.state

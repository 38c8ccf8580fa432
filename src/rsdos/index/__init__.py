"""Where packed objects are: segments of entries, manifests of segments, and lookups in both.

What needs numpy is imported when it is asked for: a single lookup does without.
"""

from typing import TYPE_CHECKING

from rsdos.index.current import Index
from rsdos.index.history import History
from rsdos.index.manifest import WHOLE_PACK, Manifest, PackEntry, SegmentEntry, encode_manifest
from rsdos.index.segment import Segment, encode_segment, segment_parts
from rsdos.index.snapshot import Found, Run, Snapshot, runs_of

if TYPE_CHECKING:
    from rsdos.index.entries import Entries
    from rsdos.index.key_set import KeySet
    from rsdos.index.liveness import living, recounted
    from rsdos.index.merge import Table, write_merged

__all__ = [
    "WHOLE_PACK",
    "Entries",
    "Found",
    "History",
    "Index",
    "KeySet",
    "Manifest",
    "PackEntry",
    "Run",
    "Segment",
    "SegmentEntry",
    "Snapshot",
    "Table",
    "encode_manifest",
    "encode_segment",
    "living",
    "recounted",
    "runs_of",
    "segment_parts",
    "write_merged",
]

if not TYPE_CHECKING:
    _LATE = {
        "Entries": "entries",
        "KeySet": "key_set",
        "Table": "merge",
        "living": "liveness",
        "recounted": "liveness",
        "write_merged": "merge",
    }

    def __getattr__(name):
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        found = getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
        globals()[name] = found
        return found

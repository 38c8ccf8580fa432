"""Where packed objects are: segments of entries, manifests of segments, and lookups in both.

What needs numpy is imported when it is asked for: a single lookup does without.
"""

from typing import TYPE_CHECKING

from rsdos.index.current import Index
from rsdos.index.history import History
from rsdos.index.manifest import WHOLE_PACK, Manifest, PackEntry, SegmentEntry, encode_manifest
from rsdos.index.segment import Segment, encode_segment, segment_parts
from rsdos.index.snapshot import Found, Run, Snapshot, runs_of
from rsdos.index.state import Losses
from rsdos.late import late

if TYPE_CHECKING:
    from rsdos.index.entries import Entries, all_differ
    from rsdos.index.key_set import KeySet
    from rsdos.index.liveness import living, recounted
    from rsdos.index.merge import Table, write_merged
else:
    __getattr__ = late(
        __name__,
        {
            "Entries": "entries",
            "all_differ": "entries",
            "KeySet": "key_set",
            "living": "liveness",
            "recounted": "liveness",
            "Table": "merge",
            "write_merged": "merge",
        },
    )

__all__ = [
    "WHOLE_PACK",
    "Entries",
    "Found",
    "History",
    "Index",
    "KeySet",
    "Losses",
    "Manifest",
    "PackEntry",
    "Run",
    "Segment",
    "SegmentEntry",
    "Snapshot",
    "Table",
    "all_differ",
    "encode_manifest",
    "encode_segment",
    "living",
    "recounted",
    "runs_of",
    "segment_parts",
    "write_merged",
]

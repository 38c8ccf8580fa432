"""Where packed objects are: segments of entries, manifests of segments, and lookups in both."""

from rsdos.index.current import Index
from rsdos.index.entries import Entries
from rsdos.index.history import History
from rsdos.index.key_set import KeySet
from rsdos.index.liveness import WHOLE_PACK, living, recounted
from rsdos.index.manifest import Manifest, PackEntry, SegmentEntry, encode_manifest
from rsdos.index.merge import Table, write_merged
from rsdos.index.segment import Segment, encode_segment
from rsdos.index.snapshot import Found, Run, Snapshot, runs_of

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
    "write_merged",
]

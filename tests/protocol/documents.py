"""The names and manifests of a container of version 3, read as docs/format.md says."""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from rsdos.index.manifest import Manifest, SegmentEntry, decode_manifest

MANIFESTS = "manifests"
DIRECTORIES = ("packs", "segments", "tables")
"""Of what is collected."""

_MOST = 10**16 - 1
_MOST_BYTES = 1 << 24


def manifest_name(number: int) -> str:
    """Return the name of a manifest: the newest comes first in a listing."""
    return f"{MANIFESTS}/{_MOST - number:016d}.json.zst"


def is_manifest(name: str) -> bool:
    """Return whether an object is a manifest, perhaps an empty one."""
    return name.startswith(f"{MANIFESTS}/")


def decode(data: bytes) -> Manifest:
    """Return the manifest in an object."""
    return decode_manifest(zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_BYTES))


def names_in(manifest: Manifest) -> Iterator[str]:
    """Yield the names of all objects that a manifest needs."""
    for pack in manifest.packs:
        yield _pack_name(pack.id, pack.suffix)
    for segment in manifest.segments:
        if segment.number:
            yield _segment_name(segment)


def table_name(manifest: Manifest, segment: SegmentEntry) -> str:
    """Return the name of the object with the entries of a segment; "" where its pack is not in the manifest."""
    if segment.number:
        return _segment_name(segment)
    pack = manifest.packs.find(segment.pack_id)
    return _pack_name(pack.id, pack.suffix) if pack else ""


def _pack_name(pack_id: int, suffix: str) -> str:
    return f"packs/{pack_id:010d}-{suffix}.pack"


def _segment_name(segment: SegmentEntry) -> str:
    return f"segments/{segment.number:010d}-{segment.suffix}.seg"

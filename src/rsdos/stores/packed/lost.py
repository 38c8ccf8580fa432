"""Finds the batches that a power loss has taken from packs of relaxed writers, when a manifest is opened (ADR 11).

A relaxed writer commits before its bytes are on stable storage. After a power loss the manifest may be there without
the ends of its packs. Then these batches, as a whole, do not belong to the container any more. Other damage, and damage
to bytes that were on stable storage, stays damage: it never looks like "not there".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.pack_entry import PackEntry
from rsdos.index.segment import Segment
from rsdos.layout import Layout
from rsdos.pack.format import FOOTER_SIZE, batch_end, decode_footer
from rsdos.pack.reader import PackFile, check_header, open_pack
from rsdos.storage.base import Storage

_SECTOR = 512
"""Bytes that a device writes in one piece."""

_TELLING = 16
"""No table and no footer has so many zeros in a row: a third of each entry is its key."""


def without_cut(layout: Layout, manifest: Manifest) -> Manifest:
    """Return the manifest without the batches behind the end of their file; the same where none is missing.

    Three calls for each pack of which a part may be unsynced. The pack is opened to ask for its length: another machine
    may have made it longer (NFS), and only opening a file shows that.
    """
    for pack in manifest.packs.behind:
        length = _length(layout.storage, pack.id)
        if pack.synced <= length < pack.length:
            lost = [segment.offset for segment in _tail(manifest, pack) if _end(segment) > length]
            manifest = _shortened(manifest, pack, min(lost, default=length))
    return manifest


def without_unwritten(
    layout: Layout, container_id: bytes, manifest: Manifest, known: Collection[SegmentName]
) -> Manifest:
    """Return the manifest without the batches whose tables were never written; the same where all were.

    What was not written reads as zeros, of a batch and of all that follow it. Reads all tables that may be unsynced,
    but those of the ``known`` segments, which are whole.
    """
    for pack in manifest.packs.behind:
        tail = [segment for segment in _tail(manifest, pack) if segment_name(segment) not in known]
        lost = _first_unwritten(layout.storage, container_id, pack, tail) if tail or not known else None
        if lost is not None:
            manifest = _shortened(manifest, pack, lost)
    return manifest


def _length(storage: Storage, pack_id: int) -> int:
    try:
        file = storage.open(names.pack(pack_id))
    except FileNotFoundError:
        return 0
    try:
        return file.size()
    finally:
        file.close()


def _end(segment: SegmentEntry) -> int:
    return batch_end(segment.offset, segment.length)


def _tail(manifest: Manifest, pack: PackEntry) -> list[SegmentEntry]:
    """Return the segments of the batches that may be unsynced, by the places of their tables in the pack.

    (A merge syncs the packs whose tables it replaces.)
    """
    own = (segment for segment in manifest.segments if segment.pack_id == pack.id)
    return sorted((segment for segment in own if segment.offset >= pack.synced), key=lambda segment: segment.offset)


def _shortened(manifest: Manifest, pack: PackEntry, lost: int) -> Manifest:
    """Return the manifest without the batches of a pack whose tables are at ``lost`` or behind it."""
    kept = [_end(segment) for segment in _tail(manifest, pack) if segment.offset < lost]
    length = max([pack.synced, *kept])
    if not length:
        return manifest.without_pack(pack.id)
    gone = [segment for segment in _tail(manifest, pack) if segment.offset >= lost]
    # In the order of their numbers, as they came with their batches.
    left = tuple(dictionary for dictionary in pack.dictionaries if dictionary.end <= length)
    return manifest.with_segments(gone).with_pack(pack._replace(length=length, dictionaries=left))


def _first_unwritten(
    storage: Storage, container_id: bytes, pack: PackEntry, tail: Sequence[SegmentEntry]
) -> int | None:
    """Return the offset of the table of the first batch that was not written; None when all were, or it is damage."""
    try:
        file = open_pack(storage, pack.id, container_id, any_header=True)
    except FileNotFoundError:
        return 0 if not pack.synced else None
    if not pack.synced and not _has_header(file) and _has_hole(file, 0, _SECTOR):
        return 0
    for segment in tail:
        if not _is_whole(file, segment):
            return segment.offset if _is_unwritten(file, segment) else None
    return None


def _has_header(file: PackFile) -> bool:
    try:
        check_header(file.file, file.pack_id, file.container_id)
    except DamagedContainer:
        return False
    return True


def _is_whole(file: PackFile, segment: SegmentEntry) -> bool:
    from rsdos.index.compact import open_table  # Of packs that are only too short no table is read.

    end = _end(segment)
    try:
        table = open_table(file.file, segment.offset, segment.length)
        if isinstance(table, Segment):
            table.verify()  # Of a compact table all bytes have been checked.
        footer = file.read(end - FOOTER_SIZE, FOOTER_SIZE)
    except DamagedContainer:
        return False
    return decode_footer(footer, file.container_id, file.pack_id, end - FOOTER_SIZE) is not None


def _is_unwritten(file: PackFile, segment: SegmentEntry) -> bool:
    """Whether a part of a table, or the footer behind it, is zeros: between the two there are some in any batch."""
    end = _end(segment)
    return _has_hole(file, segment.offset, segment.offset + segment.length) or _has_hole(file, end - FOOTER_SIZE, end)


def _has_hole(file: PackFile, start: int, end: int) -> bool:
    """Whether a sector, or the part of one that belongs to a range, is all zeros; a few bytes may be by chance."""
    length = min(end, file.size()) - start
    data = file.read(start, length) if length > 0 else b""
    cuts = [start, *range(start - start % _SECTOR + _SECTOR, end, _SECTOR), end]
    pieces = (data[one - start : other - start] for one, other in pairwise(cuts))
    return any(len(piece) >= _TELLING and not any(piece) for piece in pieces)

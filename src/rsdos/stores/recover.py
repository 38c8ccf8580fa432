"""The index again, from the packs alone: what reading falls back to, and what repair will write."""

from __future__ import annotations

from rsdos.errors import DamagedContainer
from rsdos.index import WHOLE_PACK, Manifest, PackEntry, Segment, SegmentEntry, Snapshot
from rsdos.layout import Layout
from rsdos.model import DIGEST_BYTES, RecordFlag
from rsdos.pack import PackFile, scan


def recover(layout: Layout, container_id: str, manifest: Manifest | None) -> Snapshot:
    """A snapshot of the segments inside the packs. Nothing is written.

    Of the live packs of ``manifest``, each up to its committed length, when there is one. Without it, of every pack
    that is there: a batch whose footer is whole was written whole, so nothing that was acknowledged is missed. The
    manifest of the returned snapshot then counts what was found.
    """
    packs = manifest.packs if manifest else tuple(PackEntry(pack_id, 0, 0) for pack_id in layout.pack_ids())
    found = _Found()
    entries = [found.take(layout, container_id, pack) for pack in packs]
    replaced = set() if manifest else _replaced(found)
    if replaced:
        # A repack has written these packs anew, and was killed, or a long reader was in the way, before they went.
        found = _Found()
        entries = [found.take(layout, container_id, pack) for pack in packs if pack.id not in replaced]
    if manifest:
        return Snapshot(manifest._replace(segments=tuple(found.entries)), found.segments, found.damage)
    whole = Manifest(0, container_id, packs=tuple(entries), segments=tuple(found.entries))
    snapshot = Snapshot(whole, found.segments, found.damage)
    return Snapshot(whole._replace(packs=snapshot.counted()), found.segments, found.damage)


def _replaced(found: _Found) -> set[int]:
    """The packs that a tombstone of another pack kills as a whole."""
    replaced = set()
    for entry, segment in zip(found.entries, found.segments, strict=True):
        if segment.tombstones:
            records = segment.find(bytes(DIGEST_BYTES))
            replaced |= {
                record.pack_id
                for record in records
                if record.flags & RecordFlag.TOMBSTONE and record.offset == WHOLE_PACK
                if record.pack_id != entry.pack_id
            }
    return replaced


class _Found:
    """What the packs have, and the first damage that was met on the way: some entries may be missing then."""

    def __init__(self) -> None:
        self.entries: list[SegmentEntry] = []
        self.segments: list[Segment] = []
        self.damage: DamagedContainer | None = None

    def take(self, layout: Layout, container_id: str, pack: PackEntry) -> PackEntry:
        """Add the segments of one pack; returns its entry with the length that batches cover."""
        path = layout.pack(pack.id)
        try:
            file = PackFile(path, pack.id, bytes.fromhex(container_id))
        except FileNotFoundError:
            self.damage = self.damage or DamagedContainer(path, "the pack is missing")
            return pack
        except DamagedContainer as error:
            self.damage = self.damage or error
            return pack
        if file.size() < pack.length:
            # At the end of a batch, or of the header, nothing else would tell.
            self.damage = self.damage or DamagedContainer(path, "the pack is cut short", file.size())
        result = scan(file, pack.length or None)
        length = result.batches[-1].end if result.batches else 0
        for start, _ in result.uncovered:
            # Behind the last batch of a pack that no manifest speaks of stands what a dead writer left.
            if pack.length or start < length:
                self.damage = self.damage or DamagedContainer(path, "no footer covers what stands here", start)
        for batch in result.batches:
            try:
                segment = Segment(file.fd, path, batch.segment_offset, batch.segment_length)
            except DamagedContainer as error:
                self.damage = self.damage or error
                continue
            self.segments.append(segment)
            self.entries.append(
                SegmentEntry(
                    segment.count,
                    segment.tombstones,
                    pack_id=pack.id,
                    offset=batch.segment_offset,
                    length=batch.segment_length,
                )
            )
        return pack._replace(length=length)

"""Reads the tables in the packs of version 2, and finds damage in them: the source of a rebuild."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from rsdos.errors import DamagedContainer
from rsdos.index.compact import CompactTable, open_table
from rsdos.index.dictionaries import UNKNOWN, PackDictionary, numbered
from rsdos.index.entries import Entries
from rsdos.index.index import Index
from rsdos.index.manifest import WHOLE_PACK, Manifest, SegmentEntry
from rsdos.index.merge import Table
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.segment import VERIFIED, Segment
from rsdos.index.view import IndexView
from rsdos.layout import Layout
from rsdos.model import DIGEST_BYTES, Counts, PackKind
from rsdos.pack.reader import PackFile, check_header, kind_of, open_pack, read_best
from rsdos.pack.scanning import scan
from rsdos.storage.base import may_be_whole

MOST_PACK_ID = (1 << 32) - 2
"""No writer has written a tombstone of a pack beyond it."""


@dataclass(slots=True)
class PackScan:
    """One pack. Whole batches cover ``length`` bytes of it; ``faults`` say why it cannot stay as it is."""

    id: int
    kind: PackKind = PackKind.PLAIN
    """That of its header; where this is damaged, that of the manifest."""
    length: int = 0
    is_there: bool = False
    uncovered: int = 0
    """Bytes that are there behind the last whole batch."""
    faults: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Those of ``faults`` that hide objects, unless a manifest or the index has them."""
    tables: list[Table] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """The ranges of the payloads of ``tables``, ascending."""
    replaces: set[int] = field(default_factory=set)
    """The packs that it replaces, by its tombstones."""
    tombstones: int = 0
    most_named: int = 0
    """The highest id of a pack that a tombstone in it names."""
    total: Counts = field(default_factory=Counts)
    """All objects that were ever appended to the pack, as far as its tables list them."""
    brought: list[tuple[int, Sequence[PackDictionary]]] = field(default_factory=list)
    """Dictionaries that the manifest, and each of its tables, says it has; with the number of the first."""

    @property
    def dictionaries(self) -> tuple[PackDictionary, ...]:
        """Those of the pack, in the order of their numbers."""
        return numbered(self.brought, self.length)

    def is_uncommitted(self, gone: Collection[int]) -> bool:
        """Return whether a pack that no manifest has may be that of a delete or a repack that was never committed.

        Not if it replaces a pack that is ``gone``: that was removed after the commit.
        """
        return self.tombstones > 0 and self.replaces.isdisjoint(gone)


@dataclass(slots=True)
class ScannedPacks:
    """All packs; ``base`` is the newest manifest that is whole, and ``rest`` what only its segments know."""

    base: Manifest | None
    packs: dict[int, PackScan]
    rest: list[Table] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Files of the index that are not whole."""

    @property
    def tables(self) -> list[Table]:
        """All entries that are known, each extent once."""
        return [*(table for pack in self.packs.values() for table in pack.tables), *self.rest]


def scan_packs(
    layout: Layout, container_id: str, index: Index, ids: Collection[int], busy: Collection[int] = ()
) -> ScannedPacks:
    """Look at the packs ``ids``, those of the newest manifest, and at the index. Nothing is written.

    Every batch that is whole counts, also one behind what the manifest calls committed: an older manifest may have
    come back. But not in ``busy`` packs, whose writers are alive and will commit for themselves. Nor, where the newest
    manifest is whole, what a delete or a repack that died before its commit has left at the end of a pack (see
    `_is_unfinished`): an insert since then may have found what its tombstones would kill, and acknowledged it. In
    version 3 such a batch is a pack of its own, which no readable manifest has: it is left out.
    """
    base = index.readable()
    newest, missing = index.commits.latest()
    is_newest = base is not None and not missing and base.number == newest
    gone = {*base.pack_ids} - {*ids} if base and is_newest else None
    result = ScannedPacks(base, {})
    known = base.pack_ids if base else ()
    for pack_id in sorted({*ids, *known}):
        entry = base.packs.find(pack_id) if base else None
        if entry is None and pack_id in busy:
            continue
        limit = entry.length if entry and pack_id in busy else None
        found = _pack(layout, bytes.fromhex(container_id), pack_id, entry, _Trust(limit, gone, index.appends))
        if base and entry is None and not index.appends and found.is_uncommitted({*base.pack_ids} - {*ids}):
            continue
        if found.tables or found.faults or entry:
            result.packs[pack_id] = found
    for pack in list(result.packs.values()):
        if not pack.faults:
            for pack_id in pack.replaces:
                result.packs.pop(pack_id, None)
    _add_index(layout, index, result)
    return result


class _Trust(NamedTuple):
    """Which batches of a pack count: up to ``limit`` bytes; None: all.

    ``gone`` are the packs that the newest manifest has and that are not there. None: it is not whole, and no tombstones
    are doubted.
    """

    limit: int | None
    gone: Collection[int] | None
    grows: bool
    """Whether packs are appended to. If not, all bytes of a pack were put together, and none are a dead writer's."""


def _pack(layout: Layout, container_id: bytes, pack_id: int, entry: PackEntry | None, trust: _Trust) -> PackScan:
    """Return what is in a pack."""

    def read() -> PackScan:
        return _read_pack(layout, container_id, pack_id, entry, trust)

    return read_best(layout.storage, read, lambda found: found.uncovered + len(found.faults))


def _read_pack(layout: Layout, container_id: bytes, pack_id: int, entry: PackEntry | None, trust: _Trust) -> PackScan:
    found = PackScan(pack_id, brought=[(0, entry.dictionaries)] if entry else [])
    found.kind = entry.kind if entry else PackKind.PLAIN
    committed = entry.length if entry else 0
    try:
        file = open_pack(layout.storage, pack_id, container_id, any_header=True)
    except OSError as error:
        if may_be_whole(error):
            raise
        is_gone = isinstance(error, FileNotFoundError) and not committed
        if not is_gone and (committed or not trust.grows):
            found.unread.append(error.strerror or str(error))
            found.faults += found.unread
        found.length = committed
        return found
    found.is_there = True
    with suppress(DamagedContainer):
        _read(found, file, committed, trust)
    if entry is None and not trust.grows and found.length < max(file.size(), 1):
        found.unread.append(f"no footer covers bytes {found.length} to {file.size()}")
    found.faults += found.unread
    header = None
    try:
        check_header(file.file, pack_id, container_id)
        found.kind = kind_of(file)
    except DamagedContainer as error:
        header = error.reason.removeprefix("damaged: ")
    if header and (found.length or committed):
        found.faults.append(header)
    if found.length < committed:
        found.faults.append(f"{committed} bytes were committed, and {found.length} are there with a table of contents")
        found.length = max(found.length, min(committed, file.size()))
    found.uncovered = file.size() - found.length
    found.faults += _bad_dictionaries(file, found.dictionaries)
    return found


def _bad_dictionaries(file: PackFile, dictionaries: Sequence[PackDictionary]) -> Iterator[str]:
    """Yield what is wrong with the copies of the dictionaries of a pack."""
    for place in dictionaries:
        for offset in place.offsets if place is not UNKNOWN else ():
            try:
                data = file.read(offset, place.length)
            except OSError as error:
                if may_be_whole(error):
                    raise
                yield f"dictionary {place.key} cannot be read at byte {offset}: {error.strerror or error}"
                continue
            if sha256(data).digest() != place.digest:
                yield f"a copy of dictionary {place.key} is damaged at byte {offset}"


def _read(found: PackScan, file: PackFile, committed: int, trust: _Trust) -> None:
    """Add the batches of a pack that count."""
    result = scan(file, trust.limit)
    for batch in result.batches:
        try:
            table = open_table(file.file, batch.segment_offset, batch.segment_length)
            entries = table.verify()
        except DamagedContainer as error:
            found.length = batch.end
            found.unread.append(error.reason)
            continue
        tombstone = entries.is_tombstone()
        is_last = batch is result.batches[-1] and batch.start >= committed
        if is_last and _is_unfinished(file.pack_id, entries.take(tombstone), trust.gone):
            break
        found.length = batch.end
        inside = entries.in_extent(file.pack_id, batch.start, batch.segment_offset + 1)
        inside &= entries.ends_before(batch.segment_offset)
        good = tombstone | inside
        found.tables.append(table if good.all() else entries.take(good))
        found.ranges.append((batch.start, batch.segment_offset))
        found.total += entries.take(inside & ~tombstone).total
        found.brought.append((table.first_dictionary, table.dictionaries))
        if table.tombstones:
            dead = entries.take(tombstone)
            found.tombstones += len(dead)
            named = (pack_id for pack_id in dead.counts() if pack_id <= MOST_PACK_ID)
            found.most_named = max(found.most_named, *named, 0)
            found.replaces |= _replaced_by(file.pack_id, dead)
    # The bytes behind the last batch are a dead writer's.
    found.unread += [f"no footer covers bytes {at} to {end}" for at, end in result.uncovered if at < found.length]


def _is_unfinished(pack_id: int, tombstones: Entries, gone: Collection[int] | None) -> bool:
    """Return whether a delete or a repack died before it had committed these tombstones, the last batch of a pack.

    The next writer cuts such a batch off. So one with others behind it was committed, and an older index has come back,
    with the number of its commit; or it is of a repack, and kills what is dead. One that replaces a pack that is gone
    was committed, too: the pack is removed after that.
    """
    return gone is not None and len(tombstones) > 0 and _replaced_by(pack_id, tombstones).isdisjoint(gone)


def _add_index(layout: Layout, index: Index, result: ScannedPacks) -> None:
    """Add what only the segments of the index know: entries of the damaged packs, and tombstones."""
    damaged = [pack.id for pack in result.packs.values() if pack.faults]
    ranges = {pack_id: result.packs[pack_id].ranges for pack_id in damaged}
    for segment in _segments(layout, index, result):
        entries = segment.entries()
        # In parts, so that no more than one of them is mapped.
        for start in range(0, segment.count, VERIFIED):
            end = min(start + VERIFIED, segment.count)
            part = entries.take(slice(start, end))
            wanted = part.of_packs(damaged) & ~part.of_ranges(ranges)
            # (No two live segments have an extent in common: a merge replaces what it has merged.)
            mine = part.take(wanted | part.is_tombstone())
            if len(mine):
                result.rest.append(mine)
            segment.let_go(start, end)


def _segments(layout: Layout, index: Index, result: ScannedPacks) -> Sequence[Segment]:
    opened = []
    for entry in result.base.segments if result.base else ():
        try:
            segment = index.sound_segment(entry)
            segment.verify()
            if entry.number and segment.is_decoded:
                result.gone.append(layout.segment(entry.number))
        except (DamagedContainer, FileNotFoundError):
            if entry.number:
                result.gone.append(layout.segment(entry.number))
        else:
            opened.append(segment)
    return opened


def tombstones_of(tables: Sequence[Table]) -> Entries:
    """Return the tombstones of some tables."""
    some = (table.entries() for table in tables)
    return Entries.joined(entries.take(entries.is_tombstone()) for entries in some)


def view_from_packs(layout: Layout, container_id: str, manifest: Manifest | None) -> IndexView:
    """Return a view of the segments inside the packs. Nothing is written.

    Of the live packs of ``manifest``, each up to its committed length, when there is one. Without it, of every pack
    that is there: a batch whose footer is whole was written whole, so nothing that was acknowledged is missed. The
    manifest of the returned view then counts what was found.
    """
    packs = manifest.packs if manifest else Packs.of(PackEntry(pack_id, 0, 0) for pack_id in layout.pack_ids())
    found = _Found()
    entries = [found.take(layout, container_id, pack) for pack in packs]
    replaced = set() if manifest else _replaced(found)
    if replaced:
        # A repack has replaced these packs. It was killed before they went, or a long reader was in the way.
        found = _Found()
        entries = [found.take(layout, container_id, pack) for pack in packs if pack.id not in replaced]
    if manifest:
        return IndexView(manifest._replace(segments=tuple(found.entries)), found.segments, found.damage)
    whole = Manifest(0, container_id, packs=Packs.of(entries), segments=tuple(found.entries))
    view = IndexView(whole, found.segments, found.damage)
    return IndexView(whole.with_packs(view.counted()), found.segments, found.damage)


def _replaced(found: _Found) -> set[int]:
    """Return the packs that a tombstone of another pack kills as a whole."""
    replaced: set[int] = set()
    for entry, segment in zip(found.entries, found.segments, strict=True):
        if segment.tombstones:
            replaced |= _replaced_by(entry.pack_id, Entries.of_records(segment.find(bytes(DIGEST_BYTES))))
    return replaced


def _replaced_by(pack_id: int, entries: Entries) -> set[int]:
    """Return the packs that tombstones in this pack kill as a whole."""
    dead = entries.take(entries.is_tombstone() & (entries.prefixes == 0))
    whole = (record.pack_id for record in dead if not any(record.digest) and record.offset == WHOLE_PACK)
    return {*whole} - {pack_id}


class _Found:
    """The tables in the packs, and the first damage on the way: with damage some entries may be missing."""

    def __init__(self) -> None:
        self.entries: list[SegmentEntry] = []
        self.segments: list[Segment] = []
        self.damage: DamagedContainer | None = None

    def take(self, layout: Layout, container_id: str, pack: PackEntry) -> PackEntry:
        """Add the segments of one pack; return its entry with the length that batches cover."""
        path = layout.pack(pack.id)
        try:
            file = open_pack(layout.storage, pack.id, bytes.fromhex(container_id))
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
            # Behind the last batch of a pack that no manifest names are the bytes of a dead writer.
            if pack.length or start < length:
                self.damage = self.damage or DamagedContainer(path, "no footer covers the bytes here", start)
        brought: list[tuple[int, Sequence[PackDictionary]]] = [(0, pack.dictionaries)]
        for batch in result.batches:
            try:
                table = open_table(file.file, batch.segment_offset, batch.segment_length)
                segment = table.as_segment() if isinstance(table, CompactTable) else table
            except DamagedContainer as error:
                self.damage = self.damage or error
                continue
            brought.append((table.first_dictionary, table.dictionaries))
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
        return pack._replace(length=length, dictionaries=numbered(brought, length), kind=kind_of(file))

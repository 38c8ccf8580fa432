"""One state of the index: the live segments of one manifest, open for lookups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentEntry, segment_name
from rsdos.index.pack_entry import PackEntry
from rsdos.index.segment import KEY_SPACE, Segment
from rsdos.model import Counts, PackKind, Record, RecordFlag

if TYPE_CHECKING:
    from rsdos.index.dictionaries import PackDictionary
    from rsdos.index.digests import Digests, Mask, Positions
    from rsdos.index.entries import Entries
    from rsdos.index.mapped_pages import MappedPages
    from rsdos.index.runs import Found

LARGE = 1 << 30
"""Bytes of all segments from which on mapped pages are given back. A lookup that maps its pages again takes twice as
long or more (ADR 41)."""

_PASS = 1 << 20
"""Objects of one pack that are put in storage order together: 66 MB."""

_MOST_IN_PASS = 3 * _PASS
"""Objects that a pass may find. If a few large objects fill most of a pack, one pass finds a batch or two of small
ones."""

_SEVERAL = 8
"""Segments from which on lookups use their filters, if all is in memory. With filters an absent key takes 0.5 us
instead of 0.6 to 1.3, and a present key 0.8 us more. With fewer segments the filters would cost more than they save
(ADR 26)."""

_FEW = 4
"""Keys that are looked up one by one first: most segments have none of them. A lookup takes 1 to 5 us, a bulk lookup of
one key 130 to 180."""

_TOMBSTONE = int(RecordFlag.TOMBSTONE)
"""As a number: using the member of the enumeration takes 0.8 us, of the 5 us of a lookup and a read."""


class IndexView:
    """The entries of the segments of one manifest, given in its order. Immutable; any number of threads.

    A lookup skips a damaged segment. If no other segment has the key, the lookup raises `DamagedContainer`: damage
    never looks like "not there".
    """

    def __init__(self, manifest: Manifest, segments: Sequence[Segment], damage: DamagedContainer | None = None) -> None:
        """``damage`` says that entries are missing here: a lookup that finds nothing raises it."""
        self.manifest = manifest
        self.segments = tuple(segments)
        self.named = dict(zip(map(segment_name, manifest.segments), self.segments, strict=True))
        self.decoded = [name for name, segment in self.named.items() if segment.is_decoded]
        """Those of compact tables that are decoded in memory."""
        self.damage = damage
        several = len(self.segments) >= _SEVERAL
        self._firsts = [segment.first_of_several if several else segment.first for segment in self.segments]
        self._killing = [segment for segment in self.segments if segment.tombstones]
        # A missing id belongs to a pack that was repacked. Merged segments may still name it.
        self._all_live = not self._killing and len(manifest.packs) == manifest.next_pack_id - 1
        self._packs = manifest.packs.live
        self._pages: MappedPages | None = None
        if sum(segment.length for segment in self.segments) >= LARGE:
            from rsdos.index.mapped_pages import MappedPages

            self._pages = MappedPages(self.segments)
        self._kinds: Mapping[int, PackKind] | None = None
        self._parts: dict[PackKind, IndexView] = {}

    @property
    def kinds(self) -> Mapping[int, PackKind]:
        """The kinds of the packs that are not plain, by their ids."""
        if self._kinds is None:
            self._kinds = self.manifest.packs.kinds
        return self._kinds

    def of_kinds(self, kinds: Collection[PackKind]) -> IndexView:
        """Return a view of the packs of some kinds alone."""
        manifest = self.manifest.of_kinds(kinds)
        return self if manifest is self.manifest else IndexView(manifest, self.segments, self.damage)

    def for_kind(self, kind: PackKind | None) -> IndexView:
        """Return a view of the copies that stand in for a kind (`PackKind.stand_ins`); for None, of all copies."""
        if kind is None or (kind is PackKind.PLAIN and not self.kinds):
            return self
        part = self._parts.get(kind)
        if part is None:
            part = self._parts[kind] = self.of_kinds(kind.stand_ins)
        return part

    def counting(self, entries: Entries) -> Mask:
        """Return a mask of the copies that count, one of each key. The table is sorted, with all living copies."""
        from rsdos.index.liveness import counting_mask

        return counting_mask(entries, self.kinds)

    def dictionaries_of(self, pack_id: int) -> Sequence[PackDictionary]:
        """Return the dictionaries of a pack; none where there is no such pack."""
        return self.manifest.packs.dictionaries_of(pack_id)

    def _is_live(self, record: Record) -> bool:
        if record.flags & _TOMBSTONE or record.pack_id not in self._packs:
            return False
        return not self._killing or not any(
            other.flags & _TOMBSTONE and other.pack_id == record.pack_id and other.offset == record.offset
            for segment in self._killing
            if segment.first(record.digest)  # Most have no entry of this key, and `first` is faster than `find`.
            for other in segment.find(record.digest)
        )

    def segment(self, entry: SegmentEntry) -> Segment | None:
        """Return the open segment of a manifest's entry, if it is in this view."""
        return self.named.get(segment_name(entry))

    def find(self, digest: bytes) -> Record | None:
        """Return the entry of a key, or None. Raise `DamagedContainer`."""
        if self._pages:
            self._pages.looked_up()
        damage = self.damage
        for first in self._firsts:
            try:
                record = first(digest)
                if record is None:
                    continue
                if self._all_live or self._is_live(record):
                    return record
                return self._find_living_one(digest)
            except DamagedContainer as error:
                damage = error
        if damage:
            raise damage
        return None

    def _find_living_one(self, digest: bytes) -> Record | None:
        """Do `find` after the first entry of a key in a segment was found to be dead."""
        damage = self.damage
        for segment in self.segments:
            try:
                record = next(filter(self._is_live, segment.find(digest)), None)
                if record is not None:
                    return record
            except DamagedContainer as error:
                damage = error
        if damage:
            raise damage
        return None

    def find_all(self, digest: bytes) -> list[Record]:
        """Return the entries of all copies of a key, each extent once. Raise `DamagedContainer`."""
        found = (record for segment in self.segments for record in segment.find(digest))
        records = {record.extent: record for record in found if not record.flags & _TOMBSTONE}
        return [record for record in records.values() if self._all_live or self._is_live(record)]

    def find_many(self, digests: Sequence[bytes]) -> Found:
        """Return the entries of many keys. Raise `DamagedContainer`."""
        from rsdos.index.digests import Digests

        return self.find_keys(Digests.of(digests))

    def find_keys(self, wanted: Digests) -> Found:
        """Do `find_many` for keys that are columns already."""
        import numpy as np

        from rsdos.index.entries import Entries
        from rsdos.index.runs import Found

        if not self._all_live:
            return self._find_living(wanted)
        tables: list[Entries] = []
        positions: list[Positions] = [np.empty(0, np.intp)]
        todo = np.arange(len(wanted.prefixes))
        damage = self.damage
        parts: Iterable[tuple[Positions | None, Digests]]
        for segment in self.segments:
            if not len(todo):
                break
            found: list[Positions] = []
            try:
                parts = self._parts_of(segment, wanted) if self._pages else ((None, wanted),)
                find = segment.find_unfiltered if self._pages else segment.find_many
                for part, some in parts:
                    at = find(some)
                    hit = np.flatnonzero(at >= 0)
                    if len(hit):
                        tables.append(segment.unchecked_entries().take(at[hit]))
                        here = hit if part is None else part[hit]
                        positions.append(todo[here])
                        found.append(here)
            except DamagedContainer as error:
                damage = error
            if found:
                is_left = np.ones(len(todo), np.bool_)
                is_left[np.concatenate(found)] = False
                todo, wanted = todo[is_left], wanted.take(is_left)
        if damage is not None and len(todo):
            raise damage
        return Found(Entries.joined(tables), np.concatenate(positions), todo)

    def _parts_of(self, segment: Segment, wanted: Digests) -> Iterator[tuple[Positions | None, Digests]]:
        """Yield keys to look up together in a segment of a large index, and their positions."""
        assert self._pages is not None
        return ((part, wanted.take(part)) for part in self._pages.parts(segment, wanted))

    def _find_living(self, wanted: Digests) -> Found:
        import numpy as np

        from rsdos.index.digests import search
        from rsdos.index.runs import Found

        copies, damage = self._copies(wanted)
        at = search(copies.prefixes, copies.records, wanted)
        hit = at >= 0
        if damage is not None and not hit.all():
            raise damage
        return Found(copies.take(at[hit]), np.flatnonzero(hit), np.flatnonzero(~hit))

    def _copies(self, wanted: Digests, whole: Collection[Segment] = ()) -> tuple[Entries, DamagedContainer | None]:
        """Return all living copies of some keys, sorted, and the damage that may hide more of them, if any.

        The segments ``whole`` are not searched: every entry of theirs is taken.
        """
        from rsdos.index.entries import Entries
        from rsdos.index.liveness import live_mask

        tables = [segment.entries() for segment in whole]
        damage = self.damage
        few = wanted.to_list() if len(wanted.prefixes) <= _FEW else ()
        for segment in self.segments:
            if segment in whole:
                continue
            try:
                if few and not any(map(segment.first_of_several, few)):
                    continue
                if self._pages:
                    tables.extend(segment.find_all_many(some) for _, some in self._parts_of(segment, wanted))
                else:
                    tables.append(segment.find_all_many(wanted))
            except DamagedContainer as error:
                if segment.tombstones:
                    raise  # Its tombstones cannot be read, so dead entries would count as alive.
                damage = error
        copies = Entries.joined(tables).sort()
        return copies.take(live_mask(copies, self.manifest.packs.ids)), damage

    def live_copies(self, digests: Sequence[bytes]) -> Entries:
        """Return the entries of all copies of many keys, sorted; a key given twice counts once. Raise as `find`."""
        from rsdos.index.digests import Digests

        return self.copies_of(Digests.of(digests))

    def copies_like(self, entries: Entries) -> Entries:
        """Do `live_copies` for the keys of some entries."""
        return self.copies_of(entries.keys())

    def copies_of(self, wanted: Digests, whole: Collection[Segment] = ()) -> Entries:
        """Do `live_copies` for keys that are columns already. All objects of the segments ``whole`` are among them."""
        copies, damage = self._copies(wanted, whole)
        if damage is not None:
            raise damage
        return copies

    def tables(self, start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
        """Yield one live entry of each key, sorted, in tables of bounded size. Raise `DamagedContainer` at the first.

        Only of keys whose first 8 bytes, as a number, are from ``start`` to before ``end``.
        """
        if self.damage:
            raise self.damage
        for entries in self.live_tables(start, end):
            yield entries.take(self.counting(entries))

    def live_tables(self, start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
        """Do `tables`, but yield all copies of each key."""
        from rsdos.index.merge import merged

        if self.damage:
            raise self.damage
        yield from map(self.living, merged(self.segments, start, end))

    def living(self, entries: Entries) -> Entries:
        """Return the live entries of a sorted table, which has all entries of its keys."""
        from rsdos.index.liveness import live_mask

        return entries if self._all_live else entries.take(live_mask(entries, self.manifest.pack_ids))

    def in_storage_order(self, pack: PackEntry) -> Iterator[Entries]:
        """Yield the live entries that count and are in ``pack``, by offset, in tables of bounded size.

        Each million objects of the pack costs a pass over the whole index. Raise `DamagedContainer`.
        """
        return self._by_offset(pack, self.tables)

    def copies_in(self, pack: PackEntry) -> Iterator[Entries]:
        """Do `in_storage_order`, but yield every live entry of the pack, whether or not its key has another copy."""
        return self._by_offset(pack, self.live_tables)

    def _by_offset(self, pack: PackEntry, tables: Callable[[], Iterator[Entries]]) -> Iterator[Entries]:
        most = sum(segment.count for segment in self.segments)
        path = self.segments[0].path if self.segments else ""
        return _in_storage_order(pack, tables, most, path)

    def counted(self) -> tuple[PackEntry, ...]:
        """Return the packs of the manifest, with counts of only the objects that the segments have."""
        from rsdos.index.liveness import live_mask
        from rsdos.index.merge import merged

        none = Counts()
        every: dict[int, Counts] = {}
        alive: dict[int, Counts] = {}
        for entries in merged(self.segments):
            live = entries.take(live_mask(entries, self.manifest.pack_ids))
            for total, part in (
                (every, entries.take(~entries.is_tombstone())),
                (alive, live.take(self.counting(live))),
            ):
                for pack_id, counts in part.counts().items():
                    total[pack_id] = total.get(pack_id, none) + counts
        return tuple(
            pack.counting(every.get(pack.id, none), every.get(pack.id, none) - alive.get(pack.id, none))
            for pack in self.manifest.packs
        )

    def with_dead_counted(self) -> tuple[PackEntry, ...]:
        """Return the packs of the manifest, with every object counted as dead that is not alive in the segments."""
        alive = self.counted()
        return tuple(_with_dead(was, now) for was, now in zip(self.manifest.packs, alive, strict=True))

    def readable_tables(self, start: int = 0, end: int = KEY_SPACE) -> Iterator[Entries]:
        """Do `tables` for the readable segments. At the end raise the `DamagedContainer` that hides other entries."""
        whole, damage = [], self.damage
        for entry, segment in zip(self.manifest.segments, self.segments, strict=True):
            try:
                segment.entries()
                whole.append((entry, segment))
            except DamagedContainer as error:
                damage = error
        entries, segments = tuple(entry for entry, _ in whole), [segment for _, segment in whole]
        yield from IndexView(self.manifest._replace(segments=entries), segments).tables(start, end)
        if damage:
            raise damage


def key_lists(prefix: str, tables: Callable[[int, int], Iterator[Entries]]) -> Iterator[list[str]]:
    """Yield the keys of some tables that begin with ``prefix``; ``tables`` is `IndexView.tables`, or like it."""
    for entries in tables(*key_range(prefix)):
        keys = entries.hex_keys()
        yield [key for key in keys if key.startswith(prefix)] if len(prefix) > 16 else keys


def key_range(prefix: str) -> tuple[int, int]:
    """Return the range, as numbers, of the first 8 bytes of all keys with a prefix."""
    return int(prefix[:16].ljust(16, "0"), 16), int(prefix[:16].ljust(16, "f"), 16) + 1


def _in_storage_order(
    pack: PackEntry, tables: Callable[[], Iterator[Entries]], most: int, path: str
) -> Iterator[Entries]:
    from rsdos.index.entries import Entries

    # The count in the manifest may be any number. The entries of the tables are bounded by the lengths of their files.
    passes = min(pack.objects, most) // _PASS + 1
    for number in range(passes):
        start = pack.length * number // passes
        end = pack.length * (number + 1) // passes if number + 1 < passes else KEY_SPACE - 1
        parts, count = [], 0
        for table in tables():
            parts.append(table.take(table.in_extent(pack.id, start, end)))
            count += len(parts[-1])
            if count > _MOST_IN_PASS:
                raise DamagedContainer(path, "more objects in a part of a pack than the manifest counts in all of it")
        found = Entries.joined(parts)
        yield found.take(found.storage_order())


def _with_dead(was: PackEntry, now: PackEntry) -> PackEntry:
    """Return ``was`` with the live counts of ``now``, and the rest dead. Its total is at least the live counts."""
    objects, size, length = map(max, was.total, now.total)
    total = Counts(objects, size, length)
    return was.counting(total, total - now.live)

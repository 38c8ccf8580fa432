"""Checking the packs of version 2: batch by batch, in the order of their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.compact import open_table
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.segment import KEY_SPACE
from rsdos.index.snapshot import Snapshot
from rsdos.pack.format import Batch
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.stores.findings import Checked, Depth, Finding, PacksCheck, Part, Sample, Steps
from rsdos.stores.packed.check_objects import ObjectCheck
from rsdos.stores.packed.context import PackedContext

_INDEX_PART = 1 << 21
"""Entries of the index that are counted at once: 0.4 s."""

_PART_LENGTH = 1 << 24
_PART_BATCHES = 256
"""Batches that are checked at once: of at least so many bytes together, or so many of them."""


@dataclass(frozen=True, slots=True)
class _IndexPart(Part):
    """The entries of the index whose first 8 key bytes, as a number, are from ``start`` to before ``end``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _BatchesPart(Part):
    """Batches of a pack, one after another. Their objects are checked from byte ``start`` on, their tables anyway."""

    pack_id: int
    start: int
    batches: Sequence[Batch]


@dataclass(frozen=True, slots=True)
class _Rest(Part):
    """What is in no table of a pack of ``length`` bytes. ``is_explained``: by bytes that no footer covers."""

    in_turn = True

    pack_id: int
    length: int
    batches: int
    is_explained: bool


class _Counts(NamedTuple):
    """The objects of each pack, by the entries of a part of the index; None if these cannot be read."""

    objects: Mapping[int, int] | None


class _Table(NamedTuple):
    """The table of a batch that could be read: from where to where it covers the pack, and how many objects live."""

    pack_id: int
    start: int
    end: int
    objects: int


class NativeCheck(PacksCheck):
    """See `PacksCheck`. Memory: the table of one batch (17 MB at most) a few times, 4 MiB of objects."""

    def __init__(self, context: PackedContext, depth: Depth, sample: Sample, moment: object = None) -> None:
        self._context = context
        self._layout = context.layout
        self._index = context.index
        self._extra: dict[str, tuple[int, str]] = {}
        if isinstance(moment, Manifest):
            self._snapshot: Snapshot = self._index.open_sound(moment)
        else:
            self._snapshot = self._index.sound()
            self._extra.update(self._extras())
            state = self._index.state
            # Another process cannot open what was made from the packs, in memory.
            if state.snapshot is self._snapshot and not (state.is_recovered or state.lost):
                self.moment = self._snapshot.manifest
        self._manifest = self._snapshot.manifest
        self._objects = ObjectCheck(context, self._snapshot, depth, sample)
        self._at = self._objects.finding
        self._counts: dict[int, int] | None = {}
        """The objects of each pack by the entries of the index; None if not all of these can be read."""
        self._tables: dict[int, list[_Table]] = {}
        """The tables of each pack that could be read."""
        self._opened: PackFile | None = None

    @property
    def lengths(self) -> Mapping[int, int]:
        return {pack.id: pack.length for pack in self._manifest.packs}

    def _of(self, error: DamagedContainer) -> Finding:
        return Finding(self._layout.relative(error.path), error.reason, offset=error.offset)

    # The index.

    def index(self) -> Steps:
        yield Checked(findings=(*self._manifests(), *self._segments()))
        parts = sum(segment.count for segment in self._snapshot.segments) // _INDEX_PART + 1
        for number in range(parts):
            yield _IndexPart(KEY_SPACE * number // parts, KEY_SPACE * (number + 1) // parts)

    def _count_range(self, part: _IndexPart) -> Iterator[Checked]:
        """Count the objects of each pack, by the entries of a range of keys."""
        counts: dict[int, int] = {}
        try:
            for table in self._snapshot.live_tables(part.start, part.end):
                for pack_id, (objects, _, _) in table.counts().items():
                    counts[pack_id] = counts.get(pack_id, 0) + objects
            yield Checked(told=_Counts(counts))
        except DamagedContainer as error:
            finding = self._of(error)
            is_of_pack = os.path.dirname(finding.path) == self._layout.relative(self._layout.packed)
            yield Checked(findings=() if is_of_pack else (finding,), told=_Counts(None))  # A pack's is met there.

    def note(self, told: object) -> int:
        if isinstance(told, _Table):
            self._tables.setdefault(told.pack_id, []).append(told)
        elif isinstance(told, _Counts):
            if told.objects is None:
                self._counts = None
                return 0
            if self._counts is not None:
                for pack_id, objects in told.objects.items():
                    self._counts[pack_id] = self._counts.get(pack_id, 0) + objects
            return sum(told.objects.values())
        return 0

    def _manifests(self) -> Iterator[Finding]:
        try:
            self._index.commits.newest_number()
        except DamagedContainer as error:
            yield self._of(error)
        for number in self._layout.manifest_numbers():
            try:
                self._index.commits.read(number)
            except FileNotFoundError:
                continue  # Commits drop the oldest during the check.
            except DamagedContainer as error:
                yield self._of(error)

    def _segments(self) -> Iterator[Finding]:
        try:
            manifest = self._index.newest()
        except DamagedContainer:
            manifest = self._manifest
        for entry in manifest.segments:
            try:
                segment = self._snapshot.segment(entry) or self._index.sound_segment(entry)
                segment.verify()
                if entry.is_of_batch and segment.is_decoded and self._index.commits.is_newest(manifest.number):
                    reason = "it is damaged or missing; its pack has the same, and the next commit writes it anew"
                    path = self._layout.relative(self._layout.segment(entry.number))
                    yield Finding(path, reason, is_damage=False)
            except FileNotFoundError:
                # Those in packs are met there.
                if entry.number and self._index.commits.is_newest(manifest.number):
                    yield Finding(
                        self._layout.relative(self._layout.segment(entry.number)), "a segment of the index is missing"
                    )
            except DamagedContainer as error:
                if entry.number:
                    yield self._of(error)

    # A pack.

    def pack(self, pack_id: int, start: int) -> Steps:
        for step in self._pack(pack_id, start):
            yield self._unless_gone(pack_id, step) if isinstance(step, Checked) else step

    def part(self, part: Part) -> Iterator[Checked]:
        if isinstance(part, _IndexPart):
            yield from self._count_range(part)
        elif isinstance(part, _BatchesPart):
            for step in self._batches(part):
                yield self._unless_gone(part.pack_id, step)
        elif isinstance(part, _Rest):
            for step in self._rest(part):
                yield self._unless_gone(part.pack_id, step)

    def _unless_gone(self, pack_id: int, step: Checked) -> Checked:
        # A check that may not write holds no long reader's lock: a pack may be repacked and unlinked during it.
        return replace(step, findings=()) if step.findings and self._is_gone(pack_id) else step

    def _is_gone(self, pack_id: int) -> bool:
        if self._layout.storage.version(names.pack(pack_id)) is not None:
            return False
        try:
            return self._index.newest().pack(pack_id) is None
        except DamagedContainer:
            return False

    def _pack(self, pack_id: int, start: int) -> Steps:
        length = self.lengths[pack_id]
        count = self._count(pack_id)
        try:
            file = self._open(pack_id)
        except FileNotFoundError:
            if length:
                found = self._at(pack_id, f"the pack is missing, with {_objects(count)}", objects=count)
                yield Checked(findings=(found,), position=length)
            return
        except (DamagedContainer, OSError) as error:
            found = self._at(pack_id, f"{_reason(error)}: {_objects(count)} of it cannot be read", objects=count)
            yield Checked(findings=(found,), position=length)
            return
        if file.size() < length:
            reason = f"the pack is cut short: it has {file.size()} of {length} bytes"
            yield Checked(findings=(self._at(pack_id, reason, file.size()),))
        result = scan(file, length)
        lost = [self._at(pack_id, f"no footer covers the bytes to {to}", at) for at, to in result.uncovered]
        yield Checked(findings=tuple(lost))
        yield Checked(findings=tuple(self._objects.dictionaries(pack_id)))
        for batches in _groups(result.batches):
            yield _BatchesPart(pack_id, start, batches)
        yield _Rest(pack_id, length, len(result.batches), is_explained=bool(lost))

    def _open(self, pack_id: int) -> PackFile:
        if self._opened is None or self._opened.pack_id != pack_id:
            self._opened = None
            self._opened = self._context.open_pack(pack_id)
        return self._opened

    def _batches(self, part: _BatchesPart) -> Iterator[Checked]:
        pack_id = part.pack_id
        try:
            file = self._open(pack_id)
        except (DamagedContainer, OSError) as error:  # It was there a moment ago.
            yield Checked(findings=(self._at(pack_id, _reason(error)),), position=part.batches[-1].end)
            return
        for batch in part.batches:
            findings, own = self._table(file, batch)
            yield Checked(findings=tuple(findings))
            if own is None:
                continue
            live = self._living(own)
            told = _Table(pack_id, batch.start, batch.segment_offset, len(live))
            yield Checked(findings=tuple(self._unlike(pack_id, own, live)), told=told)
            if batch.end > part.start:
                yield from self._objects.objects(pack_id, live)
                yield Checked(position=batch.end)

    def _rest(self, rest: _Rest) -> Iterator[Checked]:
        """Check what no table of the pack has."""
        pack_id = rest.pack_id
        tables = self._tables.pop(pack_id, [])
        missing = self._count(pack_id) - sum(table.objects for table in tables)
        if self._counts is not None and missing > 0:
            covered = [(table.start, table.end) for table in tables]
            yield from self._strangers(pack_id, covered, rest.is_explained or len(covered) < rest.batches)
        elif missing > 0:
            # Not even their keys are known. Some that are dead may have been seen.
            reason = f"at least {_objects(missing)} more were in it, and are in no table that is there"
            yield Checked(findings=(self._at(pack_id, reason, objects=missing),))
        yield Checked(position=rest.length)

    def _count(self, pack_id: int) -> int:
        """Return how many objects live in a pack: by its entries, or by the manifest where these cannot be read."""
        if self._counts is not None:
            return self._counts.get(pack_id, 0)
        pack = self._manifest.pack(pack_id)
        return pack.live.objects if pack else 0

    def _table(self, file: PackFile, batch: Batch) -> tuple[list[Finding], Entries | None]:
        """Return what is wrong with the table of a batch, and its entries of objects if it can be read at all."""
        try:
            entries = open_table(file.file, batch.segment_offset, batch.segment_length).verify()
        except DamagedContainer as error:
            return [self._of(error)], None
        own = entries.take(~entries.is_tombstone())
        findings = []
        if len(entries) != batch.entries:
            findings.append(self._at(file.pack_id, "a footer counts other entries than there are", batch.footer_offset))
        inside = own.in_extent(file.pack_id, batch.start, batch.segment_offset + 1) & own.ends_before(
            batch.segment_offset
        )
        for record in own.take(~inside):
            reason = "a table names bytes that are not of its own batch"
            findings.append(self._at(file.pack_id, reason, record.offset, record.key))
        good = own.take(inside)
        for record in good.take(good.overlapping()):
            findings.append(self._at(file.pack_id, "it overlaps another object", record.offset, record.key))
        return findings, good

    def _living(self, own: Entries) -> Entries:
        """Return what the index says of those entries that live: readers go by the index."""
        try:
            copies = self._snapshot.copies_like(own)
        except DamagedContainer:
            return own
        return copies.take(copies.of_extents(own))

    def _unlike(self, pack_id: int, own: Entries, live: Entries) -> Iterator[Finding]:
        """Yield where index and table say different things of an object: a rebuild believes the table."""
        mine = own if len(own) == len(live) else own.take(own.of_extents(live))
        if len(mine) == len(live):  # Else an extent is named twice, which is told as an overlap.
            for record in live.take(live.differing(mine)):
                reason = "the index says something else of it than the table of its batch"
                yield self._at(pack_id, reason, record.offset, record.key)

    def _strangers(self, pack_id: int, covered: Sequence[tuple[int, int]], is_explained: bool) -> Iterator[Checked]:
        """Check the objects that the index knows, and no table of the pack."""
        pack = self._manifest.pack(pack_id)
        assert pack is not None
        for table in self._snapshot.copies_in(pack):
            strange = table.take(~table.of_ranges({pack_id: covered}))
            if not is_explained:
                reason = "the index names bytes that no table of the pack names"
                found = tuple(self._at(pack_id, reason, record.offset, record.key) for record in strange)
                yield Checked(findings=found)
            yield from self._objects.objects(pack_id, strange)

    # What belongs to nothing.

    def _extras(self) -> Iterator[tuple[str, tuple[int, str]]]:
        """Yield the path of a file, the bytes of it that the newest manifest does not know, and what they are."""
        try:
            manifest = self._index.newest()
        except DamagedContainer:
            return
        for pack_id in self._layout.pack_ids():
            path = self._layout.pack(pack_id)
            pack = manifest.pack(pack_id)
            extra = self._length(names.pack(pack_id)) - (pack.length if pack else 0)
            if extra > 0:
                what = "is not in the manifest" if pack is None else "is behind what was committed"
                yield path, (extra, f"{extra} bytes: it {what} (a writer is at work, or has died)")
        named = {segment.number for number in self._layout.manifest_numbers() for segment in self._named(number)}
        for number in self._layout.segment_numbers():
            if number not in named:
                path = self._layout.segment(number)
                yield path, (self._length(names.segment(number)), "no manifest names it")

    def _length(self, name: str) -> int:
        info = self._layout.storage.stat(name)
        return info.length if info else 0

    def _named(self, number: int) -> Sequence[SegmentEntry]:
        try:
            return self._index.commits.read(number).segments
        except (FileNotFoundError, DamagedContainer):
            return ()

    def leftovers(self) -> Iterator[Finding]:
        for path, (extra, what) in self._extras():
            if path in self._extra and self._extra[path][0] == extra:
                yield Finding(self._layout.relative(path), what, is_damage=False)


def _groups(batches: Sequence[Batch]) -> Iterator[Sequence[Batch]]:
    start = 0
    for at, batch in enumerate(batches, 1):
        if batch.end - batches[start].start >= _PART_LENGTH or at - start == _PART_BATCHES or at == len(batches):
            yield batches[start:at]
            start = at


def _reason(error: DamagedContainer | OSError) -> str:
    return error.reason if isinstance(error, DamagedContainer) else str(error)


def _objects(count: int) -> str:
    return f"{count} object{'s' * (count != 1)}"

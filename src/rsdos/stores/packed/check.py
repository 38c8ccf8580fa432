"""Checking the packs of version 2: batch by batch, in the order of their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.index.entries import Entries
from rsdos.index.fingerprint import FINGERPRINTS, add_fingerprints, fingerprints
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.segment import KEY_SPACE
from rsdos.index.view import IndexView
from rsdos.model import PackKind
from rsdos.pack.format import Batch
from rsdos.pack.reader import PackFile, kind_of, read_best
from rsdos.pack.scanning import Scan, scan
from rsdos.storage.base import says_nothing
from rsdos.stores.findings import Checked, Depth, Finding, PacksCheck, Part, Sample, Steps
from rsdos.stores.packed.check_objects import ObjectCheck
from rsdos.stores.packed.check_tables import TableCheck
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.leftovers import NotedLeftovers

_INDEX_PART = 1 << 21
"""Entries of the index that are counted together, in 0.4 s."""

_PART_LENGTH = 1 << 24
_PART_BATCHES = 256
"""Batches that are checked at once: of at least so many bytes together, or so many of them."""

_MOST_MAPPED = 1 << 28
"""Bytes of an index that may stay mapped from one part to the next."""


@dataclass(frozen=True, slots=True)
class _SegmentPart(Part):
    """A segment that manifest ``number`` names."""

    entry: SegmentEntry
    number: int


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
    """The objects in no table of a pack of ``length`` bytes. ``is_explained``: no footer covers some bytes."""

    in_turn = True

    pack_id: int
    length: int
    batches: int
    is_explained: bool


class _Counts(NamedTuple):
    """The objects of each pack, by the entries of a part of the index, and the fingerprints of these.

    ``objects`` is None if the entries cannot be read.
    """

    objects: Mapping[int, int] | None
    fingerprints: Mapping[int, int]


class _Table(NamedTuple):
    """The table of a batch that could be read: from where to where it covers the pack, and how many objects live.

    ``fingerprint`` is that of its entries where none of them was looked up in the index; None where all were.
    """

    pack_id: int
    start: int
    end: int
    objects: int
    fingerprint: int | None


class NativeCheck(PacksCheck):
    """See `PacksCheck`. Memory: the table of one batch (17 MB at most) a few times, 4 MiB of objects."""

    def __init__(self, context: PackedContext, depth: Depth, sample: Sample, moment: object = None) -> None:
        self._context = context
        self._layout = context.layout
        self._index = context.index
        self._leftovers: NotedLeftovers | None = None
        if isinstance(moment, Manifest):
            self._view: IndexView = self._index.open_sound(moment)
        else:
            self._view = self._index.sound()
            self._leftovers = self._note_leftovers()
            state = self._index.state
            # Another process cannot open what was made from the packs, in memory.
            if state.view is self._view and not (state.is_recovered or state.lost):
                self.moment = self._view.manifest
        self._manifest = self._view.manifest
        self._objects = ObjectCheck(context, self._view, depth, sample)
        self._contents = TableCheck(context.layout.storage, self._view, self._objects)
        self._at, self._damage = self._objects.finding, self._objects.damage
        self._counts: dict[int, int] | None = {}
        """The objects of each pack by the entries of the index; None if not all of these can be read."""
        self._fingerprints: dict[int, int] = {}
        """Of the entries that the index has of each pack."""
        self._tables: dict[int, list[_Table]] = {}
        """The tables of each pack that could be read."""
        self._wholly_live = frozenset(pack.id for pack in self._manifest.packs if not pack.dead_objects)
        """The packs of which the index should have every entry, and only once."""
        self._opened: PackFile | None = None

    @property
    def lengths(self) -> Mapping[int, int]:
        return {pack.id: pack.length for pack in self._manifest.packs}

    # The index.

    def index(self) -> Steps:
        yield Checked(findings=tuple(self._manifests()))
        manifest = self._newest()
        for entry in manifest.segments:
            yield _SegmentPart(entry, manifest.number)
        parts = sum(segment.count for segment in self._view.segments) // _INDEX_PART + 1
        for number in range(parts):
            yield _IndexPart(KEY_SPACE * number // parts, KEY_SPACE * (number + 1) // parts)

    def _count_range(self, part: _IndexPart) -> Iterator[Checked]:
        """Count the objects of each pack, by the entries of a range of keys."""
        counts: dict[int, int] = {}
        prints: dict[int, int] = {}
        try:
            for table in self._view.live_tables(part.start, part.end):
                for pack_id, (objects, _, _) in table.counts().items():
                    counts[pack_id] = counts.get(pack_id, 0) + objects
                add_fingerprints(prints, fingerprints(table))
            yield Checked(told=_Counts(counts, prints))
        except DamagedContainer as error:
            finding = self._damage(error)
            is_of_pack = os.path.dirname(finding.path) == self._layout.relative(self._layout.packed)
            yield Checked(findings=() if is_of_pack else (finding,), told=_Counts(None, {}))  # A pack's is met there.

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
            add_fingerprints(self._fingerprints, told.fingerprints)
            return sum(told.objects.values())
        return 0

    def _manifests(self) -> Iterator[Finding]:
        try:
            self._index.commits.newest_number()
        except DamagedContainer as error:
            yield self._damage(error)
        for number in self._layout.manifest_numbers():
            try:
                self._index.commits.read(number)
            except FileNotFoundError:
                continue  # Commits drop the oldest during the check.
            except DamagedContainer as error:
                yield self._damage(error)

    def _newest(self) -> Manifest:
        """Return the newest manifest, or that of this check if it cannot be read."""
        try:
            return self._index.newest()
        except DamagedContainer:
            return self._manifest

    def _segment(self, part: _SegmentPart) -> Iterator[Finding]:
        entry, path = part.entry, self._layout.relative(self._layout.segment(part.entry.number))
        try:
            segment = self._view.segment(entry) or self._index.sound_segment(entry)
            segment.verify()
            if entry.is_of_batch and segment.is_decoded and self._index.commits.is_newest(part.number):
                reason = "it is damaged or missing; its pack has the same, and the next commit writes it anew"
                yield Finding(path, reason, is_damage=False)
        except FileNotFoundError:
            # Those in packs are met there.
            if entry.number and self._index.commits.is_newest(part.number):
                yield Finding(path, "a segment of the index is missing")
        except DamagedContainer as error:
            if entry.number:
                yield self._damage(error)

    # A pack.

    def pack(self, pack_id: int, start: int) -> Steps:
        for step in self._pack(pack_id, start):
            yield self._unless_gone(pack_id, step) if isinstance(step, Checked) else step

    def part(self, part: Part) -> Iterator[Checked]:
        if isinstance(part, _SegmentPart):
            yield Checked(findings=tuple(self._segment(part)))
        elif isinstance(part, _IndexPart):
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
            return not self._index.newest().packs.has(pack_id)
        except DamagedContainer:
            return False

    def _pack(self, pack_id: int, start: int) -> Steps:
        length = self.lengths[pack_id]
        look = partial(self._look, pack_id, length)
        findings, result = read_best(self._layout.storage, look, lambda seen: len(seen[0]))
        if result is None:
            if findings:
                yield Checked(findings=tuple(findings), position=length)
            return
        yield Checked(findings=tuple(findings))
        yield Checked(findings=tuple(self._objects.dictionaries(pack_id)))
        for batches in _groups(result.batches):
            yield _BatchesPart(pack_id, start, batches)
        yield _Rest(pack_id, length, len(result.batches), is_explained=bool(result.uncovered))

    def _look(self, pack_id: int, length: int) -> tuple[list[Finding], Scan | None]:
        """Return what is wrong with the header and the footers of a pack, and its batches if it can be read at all."""
        count = self._count(pack_id)
        try:
            file = self._open(pack_id)
        except FileNotFoundError:
            reason = f"the pack is missing, with {_objects(count)}"
            return [self._at(pack_id, reason, objects=count)] if length else [], None
        except OSError as error:
            if says_nothing(error):
                raise
            return [self._at(pack_id, f"{_reason(error)}: {_objects(count)} of it cannot be read", objects=count)], None
        findings = []
        if file.size() < length:
            reason = f"the pack is cut short: it has {file.size()} of {length} bytes"
            findings.append(self._at(pack_id, reason, file.size()))
        if kind_of(file) is not self._view.kinds.get(pack_id, PackKind.PLAIN):
            findings.append(self._at(pack_id, "it is a pack of another kind than the manifest says", 0))
        result = scan(file, length)
        findings += [self._at(pack_id, f"no footer covers the bytes to {to}", at) for at, to in result.uncovered]
        return findings, result

    def _open(self, pack_id: int) -> PackFile:
        if self._opened is None or self._opened.pack_id != pack_id:
            self._opened = None
            self._opened = self._context.open_pack(pack_id)
        return self._opened

    def _batches(self, part: _BatchesPart) -> Iterator[Checked]:
        pack_id = part.pack_id
        try:
            file = self._open(pack_id)
        except OSError as error:  # It was there a moment ago.
            if says_nothing(error):
                raise
            yield Checked(findings=(self._at(pack_id, _reason(error)),), position=part.batches[-1].end - 1)
            return
        for batch in part.batches:
            findings, own = self._contents.read(file, batch)
            yield Checked(findings=tuple(findings))
            if own is None:
                continue
            if pack_id in self._wholly_live:
                # Looked up only if the tables of the pack together are not what the index has of it: see `_rest`.
                live, fingerprint = own, fingerprints(own).get(pack_id, 0)
            else:
                live, fingerprint = self._contents.living(own), None
            unlike = () if live is own else tuple(self._contents.unlike(pack_id, own, live))
            told = _Table(pack_id, batch.start, batch.segment_offset, len(live), fingerprint)
            yield Checked(findings=unlike, told=told)
            # A byte before its end: a pack is done, and not taken up again, only behind its `_rest`.
            if batch.end - 1 > part.start:
                steps = self._objects.objects(pack_id, live)
                yield from steps if fingerprint is None else map(partial(self._by_index, own), steps)
                yield Checked(position=batch.end - 1)
        if pack_id not in self._wholly_live:
            self._let_go()

    def _let_go(self) -> None:
        """Give back the memory of an index that is large: lookups of a few batches have mapped all of it."""
        if sum(segment.length for segment in self._view.segments) > _MOST_MAPPED:
            for segment in self._view.segments:
                segment.let_go(0, segment.count)

    def _rest(self, rest: _Rest) -> Iterator[Checked]:
        """Check the objects that are in no table of the pack."""
        pack_id = rest.pack_id
        tables = self._tables.pop(pack_id, [])
        if not self._is_like_index(pack_id, tables):
            tables = []
            for table, found in self._looked_up(pack_id, rest.length):
                tables.append(table)
                yield Checked(findings=found)
        missing = self._count(pack_id) - sum(table.objects for table in tables)
        if self._counts is not None and missing > 0:
            covered = [(table.start, table.end) for table in tables]
            yield from self._strangers(pack_id, covered, rest.is_explained or len(covered) < rest.batches)
        elif missing > 0:
            # Not even their keys are known. Some that are dead may have been seen.
            reason = f"at least {_objects(missing)} more were in it, and are in no table that is there"
            yield Checked(findings=(self._at(pack_id, reason, objects=missing),))
        yield Checked(position=rest.length)

    def _is_like_index(self, pack_id: int, tables: Sequence[_Table]) -> bool:
        """Return whether the index has the entries of these tables and no others, or each was looked up already."""
        prints = [table.fingerprint for table in tables if table.fingerprint is not None]
        if len(prints) < len(tables):
            return True
        return self._counts is not None and sum(prints) % FINGERPRINTS == self._fingerprints.get(pack_id, 0)

    def _by_index(self, own: Entries, step: Checked) -> Checked:
        """Return a step in which objects were checked by their table, with those findings that hold by the index."""
        if not step.findings:
            return step
        bad = own.of_digests([bytes.fromhex(finding.key) for finding in step.findings if finding.key])
        checked = self._objects.objects(int(bad.records["pack_id"][0]), self._contents.living(bad))
        return replace(step, findings=tuple(finding for again in checked for finding in again.findings))

    def _looked_up(self, pack_id: int, length: int) -> Iterator[tuple[_Table, tuple[Finding, ...]]]:
        """Yield each table of a pack, and where the index says other things of its objects, and what is wrong there."""
        try:
            file = self._open(pack_id)
        except OSError as error:  # It was there a moment ago, and that was told.
            if says_nothing(error):
                raise
            return
        for batch in scan(file, length).batches:
            own = self._contents.read(file, batch)[1]
            if own is not None:
                live = self._contents.living(own)
                unlike = tuple(self._contents.unlike(pack_id, own, live))
                other = live.of_digests([bytes.fromhex(finding.key) for finding in unlike if finding.key])
                bad = [finding for step in self._objects.objects(pack_id, other) for finding in step.findings]
                yield _Table(pack_id, batch.start, batch.segment_offset, len(live), None), (*unlike, *bad)

    def _count(self, pack_id: int) -> int:
        """Return how many objects live in a pack: by its entries, or by the manifest where these cannot be read."""
        if self._counts is not None:
            return self._counts.get(pack_id, 0)
        pack = self._manifest.packs.find(pack_id)
        return pack.live.objects if pack else 0

    def _strangers(self, pack_id: int, covered: Sequence[tuple[int, int]], is_explained: bool) -> Iterator[Checked]:
        """Check the objects that the index knows, and no table of the pack."""
        pack = self._manifest.packs.find(pack_id)
        assert pack is not None
        for table in self._view.copies_in(pack):
            strange = table.take(~table.of_ranges({pack_id: covered}))
            if not is_explained:
                reason = "the index names bytes that no table of the pack names"
                found = tuple(self._at(pack_id, reason, record.offset, record.key) for record in strange)
                yield Checked(findings=found)
            yield from self._objects.objects(pack_id, strange)

    def leftovers(self) -> Iterator[Finding]:
        return self._leftovers.still_there() if self._leftovers else iter(())

    def _note_leftovers(self) -> NotedLeftovers | None:
        """Note what belongs to nothing before the check; None where that is not told."""
        return NotedLeftovers(self._context)


def _groups(batches: Sequence[Batch]) -> Iterator[Sequence[Batch]]:
    start = 0
    for at, batch in enumerate(batches, 1):
        if batch.end - batches[start].start >= _PART_LENGTH or at - start == _PART_BATCHES or at == len(batches):
            yield batches[start:at]
            start = at


def _reason(error: OSError) -> str:
    return error.reason if isinstance(error, DamagedContainer) else str(error)


def _objects(count: int) -> str:
    return f"{count} object{'s' * (count != 1)}"

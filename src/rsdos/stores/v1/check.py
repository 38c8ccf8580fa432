"""Checking the packs of version 1: row by row, in the order of their bytes. The only checksums are the hashes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rsdos.errors import DamagedContainer, DamagedObject
from rsdos.hashing import HashType
from rsdos.layout import V1Layout
from rsdos.model import BytesLike
from rsdos.storage import posix
from rsdos.stores.findings import Checked, Depth, Finding, PacksCheck, Part, Sample, Shares, Steps, VerifiedObject
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.row import Row

_GROUP = 1 << 12
"""The most rows that are checked together."""
_GROUP_LENGTH = 1 << 25
"""The most stored bytes that are checked together; a longer row is checked alone."""

Wholes = Callable[[list[Row]], Iterator[list[VerifiedObject]]]
Frames = Callable[[bytes], Iterator[BytesLike] | None]


@dataclass(frozen=True, slots=True)
class RowsPart(Part):
    """Rows of one pack, in the order of their offsets, whose objects are hashed."""

    rows: Sequence[Row]


class V1PacksCheck(PacksCheck):
    """See `PacksCheck`. disk-objectstore may change anything at the same time: a row that seems wrong is read again."""

    def __init__(
        self,
        layout: V1Layout,
        hash_type: HashType,
        database: Database,
        read: tuple[Wholes, Frames],
        depth: Depth,
        sample: Sample,
    ) -> None:
        """``read`` returns the good objects of some rows, and the verified parts of one object."""
        self._layout = layout
        self._hash = hash_type
        self._database = database
        self._wholes, self._frames = read
        self._depth = depth
        self._sample = sample
        self._damage: DamagedContainer | None = None
        try:
            self._ids = {pack_id for pack_id in database.pack_ids() if pack_id >= -1}
        except DamagedContainer as error:
            self._ids, self._damage = set(), error
        self._unused = set(self._orphans())

    @property
    def lengths(self) -> Mapping[int, int]:
        if not self._damage:
            # Add the packs to which a repack has moved objects since: the rows of these objects lead only there.
            with suppress(DamagedContainer):
                self._ids.update(pack_id for pack_id in self._database.pack_ids() if pack_id >= -1)
        return {pack_id: posix.length_of(self._layout.pack(pack_id)) for pack_id in sorted(self._ids)}

    def index(self) -> Steps:
        yield Checked(findings=tuple(self._structure()))

    def _structure(self) -> Iterator[Finding]:
        index = self._layout.relative(self._layout.database)
        try:
            if self._damage:
                raise self._damage
            self._database.check()
            for rows in self._database.hostile(self._hash):
                for key, reason in rows:
                    yield Finding(index, reason, key)
        except DamagedContainer as error:
            yield Finding(index, error.reason)

    def pack(self, pack_id: int, start: int) -> Steps:
        length = posix.length_of(self._layout.pack(pack_id))
        end = 0
        before: Row | None = None
        try:
            for rows in self._database.rows(pack_id):
                findings: list[Finding] = []
                for row in rows:
                    findings += self._misplaced(row, before if row.offset < end else None)
                    if length >= row.offset + row.length >= end and row.length:
                        end, before = row.offset + row.length, row
                yield Checked(findings=tuple(findings))
                fresh = [row for row in rows if row.offset >= start and self._hash.is_key(row.key)]
                todo = [row for row in fresh if self._sample.has(bytes.fromhex(row.key))]
                if self._depth is Depth.FULL:
                    yield from map(RowsPart, _groups(todo))
                elif todo:
                    yield Checked(len(todo), 0, (), todo[-1].offset)
        except DamagedContainer as error:
            yield Checked(findings=(Finding(self._layout.relative(self._layout.database), error.reason),))
        yield Checked(position=max(end, start))

    def part(self, part: Part) -> Iterator[Checked]:
        assert isinstance(part, RowsPart)
        return self._hashes(list(part.rows))

    def _misplaced(self, row: Row, before: Row | None) -> Iterator[Finding]:
        """Yield the faults of the place of a row; ``before`` is a row whose bytes it overlaps."""
        path = self._layout.pack(row.pack_id)
        length = posix.length_of(path) if os.path.lexists(path) else -1
        reason = ""
        if length < 0:
            reason = "its pack is missing"
        elif row.offset + row.length > length:
            reason = f"its pack is cut short: it has {length} bytes"
        elif before is not None and row.length and self._is_still(before):
            reason = f"it overlaps {before.key}"
        if reason and self._is_still(row) and (length < 0) is not os.path.lexists(path):
            yield Finding(self._layout.relative(path), reason, row.key, row.offset)

    def _is_still(self, row: Row) -> bool:
        return self._database.find(row.key) == row

    def _hashes(self, rows: list[Row]) -> Iterator[Checked]:
        length, told = sum(row.length for row in rows), 0
        position = rows[-1].offset
        good = {whole.digest.hex() for wholes in self._wholes(list(rows)) for whole in wholes}
        findings = []
        for row in rows:
            if row.key in good:
                continue
            reason = ""
            shares = Shares(row.length, row.size)
            try:
                for part in self._frames(bytes.fromhex(row.key)) or ():
                    yield shares.step(part)
            except DamagedObject as error:
                reason = self._reason_of(row, error)
            told += shares.told
            if reason:
                path = self._layout.relative(self._layout.pack(row.pack_id))
                findings.append(Finding(path, reason, row.key, row.offset))
        yield Checked(len(rows), length - told, tuple(findings), position)

    def _reason_of(self, row: Row, error: DamagedObject) -> str:
        # If a large object was moved while it was read, the reader does not look it up again.
        moved = self._database.find(row.key) if row.size and not self._is_still(row) else row
        if moved is None:
            return ""  # The object was deleted during the check.
        if moved == row:
            return error.reason
        try:
            for _ in self._frames(bytes.fromhex(moved.key)) or ():
                pass
        except DamagedObject as again:
            return self._reason_of(moved, again)
        return ""

    def _orphans(self) -> Sequence[int]:
        if self._damage:
            return ()
        return [pack_id for pack_id in self._layout.pack_ids() if not self._database.has_rows(pack_id)]

    def leftovers(self) -> Iterator[Finding]:
        try:
            orphans = self._unused.intersection(self._orphans())
        except DamagedContainer:
            return
        for pack_id in sorted(orphans):
            yield Finding(
                self._layout.relative(self._layout.pack(pack_id)), "no row of the index leads to it", is_damage=False
            )


def _groups(rows: list[Row]) -> Iterator[list[Row]]:
    start = length = 0
    for at, row in enumerate(rows):
        if at > start and (at - start == _GROUP or length + row.length > _GROUP_LENGTH):
            yield rows[start:at]
            start, length = at, 0
        length += row.length
    if rows:
        yield rows[start:]

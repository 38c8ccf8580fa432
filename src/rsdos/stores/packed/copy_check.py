"""Finds the copies that packs have of objects that are about to be inserted: good copies, damaged copies, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from operator import add

from rsdos.errors import DamagedContainer
from rsdos.index.index import Index
from rsdos.index.runs import Found, ReadRange
from rsdos.index.state import IndexState
from rsdos.model import BytesLike, Copy, Durability, PackKind, Trust
from rsdos.stores.base import LOOKUPS
from rsdos.stores.packed.reader import RecordReader
from rsdos.stores.packs import GAP, WINDOW


class CopyCheck:
    """Judges the copies that stand in for those of a kind. With full durability no copy counts that may still be lost.

    See `rsdos.stores.packs.PackStore.check_copies`.
    """

    __slots__ = ("_durability", "_index", "_kind", "_records")

    def __init__(self, index: Index, records: RecordReader, durability: Durability, kind: PackKind) -> None:
        self._index = index
        self._records = records
        self._durability = durability
        self._kind = kind

    def check(self, digests: Sequence[bytes], trust: Trust, raws: Sequence[BytesLike] | None) -> list[Copy]:
        """Return the best copy of each object. ``raws`` are their bytes, if the caller has them."""
        for _ in range(LOOKUPS):
            state = self._index.state
            answers = self._visible(state, digests, trust, raws)
            if Copy.GOOD not in answers:
                return answers
            if self._durability is Durability.FULL:
                self._index.make_durable()
            # What was found may have been deleted since this state was loaded.
            if self._index.is_latest(state):
                return answers
            self._index.refresh()
        return [Copy.MISSING] * len(digests)

    def _visible(
        self, state: IndexState, digests: Sequence[bytes], trust: Trust, raws: Sequence[BytesLike] | None
    ) -> list[Copy]:
        count = len(digests) if raws is None else len(raws)
        # How much of a pack is on stable storage.
        synced = state.view.manifest.packs.synced_of
        try:
            if count == 1:  # A tenth of the cost of what follows.
                record = self._index.find_for(self._kind, digests[0])
                if record is None:
                    return [Copy.MISSING]
                end = record.offset + record.length
                is_safe = self._durability is Durability.RELAXED or end <= synced(record.pack_id)
                if trust is Trust.INDEX and is_safe:
                    return [Copy.GOOD]
                return [self._copy(digests[0], synced)]
            try:
                found = state.view.for_kind(self._kind).find_many(digests)
            except DamagedContainer:
                found = self._index.find_many(digests, self._kind)  # By what the packs have.
        except DamagedContainer:
            return [self._copy(digest, synced) for digest in digests]
        if len(found.missing) == count:
            return [Copy.MISSING] * count
        good = partial(self._are_good, digests, raws) if trust is Trust.VERIFY else None
        return self._copies_of(found, digests, good, synced)

    def _copies_of(
        self,
        found: Found,
        digests: Sequence[bytes],
        are_good: Callable[[ReadRange, list[bytes] | None], bool] | None,
        synced: Callable[[int], int],
    ) -> list[Copy]:
        answers = [Copy.MISSING] * len(digests)
        runs = self._records.found_runs(found) if are_good else zip(found.runs(GAP, WINDOW), repeat(None))
        for run, stored in runs:
            good = are_good is None or are_good(run, stored)
            ends = map(add, run.offset, run.length)
            if good and (self._durability is Durability.RELAXED or max(ends) <= synced(run.pack_id)):
                for at in run.positions:
                    answers[at] = Copy.GOOD
            else:
                for at in run.positions:
                    answers[at] = self._copy(digests[at], synced)
        return answers

    def _are_good(
        self,
        digests: Sequence[bytes],
        raws: Sequence[BytesLike] | None,
        run: ReadRange,
        stored: list[bytes] | None,
    ) -> bool:
        """Whether the stored bytes of a run are those of their keys: a checksum alone does not do here (ADR 12)."""
        if stored is None:
            return False
        if raws is None:
            return self._records.are_good(digests, run, self._records.decoded(run, stored))
        return self._records.decoded(run, stored) == [raws[at] for at in run.positions]

    def _copy(self, digest: bytes, synced: Callable[[int], int]) -> Copy:
        """Return the best of the copies of one object; under full durability one that a power loss may take is none."""
        try:
            records = self._index.find_all(digest, self._kind)
        except DamagedContainer:
            return Copy.MISSING
        best = Copy.MISSING
        for record in records:
            if self._durability is Durability.FULL and record.offset + record.length > synced(record.pack_id):
                continue
            if self._records.is_good(record):
                return Copy.GOOD
            best = Copy.DAMAGED
        return best

"""Marking: which objects the live snapshots reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rsdos.engine.engine import Engine
from rsdos.engine.publish import NewestRefs, read_document
from rsdos.engine.snapshots import pages_here, read_records
from rsdos.errors import DamagedTree, ObjectNotFound
from rsdos.index.entries import Entries
from rsdos.index.key_set import KeySet
from rsdos.stores.lifetime import KEPT_DOCUMENTS
from rsdos.trees.reach import keys_of
from rsdos.trees.refs import Refs


class Marks:
    """The keys of all objects that the live snapshots of some refs reach. One thread.

    Memory: 8 bytes a key, 9 while they are read. With ten million marked keys, one unmarked key in 10^12 counts as
    marked, and its object is kept.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sets: list[KeySet] = []
        self._snapshots: set[str] = set()
        self.refs = ""
        """The key of the refs document that was marked last."""

    def __len__(self) -> int:
        return sum(map(len, self._sets))

    def add(self, newest: NewestRefs) -> None:
        """Mark the objects that refs reach. Objects that were marked for earlier refs stay marked.

        Every page is read once. Raise `DamagedTree`, also if a page or a snapshot is missing: the objects that it leads
        to are not known, so nothing may be deleted. In a lazy clone only the pages that are here are read.
        """
        fresh = newest.refs.snapshots() - self._snapshots
        self._sets.append(KeySet(self._reached(fresh)))
        self._snapshots |= fresh
        self.refs = newest.live.refs

    def add_documents(self, newest: NewestRefs) -> None:
        """Mark the newest refs documents, which gc leaves for undo and repair."""
        self._sets.append(KeySet(_documents(self._engine, newest)))

    def _reached(self, snapshots: set[str]) -> Iterator[bytes]:
        roots = set()
        for key, record in read_records(self._engine, snapshots):
            roots.add(bytes.fromhex(record.tree))
            yield bytes.fromhex(key)
        yield from keys_of(roots, pages_here(self._engine))

    def reached_of(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of the digests that are marked, in their order."""
        rest = digests
        for known in self._sets:
            rest = known.without(rest)
        unmarked = set(rest)
        return [digest for digest in digests if digest not in unmarked]

    def unmarked(self, entries: Entries) -> Entries:
        """Return those of the entries whose keys are not marked."""
        for known in self._sets:
            entries = known.others(entries)
        return entries


def _documents(engine: Engine, newest: NewestRefs) -> Iterator[bytes]:
    key, refs = newest.live.refs, newest.refs
    for _ in range(KEPT_DOCUMENTS):
        if not key:
            return
        yield bytes.fromhex(key)
        key = refs.previous
        try:
            refs = read_document(engine, key)
        except (ObjectNotFound, DamagedTree):
            refs = Refs(engine.config.container_id)  # The documents before this one cannot be found.

"""Marking: which objects the live snapshots reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rsdos.engine.engine import Engine
from rsdos.engine.publish import NewestRefs, read_document
from rsdos.engine.snapshots import pages_here, read_records
from rsdos.errors import DamagedTree, ObjectNotFound
from rsdos.hashing import JoinedDigests
from rsdos.index.digests import Mask, Prefixes
from rsdos.index.key_marks import sorted_batches
from rsdos.index.key_set import KeySet, picked
from rsdos.model import DIGEST_BYTES
from rsdos.stores.lifetime import KEPT_DOCUMENTS
from rsdos.stores.publisher import SeenHeld
from rsdos.trees.reach import keys_of
from rsdos.trees.refs import Refs

_MOST_NUMBERS = 1 << 22
"""Keys up to which numbers, 32 MB, cost less than bits, for which the whole index is read."""


class Marks:
    """Marks the keys of all objects that the live snapshots of some refs reach. One thread. Memory: 40 MB."""

    def __init__(self, engine: Engine, mark: Callable[[Prefixes], object]) -> None:
        """``mark`` is given the first 8 bytes of keys, in sorted batches, each in the memory of the one before it."""
        self._engine = engine
        self._mark = mark
        self._snapshots: set[str] = set()
        self.refs = ""
        """The key of the refs document that was marked last."""

    def add(self, newest: NewestRefs) -> None:
        """Mark the objects that refs reach. Objects that were marked for earlier refs stay marked.

        Every page is read once. Raise `DamagedTree`, also if a page or a snapshot is missing: the objects that it leads
        to are not known, so nothing may be deleted. In a lazy clone only the pages that are here are read.
        """
        fresh = newest.refs.snapshots() - self._snapshots
        self._mark_all(self._reached(fresh))
        self._snapshots |= fresh
        self.refs = newest.live.refs

    def add_documents(self, newest: NewestRefs) -> None:
        """Mark the newest refs documents, which gc leaves for undo and repair."""
        self._mark_all(_documents(self._engine, newest))

    def _mark_all(self, joined: Iterable[bytes]) -> None:
        parts = (JoinedDigests(some, DIGEST_BYTES) for some in joined)
        for batch in sorted_batches(parts, DIGEST_BYTES):
            self._mark(batch)

    def _reached(self, snapshots: set[str]) -> Iterator[bytes]:
        roots = set()
        for key, record in read_records(self._engine, snapshots):
            roots.add(bytes.fromhex(record.tree))
            yield bytes.fromhex(key)
        yield from keys_of(roots, pages_here(self._engine))


class ReachedKeys:
    """Keys that snapshots reach: says which of some objects are among them. One thread.

    Memory: 8 bytes a key, up to 32 MB. Of more keys one bit for each entry of the index, and 8 bytes for each key that
    the index does not have: in a lazy clone for each object that is not here, elsewhere for none.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = KeySet()
        self._seen: SeenHeld | None = None

    def mark(self, keys: Prefixes) -> None:
        """Add keys by their first 8 bytes, given sorted."""
        if self._seen is None and len(self._numbers) + len(keys) > _MOST_NUMBERS:
            self._seen = self._engine.packed.publisher.present()
            numbers, self._numbers = self._numbers, KeySet()
            for some in numbers.parts:
                self._numbers.add(self._seen.mark(some))
        self._numbers.add(keys if self._seen is None else self._seen.mark(keys))

    def among(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return those of the digests that were added, in their order."""
        return picked(digests, DIGEST_BYTES, self._are_known)

    def _are_known(self, keys: Prefixes) -> Mask:
        known = self._numbers.among(keys)
        return known if self._seen is None else known | self._seen.among(keys)


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

"""The difference of two containers: the objects stored by key that one has and the other lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption, ObjectNotFound
from rsdos.index.difference import Chunk, DigestSet, IndexDifference
from rsdos.index.digests import Digests, Positions
from rsdos.index.entries import Entries
from rsdos.model import Counts, ObjectMeta, PackKind
from rsdos.stores.head import Head

MOST_OBJECTS = 1 << 15
"""The most objects of a chunk."""

MOST_LENGTH = 64 << 20
"""The most stored bytes of a chunk: progress is reported after each chunk."""

_FEW = 1 << 10
"""Objects of a chunk of loose or named ones, which are read one by one."""

_PREFIX = r"[0-9a-f]{1,16}"


@dataclass(frozen=True, slots=True)
class KeySelection:
    """The objects that are compared: all that are stored by key, those of ``keys``, or those that begin with
    ``prefix``.

    Raise `InvalidOption` for both, and for a prefix that is not of 1 to 16 characters of keys.
    """

    keys: Sequence[str] | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.keys is not None and self.prefix:
            raise InvalidOption("give either keys or a prefix")
        if self.prefix and not re.fullmatch(_PREFIX, self.prefix):
            raise InvalidOption(f"a prefix has 1 to 16 lower-case hex characters, not {self.prefix!r:.100}")

    @property
    def has_all(self) -> bool:
        """Whether everything is meant, with all names."""
        return self.keys is None and not self.prefix


EVERYTHING = KeySelection()
"""All objects, and all names."""


class KeyListing:
    """The objects stored by key that a container has at one moment, those of a selection. One thread.

    The caller protects the packs of the container (`Engine.protect_packs`), so that each object can still be read when
    this is used. ``head`` is the state that was the newest a moment ago; only without a loose store, where an object
    may have been packed and cleaned since. Raise `InvalidOption` for a container of version 1, `ObjectNotFound` for a
    key without an object.
    """

    def __init__(self, engine: Engine, selection: KeySelection, head: Head | None = None) -> None:
        self.engine = engine
        self.tables: Callable[[], Iterator[Entries]] | None = None
        """Yields the packed objects, sorted by key; None if some objects are named."""
        self.others: list[bytes] = []
        """The objects that are only loose, or those that are named."""
        if selection.keys is not None:
            self.others = _named(engine, selection.keys)
            return
        # First: an object that is packed and cleaned from now on is found among the packed ones.
        loose = [digest for digest in loose_digests(engine) if digest.hex().startswith(selection.prefix)]
        self.tables = engine.packed.tables(PackKind.PLAIN, selection.prefix, head)
        packed = engine.packed.contains_many(loose, PackKind.PLAIN) if loose else ()
        self.others = [digest for digest, is_packed in zip(loose, packed, strict=True) if not is_packed]


class ObjectDifference:
    """The objects of a listing that ``target`` lacks when this is made. One thread.

    Objects that only snapshots hold do not count: they come with names. All 32 bytes of a key are compared. Raise
    `InvalidOption` for containers of different hashes and of version 1, `DamagedContainer` if damage hides objects.
    """

    def __init__(self, listing: KeyListing, target: Engine, head: Head | None = None) -> None:
        """``head`` is the newest state of the target, if the caller has just read it."""
        if listing.engine.config.hash is not target.config.hash:
            raise InvalidOption("the two containers have different hashes: rsdos transfer copies between them")
        self._source, self._target = listing.engine, target
        self._loose_there = DigestSet(loose_digests(target))
        if head is None:
            target.packed.refresh()
        else:
            target.packed.load(head)
        self._index = None if listing.tables is None else IndexDifference(listing.tables, self._lacking)
        self._others = self._described(listing.others)
        parts = [self._index.counts] if self._index else []
        self.counts = Counts.sum([Counts(), *parts, *(counts for _, counts in self._others)])
        """The missing objects."""
        self.known = len(listing.others) + (self._index.compared if self._index else 0) - self.counts.objects
        """The objects that are there."""
        self.by_pack: Mapping[int, Counts] = self._index.by_pack if self._index else {}
        """The missing objects of each pack of the source, without those that are only loose or were named."""

    def _lacking(self, keys: Digests) -> Positions:
        at = self._target.packed.lacking(keys, PackKind.PLAIN)
        return self._loose_there.without(at, keys) if len(self._loose_there) else at

    def _described(self, digests: Sequence[bytes]) -> list[tuple[bytes, Counts]]:
        """Return those of the objects that the target lacks, with their sizes; packed ones in storage order."""
        missing = [digests[at] for at in self._lacking(Digests.of(digests)).tolist()] if digests else []
        if not missing:
            return []
        missing = [missing[at] for at in self._source.packed.storage_order(missing)]
        metas = self._source.objects.metas_of([digest.hex() for digest in missing])
        sizes = {meta.key: Counts(1, meta.size, meta.length) for meta in metas if isinstance(meta, ObjectMeta)}
        # What cannot be described is damaged or gone: the copier says so.
        return [(digest, sizes.get(digest.hex(), Counts(1))) for digest in missing]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the missing objects, packed ones in storage order, in chunks of bounded size."""
        if self._index is not None:
            yield from self._index.chunks(MOST_OBJECTS, MOST_LENGTH)
        for at in range(0, len(self._others), _FEW):
            digests, counts = zip(*self._others[at : at + _FEW], strict=True)
            _, size, length = Counts.sum(counts)
            yield Chunk(list(digests), size, length)


def loose_digests(engine: Engine) -> list[bytes]:
    """Return the digests of all loose objects, sorted. 100 bytes each."""
    return sorted(digest for some in engine.loose.names.digest_lists() for digest in some)


def _named(source: Engine, keys: Sequence[str]) -> list[bytes]:
    chosen = list(dict.fromkeys(keys))
    for key, is_there in zip(chosen, source.objects.has_many(chosen), strict=True):
        if not is_there:
            raise ObjectNotFound(key)
    return list(source.config.hash.parse_keys(chosen))

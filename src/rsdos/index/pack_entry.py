"""The row of a pack in a manifest, and the sums of several rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from rsdos.model import Counts, PackKind

if TYPE_CHECKING:
    from rsdos.index.dictionaries import PackDictionary


class PackEntry(NamedTuple):
    """A live pack. ``length`` bytes of it are committed, the first ``synced`` of them are on stable storage.

    ``objects``, ``size`` (raw bytes) and ``stored`` (stored bytes) count all objects ever appended. ``dead_objects``,
    ``dead_size`` and ``dead_stored`` count those of them to which no key leads any more. ``dictionaries`` are those
    that objects of the pack may need, in the order of their numbers. ``kind`` is also in the pack's header, and never
    changes.
    """

    id: int
    length: int
    synced: int
    sealed: bool = False
    objects: int = 0
    size: int = 0
    stored: int = 0
    dead_objects: int = 0
    dead_size: int = 0
    dead_stored: int = 0
    dictionaries: tuple[PackDictionary, ...] = ()
    kind: PackKind = PackKind.PLAIN
    suffix: str = ""

    @property
    def total(self) -> Counts:
        """All objects that were ever appended."""
        return Counts(self.objects, self.size, self.stored)

    @property
    def dead(self) -> Counts:
        """The objects to which no key leads any more."""
        return Counts(self.dead_objects, self.dead_size, self.dead_stored)

    @property
    def live(self) -> Counts:
        """The objects to which keys lead, each key counted once."""
        return self.total - self.dead

    @property
    def overhead(self) -> int:
        """The committed bytes that belong to no object: header, alignment, tables of contents, dictionaries."""
        return max(self.length - self.stored, 0)

    @property
    def is_settled(self) -> bool:
        """Whether the pack is sealed, and all of it is on stable storage."""
        return self.sealed and self.synced == self.length

    def with_appended(self, objects: Counts) -> PackEntry:
        """Return the entry after these objects were appended."""
        return self._replace(
            objects=self.objects + objects.objects, size=self.size + objects.size, stored=self.stored + objects.length
        )

    def with_dead(self, objects: Counts) -> PackEntry:
        """Return the entry after these of its objects have become dead."""
        return self.counting(self.total, self.dead + objects)

    def counting(self, total: Counts, dead: Counts) -> PackEntry:
        """Return the entry with these counts."""
        return PackEntry(*self[:4], *total, *dead, self.dictionaries, self.kind, self.suffix)


class PackSums(NamedTuple):
    """Sums of some packs: committed bytes (``length``), bytes of no object (``overhead``), all and dead objects."""

    length: int = 0
    overhead: int = 0
    total: Counts = Counts()
    dead: Counts = Counts()

    def __add__(self, other: PackSums) -> PackSums:  # type: ignore[override]  # not the tuples, one after the other
        return PackSums(
            self.length + other.length,
            self.overhead + other.overhead,
            self.total + other.total,
            self.dead + other.dead,
        )

    def __sub__(self, other: PackSums) -> PackSums:
        return PackSums(
            self.length - other.length,
            self.overhead - other.overhead,
            self.total - other.total,
            self.dead - other.dead,
        )


def sums_of(packs: Collection[PackEntry]) -> PackSums:
    """Return the sums of some packs."""
    # By columns: adding the counts of 3,000 packs one by one takes 4.7 ms, and this 0.5.
    if not packs:
        return PackSums()
    columns = list(zip(*packs, strict=True))
    length, stored = columns[1], columns[6]
    # In a manifest that contradicts itself, a pack may have fewer bytes than its objects.
    is_plain = all(map(int.__ge__, length, stored))
    overhead = sum(length) - sum(stored) if is_plain else sum(pack.overhead for pack in packs)
    sums = list(map(sum, columns[4:10]))
    return PackSums(sum(length), overhead, Counts(*sums[:3]), Counts(*sums[3:]))

"""The members of a manifest for a pack, and for several together."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from rsdos.model import Counts, PackKind

if TYPE_CHECKING:
    from rsdos.index.dictionaries import PackDictionary


class PackEntry(NamedTuple):
    """A live pack. ``length`` bytes of it are committed, the first ``synced`` of them are on stable storage.

    ``objects`` and ``size`` (raw bytes) count everything ever appended, ``stored`` the stored bytes of that;
    ``dead_objects``, ``dead_size`` and ``dead_stored`` the part of it that no key leads to any more. ``dictionaries``
    are those that objects of the pack may need, in the order of their numbers. ``kind`` is also in the pack's header,
    and never changes.
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
        """Everything that was ever appended."""
        return Counts(self.objects, self.size, self.stored)

    @property
    def dead(self) -> Counts:
        """The part that no key leads to any more."""
        return Counts(self.dead_objects, self.dead_size, self.dead_stored)

    @property
    def live(self) -> Counts:
        """The part that keys lead to, each key counted once."""
        return self.total - self.dead

    @property
    def overhead(self) -> int:
        """The committed bytes that are of no object: header, alignment, tables of contents, dictionaries."""
        return max(self.length - self.stored, 0)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is appended any more, and all of it is on stable storage."""
        return self.sealed and self.synced == self.length

    def with_appended(self, objects: Counts) -> PackEntry:
        """Return the entry after these objects were appended."""
        return self.counting(self.total + objects, self.dead)

    def with_dead(self, objects: Counts) -> PackEntry:
        """Return the entry after no key leads to these of its objects any more."""
        return self.counting(self.total, self.dead + objects)

    def counting(self, total: Counts, dead: Counts) -> PackEntry:
        """Return the entry with these counts."""
        return PackEntry(*self[:4], *total, *dead, self.dictionaries, self.kind, self.suffix)


class PackSums(NamedTuple):
    """What some packs have together: their committed bytes, and those of no object; all objects, and the dead ones."""

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
    """Return what some packs have together."""
    # By columns: adding the counts of 3,000 packs one by one takes 4.7 ms, and this 0.5.
    if not packs:
        return PackSums()
    columns = list(zip(*packs, strict=True))
    length, stored = columns[1], columns[6]
    # Where a manifest contradicts itself, a pack may have fewer bytes than its objects.
    is_plain = all(map(int.__ge__, length, stored))
    overhead = sum(length) - sum(stored) if is_plain else sum(pack.overhead for pack in packs)
    sums = list(map(sum, columns[4:10]))
    return PackSums(sum(length), overhead, Counts(*sums[:3]), Counts(*sums[3:]))

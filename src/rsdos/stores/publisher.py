"""Publishes refs, and deletes objects that they do not lead to: the interface between snapshots and packs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rsdos.model import BytesLike, Copy, PackKind, Trust
from rsdos.stores.lifetime import Live

if TYPE_CHECKING:
    from rsdos.index.digests import Mask, Prefixes
    from rsdos.index.entries import Entries


class Moment(NamedTuple):
    """The state of a container when a save begins: what to compare later, and the lengths of packs by their ids.

    The packs are those in which gc deletes copies.
    """

    live: Live
    lengths: Mapping[int, int]


class Outdated(Exception):
    """Another process has published or deleted since then. Compare with `newest` from now on."""

    def __init__(self, newest: Live) -> None:
        super().__init__(newest)
        self.newest = newest


class SeenHeld(Protocol):
    """The copies in packs of held objects and of trees at one moment. Keys can be marked. One thread.

    What is stored since that moment is no copy of it, and has no mark.
    """

    @property
    def count(self) -> int:
        """The number of marked keys."""

    def mark(self, keys: Prefixes) -> Prefixes:
        """Mark keys by their first 8 bytes, given sorted. Return those that no pack of any kind had."""

    def among(self, keys: Prefixes) -> Mask:
        """Return a mask of the marked ones among some keys, given sorted."""


class Publisher(Protocol):
    """Publishes refs, without understanding them. Any number of threads and processes."""

    def begin(self) -> Moment:
        """Return the newest state, for a save that begins. From then on deletes raise the epoch.

        Raise `DamagedContainer` if the newest manifest is damaged.
        """

    def publish(self, objects: Sequence[bytes], expected: Live) -> None:
        """Store objects in packs of trees, the last of which are the new refs, and name those in the manifest. Durable.

        Every packed object that a lookup of this store has found before is durable then, too. Raise `Outdated` if the
        newest state is not ``expected``. Then nothing is published, and usually nothing is stored.
        """

    def held_copies(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        """Do a `KnownCheck` in the packs of held objects alone, in the newest state."""

    def present(self) -> SeenHeld:
        """Return the present copies. Raise `DamagedContainer` if the index is not whole."""

    def collectable(
        self, seen: SeenHeld, saves: Sequence[Mapping[int, int]], most: int
    ) -> Iterator[tuple[PackKind, Entries]]:
        """Yield the copies that gc may delete: those of ``seen`` without a mark that no running save may have stored.

        They come in tables of at most ``most`` keys, each with the kind of its packs. A key that is marked after this
        began may still be in a later table: ask `SeenHeld.among`. ``saves`` are the lengths of packs at the beginning
        of each running save, read after `present`.
        """

    def collect(self, copies: Entries, refs: str) -> Entries:
        """Delete copies, given sorted, and return those that were still there.

        Raise `Outdated`, and delete nothing, if ``refs`` are not the newest refs. The caller holds the maintenance
        lock.
        """

"""Publishes refs, and deletes objects that they do not lead to: the interface between snapshots and packs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rsdos.model import BytesLike, Copy, PackKind, Trust
from rsdos.stores.lifetime import Live

if TYPE_CHECKING:
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

    def present(self) -> object:
        """Return the present copies, for `collectable`."""

    def collectable(self, seen: object, saves: Sequence[Mapping[int, int]]) -> Iterator[tuple[PackKind, Entries]]:
        """Yield the copies that gc may delete, in tables of bounded size, each with the kind of its packs.

        ``seen`` is from `present`. ``saves`` are the lengths of packs at the beginning of each running save.
        """

    def collect(self, copies: Entries, refs: str) -> None:
        """Delete copies. Raise `Outdated`, and delete nothing, if ``refs`` are not the newest refs.

        The caller holds the maintenance lock.
        """

"""The maintenance of the packs of every container version: deleting, rewriting, repairing, checking, copying."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from rsdos.stores.base import KnownCheck
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import (
    Checkpoint,
    CopyKinds,
    Depth,
    Finding,
    PacksCheck,
    Rebuilt,
    Reclaimed,
    Rewritten,
    Sample,
)
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats

if TYPE_CHECKING:
    from rsdos.index.digests import Prefixes
    from rsdos.index.manifest import Manifest
    from rsdos.index.packs import Packs
    from rsdos.index.view import IndexView

FindRefs: TypeAlias = "Callable[[Manifest, IndexView], str]"
"""Returns the key of the newest refs document that can be read, "" for none, given a manifest and what it leads to."""


def keep_refs(manifest: Manifest, view: IndexView) -> str:
    """Return the refs that a manifest has."""
    return manifest.refs


class SeenPart(NamedTuple):
    """Some objects of a `SeenObjects`, in the order of their keys, each once."""

    digests: Sequence[bytes]
    copies: object
    """Their copies at that moment, and perhaps others: for `PackMaintenance.delete`."""


class SeenObjects(Protocol):
    """The objects that had a plain copy in a pack at one moment. Some of them can be marked. One thread."""

    def mark(self, keys: Prefixes) -> Prefixes:
        """Mark the objects with these first 8 bytes of their keys, given sorted. Return those that lead to none.

        What is inserted or deleted since that moment changes nothing here.
        """

    def unmarked(self, most: int) -> Iterator[SeenPart]:
        """Yield the objects that are not marked, at most ``most`` together."""


class PackMaintenance(Protocol):
    """The maintenance of the packs of a container. Any number of threads and processes.

    Where a method says so, the caller must hold the maintenance lock. Every method may be killed at any moment.
    """

    def packs(self) -> Packs:
        """Return the packs of the newest state."""

    def stats(self) -> PackedStats:
        """Return the counts of the newest state, without reading an object."""

    def note(self, name: str, note: object) -> None:
        """Write a note for operators, durably, in place of an older one of that name.

        Raise `DamagedContainer` if the newest manifest is damaged, and OSError.
        """

    def notes(self) -> Mapping[str, object]:
        """Return the notes by name. They come from disk: each may be any JSON value."""

    def delete(self, digests: Sequence[bytes], seen: object = None, refs: str = "") -> Sequence[bytes]:
        """Delete the plain copies of some objects, durably. Return the objects that had one. Their bytes become dead.

        With ``seen``, the copies of a `SeenPart`, only these are deleted; later ones stay. The caller holds the
        maintenance lock. A call that is killed has deleted a part of the objects. What the refs of the key
        ``refs`` lead to has other copies: raise `Outdated` if others are the newest, and delete no more.
        """

    def kinds_of(self, digests: Sequence[bytes]) -> list[CopyKinds]:
        """Return which kinds of packs have a copy of each object, and which a good one. Each copy is hashed."""

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        """Drop, durably, the damaged copies of some objects. Each copy is read, decoded and hashed.

        A copy stays if no good one here stands in for it, unless ``even_the_last``: then there is a good copy
        elsewhere, or the object is given up. Copies that are inserted at the same time stay. The caller holds the
        maintenance lock.
        """

    def present(self) -> SeenObjects:
        """Return the objects that have a plain copy at this moment."""

    def rewrite(
        self,
        pack_ids: Sequence[int],
        encoding: Encoding | None,
        advance: Callable[[int], None],
        spared: Collection[int] = (),
    ) -> Rewritten:
        """Write the live objects of a pack to another pack, and unlink the old one.

        The other pack is of the same kind. Several packs of a kind go to one new pack together, in version 3 alone:
        there the old ones stay in the medium until they are collected, and a call raises `Busy`, too, if other machines
        have deleted or moved each time what it has copied.
        Stored bytes are copied unchanged or, with an ``encoding``, decoded and encoded again. ``advance`` receives the
        stored bytes that are done. Readers, writers and deletes are not blocked; the caller holds the maintenance lock.
        In version 2 nothing is written to ``spared`` packs: they are rewritten next. After a kill `collect_garbage`
        cleans up, and the pack can be rewritten again. Raise `Busy` if a writer has the
        pack, `DamagedContainer` if its structure is damaged, and OSError; the pack is then unchanged.
        """

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        """Free the space of dead writers' leftovers, and of repacked packs that a long reader kept in place.

        ``known`` says which objects are safe anywhere in the container, on stable storage. A live writer's files are
        never touched. The caller holds the maintenance lock. After a kill the next call continues.
        """

    def merge_index(self) -> None:
        """Bring the index into its shortest form: merge its segments; in version 1 sort its rows and free their space.

        The caller holds the maintenance lock.
        """

    def index_faults(self, find_refs: FindRefs = keep_refs) -> list[Finding]:
        """Return the damage that `rebuild_index` would repair. Read no object, but for ``find_refs``."""

    def rebuild_index(self, quarantine: Quarantine, find_refs: FindRefs = keep_refs) -> Rebuilt:
        """Repair the index, from the packs alone if they describe themselves, and empty damaged packs.

        Replaced files are not removed: they go to ``quarantine``. The new index leads to the refs document that
        ``find_refs`` has found. Readers are not blocked, nor are writers that could
        write before. The caller holds the maintenance lock. After a kill it can be run again. Raise `DamagedContainer`
        if nothing can be repaired, and OSError.
        """

    def check(self, depth: Depth, sample: Sample, moment: object = None) -> PacksCheck:
        """Return a check of the packed objects of this moment, or of that of another check; see `PacksCheck`.

        Raise FileNotFoundError, `DamagedContainer` if the index of that moment cannot be opened any more.
        """

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        """Write a synced copy of the present index to its place in ``root``. Return the files of this state.

        The caller is inside `Engine.protect_packs` from before this call until it has copied the files, so that no pack
        is removed. In a damaged container a file may be missing or shorter. Raise `DamagedContainer` if the index is
        damaged.
        """

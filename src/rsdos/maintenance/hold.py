"""Deleting packed objects by key: what a live snapshot reaches gets a held copy first (docs/concurrency.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs
from rsdos.errors import DamagedObject, ObjectNotFound
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy
from rsdos.maintenance.full_disk import with_reserve
from rsdos.model import Copy, Durability, PackKind, Trust
from rsdos.stores import lifetime
from rsdos.stores.publisher import Outdated

if TYPE_CHECKING:
    from rsdos.maintenance.marks import Marks, ReachedKeys


class HoldingDelete:
    """Deletes plain copies in packs, and keeps what snapshots need. One thread, with the maintenance lock.

    The live snapshots are marked at the first object that has no held copy. In a container without snapshots only the
    manifest is read.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._marks: Marks | None = None
        self._reached: ReachedKeys | None = None
        self._refs = engine.packed.live().refs

    def hold(self, digests: Sequence[bytes]) -> None:
        """Write a held copy of each object that a live snapshot reaches and that has none. Durable.

        Raise `DamagedTree` if the pages of a snapshot cannot be read, and `DamagedObject` for an object that a snapshot
        needs and that has no good copy.
        """
        if not self._refs or not digests:
            return
        held = self.held_among(digests, Trust.VERIFY)
        rest = [digest for digest in digests if digest not in held]
        if not rest:
            return
        if self._reached is None:
            from rsdos.maintenance.marks import Marks, ReachedKeys  # They import numpy: only where there are snapshots.

            reached = ReachedKeys(self._engine)
            newest, marks = newest_refs(self._engine), Marks(self._engine, reached.mark)
            marks.add(newest)
            self._marks, self._reached, self._refs = marks, reached, marks.refs
        self._write(lifetime.to_hold(self._reached.among(rest), held))

    def held_among(self, digests: Sequence[bytes], trust: Trust = Trust.INDEX) -> set[bytes]:
        """Return those of the objects that have a held copy: they stay readable until gc takes it."""
        if not self._refs:
            return set()
        copies = self._engine.packed.publisher.held_copies(digests, trust)
        return {digest for digest, copy in zip(digests, copies, strict=True) if copy is Copy.GOOD}

    def _write(self, digests: Sequence[bytes]) -> None:
        if not digests:
            return
        packed = self._engine.packed
        form = StoredFormPolicy.kept(packed, self._engine.config.codec)
        # Durable, whatever the container's setting is: a power loss must not take these copies and keep the deletion.
        with packed.writer(packed.publisher.held_copies, Durability.FULL, kind=PackKind.HELD) as writer:
            copier = ObjectCopier(self._engine, writer, form, CopyStats())
            copier.copy(digests)
            for key, reason in copier.stats.damaged.items():
                raise DamagedObject(key, f"{reason}; a snapshot needs it: repair it first, or forget the snapshot")
            for key in copier.stats.missing:
                raise ObjectNotFound(key)
            writer.commit()

    def delete(self, digests: Sequence[bytes], seen: object = None) -> Sequence[bytes]:
        """Delete the plain copies in packs, if ``seen`` is given those in it. Return the objects that had one.

        See `rsdos.stores.pack_maintenance.PackMaintenance.delete`.
        """
        while True:
            self.hold(digests)
            try:
                return self._delete(digests, seen)
            except Outdated:
                # A snapshot was published since then: it may need the objects that are to be deleted.
                newest = newest_refs(self._engine)
                if self._marks is not None:
                    self._marks.add(newest)
                self._refs = newest.live.refs

    def _delete(self, digests: Sequence[bytes], seen: object) -> Sequence[bytes]:
        delete = self._engine.packed.maintenance.delete
        deleted = with_reserve(self._engine, len(digests), lambda some: delete(digests[some], seen, self._refs))
        return deleted[0] if len(deleted) == 1 else list(dict.fromkeys(chain.from_iterable(deleted)))

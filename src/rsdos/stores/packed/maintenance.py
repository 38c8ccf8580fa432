"""The maintenance of the packs of version 2. Each operation has a module, which is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rsdos.index.manifest import Manifest
from rsdos.index.packs import Packs
from rsdos.model import Durability, PackKind, Record
from rsdos.stores import lifetime
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
from rsdos.stores.pack_maintenance import FindRefs, SeenObjects, keep_refs
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.stats import stats_of
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats

if TYPE_CHECKING:
    from rsdos.index.entries import Entries
    from rsdos.stores.packed.rebuild import Rebuild


class PackedMaintenance:
    """See `rsdos.stores.pack_maintenance.PackMaintenance`."""

    def __init__(self, context: PackedContext, durability: Durability) -> None:
        self._context = context
        self._index = context.index
        self._durability = durability

    def packs(self) -> Packs:
        return self._index.refresh().manifest.packs

    def stats(self) -> PackedStats:
        return stats_of(self._context.layout, self._index)

    def note(self, name: str, note: object) -> None:
        self._index.commit(lambda newest: newest.with_note(name, note), self._durability)

    def notes(self) -> Mapping[str, object]:
        return self._index.refresh().manifest.notes

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None, refs: str = "") -> Sequence[bytes]:
        from rsdos.index.entries import Entries
        from rsdos.stores.packed.delete import MOST_TOMBSTONES, while_marked, write_tombstones

        self._index.refresh()
        copies = self._index.live_copies(digests, PackKind.PLAIN)
        if isinstance(seen, Entries):
            copies = copies.take(copies.of_extents(seen))
        for at in range(0, len(copies), MOST_TOMBSTONES):
            write_tombstones(
                self._context,
                self._durability,
                copies.take(slice(at, at + MOST_TOMBSTONES)),
                while_marked(refs),
                (PackKind.PLAIN,),
            )
        return copies.take(copies.distinct()).keys().joined()

    def kinds_of(self, digests: Sequence[bytes]) -> list[CopyKinds]:
        self._index.refresh()
        none = frozenset[PackKind]()
        found = {digest: CopyKinds(none, none) for digest in digests}
        for record, kind, is_good in self._judged(self._index.live_copies(digests)):
            present, good = found[record.digest]
            found[record.digest] = CopyKinds(present | {kind}, good | {kind} if is_good else good)
        return [found[digest] for digest in digests]

    def _judged(self, copies: Entries) -> Iterator[tuple[Record, PackKind, bool]]:
        """Yield each copy with the kind of its pack, and whether it is good."""
        kinds = self._index.view.kinds
        for record in copies:
            yield record, kinds.get(record.pack_id, PackKind.PLAIN), self._context.records.is_good(record)

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        kinds = dict(zip(digests, self.kinds_of(digests), strict=True))
        copies = self._index.live_copies(digests)
        dropped = [
            not is_good and (even_the_last or not kinds[record.digest].good.isdisjoint(kind.stand_ins))
            for record, kind, is_good in self._judged(copies)
        ]
        if any(dropped):
            from rsdos.stores.packed.delete import write_tombstones

            write_tombstones(self._context, Durability.FULL, copies.take(dropped), _with_next_epoch)

    def present(self) -> SeenObjects:
        from rsdos.stores.packed.seen import SeenCopies

        return SeenCopies(self._index.refresh())

    # Packs and index.

    def rewrite(
        self,
        pack_ids: Sequence[int],
        encoding: Encoding | None,
        advance: Callable[[int], None],
        spared: Collection[int] = (),
    ) -> Rewritten:
        from rsdos.stores.packed.repack import rewrite

        rewritten = rewrite(self._context, encoding, advance, pack_ids, spared)
        for pack_id in pack_ids:
            self._context.records.forget(pack_id)
        return rewritten

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        if not self._index.appends:
            return Reclaimed(0, 0)  # No machine knows what others need: see `rsdos.stores.remote.collect`.
        from rsdos.stores.packed.garbage import collect_garbage

        return collect_garbage(self._context)

    def merge_index(self) -> None:
        self._index.merge(self._durability)

    def index_faults(self, find_refs: FindRefs = keep_refs) -> list[Finding]:
        return self._rebuild(find_refs).faults()

    def rebuild_index(self, quarantine: Quarantine, find_refs: FindRefs = keep_refs) -> Rebuilt:
        return self._rebuild(find_refs).run(quarantine)

    def _rebuild(self, find_refs: FindRefs) -> Rebuild:
        self._context.close()
        if not self._index.appends:
            from rsdos.stores.remote.rebuild import RemoteRebuild

            return RemoteRebuild(self._context, find_refs)
        from rsdos.stores.packed.rebuild import Rebuild

        return Rebuild(self._context, find_refs)

    # Checking and copying.

    def check(self, depth: Depth, sample: Sample, moment: object = None) -> PacksCheck:
        self._context.close()  # What was checked once is read again.
        if not self._index.appends:
            from rsdos.stores.remote.check import RemoteCheck

            return RemoteCheck(self._context, depth, sample, moment)
        from rsdos.stores.packed.check import NativeCheck

        return NativeCheck(self._context, depth, sample, moment)

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        from rsdos.stores.packed.checkpoint import open_checkpoint

        return open_checkpoint(self._context.layout, self._index, root)


def _with_next_epoch(newest: Manifest, manifest: Manifest) -> Manifest:
    """Make running saves look their objects up again."""
    return manifest._replace(epoch=lifetime.after_delete(newest.epoch))

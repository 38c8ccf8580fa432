"""What maintenance does to the packs of version 2. Each operation has a module, imported when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from rsdos.index.snapshot import Snapshot
from rsdos.model import Durability
from rsdos.stores.base import KnownCheck
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Checkpoint, Depth, Finding, PacksCheck, Rebuilt, Reclaimed, Rewritten, Sample
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.stats import stats_of
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.stats import PackedStats


class PackedMaintenance:
    """See `rsdos.stores.packs.PackMaintenance`."""

    def __init__(self, context: PackedContext, durability: Durability) -> None:
        self._context = context
        self._index = context.index
        self._durability = durability

    def stats(self) -> PackedStats:
        return stats_of(self._context.layout, self._index)

    def note(self, name: str, note: object) -> None:
        self._index.commit(lambda newest: newest.with_note(name, note), self._durability)

    def notes(self) -> Mapping[str, object]:
        return self._index.refresh().manifest.notes

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        from rsdos.stores.packed.delete import MOST_TOMBSTONES, write_tombstones

        self._index.refresh()
        copies = self._index.live_copies(digests)
        if isinstance(seen, Snapshot):
            copies = copies.take(copies.of_extents(seen.live_copies(digests)))
        for at in range(0, len(copies), MOST_TOMBSTONES):
            write_tombstones(self._context, self._durability, copies.take(slice(at, at + MOST_TOMBSTONES)))
        return copies.take(copies.distinct()).digests()

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        self._index.refresh()
        copies = self._index.live_copies(digests)
        good = [self._context.records.is_good(record) for record in copies]
        whole = {digest for digest, is_good in zip(copies.digests(), good, strict=True) if is_good}
        dropped = [
            not is_good and (even_the_last or digest in whole)
            for digest, is_good in zip(copies.digests(), good, strict=True)
        ]
        if any(dropped):
            from rsdos.stores.packed.delete import write_tombstones

            write_tombstones(self._context, Durability.FULL, copies.take(dropped))

    def snapshot_keys(self) -> object:
        return self._index.refresh()

    def keys_of(self, seen: object) -> Iterator[list[bytes]]:
        assert isinstance(seen, Snapshot)
        for entries in seen.tables():
            yield entries.digests()

    # Packs and index.

    def rewrite(
        self,
        pack_id: int,
        encoding: Encoding | None,
        advance: Callable[[int], None],
        spared: Collection[int] = (),
    ) -> Rewritten:
        from rsdos.stores.packed.repack import Repack

        rewritten = Repack(self._context, encoding, advance).run(pack_id, spared)
        self._context.records.forget(pack_id)
        return rewritten

    def collect_garbage(self, known: KnownCheck) -> Reclaimed:
        from rsdos.stores.packed.garbage import collect_garbage

        return collect_garbage(self._context)

    def merge_index(self) -> None:
        self._index.merge(self._durability)

    def index_faults(self) -> list[Finding]:
        from rsdos.stores.packed.rebuild import Rebuild

        self._context.close()
        return Rebuild(self._context).faults()

    def rebuild_index(self, quarantine: Quarantine) -> Rebuilt:
        from rsdos.stores.packed.rebuild import Rebuild

        self._context.close()
        return Rebuild(self._context).run(quarantine)

    # Checking and copying.

    def check(self, depth: Depth, sample: Sample, moment: object = None) -> PacksCheck:
        from rsdos.stores.packed.check import NativeCheck

        self._context.close()  # What was checked once is read again.
        return NativeCheck(self._context, depth, sample, moment)

    def checkpoint(self, root: str) -> AbstractContextManager[Checkpoint]:
        from rsdos.stores.packed.checkpoint import open_checkpoint

        return open_checkpoint(self._context.layout, self._index, root)

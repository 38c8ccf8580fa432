"""Publishing refs in a container of version 2: steps 5 and 6 of `rsdos.engine.publish`; and deleting for gc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest
from rsdos.model import BytesLike, CompressMode, Copy, Durability, PackKind, Trust
from rsdos.stores import lifetime
from rsdos.stores.base import KnownCheck
from rsdos.stores.batch import BatchWriter, insert_many
from rsdos.stores.encoding import Encoding
from rsdos.stores.lifetime import Live
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.delete import MOST_TOMBSTONES, live_of, while_marked, write_tombstones
from rsdos.stores.packed.seen import HeldCopies
from rsdos.stores.packed.writer import PackedBatch
from rsdos.stores.publisher import Moment, Outdated, SeenHeld


class PackedPublisher:
    """See `rsdos.stores.packs.Publisher`."""

    def __init__(self, context: PackedContext, durability: Durability, known: KnownCheck) -> None:
        """``durability`` is that of what gc deletes. ``known`` knows the objects in packs of trees."""
        self._context = context
        self._index = context.index
        self._durability = durability
        self._known = known

    def begin(self) -> Moment:
        newest = self._index.newest()
        if lifetime.begun(newest.epoch) != newest.epoch:
            newest = self._index.commit(_begun, Durability.FULL)
        packs = newest.of_kinds(lifetime.COLLECTED_KINDS).packs
        return Moment(live_of(newest), {pack.id: pack.length for pack in packs})

    def publish(self, objects: Sequence[bytes], expected: Live) -> None:
        config = self._context.config
        (key,) = config.hash.keys_of(objects[-1:])
        batch = _RefsBatch(self._context, key, expected)
        writer = BatchWriter(batch, config.hash, self._known, Trust.VERIFY)
        insert_many(objects, writer, Encoding(CompressMode.AUTO, config.codec))
        if not batch.is_published:
            # The same document was stored before, and something has put it out of the manifest.
            self._index.commit(lambda newest: batch.next_after(newest, newest), Durability.FULL)

    def held_copies(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        answers = [Copy.MISSING] * len(digests)
        view = self._index.refresh().of_kinds((PackKind.HELD,))
        if view.manifest.packs:
            found = view.find_many(digests)
            for at, record in zip(found.positions.tolist(), found.entries, strict=True):
                is_good = trust is Trust.INDEX or self._context.records.is_good(record)
                answers[at] = Copy.GOOD if is_good else Copy.DAMAGED
        return answers

    def present(self) -> SeenHeld:
        return HeldCopies(self._index.refresh())

    def collectable(
        self, seen: SeenHeld, saves: Sequence[Mapping[int, int]], most: int
    ) -> Iterator[tuple[PackKind, Entries]]:
        assert isinstance(seen, HeldCopies)
        packs = seen.packs
        lengths = {pack.id: lifetime.collectable(pack.length, saves, pack.id) for pack in packs}
        for entries in seen.unmarked(most):
            for kind in lifetime.COLLECTED_KINDS:
                mine = {pack.id: lengths[pack.id] for pack in packs if pack.kind is kind}
                yield kind, entries.take(entries.within(mine))

    def collect(self, copies: Entries, refs: str) -> Entries:
        view = self._index.refresh().of_kinds(lifetime.COLLECTED_KINDS)
        copies = copies.take(copies.of_extents(view.copies_like(copies)))
        for at in range(0, len(copies), MOST_TOMBSTONES):
            part = copies.take(slice(at, at + MOST_TOMBSTONES))
            write_tombstones(self._context, self._durability, part, while_marked(refs), lifetime.COLLECTED_KINDS)
        return copies


class _RefsBatch(PackedBatch):
    """A batch that ends with a refs document, and is committed only where that follows the newest one."""

    def __init__(self, context: PackedContext, key: str, expected: Live) -> None:
        super().__init__(context, Durability.FULL, PackKind.TREES)
        self._key = key
        self._expected = expected
        self.is_published = False

    def next_after(self, newest: Manifest, manifest: Manifest) -> Manifest:
        if self.keys and self._key not in self.keys:
            return manifest  # The objects filled a pack: the document comes in the next batch.
        # 6. Compare, under the lock on commits.
        if not lifetime.may_publish(self._expected, live_of(newest)):
            raise Outdated(live_of(newest))
        self.is_published = True
        return manifest._replace(refs=self._key)


def _begun(newest: Manifest) -> Manifest:
    return newest._replace(epoch=lifetime.begun(newest.epoch))

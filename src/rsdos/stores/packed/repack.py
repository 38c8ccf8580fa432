"""Writing packs of version 2 and 3 anew: what lives in them goes to another. See `rsdos.stores.packed.rewrite`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from rsdos import names
from rsdos.codecs.checksum import crc32
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DecodeError
from rsdos.index.compact import CompactTable, open_table
from rsdos.index.entries import Entries
from rsdos.index.liveness import with_dead_counts
from rsdos.index.manifest import Manifest, SegmentEntry, segment_name
from rsdos.index.pack_entry import PackEntry
from rsdos.index.runs import ReadRange, coalesce
from rsdos.index.segment import Segment
from rsdos.index.view import IndexView
from rsdos.model import FRAME_SIZE, PackKind, Record
from rsdos.pack.format import Batch
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.pack.writer import PackWriter
from rsdos.stores.batch import MOST_ENTRIES
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Rewritten
from rsdos.stores.packed.checked_run import read_checked_run
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.recode import Recoder
from rsdos.stores.packed.rewrite import PackRewrite, RepackTarget, lock_pack, old_pack, unlink_rewritten
from rsdos.stores.packs import GAP, WINDOW

_GROUP = MOST_ENTRIES // 2
"""Entries of the old pack that are looked up and copied together, by whole batches: a few times 26 MB at most."""

_COPIED = 1 << 20
"""Bytes that are read, checked and written at once."""

MOST_TRIES = 3
"""Times that a pack is copied because deletes or repacks of other machines were faster. The next run tries again."""


class Overtaken(Busy):
    """A commit of another machine has deleted what was copied, or moved it, or the copy that it was left out for."""


class Repack:
    """The repack of a pack, or of several into one. The caller holds the maintenance lock: nobody else deletes or
    repacks.

    Other machines do, where locks do not reach them. The commit then looks up all that it moves in the newest state,
    and raises `Overtaken` unless all of it is as it was: a tombstone names a place, and not a key.
    """

    def __init__(self, context: PackedContext, encoding: Encoding | None, advance: Callable[[int], None]) -> None:
        self._context = context
        self._index = context.index
        self._encoding = encoding
        self._advance = advance
        self._shared: list[bytes] = []
        """Objects that have live copies elsewhere too: which of the copies counts is decided at the commit."""
        self._left_out: set[bytes] = set()
        """Objects that are not copied, since another pack has a good copy."""
        self._damaged: list[str] = []
        self._living_count = 0
        self._leaving: tuple[int, ...] = ()
        """The packs that are rewritten."""
        self._present: list[int] = []
        """All packs, once it is asked which of them there are."""
        self._moving: list[Entries] | None = None if context.index.appends else []
        """All that lives in the old packs, where others may kill or move it until the commit."""
        self._recoder = Recoder(context, encoding)
        self._storage = context.layout.storage

    def run(self, pack_ids: Sequence[int], spared: Collection[int] = ()) -> Rewritten:
        """Rewrite some packs into one; see `PackMaintenance.rewrite`."""
        self._leaving = tuple(pack_ids)
        with ExitStack() as held:
            for pack_id in pack_ids:
                # 1. From here on nobody appends to it.
                held.enter_context(lock_pack(self._context, pack_id))
            with RepackTarget(self._context, pack_ids, spared) as target:
                before = target.pack.length
                # The state in which the new pack was locked. Nobody appends to the old one, and nobody deletes.
                view = self._index.view
                packs = [old_pack(self._context, view.manifest, pack_id) for pack_id in pack_ids]
                rewrite = PackRewrite(self._context, pack_ids, target)
                for pack in packs:
                    # 3. Copy.
                    rewrite.source = pack.id
                    self._copy(pack, view, rewrite)
                # 4 to 6.
                finish = partial(self._finish, packs, view.manifest, target.pack.id)
                rewrite.commit(finish)
                freed = sum(pack.length for pack in packs) - (target.pack.length - before)
            # 7. Only now, and only if nobody reads it for long.
            gone = [unlink_rewritten(self._context, pack_id) for pack_id in pack_ids]
        return Rewritten(
            rewrite.total.objects, rewrite.total.size, freed, all(gone), (*self._damaged, *self._recoder.damaged)
        )

    # 3. Copying.

    def _copy(self, pack: PackEntry, view: IndexView, rewrite: PackRewrite) -> None:
        """Copy the live objects of the pack, by a state of the index."""
        file = self._context.open_pack(pack.id)
        found = scan(file, pack.length)
        if found.uncovered or (found.batches[-1].end if found.batches else 0) != pack.length:
            reason = "its batches cannot all be told apart; nothing is repacked before a repair"
            raise DamagedContainer(file.path, reason)
        self._living_count = dead_count = 0
        opened = {name[1:]: segment for name, segment in view.named.items()}
        tombstones: list[Entries] = []
        for group in _in_groups(file, found.batches, opened):
            entries = _entries_of(file, group)
            is_tombstone = entries.is_tombstone()
            tombstones.append(self._needed(entries.take(is_tombstone)))
            dead_count += len(tombstones[-1])
            places = [(pack.id, batch.segment_offset) for batch, _ in group]
            whole = [opened[place] for place in places if place in opened]
            self._copy_group(file, self._living(pack, entries.take(~is_tombstone), view, whole), rewrite)
            if dead_count >= _GROUP:
                rewrite.add_tombstones(Entries.joined(tombstones))
                tombstones, dead_count = [], 0
        if dead_count:
            rewrite.add_tombstones(Entries.joined(tombstones))
        if self._living_count < pack.live.objects:
            raise DamagedContainer(file.path, "the index has fewer objects of it than the manifest counts")

    def _needed(self, tombstones: Entries) -> Entries:
        """Return those of the old pack's tombstones that are for other packs, as far as these may come back."""
        others = tombstones.take(~tombstones.of_packs(self._leaving))
        if not others:
            return others
        if not self._present:
            # A tombstone is forgotten when the file that it points into is gone for good: a rebuild cannot meet it
            # then.
            self._present = [*{*self._context.layout.pack_ids(), *self._index.view.manifest.packs.ids}]
            self._storage.sync_names(names.PACKED)
        return others.take(others.of_packs(self._present))

    def _living(self, pack: PackEntry, entries: Entries, view: IndexView, whole: Sequence[Segment]) -> Entries:
        """Return those entries of the pack's own that are to be copied. ``whole`` are open segments of them alone."""
        alive = view.copies_of(entries.keys(), whole)
        mine = alive.of_packs((pack.id,))
        own = alive.take(mine)
        self._living_count += len(own)
        if self._moving is not None:
            self._moving.append(own)
        first = own.distinct()
        # Copies in other packs, and further ones in this.
        others = Entries.joined((alive.take(~mine), own.take(~first)))
        return self._without_doubles(own.take(first), others.sort(), pack.kind) if len(others) else own

    def _without_doubles(self, live: Entries, others: Entries, kind: PackKind) -> Entries:
        """Leave out objects with other good copies; keep those of which this pack has the only good one.

        A copy elsewhere that does not stand in for one in this pack is none: it may be deleted before this one.
        """
        shared = live.of_keys(others)
        kept = [live.take(~shared)]
        is_intact = self._context.records.is_intact
        stand_ins = self._index.view.manifest.of_kinds(kind.stand_ins).packs.live
        for record in live.take(shared):
            copies = self._index.find_all(record.digest)
            # One in a pack that goes as well is copied from there: which of the two counts is said by the commit.
            elsewhere = [copy for copy in copies if copy.pack_id not in self._leaving]
            here = [copy for copy in copies if copy.pack_id == record.pack_id]
            if len(copies) > len(here):
                self._shared.append(record.digest)
            if not any(map(is_intact, (copy for copy in elsewhere if copy.pack_id in stand_ins))):
                kept.append(Entries.of_records([next(filter(is_intact, here), here[0])]))
            else:
                self._left_out.add(record.digest)
        return Entries.joined(kept).sort()

    def _copy_group(self, file: PackFile, live: Entries, rewrite: PackRewrite) -> None:
        self._recoder.begin(file, live, rewrite)
        for run in coalesce(live, GAP, min(WINDOW, _COPIED)):
            rewrite.make_room(len(run.offset))
            if run.flags:
                self._copy_large(file, live, run, rewrite)
            else:
                self._copy_run(file, live, run, rewrite)
            self._advance(sum(run.length))
        self._recoder.write(rewrite)

    def _copy_run(self, file: PackFile, live: Entries, run: ReadRange, rewrite: PackRewrite) -> None:
        stored, whole, bad = read_checked_run(self._storage, file, run)
        if bad:
            self._note_damage(live, [run.positions[at] for at in bad])
        moved, needed = run.positions, run.codec
        wanted = [at for at in self._recoder.wanted(run) if at not in bad]
        if wanted:
            taken = self._recoder.take(live, run, stored, wanted)
            rest = [at for at in range(len(stored)) if at not in taken]
            moved, needed = [run.positions[at] for at in rest], [run.codec[at] for at in rest]
            stored, whole = [stored[at] for at in rest], None
            if self._recoder.is_full:
                self._recoder.write(rewrite)
        if moved:
            codecs = rewrite.carry(needed)
            # In one write where nothing between them is dead.
            start = rewrite.writer.write(stored if whole is None else [whole])
            rewrite.add_moved(live, moved, start, codecs)

    def _copy_large(self, file: PackFile, live: Entries, run: ReadRange, rewrite: PackRewrite) -> None:
        """Copy an object of more than a frame, a run of its own; encode it anew if that is wanted and it is whole."""
        record = next(iter(live.take(run.positions)))
        writer = rewrite.writer
        start = writer.position
        if self._encoding is not None:
            try:
                written = self._encoding.write_frames(
                    self._context.records.frames(record), writer, self._context.config.hash
                )
                if written.digest != record.digest:
                    raise DecodeError("its bytes are not those of its key")
            except (DecodeError, DamagedObject, DamagedContainer):
                writer.rewind(start)
            else:
                form = written.stored
                table = Entries.of(
                    [record.digest],
                    pack_id=rewrite.target_id,
                    offset=start,
                    length=form.length,
                    size=form.size,
                    crc=written.crc,
                    codec=form.codec,
                    flags=form.flags,
                )
                rewrite.add(table.keyed())
                return
        crc = _copy_bytes(file, record, writer)
        if crc != run.crc[0] and self._storage.traits.is_remote:
            # A bit may have flipped on its way, and would be stored.
            writer.rewind(start)
            crc = _copy_bytes(file, record, writer)
        if self._encoding is not None or crc != run.crc[0]:
            self._note_damage(live, run.positions)
        rewrite.add_moved(live, run.positions, start, {})

    def _note_damage(self, live: Entries, at: Sequence[int]) -> None:
        self._damaged += map(bytes.hex, live.take(at).digests())

    # 6. The commit.

    def _finish(
        self, packs: Sequence[PackEntry], base: Manifest, target_id: int, newest: Manifest, manifest: Manifest
    ) -> Manifest:
        """Refuse what the commit must not pass over, and count the dead bytes anew."""
        if self._moving is not None:
            return self._finish_beside(packs, base, target_id, newest, manifest)
        for pack in packs:
            now = newest.packs.find(pack.id)
            if now is None or now.length != pack.length:
                raise DamagedContainer(self._context.layout.pack(pack.id), "somebody wrote to it while it was locked")
        fresh = _fresh_segments(base, newest)
        if any(segment.tombstones for segment in fresh):
            raise Busy("the container, by a delete that took no notice of the maintenance lock,")
        if not fresh and not self._shared:
            return manifest
        return self._recounted(newest, manifest, fresh, target_id)

    def _finish_beside(
        self, packs: Sequence[PackEntry], base: Manifest, target_id: int, newest: Manifest, manifest: Manifest
    ) -> Manifest:
        """`_finish` beside other machines."""
        path = self._context.layout.pack(packs[0].id)
        if not all(newest.packs.has(pack.id) for pack in packs):
            raise Overtaken(path, "another repack, which was faster")
        if newest.number != base.number:
            moving = Entries.joined(self._moving or ()).sort()
            view = self._index.open(newest)
            alive = view.copies_like(moving)
            others = alive.take(~alive.of_packs(self._leaving))
            stand_ins = view.manifest.of_kinds(packs[0].kind.stand_ins).pack_ids
            if self.is_overtaken(moving, alive, others.take(others.of_packs(stand_ins))):
                raise Overtaken(path, "a delete or another repack, which was faster")
            self._shared += others.digests()
        return self._recounted(newest, manifest, (), target_id) if self._shared else manifest

    def is_overtaken(self, moving: Entries, alive: Entries, others: Entries) -> bool:
        """Return whether something that this repack copies, or leaves out for another copy, is not there any more.

        ``alive`` are all living copies of the keys of what is moved, ``others`` those that stand in for it.
        """
        return not moving.of_extents(alive).all() or not self._left_out.issubset(others.digests())

    def _recounted(
        self, newest: Manifest, manifest: Manifest, fresh: Sequence[SegmentEntry], target_id: int
    ) -> Manifest:
        """Count the dead bytes of objects that have copies elsewhere, from before this repack or since."""
        digests = list(self._shared)
        try:
            before, after = self._index.open(newest), self._index.open(manifest)
            for segment in fresh:
                opened = before.segment(segment)
                if opened is not None:
                    digests += opened.entries().digests()
            if not digests:
                return manifest
            old, new = before.live_copies(digests), after.live_copies(digests)
        except (DamagedContainer, FileNotFoundError):
            return manifest  # A repair counts anew.
        # Those that were copied were taken for copies that count.
        moved = new.take(new.of_packs((target_id,)))
        moved = moved.take(~moved.of_extents(old))
        pack = manifest.packs.find(target_id)
        if pack is not None:
            manifest = manifest.with_pack(pack.with_dead(moved.total))
        return with_dead_counts(newest, manifest, old, new)


def rewrite(
    context: PackedContext,
    encoding: Encoding | None,
    advance: Callable[[int], None],
    pack_ids: Sequence[int],
    spared: Collection[int] = (),
) -> Rewritten:
    """Rewrite some packs; see `PackMaintenance.rewrite`. If another machine was faster, begin again.

    If a power loss has taken a segment file, the table in the pack is read instead.
    """

    def run_once() -> Rewritten:
        try:
            return Repack(context, encoding, advance).run(pack_ids, spared)
        except DamagedContainer:
            view = context.index.view
            if context.index.sound() is view:
                raise  # It is no segment file that is damaged.
        return Repack(context, encoding, advance).run(pack_ids, spared)

    def attempt() -> Rewritten:
        try:
            return run_once()
        except FileNotFoundError as error:
            if set(context.index.refresh().manifest.pack_ids).issuperset(pack_ids):
                raise
            # Collected, a week after that repack: this machine slept.
            raise Overtaken(context.layout.pack(pack_ids[0]), "another repack, which was faster") from error

    for _ in range(MOST_TRIES - 1):
        with suppress(Overtaken):
            return attempt()
        context.index.refresh()
    return attempt()


def _in_groups(
    file: PackFile, batches: Iterable[Batch], opened: Mapping[tuple[int, int], Segment]
) -> Iterator[list[tuple[Batch, Segment | CompactTable]]]:
    """Yield the batches of a pack with their tables, those of about `_GROUP` entries together.

    A table that is not open, because it was merged, is read.
    """
    group: list[tuple[Batch, Segment | CompactTable]] = []
    count = 0
    for batch in batches:
        table: Segment | CompactTable | None = opened.get((file.pack_id, batch.segment_offset))
        if table is None:
            table = open_table(file.file, batch.segment_offset, batch.segment_length)
        group.append((batch, table))
        count += table.count
        if count >= _GROUP:
            yield group
            group, count = [], 0
    if group:
        yield group


def _entries_of(file: PackFile, group: Sequence[tuple[Batch, Segment | CompactTable]]) -> Entries:
    """Return all entries of some batches. Raise `DamagedContainer` if one names bytes of another batch."""
    parts = [table.entries() for _, table in group]
    for (batch, _), part in zip(group, parts, strict=True):
        if not (part.in_extent(file.pack_id, batch.start, batch.segment_offset + 1) | part.is_tombstone()).all():
            raise DamagedContainer(file.path, "a batch names bytes that are not its own", batch.start)
    return Entries.joined(parts)


def _copy_bytes(file: PackFile, record: Record, writer: PackWriter) -> int:
    """Write the stored bytes of an object as they are, and return their CRC-32."""
    crc = 0
    for done in range(0, record.length, FRAME_SIZE):
        part = file.read(record.offset + done, min(FRAME_SIZE, record.length - done))
        crc = crc32(part, crc)
        writer.write([part])
    return crc


def _fresh_segments(base: Manifest, newest: Manifest) -> list[SegmentEntry]:
    """Return the batches that were committed since; what a merge has done with some of them is not looked through."""
    names = set(map(segment_name, base.segments))
    return [segment for segment in newest.segments if segment.pack_id and segment_name(segment) not in names]

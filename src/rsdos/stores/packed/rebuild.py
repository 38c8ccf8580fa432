"""Rebuilding the index of version 2 from the packs, and emptying the packs that are damaged. The steps are numbered.

1. Give packs their names back; 2. look at all packs, with no commit going on; 3. write their tables, merged, to new
segment files, and sync packs, segments and their names; 4. publish a manifest that names them; 5. copy what is in each
damaged pack to another, and put the file into quarantine; 6. put damaged files of the index there.

If it is killed at any moment, nothing is lost, and the next run does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress

from rsdos import names
from rsdos.errors import DamagedContainer, UnsupportedContainer
from rsdos.index.manifest import Manifest, NamedFiles, SegmentEntry, files_of
from rsdos.index.merge import Table, write_merged
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.segment import Segment
from rsdos.index.table_files import folded
from rsdos.index.view import IndexView
from rsdos.names import LAST_PACK
from rsdos.pack.reader import true_id
from rsdos.storage import posix
from rsdos.storage.permissions import make_directory
from rsdos.stores.findings import Finding, Rebuilt
from rsdos.stores.pack_maintenance import FindRefs, keep_refs
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.evacuate import DamagedPackRewrite
from rsdos.stores.packed.recovery import PackScan, ScannedPacks, scan_packs
from rsdos.stores.quarantine import Quarantine

_TOGETHER = 1 << 21
"""Entries that are merged into one segment file: compact tables are decoded for it, 140 MB."""


class Rebuild:
    """One rebuild. The caller holds the maintenance lock to `run` it."""

    def __init__(self, context: PackedContext, find_refs: FindRefs = keep_refs) -> None:
        self._context = context
        self._find_refs = find_refs
        self._layout = context.layout
        self._config = context.config
        self._index = context.index
        self._damaged: list[PackScan] = []
        self._base: Manifest | None = None
        self._gone: list[str] = []
        self._fresh: list[SegmentEntry] = []
        self._tables: Collection[int] = ()

    # What there is to do.

    def faults(self) -> list[Finding]:
        """Return what a run would put right. Reads every footer and every table, and no object."""
        if missing := self._missing_directories():
            return [Finding(self._layout.relative(directory), "the directory is missing") for directory in missing]
        found = [Finding(self._layout.relative(path), reason) for path, reason, _ in self._misnamed()]
        result = scan_packs(self._layout, self._config.container_id, self._index, self._pack_ids())
        return [*found, *self._index_faults(), *self._pack_faults(result)]

    def _pack_ids(self) -> list[int]:
        """Return the ids of the packs that count if the newest manifest does not."""
        return self._layout.pack_ids()

    def _missing_directories(self) -> list[str]:
        return [path for path in (self._layout.index, self._layout.packed) if not os.path.isdir(path)]

    def _misnamed(self) -> Iterator[tuple[str, str, int]]:
        """Yield (path, what it is, its true id) of packs under a false name."""
        for pack_id in self._layout.found_packs():
            yield self._layout.found_pack(pack_id), f"it is pack {pack_id}, on its way to its name", pack_id
        for pack_id in self._layout.pack_ids():
            path = self._layout.pack(pack_id)
            with suppress(OSError):
                true = true_id(self._layout.storage.open(names.pack(pack_id)), self._context.container_id)
                if true is not None and 0 < true != pack_id:
                    yield path, f"it is pack {true}, under a false name", true

    def _bad_manifests(self) -> Iterator[tuple[str, str]]:
        for number in self._layout.manifest_numbers():
            try:
                self._index.commits.read(number)
            except FileNotFoundError:
                continue
            except DamagedContainer as error:
                yield self._layout.manifest(number), error.reason

    def _index_faults(self) -> Iterator[Finding]:
        for path, reason in self._bad_manifests():
            yield Finding(self._layout.relative(path), reason)
        try:
            self._index.commits.newest_number()
        except DamagedContainer as error:
            yield Finding(self._layout.relative(error.path), error.reason)

    def _pack_faults(self, result: ScannedPacks) -> Iterator[Finding]:
        for path in result.gone:
            yield Finding(self._layout.relative(path), "a segment of the index is damaged or missing")
        for pack in result.packs.values():
            path = self._layout.relative(self._layout.pack(pack.id))
            yield from (Finding(path, fault) for fault in pack.faults)
            entry = result.base.packs.find(pack.id) if result.base else None
            if result.base and pack.length > (entry.length if entry else 0):
                yield Finding(path, "it has whole batches that the manifest does not know")
        if result.base:
            yield from self._unlike(result.base, result)

    def _unlike(self, base: Manifest, result: ScannedPacks) -> Iterator[Finding]:
        """Yield where the manifest contradicts its own tables."""
        path = self._layout.relative(self._layout.manifest(base.number))
        for pack_id in sorted({*base.pack_ids} - {*result.packs}):
            yield Finding(path, f"pack {pack_id} was written anew, and should not be there any more")
        for pack in base.packs:
            found = result.packs.get(pack.id)
            if found and found.kind is not pack.kind:
                yield Finding(path, f"pack {pack.id} is of another kind than it says")
        if not result.gone:
            with suppress(DamagedContainer, FileNotFoundError):
                view = self._index.open(base)
                for is_now, was in zip(view.counted(), base.packs, strict=True):
                    if is_now.live.objects != was.live.objects:
                        yield Finding(path, f"it counts other objects in pack {was.id} than there are")
                if self._find_refs(base, view) != base.refs:
                    yield Finding(path, "it names a refs document that is not the newest, or cannot be read")

    # Doing it.

    def run(self, quarantine: Quarantine) -> Rebuilt:
        """Do all steps. Replaced files go to quarantine."""
        missing = self._missing_directories()
        for directory in missing:
            make_directory(directory)
            posix.sync_directory(self._layout.root)
        is_changed = bool(missing) or any(self._misnamed())
        self._give_names(quarantine)
        with ExitStack() as held:
            try:
                manifest = self._index.commits.restore(lambda: self._make(held))
            except BaseException:
                self._undo()
                raise
        if manifest:
            self._index.close()
        elif not self._damaged and not is_changed and not any(self._bad_manifests()):
            return Rebuilt()
        lost: list[str] = []
        unknown = 0
        left = tuple(self._unnamed())
        for pack in self._damaged:
            # 5. Empty it.
            found = self._index.refresh().manifest.packs.find(pack.id)
            was = self._base.packs.find(pack.id) if self._base else None
            if was and found:
                unknown += max((was.live - found.live).objects, 0)
            rescue = DamagedPackRewrite(self._context, quarantine)
            rescue.run(pack.id, pack.tables, {other.id for other in self._damaged})
            lost += rescue.lost
        # 6. Only now: until here a run that is killed and begins again needs them.
        self._put_aside(quarantine)
        return Rebuilt(True, len(self._damaged), tuple(quarantine.moved), tuple(lost), unknown, left)

    def _unnamed(self) -> Iterator[Finding]:
        """Yield what cannot be read of packs that no readable manifest has: nothing else tells what was there.

        Where packs grow, a writer that has died leaves such bytes, and they were never committed.
        """
        if self._index.appends:
            return
        for pack in self._damaged:
            if not (self._base and self._base.packs.has(pack.id)):
                path = self._layout.relative(self._layout.pack(pack.id))
                for reason in pack.unread:
                    yield Finding(path, f"{reason}: what was there is lost, and no readable manifest names the pack")

    def _put_aside(self, quarantine: Quarantine) -> None:
        """Put damaged files of the index into quarantine."""
        bad = [path for path, _ in self._bad_manifests()]
        for path in bad + self._gone:
            if os.path.lexists(path):
                quarantine.move(path)
        if bad or self._gone:
            posix.sync_directory(self._layout.index)

    def _undo(self) -> None:
        """Remove the files that were written, unless the manifest is there and only its last sync failed."""
        with suppress(OSError, UnsupportedContainer):
            manifest = self._index.commits.readable()
            named = files_of(manifest) if manifest else NamedFiles((), ())
            for segment in self._fresh:
                if segment.number not in named.segments:
                    self._layout.storage.remove(names.segment(segment.number))
            for number in self._tables:
                if number not in named.tables:
                    self._layout.storage.remove(names.pack_table(number))

    def _give_names(self, quarantine: Quarantine) -> None:
        # 1. Out of each other's way first, so that two that were exchanged find their places free.
        misnamed = list(self._misnamed())
        for path, _, true in misnamed:
            target = self._layout.found_pack(true)
            if path != target and os.path.lexists(target):
                quarantine.move(path)
            elif path != target:
                os.rename(path, target)
        for pack_id in self._layout.found_packs():
            path = self._layout.found_pack(pack_id)
            if os.path.lexists(self._layout.pack(pack_id)):
                quarantine.move(path)  # There is one already: this is another copy of it.
            else:
                os.rename(path, self._layout.pack(pack_id))
        if misnamed:
            posix.sync_directory(self._layout.packed)

    def _make(self, held: ExitStack) -> Manifest | None:
        """Write the segments of the manifest as it should be, and return it; None when the newest will do."""
        # 2. Look.
        newest, missing = self._index.commits.latest()
        # A pack that is not there yet belongs to a writer that is alive.
        ids = self._pack_ids()
        result = scan_packs(
            self._layout, self._config.container_id, self._index, ids, self._lock_out_writers(held, ids)
        )
        self._base = result.base
        self._gone = result.gone
        self._damaged = [pack for pack in result.packs.values() if pack.faults]
        is_newest = not missing and result.base is not None and newest == result.base.number
        if is_newest and not any(True for _ in self._pack_faults(result)):
            return None
        # 3. Write.
        for pack in result.packs.values():
            if pack.is_there:
                self._layout.storage.sync(names.pack(pack.id))
        self._layout.storage.sync_names(names.PACKED)
        number = self._free_number(result)
        self._fresh = []
        for tables in _groups(result.tables):
            self._fresh += write_merged(self._layout.storage, number + len(self._fresh), tables, list(result.packs))
        segments = self._fresh
        for segment in segments:
            self._layout.storage.sync(names.segment(segment.number))
        # Their names too, before that of the manifest: only they have the entries of a damaged pack.
        self._layout.storage.sync_names(names.INDEX)
        manifest = self._manifest(result, [segment._replace(synced=True) for segment in segments], number)
        if self._index.appends:
            manifest = folded(self._layout, manifest)
        self._tables = files_of(manifest).tables
        return manifest

    def _free_number(self, result: ScannedPacks) -> int:
        """Return the first number of new segment files."""
        return max([0, *self._layout.segment_numbers(), result.base.next_segment - 1 if result.base else 0]) + 1

    def _lock_out_writers(self, held: ExitStack, ids: Collection[int]) -> set[int]:
        """Lock the packs that somebody could append to; return those that somebody does append to."""
        try:
            manifest = self._index.commits.newest()
        except DamagedContainer:
            return set()  # No writer begins, and none that has begun can commit.
        busy = set()
        sealed = {pack.id for pack in manifest.packs if pack.sealed}
        for pack_id in {*ids, *manifest.pack_ids} - sealed:
            lock = self._layout.storage.lock(names.pack_lock(pack_id), wait=False)
            if lock:
                held.enter_context(lock)
            else:
                busy.add(pack_id)
        return busy

    def _manifest(self, result: ScannedPacks, segments: list[SegmentEntry], number: int) -> Manifest:
        base = result.base or Manifest(0, self._config.container_id)
        packs = Packs.of(self._entry(pack, base.packs.find(pack.id)) for pack in result.packs.values())
        ids = [pack_id for pack_id in self._layout.locked_ids() if pack_id <= LAST_PACK]
        ids += [*self._layout.pack_ids(), *result.packs, *(pack.most_named for pack in result.packs.values())]
        manifest = Manifest(
            base.number,
            self._config.container_id,
            max([base.next_pack_id, *(pack_id + 1 for pack_id in ids)]),
            number + len(segments),
            packs,
            tuple(segments),
            base.notes,
            base.refs,
        )
        view = IndexView(manifest, [self._open(segment) for segment in segments])
        manifest = manifest.with_packs(view.with_dead_counted())._replace(refs=self._find_refs(manifest, view))
        # Never one that was before: each epoch is that of a commit, and no higher than its number.
        newest = max(self._index.commits.latest())
        return manifest._replace(epoch=newest + 1 if base.epoch or manifest.refs or manifest.packs.kinds else 0)

    def _open(self, entry: SegmentEntry) -> Segment:
        return self._index.open_segment(entry)

    def _entry(self, pack: PackScan, was: PackEntry | None) -> PackEntry:
        is_full = pack.length >= self._config.pack_size_target
        sealed = bool(pack.faults) or is_full or (was is not None and was.sealed)
        entry = PackEntry(pack.id, pack.length, pack.length, sealed, *pack.total)
        return entry._replace(dictionaries=pack.dictionaries, kind=pack.kind)


def _groups(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Yield the tables in groups of bounded size. What is written of each is merged by later commits."""
    group: list[Table] = []
    count = 0
    for table in tables:
        if group and count + table.count > _TOGETHER:
            yield group
            group, count = [], 0
        group.append(table)
        count += table.count
    if group:
        yield group

"""The index of a container of version 3: no file grows, and no lock keeps other processes from committing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rsdos import names
from rsdos.errors import DamagedContainer, log_warning
from rsdos.index import reservations, table_files
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, SegmentEntry, SegmentName, segment_name
from rsdos.index.merge import due_for_merge, write_merged, write_segment
from rsdos.index.opening import Tables
from rsdos.index.remote_chain import Places
from rsdos.index.remote_commits import RemoteCommits
from rsdos.index.remote_state import TABLE
from rsdos.index.segment import Segment
from rsdos.index.state import CheckPack, IndexState, Losses, Recover
from rsdos.index.view import IndexView
from rsdos.layout import Layout
from rsdos.model import Durability

if TYPE_CHECKING:
    from rsdos.index.entries import Entries
    from rsdos.index.partial import PartialView

_NOTHING: Mapping[SegmentName, None] = MappingProxyType({})

MOST_SEGMENTS = 64
"""The most live segments that a commit leaves without a merge. A lookup searches each; opening each is a request."""

MOST_UNMERGED = 256
"""Live segments from which on a merge comes before the next commit."""

MERGE_COST = 1 << 18
"""The fixed cost of a merge, a few requests and a commit, as the entries (18 MB) that are sent in this time."""

_MERGED_FILES = 2
"""The most segment files that a merge writes: one of entries, one of tombstones."""


class _Opened(NamedTuple):
    """Segments that are open, by their names."""

    named: Mapping[SegmentName, Segment]


class RemoteIndex(Index):
    """Looks up and commits; see `Index`. Any number of threads, processes and machines.

    Segment files are uploaded once, before the commit that names them, however many attempts the commit takes. A merge
    is a commit of its own.
    """

    appends = False

    commits: RemoteCommits

    def __init__(
        self,
        layout: Layout,
        container_id: str,
        recover: Recover,
        check_pack: CheckPack,
        losses: Losses,
        places: Places,
    ) -> None:
        self._places = places
        commits = RemoteCommits(layout, container_id, places)
        super().__init__(layout, container_id, recover, check_pack, losses, commits)
        self._attempted: Mapping[SegmentName, Segment] | None = None
        """The segments that the attempts of the running commit have opened; see `open`."""

    def _open(
        self,
        manifest: Manifest,
        shared: IndexState | PartialView | None,
        tables: Tables | None = None,
    ) -> IndexView:
        """Return a view of this manifest; segments that are open already are shared. Raise FileNotFoundError.

        Segments that an earlier attempt of the running commit has opened are shared, too. Opening each is a request: if
        many machines commit, a writer that opened them anew at each attempt would never catch up. No other segment ever
        gets their names.
        """
        attempted = self._attempted
        view = self._opener.view(manifest, _Opened({**(attempted or {}), **(shared.named if shared else {})}), tables)
        if attempted is not None:
            self._attempted = view.named
        return view

    def free_pack_id(self, manifest: Manifest, refused: Collection[int]) -> int:
        return self.commits.ids.take()

    def is_free(self, manifest: Manifest, pack_id: int) -> bool:
        ids = range(pack_id, pack_id + 1)
        return any(row.has(ids) for row in reservations.reserved_under(manifest, self.commits.ids.token))

    def commit(
        self,
        change: Callable[[Manifest], Manifest],
        durability: Durability,
        fresh: Mapping[SegmentName, Entries | None] = _NOTHING,
        tables: Tables | None = None,
    ) -> Manifest:
        """Make the next manifest from the newest by ``change``; see `RemoteCommits.commit`, also for what it raises.

        ``change`` is called again if another commit was faster. The entries of ``fresh`` tables are uploaded as segment
        files. A commit that leaves too many segments is followed by a merge of the smallest, which may fail. From
        `MOST_UNMERGED` segments on a merge comes before the commit. If that fails, the commit fails.
        """
        state = self._state
        if state and len(state.view.manifest.segments) >= MOST_UNMERGED:
            self._merge_due(self.newest())
        manifest = self._commit(change, durability, fresh)
        try:
            self._merge_due(manifest)
            self._fold_due(manifest)
        except OSError as error:
            log_warning("the index was not merged: %s; a later commit tries again", error)
        return manifest

    def _merge_due(self, newest: Manifest) -> None:
        self.merge_of(newest, due_for_merge(newest.segments, MOST_SEGMENTS, MERGE_COST))

    def _fold_due(self, newest: Manifest) -> None:
        """Fold rows of packs into tables if there are too many, as a commit of its own; see `rsdos.index.folding`.

        If another process has folded since then, nothing is committed, and the collector removes the uploaded tables.
        """
        packs = newest.packs
        if len(packs.changed) + len(packs.gone) <= table_files.MOST_CHANGED:
            return
        from rsdos.index.folding import plan_fold

        fold = plan_fold(packs, table_files.MOST_CHANGED)
        if fold is None:
            return
        named = [self._new_table(data) for data in fold.files]

        def change(now: Manifest) -> Manifest:
            after = fold.onto(now.packs, named)
            return now if after is None else now._replace(packs=after)

        self._commit(change, Durability.FULL)

    def _new_table(self, data: bytes) -> tuple[int, str]:
        """Upload a pack table; return its id and the random part of its name."""
        number = self.commits.ids.take()
        name = names.pack_table(number)
        file = self._storage.create(name)
        file.write(0, (data,))
        file.end()
        try:
            self._storage.sync(name)
        except BaseException:
            self._storage.remove(name)
            raise
        return number, self._places.suffix_of(TABLE, number)

    def _commit(
        self,
        change: Callable[[Manifest], Manifest],
        durability: Durability,
        fresh: Mapping[SegmentName, Entries | None] = _NOTHING,
    ) -> Manifest:
        # Take the ids before the commit: taking them may be a commit itself.
        numbers = {name: self.commits.ids.take() for name in fresh}
        filed: dict[SegmentName, SegmentEntry] = {}

        def change_and_file(newest: Manifest) -> Manifest:
            manifest = change(newest)
            for entry in manifest.segments:
                name = segment_name(entry)
                if name in fresh:
                    filed[name] = filed.get(name) or self._filed(entry, numbers[name], fresh[name])
                    manifest = manifest.with_segments([entry], filed[name])
            return manifest

        self._attempted = {}
        try:
            published = self.commits.commit(change_and_file, durability)
            self._follow(published.manifest)
        finally:
            self._attempted = None
        return published.manifest

    def _filed(self, entry: SegmentEntry, number: int, entries: Entries | None) -> SegmentEntry:
        """Upload the entries of a compact table as a segment file; return the file's entry."""
        table = self.open_segment(entry).entries() if entries is None else entries
        (written,) = self._uploaded([write_segment(self._storage, number, table)])
        return written.of_batch(entry)

    def new_segment(self, entries: Entries) -> SegmentEntry:
        """Upload sorted entries as a segment file, for a commit; return its entry. Raise OSError."""
        (written,) = self._uploaded([write_segment(self._storage, self.commits.ids.take(), entries)])
        return written

    def _uploaded(self, written: Sequence[SegmentEntry]) -> list[SegmentEntry]:
        """Upload segment files that were written. If one fails, remove all of them."""
        try:
            for segment in written:
                self._storage.sync(names.segment(segment.number))
        except BaseException:
            for segment in written:
                self._storage.remove(names.segment(segment.number))
            raise
        return [segment._replace(synced=True) for segment in written]

    def _follow(self, manifest: Manifest) -> None:
        """Let lookups use a manifest that was made here."""
        try:
            file = self.commits.file_of(manifest.number)
            self._keep(IndexState(self.open(manifest), manifest.number, file=file))
        except (FileNotFoundError, DamagedContainer):
            self._state = None  # The next use loads it.

    def merge(self, durability: Durability) -> Manifest:
        """Merge all segments into one, and one of tombstones if any are still needed: a commit of its own.

        If another process has merged some of them since then, nothing is committed, and the collector removes the
        uploaded files.
        """
        newest = self.newest()
        try:
            return self.merge_of(newest, newest.segments)
        except FileNotFoundError:
            now = self.newest()
            if set(map(segment_name, now.segments)).issuperset(map(segment_name, newest.segments)):
                raise
            return now  # This machine slept: others have replaced the segments, and collected them a week later.

    def merge_of(self, newest: Manifest, due: Sequence[SegmentEntry]) -> Manifest:
        """Merge some segments of the newest manifest; see `merge`."""
        if len(due) < _MERGED_FILES:
            return newest
        tables = [self.sound_segment(entry) for entry in due]
        first = self.commits.ids.take_run(_MERGED_FILES)
        written = self._uploaded(write_merged(self._storage, first, tables, newest.pack_ids))

        def change(now: Manifest) -> Manifest:
            live = set(map(segment_name, now.segments))
            return now.with_segments(due, *written) if live.issuperset(map(segment_name, due)) else now

        return self._commit(change, Durability.FULL)

    def rest(self) -> None:
        """Do `let_go`: a kept state would not know the names on the medium."""
        self.let_go()

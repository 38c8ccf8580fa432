"""Loading the newest state of an index, as far as it is needed, and keeping what is loaded."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from rsdos.errors import DamagedContainer, UnsupportedContainer
from rsdos.index.cache import forget, keep, kept_state
from rsdos.index.commits import MOST_LOOKUPS, CommitLog
from rsdos.index.manifest import Manifest, Published, SegmentEntry, segment_name
from rsdos.index.opening import SegmentOpener, Tables
from rsdos.index.partial import PartialView, may_be_partial
from rsdos.index.segment import Segment
from rsdos.index.state import CheckPack, IndexState, Losses, Recover, counted
from rsdos.index.view import IndexView
from rsdos.layout import Layout
from rsdos.model import Record
from rsdos.storage.base import Version

if TYPE_CHECKING:
    from rsdos.index.committing import Commits

_MOST_AGE = 1.0
"""Seconds for which the note of the last commit is not read again. It tells more than the names only after damage."""


class IndexLoader:
    """Loads states of an index. Any number of threads; a view that was handed out never changes.

    If a manifest or a segment file is damaged, missing or of a later release, the state has in its place, in memory,
    what ``recover`` finds inside the packs. Nothing is written.
    """

    def __init__(
        self,
        layout: Layout,
        container_id: str,
        recover: Recover,
        check_pack: CheckPack,
        losses: Losses,
        commits: Commits | None = None,
    ) -> None:
        """Without ``commits`` the container is of version 2."""
        self.commits: Commits = commits or CommitLog(layout, container_id)
        self._layout = layout
        self._storage = layout.storage
        self._recover = recover
        self._opener = SegmentOpener(layout.storage, check_pack, losses)
        self._state: IndexState | None = None
        self._part: PartialView | None = None
        """The part in which `find` looks until another call needs the whole state. Then `_state` is None."""
        self._last: tuple[int, Version | None] | None = None
        """Number and file of the newest manifest that any thread has loaded, also after `close`."""
        self._unlock()
        _indexes[id(self)] = self
        self.replaced: Callable[[], None] = lambda: None
        """Called when a state is loaded that does not follow from the last one: open files may be other files now."""
        self._read_note = -inf
        """The time at which `is_latest` last read the note of the last commit."""

    clock: Callable[[], float] = staticmethod(monotonic)
    """Seconds."""

    def _unlock(self) -> None:
        """Make a new lock that is free. A signal handler may take it again in the thread that holds it."""
        self._swapping = threading.RLock()

    @property
    def state(self) -> IndexState:
        """The state that lookups use. The first use loads it."""
        return self._state or self._load()

    @property
    def is_loaded(self) -> bool:
        """Whether a state is loaded, or a part of one."""
        return self._state is not None or self._part is not None

    @property
    def view(self) -> IndexView:
        """The view of the state that lookups use. The first use loads it."""
        return self.state.view

    @property
    def is_recovered(self) -> bool:
        """Whether the present view was made from the packs, because a manifest or a segment is damaged."""
        return self.state.is_recovered

    def is_latest(self, state: object) -> bool:
        """Return whether lookups still use ``state``, and it is still the newest state of the same container.

        Return False after a commit, or if another container or an older state was put in its place. This takes two
        calls of the storage, and once in `_MOST_AGE` a third, which notices that a committed manifest was lost. If the
        machine may answer the first two calls from its memory, the third is made each time.
        """
        now = self._state
        if now is None or not isinstance(state, IndexState) or not state.is_of(now):
            return False
        time = self.clock()
        if time - self._read_note >= _MOST_AGE or not self._storage.is_prompt():
            if self.commits.committed() > max(state.number, state.missing):
                return False
            self._read_note = time
        if not state.number:
            return not self._layout.manifest_numbers()
        return self.commits.is_newest(state.number, state.file)

    def refresh(self) -> IndexView:
        """Load the newest state. Raise `ContainerReplaced` and `NotAContainer`, see `CommitLog.check`."""
        return self._load().view

    def load(self, number: int) -> IndexView:
        """Load the state of a manifest that was the newest a moment ago, or a newer one. Raises as `refresh` does."""
        return self._load(_Seen(number, 0, None)).view

    def _load(self, seen: _Seen | None = None) -> IndexState:
        """Load the newest state. ``seen`` is the part of it that was read a moment ago."""
        if seen is None and self._state is None and self._part is None and (kept := self._kept()):
            if isinstance(kept, IndexState):
                return self._keep(kept)
            self._part = kept
        again = seen is None and self._last is not None  # Otherwise the container was opened a moment ago.
        number = 0
        for _ in range(MOST_LOOKUPS):
            number, missing = seen[:2] if seen else self.commits.latest(again=again)
            read, seen = seen and seen.read, None
            if missing:
                # Files that an older manifest names may be gone: use everything that the packs have.
                self.commits.check()
                file = self.commits.file_of(number)
                return self._keep(
                    IndexState(self._recover(None), number, is_recovered=True, missing=missing, file=file)
                )
            if state := self._loaded(number):
                return state
            if state := self._opened(number, read):
                return self._keep(state)
        raise self.commits.never_there(number)

    def _loaded(self, number: int) -> IndexState | None:
        """Return the state that lookups use, if it is of this manifest: reading that again takes 100 us."""
        state = self._state
        if state is None or state.number != number or state.is_recovered or state.lost or state.file is None:
            return None
        return state if self.commits.file_of(number) == state.file else None

    def _opened(self, number: int, read: Published | None) -> IndexState | None:
        """Return the state of this manifest; None if later commits have removed files that the listing showed.

        ``read`` is the manifest, if it was read already.
        """
        manifest = None
        file = None
        try:
            manifest, file, _ = read or self.commits.read_with_file(number)
            view = self._opener.whole(manifest, self._shared())
            return IndexState(view, number, file=file, lost=view.manifest.packs != manifest.packs)
        except FileNotFoundError:
            if number and not self.commits.is_newest(number):
                return None
        except (DamagedContainer, UnsupportedContainer):
            pass
        # The damage may belong to another container, or to the remains of a migration.
        self.commits.check()
        file = file or self.commits.file_of(number)
        left = manifest and self._opener.left_of(manifest)
        if left and (rebuilt := self._rebuilt(left)):
            return IndexState(rebuilt, number, file=file, lost=True)
        return IndexState(self._recover(left), number, is_recovered=True, file=file)

    def _keep(self, state: IndexState, there: IndexState | PartialView | None = None) -> IndexState:
        """Let lookups use this state, unless they use a newer one. Return the state that they use.

        A thread that was slow to load its state must not replace a newer one: deleted objects would be there again.
        ``there`` is what `_shared` has returned a moment ago: its manifest was there.
        """
        with self._swapping:
            if self._last is not None and self._last != (state.number, state.file):
                number, file = self._last
                is_there = there is not None and self._last == (there.number, there.file)
                is_there = is_there or (file is not None and self.commits.file_of(number) == file)
                if is_there and number > state.number:
                    return self._state or state
                if not is_there:
                    self.replaced()
            self._state, self._part = state, None
            self._last = state.number, state.file
        return state

    def _find_in_part(self, digest: bytes) -> Record | None:
        """Do `find` while nothing is loaded: open segments until one of them has the key.

        Return None if no segment has the key, or if segments cannot be opened one by one. Then the whole state is
        loaded, or `_load` loads it.
        """
        part = self._part or self._begin()
        if part is None:
            return None
        try:
            record = part.find(digest)
        except (FileNotFoundError, DamagedContainer):
            self._part = None
            return None
        if record is None:
            self._keep(IndexState(part.whole(), part.number, file=part.file))
        return record

    @property
    def _is_first(self) -> bool:
        """Whether nothing was loaded yet."""
        return self._last is None

    def _begin(self) -> PartialView | None:
        """Begin to load the newest state. Return None if all of it is loaded, or has to be."""
        if not self._is_first:
            return None
        kept = self._kept()
        if isinstance(kept, IndexState):
            self._keep(kept)
            return None
        if kept is None:
            number, missing = self.commits.latest()
            try:
                read = None if missing or not number else self.commits.read_with_file(number)
            except (FileNotFoundError, DamagedContainer, UnsupportedContainer):
                return None
            if read is None or not may_be_partial(read.manifest):
                self._load(_Seen(number, missing, read))
                return None
            kept = PartialView(read.manifest, read.version, self._opener.segment_of(read.manifest))
        with self._swapping:
            if self._is_first:
                self._part = kept
                self._last = kept.number, kept.file
        return self._part

    def _kept(self) -> IndexState | PartialView | None:
        """Return the state that was kept when the container was closed last, if it is still the newest."""
        kept = kept_state(self._storage)
        return kept if kept and self.commits.is_newest(kept.number, kept.file) else None

    def _shared(self, there: tuple[int, Version | None] | None = None) -> IndexState | PartialView | None:
        """Return the state whose open segments can be used again; None if their names may mean other segments now.

        In a container that was put in the place of this one, names and places repeat. While the manifest of the state
        is there, its segments are the same. This takes one ``stat``, unless it is the one that is known to be
        ``there``, of this number and file. An old manifest may have been removed as well; then all segments are opened
        anew.
        """
        opened = self._state or self._part
        if opened is None or opened.file is None:
            return None
        is_there = there == (opened.number, opened.file) or self.commits.file_of(opened.number) == opened.file
        return opened if is_there else None

    def open(self, manifest: Manifest) -> IndexView:
        """Return a view of this manifest; segments that are open already are shared. Raise FileNotFoundError."""
        return self._open(manifest, self._shared())

    def _open(
        self,
        manifest: Manifest,
        shared: IndexState | PartialView | None,
        tables: Tables | None = None,
    ) -> IndexView:
        """Do `open` with what `_shared` has returned, and with other segments that are open."""
        return self._opener.view(manifest, shared, tables)

    def open_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment of a manifest. Raise FileNotFoundError, `DamagedContainer`."""
        shared = self._shared()
        opened = shared.named.get(segment_name(entry)) if shared else None
        return self._opener.segment(entry) if opened is None else opened

    def sound_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment that was verified as a whole; in the place of a damaged file of a batch, its table."""
        return self._opener.verified(entry, self.open_segment(entry))

    def sound(self) -> IndexView:
        """Load the newest state, verify its segments, and return its view without the damaged files of batches."""
        state = self._load()
        mended = None if state.is_recovered else self._opener.mended(state.view)
        return self._swap(state, state._replace(view=mended)) if mended else state.view

    def open_sound(self, manifest: Manifest) -> IndexView:
        """Do `open`, verify the segments, and return the view without the damaged files of batches."""
        view = self.open(manifest)
        return self._opener.mended(view) or view

    def _swap(self, state: IndexState, better: IndexState) -> IndexView:
        """Replace a state by a better one of the same manifest, unless it was replaced already."""
        with self._swapping:
            if self._state is state:
                self._state = better
        return better.view

    def _rebuilt(self, left: Manifest) -> IndexView | None:
        """Return a view of the tables in the packs, if only segment files may be lost, and nothing else."""
        if all(segment.synced for segment in left.segments):
            return None
        recovered = self._recover(left)
        return None if recovered.damage else counted(recovered)

    def rest(self) -> None:
        """Do `let_go`, but keep a small state for the next lookup, see `rsdos.index.cache.keep`."""
        loaded = self._state or self._part
        self._state = self._part = None  # Another thread may do this at the same time.
        if loaded and loaded.number:
            keep(self._storage, loaded)

    def let_go(self) -> None:
        """Drop the loaded state and its mappings. The next lookup loads them again."""
        self._state = self._part = None

    def close(self) -> None:
        """Do `let_go`, and also drop the kept state."""
        self._state = self._part = None
        self.commits.let_go()
        forget(self._storage)


class _Seen(NamedTuple):
    """The part of the newest state that was read: what `CommitLog.latest` returned, and the manifest if it was read."""

    number: int
    missing: int
    read: Published | None


_indexes: weakref.WeakValueDictionary[int, IndexLoader] = weakref.WeakValueDictionary()
"""All loaders of this process, by ``id``."""


def _unlock_all() -> None:
    """Make new locks in a forked child: a thread of the parent may have held one, and does not run here."""
    for reference in _indexes.valuerefs():
        if index := reference():
            index._unlock()


os.register_at_fork(after_in_child=_unlock_all)

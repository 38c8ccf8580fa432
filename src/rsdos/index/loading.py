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
from rsdos.index.opening import SegmentOpener
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
"""Seconds for which the note of the last commit is not read again. Only after damage it says more than the names do."""


class IndexLoader:
    """Loads states of an index. Any number of threads; a view that was handed out stays as it is.

    A manifest or a segment file that is damaged or missing, or of a later release, is replaced, in memory, by what
    ``recover`` finds inside the packs. Nothing is written.
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
        """Without ``commits`` those are of a container of version 2."""
        self.commits: Commits = commits or CommitLog(layout, container_id)
        self._layout = layout
        self._storage = layout.storage
        self._recover = recover
        self._opener = SegmentOpener(layout.storage, check_pack, losses)
        self._state: IndexState | None = None
        self._part: PartialView | None = None
        """Where `find` looks as long as nothing else needed more: while it is there, there is no state."""
        self._last: tuple[int, Version | None] | None = None
        """Number and file of the newest manifest that any thread has loaded, also after `close`."""
        self._unlock()
        _indexes[id(self)] = self
        self.replaced: Callable[[], None] = lambda: None
        """Called when what is loaded does not come from what was loaded before: what is open may be of other files."""
        self._read_note = -inf
        """The time at which `is_latest` has last read the note of the last commit."""

    clock: Callable[[], float] = staticmethod(monotonic)
    """Seconds."""

    def _unlock(self) -> None:
        """Make a new lock that is free. A signal handler may take it again in the thread that holds it."""
        self._swapping = threading.RLock()

    @property
    def state(self) -> IndexState:
        """What was looked at last, loaded at the first use."""
        return self._state or self._load()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a state that was looked at, or a part of one."""
        return self._state is not None or self._part is not None

    @property
    def view(self) -> IndexView:
        """The newest state that was looked at, loaded at the first use."""
        return self.state.view

    @property
    def is_recovered(self) -> bool:
        """Whether the present view was made from the packs, because a manifest or a segment is damaged."""
        return self.state.is_recovered

    def is_latest(self, state: object) -> bool:
        """Whether lookups still use ``state``, and it is still the newest state of the same container.

        It is not after a commit, or when another container or an older state was put in its place. Takes two calls of
        the storage, and once in `_MOST_AGE` a third, which finds a committed manifest that was lost. The third call is
        made each time where the first two may be answered from what this machine knew before.
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
        """Load the newest state. Raises `ContainerReplaced` and `NotAContainer`, see `CommitLog.check`."""
        return self._load().view

    def _load(self, seen: _Seen | None = None) -> IndexState:
        """Load the newest state; ``seen`` is what was seen of it a moment ago."""
        if seen is None:
            if self._state is None and self._part is None and (kept := self._kept()):
                if isinstance(kept, IndexState):
                    return self._keep(kept)
                self._part = kept
            if self._last is not None:  # Else it was opened a moment ago.
                self.commits.check_again()
        number = 0
        for _ in range(MOST_LOOKUPS):
            number, missing = seen[:2] if seen else self.commits.latest()
            read, seen = seen and seen.read, None
            if missing:
                # What an older manifest leads to may be gone: all that the packs have.
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
        """The state that lookups go to, if it is of this manifest: to read that again takes 100 us."""
        state = self._state
        if state is None or state.number != number or state.is_recovered or state.lost or state.file is None:
            return None
        return state if self.commits.file_of(number) == state.file else None

    def _opened(self, number: int, read: Published | None) -> IndexState | None:
        """The state of this manifest; None when commits went by since the listing, and took away what it showed.

        ``read`` is the manifest, if it was read already.
        """
        manifest = None
        file = None
        try:
            manifest, file = read or self.commits.read_with_file(number)
            view = self._opener.whole(manifest, self._shared())
            return IndexState(view, number, file=file, lost=view.manifest.packs != manifest.packs)
        except FileNotFoundError:
            if number and not self.commits.is_newest(number):
                return None
        except (DamagedContainer, UnsupportedContainer):
            pass
        # It may be damage of another container, or of what a migration has left.
        self.commits.check()
        file = file or self.commits.file_of(number)
        left = manifest and self._opener.left_of(manifest)
        if left and (rebuilt := self._rebuilt(left)):
            return IndexState(rebuilt, number, file=file, lost=True)
        return IndexState(self._recover(left), number, is_recovered=True, file=file)

    def _keep(self, state: IndexState) -> IndexState:
        """Make this what lookups go to, unless a newer one is that; returns what they go to.

        A thread that was slow to load its state must not put it over that of another: what others have deleted since
        would be there again.
        """
        with self._swapping:
            if self._last is not None and self._last != (state.number, state.file):
                number, file = self._last
                is_there = file is not None and self.commits.file_of(number) == file
                if is_there and number > state.number:
                    return self._state or state
                if not is_there:
                    self.replaced()
            self._state, self._part = state, None
            self._last = state.number, state.file
        return state

    def _find_in_part(self, digest: bytes) -> Record | None:
        """`find` where nothing is loaded: open segments until one of them has the key.

        None when none has, and where that cannot be done. Then all is loaded, or `_load` does it.
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
        """Begin to load the newest state; None where all of it is loaded, or is to be."""
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
        """What is kept since the container was closed last, if it is still the newest."""
        kept = kept_state(self._storage)
        return kept if kept and self.commits.is_newest(kept.number, kept.file) else None

    def _shared(self) -> IndexView | PartialView | None:
        """The view whose segments are those of the same names now; None when they may be others.

        Places come again in a container that was put in the place of this one. While the manifest is there, so is what
        was committed to it. One ``stat``; it may be gone for being old, too, and all is opened anew then.
        """
        state, part = self._state, self._part
        opened = part if state is None else state
        if opened is None or opened.file is None or self.commits.file_of(opened.number) != opened.file:
            return None
        return part if state is None else state.view

    def open(self, manifest: Manifest) -> IndexView:
        """Return a view of this manifest; segments that are open already are shared. Raises FileNotFoundError."""
        return self._opener.view(manifest, self._shared())

    def open_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment of a manifest. Raises FileNotFoundError, `DamagedContainer`."""
        shared = self._shared()
        opened = shared.named.get(segment_name(entry)) if shared else None
        return self._opener.segment(entry) if opened is None else opened

    def sound_segment(self, entry: SegmentEntry) -> Segment:
        """Return a segment all of which was verified, and in the place of a damaged file of a batch its table."""
        return self._opener.verified(entry, self.open_segment(entry))

    def sound(self) -> IndexView:
        """Load the newest state, verify its segments, and return it without the damaged files of batches."""
        state = self._load()
        mended = None if state.is_recovered else self._opener.mended(state.view)
        return self._swap(state, state._replace(view=mended)) if mended else state.view

    def open_sound(self, manifest: Manifest) -> IndexView:
        """Do `open`, verify the segments, and return the view without the damaged files of batches."""
        view = self.open(manifest)
        return self._opener.mended(view) or view

    def _swap(self, state: IndexState, better: IndexState) -> IndexView:
        """Put a better state of the same manifest in the place of one, unless that was replaced already."""
        with self._swapping:
            if self._state is state:
                self._state = better
        return better.view

    def _rebuilt(self, left: Manifest) -> IndexView | None:
        """A view of the tables in the packs, where a segment file may be what was lost, and nothing else is."""
        if all(segment.synced for segment in left.segments):
            return None
        recovered = self._recover(left)
        return None if recovered.damage else counted(recovered)

    def rest(self) -> None:
        """`let_go`, but what is small is kept for the next lookup, see `park`."""
        loaded = self._state or self._part
        self._state = self._part = None  # Another thread may be at it as well.
        if loaded and loaded.number:
            keep(self._storage, loaded)

    def let_go(self) -> None:
        """Let go of the mappings; the next lookup loads them again."""
        self._state = self._part = None

    def close(self) -> None:
        """`let_go`, also of what was kept."""
        self._state = self._part = None
        self.commits.let_go()
        forget(self._storage)


class _Seen(NamedTuple):
    """What was seen of the newest state: what `CommitLog.latest` returned, and the manifest if it was read."""

    number: int
    missing: int
    read: Published | None


_indexes: weakref.WeakValueDictionary[int, IndexLoader] = weakref.WeakValueDictionary()
"""By ``id``: all that there are."""


def _unlock_all() -> None:
    """In a forked child: what another thread of the parent was about to swap is never swapped here."""
    for reference in _indexes.valuerefs():
        if index := reference():
            index._unlock()


os.register_at_fork(after_in_child=_unlock_all)

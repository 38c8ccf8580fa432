"""Merging segments while other processes commit, in a container of version 2 (ADR 38). The steps are numbered.

1. Take ``locks/merge``: one merge runs at a time. Remove the files that dead merges have left.
2. Under the lock on commits choose the segments, and write their names into the lock: commits leave these alone.
3. Write their needed entries to new files in ``index/``, under names that no manifest gives out, and sync the files.
4. Commit. If one of the segments is not live any more, commit nothing. Otherwise link the files to the next numbers,
   and publish the newest manifest with the files in the place of the segments.
5. Remove the names of step 3.
6. Remove the files of the segments. If there is a long reader, a later commit removes them.

The merged files mean the same as the segments, whatever other processes commit in between. An insert and a delete add
segments of their own, and a tombstone kills one extent, in whichever segment it is. An entry of a pack that was removed
since then does not count. So step 4 needs to know only that all segments are live. It does not rely on the lock of
step 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from rsdos import names
from rsdos.errors import DamagedContainer, RsdosError
from rsdos.index import merge
from rsdos.index.committing import Commits
from rsdos.index.manifest import Manifest, SegmentEntry, files_of
from rsdos.index.merge import Table, due_for_merge, write_merged
from rsdos.index.merge_lock import note_segments, remove_unfinished
from rsdos.index.segment_files import free_number
from rsdos.index.settling import settled, with_synced
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.names import LAST_NUMBER
from rsdos.storage.opened import HeldLock

_MOST_TRIES = 3
"""Times that a merge begins again because another has merged its segments, after its lock file was removed."""

_FILES = 2
"""The most files that a merge writes: one of entries, one of tombstones."""

Choose = Callable[[Manifest], Sequence[SegmentEntry]]


class SegmentMerge:
    """Merges beside commits. Any number of threads and processes."""

    def __init__(
        self,
        layout: Layout,
        commits: Commits,
        newest: Callable[[], Manifest],
        open_segment: Callable[[SegmentEntry], Table],
        commit: Callable[[Callable[[Manifest], Manifest], Durability], Manifest],
    ) -> None:
        """``commit`` makes the next manifest, and does not merge."""
        self._layout = layout
        self._storage = layout.storage
        self._commits = commits
        self._newest = newest
        self._open_segment = open_segment
        self._commit = commit

    def merge_all(self, durability: Durability) -> None:
        """Merge all segments into one, and one of tombstones if any are still needed. Wait for a running merge.

        If a segment is damaged, nothing is merged: a repair comes first. Raise the errors of a commit, and OSError.
        """
        with self._wait_for(names.MERGE_LOCK) as lock:
            for _ in range(_MOST_TRIES):
                if self._merge(lock, lambda manifest: manifest.segments, durability):
                    break

    def merge_due(self, durability: Durability) -> None:
        """Merge the smallest segments if there are too many and no merge runs. A later commit repeats what fails."""
        with suppress(OSError, RsdosError):
            if lock := self._storage.lock(names.MERGE_LOCK, wait=False):
                with lock:
                    self._merge(
                        lock, lambda manifest: due_for_merge(manifest.segments, merge.MOST_SEGMENTS), durability
                    )

    def _merge(self, lock: HeldLock, choose: Choose, durability: Durability) -> bool:
        """Do all steps. Return False if another merge was faster, and all steps have to be done again."""
        # 1. The lock is taken.
        remove_unfinished(self._storage)
        with self._wait_for(names.COMMIT_LOCK):
            # 2. Choose.
            self._commits.check()
            base = self._newest()
            due = choose(base)
            if not due or base.next_segment + _FILES > LAST_NUMBER:
                return True
            note_segments(lock, due)
        named = partial(names.unfinished_segment, os.urandom(8).hex())
        try:
            # 3. Write and sync. (Also sync packs that other writers have left unsynced: the commit syncs less then.)
            try:
                written = write_merged(self._storage, 0, list(map(self._open_segment, due)), base.pack_ids, named)
                for entry in written:
                    self._storage.sync(named(entry.number))
            except (DamagedContainer, FileNotFoundError):
                return are_live(due, base, self._newest())  # True: a repair comes first. False: others merged them.
            for pack in base.packs.behind:
                if pack.id in {entry.pack_id for entry in due}:
                    with suppress(FileNotFoundError):
                        self._storage.sync(names.pack(pack.id))
            # 4. Commit.
            replacement = _Replacement(self._layout, lock, base, due, written, named, durability)
            self._commit(replacement, durability)
        finally:
            # 5. Remove the names. After an interrupt `written` may lack a file that was just made.
            try:
                self._remove_named(lock, named)
            except BaseException:  # An interrupt between the two.
                self._remove_named(lock, named)
                raise
        if replacement.is_made and durability is Durability.FULL:
            # 6. Remove the files.
            self._remove_replaced([entry.number for entry in due if entry.number])
        return replacement.is_made

    def _remove_named(self, lock: HeldLock, named: names.Named) -> None:
        for number in range(_FILES) if lock.is_held else ():  # In a forked child the files are the parent's.
            with suppress(OSError):
                self._storage.remove(named(number))

    def _wait_for(self, name: str) -> HeldLock:
        lock = self._storage.lock(name)
        if lock is None:
            raise AssertionError("unreachable")
        return lock

    def _remove_replaced(self, numbers: Sequence[int]) -> None:
        """Remove segment files that the newest manifest does not need. Each removal delays other commits briefly."""
        with suppress(OSError, RsdosError):
            for number in numbers:
                with self._wait_for(names.COMMIT_LOCK):
                    self._commits.check()
                    readers = self._storage.lock(names.READERS_LOCK, wait=False)
                    if readers is None:
                        return
                    with readers:
                        if number not in files_of(self._newest()).segments:
                            self._storage.remove(names.segment(number))


class _Replacement:
    """Step 4: the change of a commit that puts the files of a merge in the place of the segments that it has read."""

    def __init__(
        self,
        layout: Layout,
        lock: HeldLock,
        base: Manifest,
        due: Sequence[SegmentEntry],
        written: Sequence[SegmentEntry],
        named: names.Named,
        durability: Durability,
    ) -> None:
        self._layout = layout
        self._storage = layout.storage
        self._lock = lock
        self._base = base
        self._due = due
        self._written = written
        self._named = named
        self._durability = durability
        self.is_made = False
        """Whether the last call has made a manifest with the files."""

    def __call__(self, newest: Manifest) -> Manifest:
        self.is_made = False
        if not are_live(self._due, self._base, newest):
            return newest
        first = free_number(self._layout, newest)
        linked: list[str] = []
        try:
            for entry in self._written:
                name = names.segment(first + entry.number)
                if not self._is_linked(self._named(entry.number), name):
                    return self._undone(linked, newest)
                linked.append(name)
            fresh = [entry._replace(number=first + entry.number) for entry in self._written]
            manifest = newest.with_segments(self._due, *fresh)
            # A table in a pack shows whether a power loss has taken its batch: sync the pack before the table goes.
            named = {entry.pack_id for entry in self._due}
            behind = [pack for pack in manifest.packs.behind if pack.id in named]
            manifest = with_synced(self._storage, manifest, behind)
            if self._durability is Durability.FULL:
                manifest = settled(self._storage, manifest)
        except BaseException:
            self._undone(linked, newest)
            raise
        self.is_made = True
        return manifest

    def _is_linked(self, unfinished: str, name: str) -> bool:
        """Give a file its name. Return False if lock files were removed and another process was faster."""
        try:
            return self._storage.link(unfinished, name)
        except FileNotFoundError:
            return False

    def _undone(self, linked: Sequence[str], newest: Manifest) -> Manifest:
        for name in linked if self._lock.is_held else ():  # In a forked child the files are the parent's.
            with suppress(OSError):
                self._storage.remove(name)
        return newest


def are_live(due: Sequence[SegmentEntry], base: Manifest, newest: Manifest) -> bool:
    """Return whether segments of one manifest are live in a newer one.

    In a container that was set back, other segments may have the same names. So the whole entries are compared, with a
    part of the hash of each file.
    """
    live = {entry._replace(synced=True) for entry in newest.segments}
    return newest.number >= base.number and live.issuperset(entry._replace(synced=True) for entry in due)

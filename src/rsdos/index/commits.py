"""The manifests of a container: the highest number counts, and a commit makes the next one.

A commit is a put of the next number, which only one process wins. If the storage has locks, a commit holds one, so that
no process works in vain. If it has none, the process that lost reads the newest manifest and makes its change again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.config import VERSION
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, NotAContainer, UnsupportedContainer
from rsdos.index.last_commit import LastCommit, read_committed
from rsdos.index.manifest import (
    Manifest,
    NamedFiles,
    Published,
    UnknownManifest,
    decode_manifest,
    encode_manifest,
    files_in,
    files_of,
)
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.storage.base import Put, Version

if TYPE_CHECKING:
    from rsdos.index.pack_table import TableEntry
    from rsdos.index.packs import PackTables
    from rsdos.index.table_reader import TableReader
    from rsdos.migration import Original
    from rsdos.storage.opened import HeldLock

KEPT = 16
"""Manifests that are kept. A reader that has listed ``index/`` can open what it saw until this many commits later."""

MOST_LOOKUPS = 100
"""Times that a listed manifest may be gone when it is opened. Each time, 16 commits have run in a millisecond."""

_MOST_TRIES = 10
"""Times that a commit begins again because ``locks/commit`` is no longer the file that it has locked."""

_ANOTHER_TIME = 2_000_000_000
"""Nanoseconds: the coarsest times of files that a file system stores are two seconds apart (FAT)."""

_MOST_CONFLICTS = 100
"""Times that a commit begins again where there are no locks: each time another process has committed first."""

_MOST_PUTS = 10
"""Times that a manifest is put again because the answer was lost and the manifest is not there."""

_MOST_BYTES = 1 << 24
"""The most bytes of a manifest: of 60,000 packs, 240 TB at the usual target. Reading it takes up to twenty times as
much memory."""


class CommitLog:
    """Reads and makes manifests. Any number of threads and processes."""

    def __init__(self, layout: Layout, container_id: str) -> None:
        self._layout = layout
        self._storage = layout.storage
        self._container_id = container_id
        self.original: Original | None = None
        """The identity that `check` compares. The first check makes it."""
        self._known: Published | None = None
        """The manifest that was read or made here last. The file of a manifest does not change."""
        self._tables: TableReader | None = None
        """Reads pack tables. The first manifest that has any makes it."""

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` if the container is no longer the one that was opened."""
        if self.original is None:
            from rsdos.migration import Original  # A program that only reads does not need it.

            self.original = Original(self._layout, VERSION, self._container_id)
        self.original.check()

    def check_again(self) -> None:
        """Do `check`: a manifest of the same number may belong to another container."""
        self.check()

    def committed(self) -> int:
        """Return the highest number that is known to be committed, 0 if none is. No older manifest is the newest."""
        return read_committed(self._storage).number

    def begin_at(self, number: int) -> None:
        """Do nothing: a listing has all numbers."""

    def latest(self) -> tuple[int, int]:
        """Return the number of the newest manifest that is there, and of a newer one that is missing; 0 means none."""
        committed = self.committed()
        numbers = self._layout.manifest_numbers()
        number = numbers[-1] if numbers else 0
        if committed <= number:
            return number, 0
        # On a network file system the listing may be an older one.
        return (committed, 0) if self._storage.exists(names.manifest(committed)) else (number, committed)

    def newest_number(self) -> int:
        """Return the newest manifest's number, from a fresh listing. Raise `DamagedContainer` if it is missing."""
        number, missing = self.latest()
        if missing or not number:
            self.check()
        if not number:
            raise DamagedContainer(self._layout.index, "there is no manifest (see: rsdos repair index)")
        if missing:
            raise DamagedContainer(self._layout.manifest(missing), "this manifest was committed last, and is missing")
        return number

    def newest(self) -> Manifest:
        """Return the newest manifest, from a fresh listing.

        Raise `DamagedContainer` if it is damaged or missing, and `UnsupportedContainer` if a later release has written
        it.
        """
        number = 0
        for _ in range(MOST_LOOKUPS):
            number = self.newest_number()
            known = self._known
            if known is not None and known.manifest.number == number and known.version == self.file_of(number):
                return known.manifest  # This saves 20 us for each pack.
            try:
                return self.read(number)
            except NotAContainer:
                raise  # This is a FileNotFoundError, too.
            except FileNotFoundError:
                pass  # Sixteen commits have run since the listing.
        raise self.never_there(number)

    def never_there(self, number: int) -> DamagedContainer:
        """Return the error for a manifest that was gone each time it was opened."""
        return DamagedContainer(self._layout.manifest(number), f"listed {MOST_LOOKUPS} times, and never there")

    def read(self, number: int) -> Manifest:
        """Return one manifest. Raise FileNotFoundError, `DamagedContainer`, `UnsupportedContainer`."""
        return self.read_with_file(number).manifest

    def read_with_file(self, number: int) -> Published:
        """Return one manifest, and the version of its file. Raise what `read` does."""
        path = self._layout.manifest(number)
        data, version = self._storage.read_with_version(names.manifest(number), _MOST_BYTES)
        try:
            manifest = decode_manifest(data, self._open_tables)
        except FileNotFoundError as error:
            # Tables are removed after the manifests that name them.
            if self.file_of(number) != version:
                raise
            raise DamagedContainer(path, f"a pack table is missing: {error.filename}") from None
        except UnknownManifest as error:
            reason = f"{error}: a later release of rsdos has written it, which can also read it"
            raise UnsupportedContainer(path, reason) from None
        except ValueError as error:
            raise DamagedContainer(path, str(error)) from None
        if manifest.number != number or manifest.container_id != self._container_id:
            self.check()
            raise DamagedContainer(path, "it is a manifest of another number or another container")
        self._known = Published(manifest, version)
        return self._known

    def _open_tables(self, entries: tuple[TableEntry, ...]) -> PackTables:
        """Return the pack tables of a manifest. Raise FileNotFoundError, and ValueError for a damaged table."""
        if self._tables is None:
            from rsdos.index.table_reader import TableReader, read_pack_table  # Most containers have none.

            self._tables = TableReader(partial(read_pack_table, self._storage))
        return self._tables(entries)

    def let_go(self) -> None:
        """Read manifests and pack tables again the next time."""
        self._known = self._tables = None

    def file_of(self, number: int) -> Version | None:
        """Return the version of a manifest's file; None when it is missing. Takes one ``stat``."""
        return self._storage.version(names.manifest(number))

    def is_newest(self, number: int, known: Version | None = None) -> bool:
        """Return whether this manifest was the newest when this call began, and is still there as ``known``. Two calls.

        1. Look for the next manifest. This finds every commit that ended before this call, unless its manifest was
           pruned.
        2. Look for this manifest. Manifests are pruned oldest first: if this one is there, the next one was not pruned
           at step 1. Its file may be another one: after a copy is restored over the container, numbers repeat.

        In the other order, `KEPT` commits between the two steps would not be noticed. That a manifest was lost is known
        from `committed` alone.
        """
        if self._storage.exists(names.manifest(number + 1)):
            return False
        now = self.file_of(number)
        return now is not None and (known is None or known == now)

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Published:
        """Publish what ``change`` makes of the newest manifest, and return it. Wait for other commits.

        After a return with full durability the new manifest survives a power loss. After an error the new manifest may
        still be there, if only the last sync failed: look at `newest` before you undo anything. ``change`` is called
        again if files in ``locks/`` were removed and another commit was faster.
        Raise `ContainerReplaced`, `NotAContainer`, `DamagedContainer`, `UnsupportedContainer`, OSError.
        """
        for _ in range(_MOST_TRIES if self._storage.traits.locks else _MOST_CONFLICTS):
            # 5. From here to the end of the block no other process commits.
            with self._lock() as lock, suppress(_Outrun):
                return self._commit(lock, change, durability)
        if not self._storage.traits.locks:
            raise Busy(self._layout.index, f"others, who committed {_MOST_CONFLICTS} times just before")
        raise ContainerReplaced(
            self._layout.commit_lock, "it was removed or replaced again and again while it was held"
        )

    def _lock(self) -> HeldLock | _NoLock:
        """Wait for the lock on commits, where there are locks."""
        return self._storage.lock(names.COMMIT_LOCK) or _NoLock() if self._storage.traits.locks else _NoLock()

    def _commit(
        self, lock: HeldLock | _NoLock, change: Callable[[Manifest], Manifest], durability: Durability
    ) -> Published:
        self.check()
        newest = self.newest()
        number = self._after(newest.number)
        manifest = change(newest)._replace(number=number)
        try:
            file = self._publish(lock, manifest, durability)
        except BaseException as error:
            # If only its last sync failed, the manifest is there. In a forked child nothing is undone.
            is_gone = isinstance(error, _Outrun) or self._is_absent(manifest.number)
            if is_gone and lock.is_held:
                self.undo_merge(newest, manifest)
            raise
        self._note(lock, manifest.number, durability)
        # The commit is valid. A later one drops the files that could not be dropped.
        with suppress(OSError, UnsupportedContainer):
            self._drop_replaced(newest, manifest, durability)
            self._prune(manifest)
        self._known = Published(manifest, file)
        return self._known

    def _after(self, number: int) -> int:
        """Return the next number. Raise `DamagedContainer` if there is none: no name of more digits would be found."""
        if number >= names.LAST_NUMBER:
            raise DamagedContainer(self._layout.manifest(number), "no number is left for a manifest after this one")
        return number + 1

    def readable(self) -> Manifest | None:
        """Return the newest manifest that is not damaged; None when there is none. Raise `UnsupportedContainer`."""
        for number in reversed(self._layout.manifest_numbers()):
            with suppress(FileNotFoundError, DamagedContainer):
                return self.read(number)
        return None

    def restore(self, make: Callable[[], Manifest | None]) -> Manifest | None:
        """Publish durably the manifest that ``make`` returns, whatever the newest one is. For None publish nothing.

        Other commits wait. The manifest that was the newest stays where it is.
        """
        with self._lock() as lock:
            made = make()
            if made is None:
                return None
            number = self._after(max([self.committed(), *self._layout.manifest_numbers()]))
            manifest = made._replace(number=number)
            try:
                decode_manifest(encode_manifest(manifest), lambda _: manifest.packs.tables)
            except ValueError as error:
                raise DamagedContainer(self._layout.packed, f"what the packs say makes no manifest: {error}") from None
            try:
                self._publish(lock, manifest, Durability.FULL)
            except _Outrun:
                reason = "it was removed or replaced while it was held: try again"
                raise ContainerReplaced(self._layout.commit_lock, reason) from None
            self._note(lock, manifest.number, Durability.FULL)
        return manifest

    def _note(self, lock: HeldLock | _NoLock, number: int, durability: Durability) -> None:
        # After the syncs: a power loss that takes the commit must not leave its number.
        if durability is Durability.FULL:
            committed = LastCommit(number, number)
        else:
            committed = read_committed(self._storage).followed_by(number)
        with suppress(OSError):  # The commit is valid.
            lock.write_note(committed.encode())

    def pass_over(self, lock: HeldLock) -> None:
        """Give an index up: note a commit after its newest one, so that no program takes that for the newest.

        Also change the time of the newest manifest: programs that have it loaded then get False from `is_newest`.
        The caller holds the lock on commits, and from now on `check` raises an error.
        """
        with suppress(DamagedContainer):
            number = self.newest_number()
            self._note(lock, self._after(number), Durability.FULL)
            with suppress(OSError):  # Some file systems cannot do this. Then programs find the note within a second.
                path = self._layout.manifest(number)
                status = os.lstat(path)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + _ANOTHER_TIME), follow_symlinks=False)

    def forget(self) -> None:
        """Forget durably the last commit to an index that is gone. There is no manifest yet."""
        if self.committed():
            with self._lock() as lock:
                lock.write_note(LastCommit().encode())
            self._storage.sync(names.COMMIT_LOCK)

    def _publish(self, lock: HeldLock | _NoLock, manifest: Manifest, durability: Durability) -> Version:
        # 6. Put it under its number, unless the number is taken or the lock is lost. Sync the name.
        data = encode_manifest(manifest)
        if len(data) > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"a manifest of more than {_MOST_BYTES} bytes: too many packs, or long notes")
        version = self._put(names.manifest(manifest.number), data, lock)
        if durability is Durability.FULL:
            self._storage.sync_names(names.INDEX)
        return version

    def _put(self, name: str, data: bytes, lock: HeldLock | _NoLock) -> Version:
        """Put a manifest, and return its version. Raise `_Outrun` when another is there.

        If the answer was lost, read the name. A manifest is the whole state, so one with the same bytes is this commit,
        even if another process put it. If nothing is there, put the same bytes again: there are never two candidates.
        """
        for _ in range(_MOST_PUTS):
            result = self._storage.put_new(name, data, lock.is_in_place)
            if result.version is not None:
                return result.version
            if result.outcome is Put.TAKEN:
                raise _Outrun
            with suppress(FileNotFoundError):
                there, version = self._storage.read_with_version(name, _MOST_BYTES)
                if there == data:
                    return version
                raise _Outrun
        raise OSError(errno.EIO, f"put {_MOST_PUTS} times, and never answered nor there", self._storage.path(name))

    def _is_absent(self, number: int) -> bool:
        """Return whether a manifest is certainly missing."""
        try:
            return self.file_of(number) is None
        except OSError:
            return False

    def undo_merge(self, newest: Manifest, manifest: Manifest) -> None:
        """Remove the segment files and pack tables that a manifest names and the newest does not. Raise no OSError."""
        with suppress(OSError):
            made, there = files_of(manifest), files_of(newest)
            for number in {*made.segments} - {*there.segments}:
                self._storage.remove(names.segment(number))
            for number in {*made.tables} - {*there.tables}:
                self._storage.remove(names.pack_table(number))

    def _drop_replaced(self, before: Manifest, newest: Manifest, durability: Durability) -> None:
        """Remove segment files that a merge or a repack has replaced.

        The files of batches are removed at once, since the tables in the packs have the same entries: for a million
        objects they take 66 MB. Merged files are removed by the next such commit that survives a power loss. Without
        this, an insert and a merge each night would keep sixteen indices. A reader that misses such a file loads the
        newest manifest.
        """
        needed = {segment.number for segment in newest.segments}
        replaced = {segment.number: segment for segment in before.segments if segment.number not in needed}
        for number, segment in replaced.items():
            if segment.is_of_batch:
                self._storage.remove(names.segment(number))
        if any(number for number in replaced) and durability is Durability.FULL:
            self._drop_segments({*needed, *replaced}, newest)

    def _drop_segments(self, needed: Collection[int], newest: Manifest) -> None:
        """Remove the segment files that are not needed. The files of running writers have higher numbers, and stay."""
        for number in self._layout.segment_numbers():
            if number not in needed and number < newest.next_segment:
                self._storage.remove(names.segment(number))

    def _prune(self, newest: Manifest) -> None:
        """Drop the manifests beyond the last `KEPT`, oldest first, and index files that none of the kept ones needs.

        Also drop the unfinished manifests of dead writers.
        """
        listed = list(self._storage.list(names.INDEX))
        for name in filter(names.is_unfinished, listed):
            self._storage.remove(f"{names.INDEX}/{name}")
        numbers = names.numbers_among(listed, names.MANIFESTS)
        for number in numbers[:-KEPT]:
            self._storage.remove(names.manifest(number))
        if newest.number % KEPT == 0:
            older = (number for number in numbers[-KEPT:] if number != newest.number)
            kept = [files_of(newest), *map(self._files_of, older)]
            self._drop_segments(set().union(*(files.segments for files in kept)), newest)
            for number in set(names.numbers_among(listed, names.PACK_TABLES)).difference(*(one.tables for one in kept)):
                if number < newest.next_segment:
                    self._storage.remove(names.pack_table(number))

    def _files_of(self, number: int) -> NamedFiles:
        """Return the files that a manifest names. Decoding sixteen whole manifests would add 60 ms to some commits."""
        try:
            return files_in(self._storage.read(names.manifest(number), _MOST_BYTES))
        except ValueError as error:
            raise DamagedContainer(self._layout.manifest(number), str(error)) from None


class _NoLock:
    """Takes the place of a lock where there are none: the put alone keeps other commits out."""

    is_held = True

    def is_in_place(self) -> bool:
        return True

    def write_note(self, data: bytes) -> None:
        return

    def __enter__(self) -> _NoLock:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Outrun(Exception):
    """Another commit was faster. This one is made again."""
